"""The page about a build: one HTML file that needs nothing else, no script, no network."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embmem.building.record import BuildRecord
from embmem.building.report import sections
from embmem.building.report.coverage import Coverage
from embmem.building.report.pictures import Pictures
from embmem.doctor.finding import Diagnosis
from embmem.output import new_file
from embmem.viewing.page import clean
from embmem.viewing.scene import Scene, Thing

_HERE = Path(__file__).parent


@dataclass(frozen=True, eq=False)
class Report:
    """All that a page about a build is made of."""

    record: BuildRecord
    scene: Scene
    things: Sequence[Thing]  # that are listed, the surest first
    pictures: Pictures
    covered: Coverage | None = None
    diagnosis: Diagnosis | None = None
    diagnosis_note: str = ""  # why there is none
    command: str = ""


def write_page(path: Path, report: Report, *, overwrite: bool = False) -> None:
    """Write the page, whole or not at all.

    Texts of a recording or a detector are data: they are escaped, and the page's policy lets a browser load nothing and
    run nothing.

    Raises:
        OutputExistsError: if `path` exists and `overwrite` is not set.
        InputError: if the folder does not exist.
    """
    page = render(report)
    with new_file(path, overwrite=overwrite) as part:
        part.write_bytes(page.encode("utf-8"))


def render(report: Report) -> str:
    """The page."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("embmem.building.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    style = (_HERE / "page.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return environment.get_template("page.html").render(
        style=Markup(style), style_hash=f"sha256-{digest}", **context(report)
    )


def context(report: Report) -> dict[str, Any]:
    """What the template prints."""
    record, scene = report.record, report.scene
    start = float(record.stamps[0]) if len(record.stamps) else 0.0
    total = sum(record.seconds.values(), 0.0)
    settings, settings_hash = sections.settings_text(record.settings)
    return {
        "title": clean(scene.title) or "memory",
        "recording": clean(record.recording),
        "out": clean(record.out),
        "facts": _facts(report, total),
        "verdict": _verdict(report),
        "plan": sections.floor_plan(scene, record, report.things),
        "has_rooms": bool(scene.rooms),
        "coverage": sections.coverage_section(scene.plan, report.covered),
        "strip": [(shot.stamp - start, shot.picture) for shot in report.pictures.strip],
        "pictures_note": clean(report.pictures.note),
        "things": sections.thing_rows(report.things, report.pictures, start),
        "n_things": len(scene.things),
        "n_open": sections.N_OPEN,
        "drift": sections.drift_section(record),
        "timings": sections.timing_rows(record),
        "total": total,
        "rate": record.n_frames / total if total > 0 else None,
        "peak": record.peak_bytes / 2**20 if record.peak_bytes else None,
        "n_frames": record.n_frames,
        "faults": sections.fault_rows(record),
        "findings": sections.finding_rows(report.diagnosis),
        "is_examined": report.diagnosis is not None,
        "diagnosis_note": clean(report.diagnosis_note),
        "streams": sections.stream_rows(report.diagnosis),
        "settings": settings,
        "settings_hash": settings_hash,
        "map_hash": clean(record.map_hash),
        "command": report.command.encode("utf-8", "replace").decode(),
        "left_out": [clean(text) for text in scene.left_out],
    }


def _facts(report: Report, total: float) -> list[tuple[str, str]]:
    """(number, what it counts) for the head of the page."""
    record, scene = report.record, report.scene
    facts = [(f"{record.n_frames:,}", "frame" if record.n_frames == 1 else "frames")]
    if len(record.stamps) > 1:
        facts.append((_span(float(record.stamps[-1] - record.stamps[0])), "recorded"))
    facts.append((_span(total), "to build"))
    if scene.extent is not None:
        left, bottom, right, top = scene.extent
        facts.append((f"{right - left:.1f} × {top - bottom:.1f} m", "mapped"))  # noqa: RUF001
    if scene.rooms:
        facts.append((f"{len(scene.rooms):,}", "room" if len(scene.rooms) == 1 else "rooms"))
    if scene.things:
        sure = sum(thing.confidence >= 0.5 for thing in scene.things)
        facts.append((f"{sure:,}", "sure thing" if sure == 1 else "sure things"))
    if record.loops:
        facts.append((f"{sum(loop.is_believed for loop in record.loops):,}", "loops closed"))
    return facts


def _verdict(report: Report) -> tuple[str, str]:
    """(severity, what to look at first) of the build."""
    n_refused = sum(report.record.refused.values())
    worst = None if report.diagnosis is None else report.diagnosis.worst
    n_bad = sum(f.severity in ("error", "warning") for f in (report.diagnosis.findings if report.diagnosis else ()))
    found = "" if not n_bad else f"the doctor has {n_bad} {'finding' if n_bad == 1 else 'findings'}"
    refused = "" if not n_refused else f"{n_refused:,} of {n_refused + report.record.n_frames:,} frames were refused"
    said = "; ".join(part for part in (refused, found) if part)
    if worst == "error":
        return "error", said
    if said:
        return "warning", said
    if report.diagnosis is None:
        return "good", "every frame was used"
    return "good", "every frame was used and the doctor finds nothing wrong"


def _span(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 100 else f"{seconds / 3600:.1f} h"
