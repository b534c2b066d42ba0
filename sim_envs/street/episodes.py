"""Episodes on the streets: an instruction and the route that it describes."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from embmem.errors import InputError
from embmem.maps.streets import Pose, StreetMap, start_pose

MOST_DEGREES = 1e6
SPLITS = {
    "map2seq_seen": "map2seq/seen_dev.jsonl.gz",
    "map2seq_unseen": "map2seq/unseen_dev.jsonl.gz",
    "touchdown_unseen": "touchdown/unseen_dev.jsonl.gz",
}


@dataclass(frozen=True)
class StreetEpisode:
    """One instruction with its gold route, as places of the map."""

    id: str
    split: str
    text: str
    route: tuple[int, ...]
    start_heading: float  # [degrees], as it stands in the file

    @property
    def is_map2seq(self) -> bool:
        """Map2Seq agents begin with a free step forward; Touchdown's headings are snapped to an exit."""
        return self.split.startswith("map2seq")

    def start(self, streets: StreetMap) -> Pose:
        """The pose that every agent begins from."""
        return start_pose(streets, self.route[0], self.start_heading, is_snapped=not self.is_map2seq)


@lru_cache(maxsize=8)
def read_split(folder: Path, split: str, streets: StreetMap) -> tuple[StreetEpisode, ...]:
    """All episodes of a split, in the order of the file.

    Args:
        folder: `street` of the public data.
        split: one of `SPLITS`.
        streets: the map that the routes lie on.

    Raises:
        InputError: if the file is missing, or any line of it is not a whole episode on this map.
        ValueError: if there is no such split.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    episodes = tuple(stream_episodes(folder / SPLITS[split], split, streets))
    if len({episode.id for episode in episodes}) < len(episodes):
        raise InputError(f"{folder / SPLITS[split]}: two episodes have the same id")
    return episodes


def stream_episodes(file: Path, split: str, streets: StreetMap) -> Iterator[StreetEpisode]:
    """The episodes of a file, line by line.

    Raises:
        InputError: at the first line that is not a whole episode on this map.
    """
    try:
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                yield _episode(line, split, streets, f"{file}: line {number}")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: {error}") from error


def _episode(line: str, split: str, streets: StreetMap, where: str) -> StreetEpisode:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not JSON ({error})") from error
    if not isinstance(row, dict):
        raise InputError(f"{where}: not an object")
    id_ = row.get("instructions_id", row.get("route_id"))
    text, route, heading = (row.get(key) for key in ("navigation_text", "route_panoids", "start_heading"))
    if not isinstance(id_, int | str) or isinstance(id_, bool):
        raise InputError(f"{where}: neither instructions_id nor route_id")
    if not isinstance(text, str) or not text.strip():
        raise InputError(f"{where}: navigation_text must be words, got {text!r}")
    if any("\ud800" <= letter <= "\udfff" for letter in f"{id_}{text}"):
        raise InputError(f"{where}: half a surrogate pair is no text")
    if isinstance(heading, bool) or not isinstance(heading, int | float) or not abs(heading) <= MOST_DEGREES:
        raise InputError(f"{where}: start_heading must be a number of degrees, got {heading!r}")
    return StreetEpisode(str(id_), split, text, _route(route, streets, where), heading % 360.0)


def _route(route: Any, streets: StreetMap, where: str) -> tuple[int, ...]:
    if not isinstance(route, list) or len(route) < 2:
        raise InputError(f"{where}: route_panoids must be a list of at least two places")
    unknown = [name for name in route if not isinstance(name, str) or name not in streets.number]
    if unknown:
        raise InputError(f"{where}: the map has no place {unknown[0]!r}")
    places = tuple(streets.number[name] for name in route)
    for a, b in pairwise(places):
        if all(end != b for _, end in streets.exits(a)):
            raise InputError(f"{where}: no way leads from {streets.names[a]!r} to {streets.names[b]!r}")
    return places
