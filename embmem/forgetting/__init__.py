"""What to forget when a memory is over its budget."""
