"""The streets as the metrics want them, with hops counted only as far as they are needed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Float

from embmem.maps.streets import StreetMap
from embmem.sim_envs.metrics.graph import Place, PlaceGraph


class StreetPlaces(PlaceGraph):
    """A street map as a `PlaceGraph` of place names: the same distances, counted on the map's arrays."""

    def __init__(self, streets: StreetMap) -> None:
        """Args: streets: the map."""
        starts = np.repeat(np.arange(len(streets)), streets.n_exits)
        rows = zip(starts.tolist(), streets.ends.tolist(), streets.lengths.tolist(), strict=True)
        super().__init__(
            [(streets.names[a], streets.names[b], metres) for a, b, metres in rows],
            dict(zip(streets.names, streets.xy, strict=True)),
            is_directed=True,
        )
        self.streets = streets

    def hops(
        self, sources: Sequence[Place], targets: Sequence[Place], *, is_directed: bool = True
    ) -> Float[np.ndarray, "n m"]:
        """Fewest edges from each source to each target; inf where there is no way."""
        ends = self.numbers(targets)
        rows = [self.streets.hops_to(place, ends, is_directed=is_directed) for place in self.numbers(sources)]
        hops = np.array(rows, dtype=float).reshape(len(sources), len(targets))
        hops[hops < 0] = np.inf
        return hops


@lru_cache(maxsize=2)
def street_places(streets: StreetMap) -> StreetPlaces:
    """The places of a map, made once."""
    return StreetPlaces(streets)
