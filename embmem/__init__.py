"""embmem: spatial memory for robots and simulated agents."""

__version__ = "0.1.0"
