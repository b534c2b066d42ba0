"""Numbers of a summary as text, and its tables in the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from embmem.sim_envs.report.summary import IN_TERMINAL, METRICS, Metric

NOTHING = "-"  # shown where there is no number


def print_summary(summary: Mapping[str, Any], console: Console) -> None:
    """Two tables: the agents' means, and each agent minus the reference, with 95 % intervals."""
    shown = [m for m in shown_metrics(summary) if m.key in IN_TERMINAL]
    means = Table(title=f"{summary['task']}: mean [95 % interval]", title_justify="left", box=box.SIMPLE_HEAD)
    means.add_column("agent")
    means.add_column("episodes", justify="right")
    for metric in shown:
        means.add_column(_heading(metric), justify="right")
    for name, agent in summary["agents"].items():
        cells = [_two_lines(format_interval(agent["metrics"].get(m.key), m)) for m in shown]
        means.add_row(escape(name), str(agent["episodes"]), *cells)
    console.print(means)
    if not summary["differences"]:
        return
    title = f"difference to {escape(summary['reference'])} on the same episodes [95 % interval]"
    paired = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    paired.add_column("agent")
    paired.add_column("episodes", justify="right")
    for metric in shown:
        paired.add_column(_heading(metric), justify="right")
    paired.add_column("McNemar p", justify="right")
    for name, difference in summary["differences"].items():
        cells = [_two_lines(format_interval(difference["metrics"].get(m.key), m, signed=True)) for m in shown]
        p = difference["mcnemar_p"]
        paired.add_row(escape(name), str(difference["episodes"]), *cells, format_p(p))
    console.print(paired)


def format_interval(value: Mapping[str, float | None] | None, metric: Metric, *, signed: bool = False) -> str:
    """`72.0 [65.1, 78.4]` in the unit of the metric; a dash where there is nothing."""
    if value is None or value["mean"] is None:
        return NOTHING
    digits = 1 if metric.scale == 100 or metric.key == "steps" else 2
    sign = "+" if signed else ""

    def text(number: float | None) -> str:
        return NOTHING if number is None else f"{number * metric.scale:{sign}.{digits}f}"

    if value["low"] is None:
        return text(value["mean"])
    return f"{text(value['mean'])} [{text(value['low'])}, {text(value['high'])}]"


def format_p(p: float | None) -> str:
    """A p value with two significant digits, `< 0.0001` below."""
    if p is None:
        return NOTHING
    return "< 0.0001" if p < 1e-4 else f"{p:.2g}"


def shown_metrics(summary: Mapping[str, Any]) -> list[Metric]:
    """The metrics that some agent has; progress only where it says more than success."""
    agents = [agent["metrics"] for agent in summary["agents"].values()]
    present = [m for m in METRICS if any(m.key in metrics for metrics in agents)]
    if all(metrics["progress"]["mean"] == metrics["success"]["mean"] for metrics in agents if "progress" in metrics):
        present = [m for m in present if m.key != "progress"]
    return present


def _two_lines(interval: str) -> str:
    return interval.replace(" [", "\n[")


def _heading(metric: Metric) -> str:
    return f"{metric.title} {metric.unit}".strip()
