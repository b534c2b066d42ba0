"""The floor plan of a build as an SVG that takes its colours from the page, light or dark."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, log10

import numpy as np
from jaxtyping import Bool, Float
from markupsafe import Markup, escape

from embmem.viewing.page import clean
from embmem.viewing.scene import FREE, OCCUPIED, Plan, Room, Thing

SIDE = 480  # cells of a drawn plan
TALL = 1.2  # [m] from which an obstacle is drawn as a wall
STEPS = 6  # colours of time
_MARGIN = 0.25  # [m] around a drawing
_MAX_POINTS = 1500  # of a drawn way
Extent = tuple[float, float, float, float]  # left, bottom, right, top [m]


class Drawing:
    """An SVG in metres seen from above: y of the map points up, so that of the drawing is turned."""

    def __init__(self, extent: Extent, label: str) -> None:
        """A drawing of that part of the map.

        Args:
            extent: (left, bottom, right, top) [m].
            label: what the drawing shows, for those who do not see it.
        """
        left, bottom, right, top = extent
        self._left, self._top = left - _MARGIN, top + _MARGIN
        self.width, self.height = right - left + 2 * _MARGIN, top - bottom + 2 * _MARGIN
        self.unit = max(self.width, self.height) / 100  # [m] a hundredth of the drawing
        self.height += 2.5 * self.unit  # for the scale
        self._label = label
        self._parts: list[str] = []

    def cells(self, plan: Plan, classes: Sequence[tuple[str, Bool[np.ndarray, "h w"]]]) -> None:
        """Cells of a plan, each set in the colour of its class of the style sheet."""
        left, _, _, top = plan.extent
        x, y, n = left - self._left, self._top - top, plan.cells.shape[0]
        shift = f"translate({x:.3f} {y:.3f}) scale({plan.resolution:.4f})"
        paths = [f'<path class="{name}" d="{_runs(mask[::-1])}"/>' for name, mask in classes if mask.any()]
        if n and paths:
            self._parts.append(f'<g transform="{shift}" shape-rendering="crispEdges">{"".join(paths)}</g>')

    def way(self, points: Float[np.ndarray, "n 2"], name: str) -> None:
        """A line through points [m]."""
        if len(points) > 1:
            self._parts.append(f'<polyline class="{name}" points="{self._points(_thinned(points))}"/>')

    def links(self, pairs: Float[np.ndarray, "n 2 2"], name: str) -> None:
        """Straight lines between pairs of points [m]."""
        for pair in pairs:
            self._parts.append(f'<polyline class="{name}" points="{self._points(pair)}"/>')

    def ends(self, points: Float[np.ndarray, "n 2"]) -> None:
        """Where a way begins (a circle) and ends (a square)."""
        if len(points):
            (x, y), (u, v), r = self._at(points[0]), self._at(points[-1]), 0.9 * self.unit
            self._parts.append(f'<circle class="start" cx="{x}" cy="{y}" r="{r:.3f}"><title>start</title></circle>')
            side = f'width="{2 * r:.3f}" height="{2 * r:.3f}"'
            corner = f'x="{u - r:.3f}" y="{v - r:.3f}"'
            self._parts.append(f'<rect class="end" {corner} {side}><title>end</title></rect>')

    def room(self, room: Room) -> None:
        """Outline of a room."""
        for ring in room.outlines:
            self._parts.append(f'<polygon class="room" points="{self._points(np.asarray(ring))}"/>')

    def room_name(self, room: Room) -> None:
        """Name of a room in its middle."""
        if room.name:
            x, y = self._at(room.centre)
            size = f'font-size="{2 * self.unit:.3f}"'
            name = escape(clean(room.name))
            self._parts.append(f'<text class="room-name" x="{x}" y="{y}" {size}>{name}</text>')

    def thing(self, number: int, thing: Thing, *, is_doubted: bool) -> None:
        """A numbered mark that leads to the row of the thing."""
        if thing.box is not None:
            box = np.asarray(thing.box)[:, :2]
            x, y = self._at(np.array([box[0, 0], box[1, 1]]))
            w, h = (box[1] - box[0]).tolist()
            self._parts.append(f'<rect class="box" x="{x}" y="{y}" width="{w:.3f}" height="{h:.3f}"/>')
        x, y = self._at(thing.position[:2])
        r = 1.25 * self.unit
        name = "thing doubted" if is_doubted else "thing"
        text = f'<text x="{x}" y="{y + 0.5 * self.unit:.3f}" font-size="{1.5 * self.unit:.3f}">{number}</text>'
        self._parts.append(
            f'<a href="#thing-{number}" class="{name}"><title>{escape(clean(thing.name))}</title>'
            f'<circle cx="{x}" cy="{y}" r="{r:.3f}"/>{text}</a>'
        )

    def scale(self, larger: float = 1.0) -> None:
        """A bar of a round length with its number, at the lower left; larger for drawings that are shown small."""
        length = _round_length(self.width / 4)
        x, y = 1.5 * self.unit, self.height - self.unit
        tick, size = 0.7 * self.unit, 1.9 * larger * self.unit
        self._parts.append(
            f'<g class="scale"><path d="M{x:.3f} {y - tick:.3f}v{tick:.3f}h{length:g}v{-tick:.3f}"/>'
            f'<text x="{x + length + self.unit:.3f}" y="{y:.3f}" font-size="{size:.3f}">{length:g} m</text>'
            "</g>"
        )

    def svg(self) -> Markup:
        """The drawing; every text of a memory in it has been escaped."""
        box = f'viewBox="0 0 {self.width:.3f} {self.height:.3f}"'
        label = escape(self._label)
        return Markup(f'<svg class="plan" role="img" aria-label="{label}" {box}>{"".join(self._parts)}</svg>')

    def _at(self, point: Float[np.ndarray, "2"]) -> tuple[float, float]:
        return round(float(point[0]) - self._left, 3), round(self._top - float(point[1]), 3)

    def _points(self, points: Float[np.ndarray, "n 2"]) -> str:
        return " ".join(f"{x - self._left:.3f},{self._top - y:.3f}" for x, y in np.asarray(points, float).tolist())


def plan_classes(plan: Plan) -> list[tuple[str, np.ndarray]]:
    """Which cells are floor, low obstacles and high ones, by their class in the style sheet."""
    is_occupied = plan.cells == OCCUPIED
    is_tall = is_occupied & (np.nan_to_num(plan.height, nan=0.0) >= TALL)
    return [("free", plan.cells == FREE), ("low", is_occupied & ~is_tall), ("tall", is_tall)]


def time_classes(plan: Plan, seen: Float[np.ndarray, "h w"], span: tuple[float, float]) -> list[tuple[str, np.ndarray]]:
    """The floor by when it was first seen, in `STEPS` equal parts of the time [s]; obstacles are drawn as such."""
    share = (seen - span[0]) / max(span[1] - span[0], 1e-9)
    part = np.clip(np.nan_to_num(share * STEPS, nan=-1.0), -1, STEPS - 1).astype(np.int64)
    is_free = plan.cells == FREE
    steps = [(f"when-{i}", is_free & (part == i)) for i in range(STEPS)]
    return [*steps, ("tall", plan.cells == OCCUPIED)]


def small_plan(plan: Plan, side: int = SIDE) -> Plan:
    """The plan with `side` cells along its longer edge at most: what stands in any part of a cell stands in it."""
    factor = ceil(max(plan.cells.shape) / side) if plan.cells.size else 1
    if factor == 1:
        return plan
    rows, columns = (ceil(n / factor) for n in plan.cells.shape)
    shape = rows * factor, columns * factor
    cells = np.full(shape, -1, dtype=np.int8)
    cells[: plan.cells.shape[0], : plan.cells.shape[1]] = plan.cells
    height = np.full(shape, -np.inf)
    height[: plan.cells.shape[0], : plan.cells.shape[1]] = np.nan_to_num(plan.height, nan=-np.inf)
    blocks = (rows, factor, columns, factor)
    tops = height.reshape(blocks).max(axis=(1, 3))
    tops[np.isneginf(tops)] = np.nan
    return Plan(plan.origin, plan.resolution * factor, cells.reshape(blocks).max(axis=(1, 3)), tops)


def _runs(mask: Bool[np.ndarray, "h w"]) -> str:
    """The cells of a mask as rectangles, each as long and then as high as it gets; row 0 is drawn at the top."""
    edges = np.diff(np.pad(mask.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    rows, starts = np.nonzero(edges == 1)
    lengths = np.nonzero(edges == -1)[1] - starts
    order = np.lexsort((rows, lengths, starts))
    rows, starts, lengths = rows[order], starts[order], lengths[order]
    is_new = np.ones(len(rows), dtype=bool)
    is_new[1:] = (np.diff(starts) != 0) | (np.diff(lengths) != 0) | (np.diff(rows) != 1)
    first = np.flatnonzero(is_new)
    heights = np.diff(np.append(first, len(rows)))
    boxes = zip(starts[first].tolist(), rows[first].tolist(), lengths[first].tolist(), heights.tolist(), strict=True)
    return "".join(f"M{x} {y}h{w}v{h}h-{w}z" for x, y, w, h in boxes)


def _thinned(points: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "m 2"]:
    chosen = np.unique(np.linspace(0, len(points) - 1, min(len(points), _MAX_POINTS)).astype(np.int64))
    return points[chosen]


def _round_length(longest: float) -> float:
    """The largest of 1, 2, 5 times a power of ten that is no longer [m]."""
    power = 10.0 ** floor(log10(max(longest, 1e-3)))
    return next(m * power for m in (5.0, 2.0, 1.0) if m * power <= max(longest, 1e-3) * (1 + 1e-9))
