"""Line charts of a summary as SVG text; the page around them says what the colours mean."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

INK = "#374151"
GRID = "#e5e7eb"
# Okabe and Ito's colours, which most colour-blind readers can tell apart; the reference is grey.
REFERENCE = "#6b7280"
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5c00")


def agent_colours(summary: Mapping[str, Any]) -> dict[str, str]:
    """The colour of each agent."""
    others = [name for name in summary["agents"] if name != summary["reference"]]
    colours = {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(others)}
    return {name: colours.get(name, REFERENCE) for name in summary["agents"]}


def success_over_steps(summary: Mapping[str, Any]) -> str | None:
    """The share of all episodes that succeeded within n steps, with bands; None without steps."""
    curves = {name: agent["success_over_steps"] for name, agent in summary["agents"].items()}
    if not any(curve["steps"] for curve in curves.values()):
        return None
    colours = agent_colours(summary)

    def draw(axes: Axes) -> None:
        for name, curve in curves.items():
            _line(axes, curve["steps"], curve, colours[name])
        axes.set_xlabel("steps")
        axes.set_ylabel("episodes that succeeded [%]")

    return _svg(draw)


def by_index(summary: Mapping[str, Any], key: str, label: str) -> str | None:
    """A measure against the place of the search in its session; None if sessions have one search or only questions."""
    if not any(agent["success_over_steps"]["steps"] for agent in summary["agents"].values()):
        return None
    groups = {name: [g for g in agent["by_index"] if g[key]] for name, agent in summary["agents"].items()}
    if max(len(own) for own in groups.values()) < 2:
        return None
    colours = agent_colours(summary)

    def draw(axes: Axes) -> None:
        for name, own in groups.items():
            curve = {part: [g[key][part] for g in own] for part in ("mean", "low", "high")}
            _line(axes, [g["index"] + 1 for g in own], curve, colours[name], marker="o")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("episode of the session")
        axes.set_ylabel(label)

    return _svg(draw)


def _line(axes: Axes, x: Sequence[int], curve: Mapping[str, Any], colour: str, marker: str = "") -> None:
    def percent(part: str) -> list[float]:
        return [float("nan") if v is None else 100 * v for v in curve[part]]

    style = "--" if colour == REFERENCE else "-"
    axes.fill_between(x, percent("low"), percent("high"), color=colour, alpha=0.13, linewidth=0)
    axes.plot(x, percent("mean"), style, color=colour, linewidth=2, marker=marker, markersize=4)


def _svg(draw: Callable[[Axes], None]) -> str:
    """A chart from 0 to 100 % without names of files, times or addresses in it."""
    settings: dict[Any, Any] = {
        "svg.hashsalt": "embmem",
        "axes.edgecolor": GRID,
        "axes.labelcolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "font.size": 10,
    }
    with rc_context(settings):
        figure = Figure(figsize=(4.4, 3.2), layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
        axes.set_ylim(-2, 102)
        axes.margins(x=0.02)
        axes.grid(axis="y", color=GRID, linewidth=0.8)
        axes.tick_params(length=0)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        text = io.StringIO()
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(text, format="svg", metadata=metadata)
    # Inside a page an SVG needs neither prologue nor namespaces, and without a fixed size it fits its column.
    svg = text.getvalue()
    return re.sub(r' xmlns(:xlink)?="[^"]*"| (width|height)="[^"]*pt"', "", svg[svg.index("<svg") :])
