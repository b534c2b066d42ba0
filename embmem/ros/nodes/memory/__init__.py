"""The memory node: RGB-D or point clouds with poses in, maps and graphs out, questions answered."""

from embmem.ros.nodes.memory.node import MemoryNode

__all__ = ["MemoryNode"]
