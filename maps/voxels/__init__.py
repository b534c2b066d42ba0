"""Sparse occupancy voxels."""

from embmem.maps.voxels.euclidean import EuclideanField
from embmem.maps.voxels.formats.files import open_voxels, read_voxels, write_voxels
from embmem.maps.voxels.merge import crop, merge, transform
from embmem.maps.voxels.motion.decay import DecayLayers
from embmem.maps.voxels.motion.removal import Removal
from embmem.maps.voxels.voxel_map import VoxelMap

__all__ = [
    "DecayLayers",
    "EuclideanField",
    "Removal",
    "VoxelMap",
    "crop",
    "merge",
    "open_voxels",
    "read_voxels",
    "transform",
    "write_voxels",
]
