"""Where the camera was, from depth alone."""

from embmem.maps.odometry.depth import DepthOdometry

__all__ = ["DepthOdometry"]
