"""What became of a recording, as one page to look at."""
