"""The semantic map seen from above, and its forms for people, language models and rules."""

from embmem.maps.semantic_map.changed import ChangedThing, ChangedThings
from embmem.maps.semantic_map.layer import Channels, SemanticMap
from embmem.maps.semantic_map.things import Thing, find_things

__all__ = ["ChangedThing", "ChangedThings", "Channels", "SemanticMap", "Thing", "find_things"]
