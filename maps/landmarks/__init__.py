"""Landmark graph: places that look alike only where they are one, ways between them, and the best way."""

from embmem.maps.landmarks.regions import RegionRoutes

__all__ = ["RegionRoutes"]
