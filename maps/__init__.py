"""Maps: what is solid and free, the floor plan, things, places, rooms, and the pose graph that they hang on."""

from embmem.maps.distance import descend, distance_field
from embmem.maps.ego_grid import EgoGrid
from embmem.maps.grid import Frontier, GridBuilder, OccupancyGrid
from embmem.maps.landmarks import LandmarkGraph, RegionRoutes
from embmem.maps.objects import ObjectMemory
from embmem.maps.pose_graph import PoseGraph
from embmem.maps.routes import RouteGraph
from embmem.maps.scene_graph import SceneGraph
from embmem.maps.semantic_map import SemanticMap
from embmem.maps.spatial_memory import durable_memory, open_durable, open_memory, spatial_memory, view_memory
from embmem.maps.voxels import DecayLayers, Removal, VoxelMap

__all__ = [
    "DecayLayers",
    "EgoGrid",
    "Frontier",
    "GridBuilder",
    "LandmarkGraph",
    "ObjectMemory",
    "OccupancyGrid",
    "PoseGraph",
    "RegionRoutes",
    "Removal",
    "RouteGraph",
    "SceneGraph",
    "SemanticMap",
    "VoxelMap",
    "descend",
    "distance_field",
    "durable_memory",
    "open_durable",
    "open_memory",
    "spatial_memory",
    "view_memory",
]
