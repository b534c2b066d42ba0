"""Sparse occupancy voxels."""

from embmem.maps.voxels.voxel_map import VoxelMap

__all__ = ["VoxelMap"]
