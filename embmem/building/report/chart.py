"""Small line charts as SVG that take their colours from the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

import numpy as np
from jaxtyping import Float
from markupsafe import Markup, escape

_WIDTH, _HEIGHT = 560.0, 230.0  # of the whole chart
_LEFT, _RIGHT, _TOP, _BOTTOM = 50.0, 14.0, 12.0, 36.0  # around the axes
_MAX_POINTS = 400
_NOTHING = 1e-9  # what is smaller is drawn as zero
Scale = Callable[[float], float]


@dataclass(frozen=True, eq=False)
class Line:
    """One line of a chart; values that are not finite leave a gap."""

    name: str  # of its class in the style sheet
    x: Float[np.ndarray, " n"]
    y: Float[np.ndarray, " n"]


def line_chart(
    lines: Sequence[Line], *, label: str, x_label: str, y_label: str, marks: Sequence[float] = ()
) -> Markup | None:
    """Lines over a common axis, y from 0; None where no line has two points.

    Args:
        lines: the last one lies on top.
        label: what the chart shows, for those who do not see it.
        x_label: name and unit of the axis.
        y_label: name and unit of the axis.
        marks: x of events, drawn as upright lines.
    """
    lines = [_thinned(line) for line in lines if np.isfinite(line.y).sum() > 1]
    if not lines:
        return None
    low, high = (float(f([f(line.x) for line in lines])) for f in (np.min, np.max))
    top = max(float(np.nanmax(line.y)) for line in lines)
    y_ticks, x_ticks = _ticks(0.0, top if top > _NOTHING else 1.0), _ticks(low, high, is_inside=True)
    to_x = _scale(low, high, _LEFT, _WIDTH - _RIGHT)
    to_y = _scale(0.0, y_ticks[-1], _HEIGHT - _BOTTOM, _TOP)
    parts = []
    for tick in y_ticks:
        y = f"{to_y(tick):.1f}"
        parts.append(f'<path class="grid" d="M{_LEFT:g} {y}H{_WIDTH - _RIGHT:g}"/>')
        parts.append(f'<text class="tick y" x="{_LEFT - 6:g}" y="{y}" dy=".35em">{tick:g}</text>')
    for tick in x_ticks:
        parts.append(f'<text class="tick x" x="{to_x(tick):.1f}" y="{_HEIGHT - _BOTTOM + 15:g}">{tick:g}</text>')
    for mark in marks:
        if low <= mark <= high:
            parts.append(f'<path class="mark" d="M{to_x(mark):.1f} {_TOP:g}V{_HEIGHT - _BOTTOM:g}"/>')
    for line in lines:
        parts += [f'<polyline class="{line.name}" points="{points}"/>' for points in _pieces(line, to_x, to_y)]
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text class="axis x" x="{middle:.0f}" y="{_HEIGHT - 4:g}">{escape(x_label)}</text>')
    turned = f"translate(12 {(_TOP + _HEIGHT - _BOTTOM) / 2:.0f}) rotate(-90)"
    parts.append(f'<text class="axis x" transform="{turned}">{escape(y_label)}</text>')
    box = f'viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}"'
    return Markup(f'<svg class="chart" role="img" aria-label="{escape(label)}" {box}>{"".join(parts)}</svg>')


def _scale(low: float, high: float, first: float, last: float) -> Scale:
    """Takes one interval to another."""
    factor = (last - first) / (high - low) if high > low else 0.0
    return lambda value: first + (value - low) * factor


def _pieces(line: Line, to_x: Scale, to_y: Scale) -> list[str]:
    """Points of the parts of a line between its gaps."""
    is_known = np.isfinite(line.y)
    cuts = np.flatnonzero(np.diff(is_known.astype(np.int8))) + 1
    parts = np.split(np.arange(len(line.x)), cuts)
    return [
        " ".join(f"{to_x(float(line.x[i])):.1f},{to_y(float(line.y[i])):.1f}" for i in part)
        for part in parts
        if len(part) and is_known[part[0]]
    ]


def _thinned(line: Line) -> Line:
    """The line with as many points as a page needs; the largest value stays."""
    n = len(line.x)
    if n <= _MAX_POINTS:
        return line
    chosen = np.linspace(0, n - 1, _MAX_POINTS).astype(np.int64)
    chosen = np.unique(np.append(chosen, np.nanargmax(line.y)))
    return Line(line.name, line.x[chosen], line.y[chosen])


def _ticks(low: float, high: float, *, is_inside: bool = False) -> list[float]:
    """Round numbers about a fifth of the interval apart, over all of it or those inside of it."""
    span = max(high - low, 1e-9)
    power = 10.0 ** floor(log10(span / 4))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= span / 5 * (1 - 1e-9))
    first = ceil(low / step - 1e-9) if is_inside else floor(low / step + 1e-9)
    last = floor(high / step + 1e-9) if is_inside else ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]
