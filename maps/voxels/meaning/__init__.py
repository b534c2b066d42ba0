"""What is kept of surfaces beside occupancy, and questions about it."""
