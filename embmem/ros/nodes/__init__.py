"""The nodes, as plain classes that get their ports."""
