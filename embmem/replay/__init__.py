"""What was observed, as records, and layers from them again."""
