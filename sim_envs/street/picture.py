"""A map of one episode: the streets, the gold route, the way that was walked, and what the memory knew."""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from embmem.errors import InputError
from embmem.sim_envs.street.files import read_streets
from embmem.sim_envs.street.task import street_folder

MARGIN = 60.0  # [m] around what was walked and what should have been
INCHES, DPI = 3.8, 200
GOLD, WALKED, STREET, KNOWN = "#e69f00", "#0072b2", "#d1d5db", "#009e73"


@lru_cache(maxsize=1)
def street_segments() -> np.ndarray | None:
    """(n, 2, 2) all streets as segments [m], where the public data lie; None where they do not."""
    try:
        streets = read_streets(street_folder(None) / "graph")
    except InputError:
        return None
    starts = np.repeat(np.arange(len(streets)), streets.n_exits)
    return np.stack([streets.xy[starts], streets.xy[streets.ends]], axis=1)


def draw_walk(row: Mapping[str, Any], edges: np.ndarray | None = None) -> bytes:
    """The picture of a row as PNG.

    Args:
        row: of a street episode, with `trajectory` and `gold` as points [m] and, where there is one, `known`: what
            the memory recalled for the instruction, as (x, y, phrase).
        edges: (n, 2, 2) streets as segments [m]; none are drawn by default.
    """
    walked, gold = (np.array(row[key], dtype=float).reshape(-1, 2) for key in ("trajectory", "gold"))
    low, high = np.vstack([walked, gold]).min(axis=0) - MARGIN, np.vstack([walked, gold]).max(axis=0) + MARGIN
    size = high - low
    figure = Figure(figsize=(INCHES, INCHES * min(1.6, max(0.5, size[1] / size[0]))), dpi=DPI)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
    axes.set_axis_off()
    if edges is not None:
        inside = ((edges > low - MARGIN) & (edges < high + MARGIN)).all(axis=(1, 2))
        axes.add_collection(LineCollection(list(edges[inside]), colors=STREET, linewidths=2.5, zorder=1))
    axes.plot(*gold.T, "-", color=GOLD, linewidth=4.5, alpha=0.7, zorder=3, solid_capstyle="round")
    axes.plot(*walked.T, "-", color=WALKED, linewidth=1.6, zorder=5)
    axes.plot(*gold[-1], "*", color=GOLD, markeredgecolor="white", markersize=15, zorder=6)
    axes.plot(*walked[0], "o", color="white", markeredgecolor=WALKED, markersize=7, zorder=7)
    axes.plot(*walked[-1], "s", color=WALKED, markeredgecolor="white", markersize=7, zorder=7)
    _draw_known(axes, row.get("known") or ())
    picture = io.BytesIO()
    figure.savefig(picture, format="png", metadata={"Software": None})
    return picture.getvalue()


def _draw_known(axes: Axes, known: Any) -> None:
    """What the memory recalled, with its words. Dollar signs are escaped: matplotlib would take them for formulas."""
    for x, y, phrase in known:
        axes.plot(x, y, "^", color=KNOWN, markeredgecolor="white", markersize=7, zorder=8, clip_on=True)
        words = str(phrase).replace("$", r"\$")
        axes.annotate(words, (x, y), fontsize=5.5, color=KNOWN, xytext=(4, 3), textcoords="offset points", zorder=8)
