"""Maps: what is solid and what is free, the floor plan, and where things are."""

from embmem.maps.distance import descend, distance_field
from embmem.maps.grid import Frontier, GridBuilder, OccupancyGrid
from embmem.maps.objects import ObjectMemory
from embmem.maps.routes import RouteGraph
from embmem.maps.spatial_memory import durable_memory, open_durable, open_memory, spatial_memory, view_memory
from embmem.maps.voxels import DecayLayers, Removal, VoxelMap

__all__ = [
    "DecayLayers",
    "Frontier",
    "GridBuilder",
    "ObjectMemory",
    "OccupancyGrid",
    "Removal",
    "RouteGraph",
    "VoxelMap",
    "descend",
    "distance_field",
    "durable_memory",
    "open_durable",
    "open_memory",
    "spatial_memory",
    "view_memory",
]
