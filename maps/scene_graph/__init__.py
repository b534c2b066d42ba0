"""The scene graph: building, floors, rooms, furniture, objects, and how they lie to each other."""

from embmem.maps.scene_graph.related import Related, relate_again, relate_all
from embmem.maps.scene_graph.relations import RELATIONS, RelationRules, Relations
from embmem.maps.scene_graph.rooms import Doors, RoomMap, RoomRules, segment_rooms
from embmem.maps.scene_graph.scene_graph import SceneGraph, Touched, scene_graph_of
from embmem.maps.scene_graph.things import Things
from embmem.maps.scene_graph.told import Mention, Statement, ToldGraph
from embmem.maps.scene_graph.walls import wall_grid

__all__ = [
    "RELATIONS",
    "Doors",
    "Mention",
    "Related",
    "RelationRules",
    "Relations",
    "RoomMap",
    "RoomRules",
    "SceneGraph",
    "Statement",
    "Things",
    "ToldGraph",
    "Touched",
    "relate_again",
    "relate_all",
    "scene_graph_of",
    "segment_rooms",
    "wall_grid",
]
