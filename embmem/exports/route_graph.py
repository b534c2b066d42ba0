"""A graph of places and ways as GeoJSON for the route server of Nav2 (nav2_route, GeoJsonGraphFileLoader).

A FeatureCollection in which a node is a Point with `id` and `frame`, an edge a MultiLineString with `id`, `startid`
and `endid`, one direction each, and a `cost` that the scorers of the server may override. Coordinates are metres in the
frame of the map; `crs` only repeats what Nav2's own files say. Heights are kept as `z` of the metadata, since the
server is flat.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path

from embmem.errors import InputError

Metadata = dict[str, str | float | int | bool]
_CRS = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::3857"}}
_MOST_IDS = 2**31 - 1  # unsigned int there; the largest int means deleted
_LEAST_INT, _MOST_UNSIGNED, _MOST_FLOAT = -(2**31), 2**32 - 1, 3.4028234e38  # of metadata: int, unsigned int, float
_DECIMALS = 4  # of a metre; the server keeps floats


@dataclass(frozen=True)
class Place:
    """A node: where it is [m] in the frame of the map, and what else is known of it."""

    x: float
    y: float
    z: float = 0.0
    metadata: Metadata = field(default_factory=dict)


@dataclass(frozen=True)
class Way:
    """A directed edge between places by their numbers."""

    start: int
    end: int
    cost: float
    metadata: Metadata = field(default_factory=dict)


def write_route_graph(path: Path, places: list[Place], ways: list[Way], *, frame: str = "map") -> None:
    """Write places, numbered in their order, and ways, numbered after them.

    Raises:
        InputError: if there is no place or no way, which the server refuses to load, or too many.
        ValueError: if a way leads to no place or a number is not finite.
    """
    if not places or not ways:
        raise InputError(f"a route graph needs places and ways between them, there are {len(places)} and {len(ways)}")
    if len(places) + len(ways) >= _MOST_IDS:
        raise InputError(f"{len(places):,} places and {len(ways):,} ways are more than a route server numbers")
    features = [_node(i, place, frame) for i, place in enumerate(places)]
    features += [_edge(len(places) + i, way, places) for i, way in enumerate(ways)]
    graph = {"type": "FeatureCollection", "name": "graph", "crs": _CRS, "features": features}
    path.write_text(json.dumps(graph, allow_nan=False, indent=1), "utf-8")


def _node(number: int, place: Place, frame: str) -> dict[str, object]:
    properties = {"id": number, "frame": frame, "metadata": {"z": round(place.z, _DECIMALS), **_clean(place.metadata)}}
    geometry = {"type": "Point", "coordinates": _point(place)}
    return {"type": "Feature", "properties": properties, "geometry": geometry}


def _edge(number: int, way: Way, places: list[Place]) -> dict[str, object]:
    if not (0 <= way.start < len(places) and 0 <= way.end < len(places)):
        raise ValueError(f"a way from {way.start} to {way.end}, there are {len(places)} places")
    if not (math.isfinite(way.cost) and way.cost >= 0):
        raise ValueError(f"a way must cost a finite number >= 0, got {way.cost}")
    properties: dict[str, object] = {"id": number, "startid": way.start, "endid": way.end}
    properties |= {"cost": round(way.cost, _DECIMALS), "overridable": True}
    if way.metadata:
        properties["metadata"] = _clean(way.metadata)
    line = [_point(places[way.start]), _point(places[way.end])]
    geometry = {"type": "MultiLineString", "coordinates": [line]}
    return {"type": "Feature", "properties": properties, "geometry": geometry}


def _point(place: Place) -> list[float]:
    if not (math.isfinite(place.x) and math.isfinite(place.y) and math.isfinite(place.z)):
        raise ValueError(f"a place must have finite coordinates, got {place}")
    return [round(place.x, _DECIMALS), round(place.y, _DECIMALS)]


def _clean(metadata: Metadata) -> Metadata:
    """Texts that can be encoded, no number that JSON lacks, and as texts those that the server would cut to 32 bits."""
    kept = {key: value for key, value in metadata.items() if not isinstance(value, float) or math.isfinite(value)}
    return {key: _fitting(value) for key, value in kept.items()}


def _fitting(value: str | float | int | bool) -> str | float | int | bool:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, int) and not _LEAST_INT <= value <= _MOST_UNSIGNED:
        return str(value)
    return str(value) if isinstance(value, float) and abs(value) > _MOST_FLOAT else value
