"""Where the camera was, as one graph that every layer hangs on; loops are found, verified, doubted and closed."""

from embmem.maps.pose_graph.graph import Drift, Edge, Keyframe
from embmem.maps.pose_graph.layer import PoseGraph
from embmem.maps.pose_graph.loops import LoopSearch
from embmem.maps.pose_graph.optimise import Optimised, optimise

__all__ = ["Drift", "Edge", "Keyframe", "LoopSearch", "Optimised", "PoseGraph", "optimise"]
