"""The report of a run as one HTML file that needs nothing else: no script, no network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from embmem.output import write_atomic
from embmem.sim_envs.report import charts
from embmem.sim_envs.report.scenes import scenes
from embmem.sim_envs.report.summary import BREAKDOWNS, MAIN, METRICS
from embmem.sim_envs.report.tables import format_interval, format_p, shown_metrics

FEW_SESSIONS = 20  # below this the clustered bootstrap covers less than it says


def write_report(
    out: Path,
    rows: Sequence[Mapping[str, Any]],
    summary: Mapping[str, Any],
    config_yaml: str | None = None,
    versions: Mapping[str, str] | None = None,
) -> Path:
    """Write `out/report.html` whole or not at all and return its path.

    Args:
        out: folder of the run; first-person strips are taken from `strips/` in it.
        rows: of all agents and episodes.
        summary: what `summarise` made of them.
        config_yaml: the resolved configuration; by default `config.yaml` of the folder.
        versions: of the libraries; by default `versions.json` of the folder.
    """
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("embmem.sim_envs.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.globals.update(format_interval=format_interval, format_p=format_p)
    agents, metrics = summary["agents"].values(), shown_metrics(summary)
    plots = [
        ("Episodes that succeeded within n steps", charts.success_over_steps(summary)),
        ("Success by episode", charts.by_index(summary, "success", "success [%]")),
        ("SPL by episode", charts.by_index(summary, "spl", "SPL [%]")),
    ]
    page = environment.get_template("report.html").render(
        summary=summary,
        title=str(summary["task"]).replace("_", " ").capitalize() or "Evaluation",
        key_sentence=key_sentence(summary),
        metrics=metrics,
        main_metrics=[m for m in metrics if m.key in MAIN],
        rates=[m for m in metrics if m.key in ("success", "spl")],
        breakdowns={key: says for key, says in BREAKDOWNS.items() if any(key in own["breakdowns"] for own in agents)},
        parts=list(dict.fromkeys(part for own in agents for part in own["seconds"])),
        colours=charts.agent_colours(summary),
        # The charts are our own and hold no text of the rows.
        plots=[(caption, Markup(svg)) for caption, svg in plots if svg is not None],
        scenes=scenes(rows, out / "strips"),
        is_small=summary["n_sessions"] < FEW_SESSIONS,
        config=_read(out / "config.yaml") if config_yaml is None else config_yaml,
        versions=json.loads(_read(out / "versions.json") or "{}") if versions is None else versions,
        seeds=sorted({str(row["house_seed"]) for row in rows if "house_seed" in row}),
    )
    path = out / "report.html"
    write_atomic(path, page.encode())
    return path


def key_sentence(summary: Mapping[str, Any]) -> str:
    """The result in words: who succeeds how often, and whether the difference to the reference is real."""
    rate, agents = METRICS[0], summary["agents"]

    def success(name: str) -> str:
        value = agents[name]["metrics"].get("success")
        if value is None or value["low"] is None:
            return f"{format_interval(value, rate)} %"
        return f"{100 * value['mean']:.1f} % (95 % interval {100 * value['low']:.1f} to {100 * value['high']:.1f})"

    reference = summary["reference"]
    sentence = f"{reference} succeeds in {success(reference)} of {agents[reference]['episodes']} episodes."
    for name, difference in summary["differences"].items():
        gap = difference["metrics"].get("success")
        if gap is None or gap["low"] is None:
            verdict = "too few sessions to tell them apart"
        elif gap["low"] > 0 or gap["high"] < 0:
            verdict = (
                f"{abs(100 * gap['mean']):.1f} points {'more' if gap['mean'] > 0 else 'less'} on the same episodes"
            )
        else:
            verdict = "no clear difference on the same episodes"
        sentence += f" {name}: {success(name)}, {verdict}{_path_verdict(difference)}."
    return sentence


def _path_verdict(difference: Mapping[str, Any]) -> str:
    """What the paths say beyond success: agents that all succeed can still differ in how far they walk."""
    gap = difference["metrics"].get("spl")
    if gap is None or gap["low"] is None or gap["low"] <= 0 <= gap["high"]:
        return ""
    return f", SPL {100 * gap['mean']:+.1f} points"


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""
