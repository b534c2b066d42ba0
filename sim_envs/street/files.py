"""The street graph of Touchdown from its public files, line by line, refused whole when a line is malformed."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float

from embmem.errors import InputError
from embmem.maps.streets import StreetMap
from embmem.sim_envs.metrics.graph import EARTH_RADIUS, STREET_ORIGIN

FILES = ("nodes.txt.gz", "links.txt.gz", "partition.txt.gz")
PARTS = {"seen": False, "unseen": True}


@lru_cache(maxsize=2)
def read_streets(folder: Path) -> StreetMap:
    """The graph of Manhattan (Chen et al., CVPR 2019) with the parts of Schumann and Riezler (ACL 2022).

    Positions are equirectangular around `STREET_ORIGIN`, as those of the metrics.

    Args:
        folder: `street/graph` of the public data.

    Raises:
        InputError: if a file is missing or a line is malformed.
    """
    nodes, links, partition = (folder / name for name in FILES)
    names, yaws, angles = _nodes(nodes)
    number = {name: i for i, name in enumerate(names)}
    parts = dict(_partition(partition))
    if len(number) < len(names) or set(parts) != set(number):
        raise InputError(f"{folder}: nodes and partition must name the same places, each once")
    exits = list(_links(links, number))
    pairs = np.array([(a, b) for a, _, b in exits], dtype=np.int64).reshape(-1, 2)
    latitude, longitude = np.radians(STREET_ORIGIN)
    xy = EARTH_RADIUS * (angles - (latitude, longitude))[:, ::-1] * (np.cos(latitude), 1.0)
    try:
        return StreetMap.from_exits(
            names,
            xy,
            exits,
            yaw=yaws,
            is_unseen=np.array([parts[name] for name in names]),
            lengths=np.linalg.norm(xy[pairs[:, 1]] - xy[pairs[:, 0]], axis=1),
        )
    except ValueError as error:
        raise InputError(f"{links}: {error}") from error


def _nodes(file: Path) -> tuple[list[str], Float[np.ndarray, " n"], Float[np.ndarray, "n 2"]]:
    """Names, yaws [degrees], (latitude, longitude) [rad]."""
    names, values = [], []
    for number, (name, *rest) in _rows(file, 4):
        try:
            yaw, latitude, longitude = (float(value) for value in rest)
        except ValueError as error:
            raise InputError(f"{file}: line {number}: {error}") from error
        if not (np.isfinite(yaw) and abs(latitude) <= 90 and abs(longitude) <= 180):
            raise InputError(f"{file}: line {number}: no place on earth: {yaw}, {latitude}, {longitude}")
        names.append(name)
        values.append((yaw % 360.0, latitude, longitude))
    table = np.array(values, dtype=float).reshape(-1, 3)
    return names, table[:, 0], np.radians(table[:, 1:])


def _links(file: Path, number: dict[str, int]) -> Iterator[tuple[int, float, int]]:
    for line, (start, heading, end) in _rows(file, 3):
        try:
            yield number[start], float(heading) % 360.0, number[end]
        except KeyError as error:
            raise InputError(f"{file}: line {line}: no node is called {error}") from error
        except ValueError as error:
            raise InputError(f"{file}: line {line}: {error}") from error


def _partition(file: Path) -> Iterator[tuple[str, bool]]:
    for number, (name, part) in _rows(file, 2):
        if part not in PARTS:
            raise InputError(f"{file}: line {number}: must say seen or unseen, got {part!r}")
        yield name, PARTS[part]


def _rows(file: Path, n: int) -> Iterator[tuple[int, list[str]]]:
    """(line number, fields) of a packed file; every line must have `n` fields."""
    try:
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                fields = line.strip().split(",")
                if len(fields) != n or not all(fields):
                    raise InputError(f"{file}: line {number}: needs {n} fields, got {line.strip()[:80]!r}")
                yield number, fields
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: {error}") from error
