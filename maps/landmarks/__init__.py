"""Landmark graph: places that look alike only where they are one, ways between them, and the best way."""

from embmem.maps.landmarks.descriptors import describe
from embmem.maps.landmarks.graph import LandmarkGraph, Match
from embmem.maps.landmarks.learning import Edge
from embmem.maps.landmarks.localiser import Estimate, Localiser
from embmem.maps.landmarks.regions import RegionRoutes
from embmem.maps.landmarks.routing import Path, Pricing

__all__ = [
    "Edge",
    "Estimate",
    "LandmarkGraph",
    "Localiser",
    "Match",
    "Path",
    "Pricing",
    "RegionRoutes",
    "describe",
]
