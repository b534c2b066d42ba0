"""Sparse occupancy voxels."""

from embmem.maps.voxels.decay import DecayLayers
from embmem.maps.voxels.removal import Removal
from embmem.maps.voxels.voxel_map import VoxelMap

__all__ = ["DecayLayers", "Removal", "VoxelMap"]
