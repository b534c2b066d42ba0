"""Maps: what is solid and what is free, the floor plan, and where things are."""

from embmem.maps.grid import Frontier, GridBuilder, OccupancyGrid
from embmem.maps.voxels import VoxelMap

__all__ = ["Frontier", "GridBuilder", "OccupancyGrid", "VoxelMap"]
