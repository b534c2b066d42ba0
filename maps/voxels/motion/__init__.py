"""What moved: removal, decay, changes."""
