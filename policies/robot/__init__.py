"""Driving a real robot: a way over a grid, a follower, and words that name where to go."""
