"""What the maps of a memory have to show."""

from embmem.maps.viewing.gather import scene_of

__all__ = ["scene_of"]
