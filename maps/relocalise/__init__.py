"""Where a new session is in a saved map, or that it cannot be told."""

from embmem.maps.relocalise.relocaliser import Acceptance, Relocalisation, Relocaliser

__all__ = ["Acceptance", "Relocalisation", "Relocaliser"]
