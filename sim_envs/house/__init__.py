"""Procedural homes: floor plans, furniture, small objects, habits, meshes."""

from embmem.sim_envs.house.categories import LABEL_IDS, LABELS, OBJECT_CATEGORIES, OBJECTS
from embmem.sim_envs.house.furniture import FURNITURE, FURNITURE_CATEGORIES
from embmem.sim_envs.house.generate import make_house
from embmem.sim_envs.house.habits import Move, night
from embmem.sim_envs.house.house import Door, Furniture, House, Room, SmallObject
from embmem.sim_envs.house.mesh import Mesh, build_mesh
from embmem.sim_envs.house.rooms import ROOM_KINDS

__all__ = [
    "FURNITURE",
    "FURNITURE_CATEGORIES",
    "LABELS",
    "LABEL_IDS",
    "OBJECTS",
    "OBJECT_CATEGORIES",
    "ROOM_KINDS",
    "Door",
    "Furniture",
    "House",
    "Mesh",
    "Move",
    "Room",
    "SmallObject",
    "build_mesh",
    "make_house",
    "night",
]
