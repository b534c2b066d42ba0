"""A graph of places with distances in hops and in metres, and the street graph of Touchdown."""

from __future__ import annotations

import gzip
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
from jaxtyping import Float
from scipy.sparse import csgraph

from embmem.errors import InputError

EARTH_RADIUS = 6371008.8  # [m], mean radius of GRS 80
STREET_ORIGIN = (40.735, -73.99)  # latitude, longitude [degrees] of the street graph's local plane

Place = Hashable


class PlaceGraph:
    """Directed edges between places; every edge has a length and every place a position on a plane [m].

    Hops and metres are two different distances and never mixed: the street papers count hops, the indoor papers
    metres, and a `weight` attribute on a graph silently turns the one into the other.
    """

    def __init__(
        self,
        edges: Iterable[tuple[Place, Place, float]],
        positions: Mapping[Any, Sequence[int | float] | np.ndarray],
        *,
        is_directed: bool = False,
    ) -> None:
        """Take edges as (from, to, length [m]); undirected ones are added both ways."""
        self.graph = nx.DiGraph()
        self.graph.add_nodes_from(positions)
        for start, end, length in edges:
            self.graph.add_edge(start, end, length=float(length))
            if not is_directed:
                self.graph.add_edge(end, start, length=float(length))
        self._positions = {place: np.asarray(xy, float) for place, xy in positions.items()}
        self._number = {place: i for i, place in enumerate(self.graph)}
        self._matrix = nx.to_scipy_sparse_array(self.graph, weight="length", format="csr", dtype=float)

    def hops(
        self, sources: Sequence[Place], targets: Sequence[Place], *, is_directed: bool = True
    ) -> Float[np.ndarray, "n m"]:
        """Fewest edges from each source to each target; inf where there is no way."""
        return self._distances(sources, targets, is_directed, unweighted=True)

    def metres(
        self, sources: Sequence[Place], targets: Sequence[Place], *, is_directed: bool = True
    ) -> Float[np.ndarray, "n m"]:
        """Length of the shortest way from each source to each target [m]; inf where there is none."""
        return self._distances(sources, targets, is_directed, unweighted=False)

    def steps(self, path: Sequence[Place]) -> Float[np.ndarray, " n"]:
        """Length of the shortest way from each place of a path to the next [m]."""
        return self.metres(path[:-1], path[1:]).diagonal() if len(path) > 1 else np.zeros(0)

    def is_within_one_hop(self, place: Place, goal: Place) -> bool:
        """True at the goal and at its neighbours, whichever way the edge points."""
        self.numbers([place, goal])
        return place == goal or self.graph.has_edge(place, goal) or self.graph.has_edge(goal, place)

    def positions(self, places: Sequence[Place]) -> Float[np.ndarray, "n 2"]:
        """Where the places lie on the plane [m]."""
        return np.array([self._positions[place] for place in places]).reshape(-1, 2)

    def numbers(self, places: Sequence[Place]) -> list[int]:
        """The row of each place.

        Raises:
            ValueError: if a place is not in the graph.
        """
        unknown = [place for place in places if place not in self._number]
        if unknown:
            raise ValueError(f"no such place in the graph: {unknown[0]!r}")
        return [self._number[place] for place in places]

    def _distances(
        self, sources: Sequence[Place], targets: Sequence[Place], is_directed: bool, *, unweighted: bool
    ) -> Float[np.ndarray, "n m"]:
        rows, row_of = np.unique(self.numbers(sources), return_inverse=True)
        full = csgraph.dijkstra(self._matrix, directed=is_directed, indices=rows, unweighted=unweighted)
        return full[row_of][:, self.numbers(targets)]


def read_street_graph(folder: Path) -> PlaceGraph:
    """The street graph of Touchdown (Chen et al., CVPR 2019) from `nodes.txt.gz` and `links.txt.gz`.

    Edges keep their direction; lengths are haversine, positions equirectangular around `STREET_ORIGIN`.

    Raises:
        InputError: if a file is missing or malformed.
    """
    try:
        nodes, links = _table(folder / "nodes.txt.gz"), _table(folder / "links.txt.gz")
        names = [name for name, _yaw, _lat, _lng in nodes]
        angles = np.radians([[float(lat), float(lng)] for _name, _yaw, lat, lng in nodes])
        number = {name: i for i, name in enumerate(names)}
        ends = np.array([[number[start], number[end]] for start, _heading, end in links])
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"no street graph in {folder}: {error!r}") from error
    lengths = _haversine(angles[ends[:, 0]], angles[ends[:, 1]])
    latitude, longitude = np.radians(STREET_ORIGIN)
    xy = EARTH_RADIUS * (angles - (latitude, longitude))[:, ::-1] * (np.cos(latitude), 1.0)
    edges = [(names[i], names[j], d) for (i, j), d in zip(ends, lengths.tolist(), strict=True)]
    return PlaceGraph(edges, dict(zip(names, xy, strict=True)), is_directed=True)


def _table(path: Path) -> list[list[str]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [line.strip().split(",") for line in lines]


def _haversine(a: Float[np.ndarray, "n 2"], b: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, " n"]:
    """Great-circle distances [m] of (latitude, longitude) in radians."""
    half = np.sin((b - a) / 2) ** 2
    return 2 * EARTH_RADIUS * np.arcsin(np.sqrt(half[:, 0] + np.cos(a[:, 0]) * np.cos(b[:, 0]) * half[:, 1]))
