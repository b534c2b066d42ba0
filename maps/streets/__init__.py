"""Street graphs: panoramas, the ways between them, and what a walker can do at each."""

from embmem.maps.streets.graph import StreetMap
from embmem.maps.streets.moves import Pose, StreetAction, actions_along, follow, move, start_pose, validated

__all__ = ["Pose", "StreetAction", "StreetMap", "actions_along", "follow", "move", "start_pose", "validated"]
