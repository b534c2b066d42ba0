"""The annotated map as data: labels with places, as text for a language model or a rule, and as JSON.

MapNav (Zhang et al., ACL 2025) writes a category's name on the centroid of every connected region, so that a model
that has only seen natural images and texts can read the map.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from embmem.maps.grid import UNSEEN
from embmem.maps.semantic_map.layer import SemanticMap
from embmem.maps.semantic_map.things import Thing
from embmem.search.quoting import quote

VERSION = 1
MAX_NAME = 80  # characters of a name that the text tells
_MAX_SHOWN = 28  # characters of a name on the picture


@dataclass(frozen=True)
class Label:
    """A named thing: what a name on the map says."""

    category: str
    number: int  # among those of its category, from 1
    x: float  # [m] centroid
    y: float  # [m]
    low: tuple[float, float, float]  # [m] lowest corner of its box
    high: tuple[float, float, float]  # [m] highest corner
    support: float  # in (0, 1)
    stamp: float  # [s] when it was last measured


@dataclass(frozen=True)
class Annotation:
    """Everything that is written on an annotated map."""

    labels: tuple[Label, ...]  # of one category together, categories in the order in which they came
    agent: tuple[float, float, float] | None  # x, y [m], heading [rad]
    extent: tuple[float, float, float, float]  # (left, bottom, right, top) [m] of what is known
    resolution: float  # [m]
    explored: float  # [m^2]
    n_hidden: int = 0  # things left out

    def names(self) -> list[str]:
        """What each label on a picture says: its category, with its number where there are several."""
        counts = Counter(label.category for label in self.labels)
        return [_name(label, counts) for label in self.labels]

    def text(self) -> str:
        """One line a thing, names as JSON strings that cannot be read as anything else.

        `embmem.maps.semantic_map.rules` reads it back.
        """
        left, bottom, right, top = self.extent
        lines = [
            f"semantic map: {right - left:.2f} x {top - bottom:.2f} m, cells of {self.resolution:g} m; "
            "x grows to the right, y up, metres",
            f"explored: {self.explored:.1f} m2",
        ]
        if self.agent is not None:
            x, y, heading = self.agent
            lines.append(f"agent: x {x:.2f}, y {y:.2f}; heading {math.degrees(heading):.0f} deg from x to y")
        omitted = f", {self.n_hidden} smaller ones left out" if self.n_hidden else ""
        lines.append(f"things: {len(self.labels)}{omitted}; centre; from corner to corner; height; from the agent")
        lines += [self._line(label) for label in self.labels]
        return "\n".join(lines) + "\n"

    def data(self) -> dict[str, Any]:
        """The same as JSON values."""
        agent = None
        if self.agent is not None:
            agent = dict(zip(("x", "y", "heading"), self.agent, strict=True))
        return {
            "kind": "annotated map",
            "version": VERSION,
            "units": {"length": "m", "angle": "rad", "time": "s"},
            "extent": list(self.extent),
            "resolution": self.resolution,
            "explored": round(self.explored, 2),
            "agent": agent,
            "things": [_thing_data(label) for label in self.labels],
            "left_out": self.n_hidden,
        }

    def json(self) -> str:
        """`data` on one line, with escapes for what may mislead a reader."""
        return quote(self.data()) + "\n"

    def _line(self, label: Label) -> str:
        (x0, y0, z0), (x1, y1, z1) = label.low, label.high
        line = (
            f"- {quote(label.category, MAX_NAME)} {label.number}: x {label.x:.2f}, y {label.y:.2f}; "
            f"{x0:.2f} {y0:.2f} to {x1:.2f} {y1:.2f}; z {z0:.2f} to {z1:.2f}"
        )
        if self.agent is None:
            return line
        distance, bearing = seen_from(self.agent, label.x, label.y)
        return f"{line}; {distance:.1f} m {_direction(bearing)}"


def annotate(semantic_map: SemanticMap, *, min_support: float = 0.35, limit: int = 200) -> Annotation:
    """The labels of a map as it is now.

    Args:
        semantic_map: what to annotate.
        min_support: things with less are left out.
        limit: labels at most; the smallest things are left out.
    """
    if not 0.0 <= min_support <= 1.0 or limit < 0:
        raise ValueError(f"need 0 <= min_support <= 1 and limit >= 0, got {min_support}, {limit}")
    things = [thing for thing in semantic_map.things() if thing.support >= min_support]
    areas = np.array([-thing.area for thing in things])
    kept = np.sort(np.argsort(areas, kind="stable")[:limit])
    labels = _numbered([things[i] for i in kept])
    grid, agent = semantic_map.occupancy(), semantic_map.agent
    known = grid.cells != UNSEEN
    corners = [np.array([label.low[:2], label.high[:2]]) for label in labels]
    if known.any():
        cells = np.argwhere(known)
        corners.append(grid.to_points(np.stack([cells.min(axis=0), cells.max(axis=0)])))
        corners[-1] += np.array([[-0.5], [0.5]]) * grid.resolution
    if agent is not None:
        corners.append(agent[None, :2])
    every = np.concatenate([*corners, np.zeros((0, 2))]) if corners else np.zeros((1, 2))
    left, bottom, right, top = (round(float(v), 6) for v in (*every.min(axis=0), *every.max(axis=0)))
    return Annotation(
        labels=labels,
        agent=None if agent is None else (float(agent[0]), float(agent[1]), float(agent[2])),
        extent=(left, bottom, right, top),
        resolution=semantic_map.resolution,
        explored=float(np.count_nonzero(known)) * semantic_map.resolution**2,
        n_hidden=len(things) - len(labels),
    )


def seen_from(pose: tuple[float, float, float] | Float[np.ndarray, "3"], x: float, y: float) -> tuple[float, float]:
    """(distance [m], bearing [rad] from the heading, positive to the left) of a point."""
    dx, dy = x - float(pose[0]), y - float(pose[1])
    return math.hypot(dx, dy), math.remainder(math.atan2(dy, dx) - float(pose[2]), math.tau)


def shown_name(category: str) -> str:
    """A category as a picture shows it."""
    return category if len(category) <= _MAX_SHOWN else category[: _MAX_SHOWN - 1] + "…"


def _numbered(things: Sequence[Thing]) -> tuple[Label, ...]:
    counts: Counter[str] = Counter()
    labels = []
    for thing in things:
        counts[thing.category] += 1
        low, high = thing.box.tolist()
        x, y = thing.centroid.tolist()
        labels.append(
            Label(thing.category, counts[thing.category], x, y, tuple(low), tuple(high), thing.support, thing.stamp)
        )
    return tuple(labels)


def _name(label: Label, counts: Counter[str]) -> str:
    name = shown_name(label.category)
    return f"{name} {label.number}" if counts[label.category] > 1 else name


def _direction(bearing: float) -> str:
    """In words, by parts of 45 degrees."""
    words = ("ahead", "ahead left", "left", "behind left", "behind", "behind right", "right", "ahead right")
    return words[round(bearing / (math.pi / 4)) % 8]


def _thing_data(label: Label) -> dict[str, Any]:
    return {
        "category": label.category,
        "number": label.number,
        "x": round(label.x, 3),
        "y": round(label.y, 3),
        "low": [round(v, 3) for v in label.low],
        "high": [round(v, 3) for v in label.high],
        "support": round(label.support, 3),
        "stamp": label.stamp,
    }
