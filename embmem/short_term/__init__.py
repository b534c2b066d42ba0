"""Short-term memory: a few objects, near an anchor, and what leaves when it is full."""
