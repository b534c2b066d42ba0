"""What a page about a build says, section by section, as values that a template prints."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from markupsafe import Markup

from embmem.building.record import BuildRecord
from embmem.building.report.chart import Line, line_chart
from embmem.building.report.coverage import Coverage
from embmem.building.report.pictures import Pictures
from embmem.building.report.plan_svg import STEPS, Drawing, plan_classes, small_plan, time_classes
from embmem.doctor.finding import Diagnosis
from embmem.viewing.page import clean
from embmem.viewing.scene import Plan, Scene, Thing

MAX_LOOPS = 30  # rows
N_OPEN = 20  # rows of things before one has to ask for more
MAX_NUMBERED = 99  # marks of a plan
_DOUBT = 0.5  # of a confidence
_STILL = 1e-6  # [m] what moved less did not move
_PARTS = {  # what the parts of a build are called
    "open": "opening and checking",
    "read": "reading",
    "odometry": "odometry",
    "moving": "finding what moves",
    "perceive": "detecting and labelling",
    "observe": "mapping",
    "loops": "closing loops",
    "derive": "rooms and things",
    "checkpoint": "checkpoints",
    "save": "saving",
}


def trajectory_of(record: BuildRecord) -> Float[np.ndarray, "n 4 4"]:
    """Where the map has the camera."""
    corrected = record.T_map_camera_corrected
    return record.T_map_camera if corrected is None else corrected


def floor_plan(scene: Scene, record: BuildRecord, things: Sequence[Thing]) -> Markup | None:
    """Walls, rooms, things and the way of the camera, seen from above; None where nothing has a place."""
    extent = scene.extent
    if extent is None:
        return None
    drawing = Drawing(extent, _plan_label(scene, things))
    if scene.plan is not None:
        plan = small_plan(scene.plan)
        drawing.cells(plan, plan_classes(plan))
    for room in scene.rooms:
        drawing.room(room)
    way = trajectory_of(record)[:, :2, 3]
    drawing.way(way, "way")
    drawing.ends(way)
    for room in scene.rooms:
        drawing.room_name(room)
    for number, thing in reversed(list(enumerate(things[:MAX_NUMBERED], 1))):  # the surest on top
        drawing.thing(number, thing, is_doubted=thing.confidence < _DOUBT)
    drawing.scale()
    return drawing.svg()


def coverage_section(plan: Plan | None, covered: Coverage | None) -> dict[str, Any] | None:
    """The plan by when it was seen, areas, and how the seen floor grew."""
    if plan is None or covered is None:
        return None
    small = small_plan(plan)
    seen = covered.seen
    if small is not plan:  # a drawn cell is as old as one of its cells
        factor = round(small.resolution / plan.resolution)
        seen = covered.seen[::factor, ::factor]
    drawing = Drawing(plan.extent, "Floor plan, lighter where the floor was seen later")
    drawing.cells(small, time_classes(small, seen, covered.span))
    drawing.scale(larger=1.8)
    seconds = covered.stamps - covered.stamps[0]
    return {
        "plan": drawing.svg(),
        "free": covered.free,
        "obstacles": covered.obstacles,
        "enclosed": covered.enclosed,
        "steps": STEPS,
        "seconds": float(seconds[-1]),
        "chart": line_chart(
            [Line("line area", seconds, covered.areas)],
            label=f"Floor seen over time, {covered.free:.1f} square metres in the end",
            x_label="time [s]",
            y_label="floor seen [m²]",
        ),
    }


def thing_rows(things: Sequence[Thing], pictures: Pictures, start: float) -> list[dict[str, Any]]:
    """The rows of the table of things; times are counted from the start of the recording."""
    return [
        {
            "number": number,
            "name": clean(thing.name) or "unnamed",
            "picture": pictures.things.get(number - 1),
            "confidence": float(thing.confidence),
            "is_doubted": thing.confidence < _DOUBT,
            "position": "  ".join(f"{value:.2f}" for value in thing.position.tolist()),
            "size": None if thing.box is None else _size(np.asarray(thing.box)),
            "room": clean(thing.room),
            "why": clean(thing.why),
            "facts": [clean(fact) for fact in thing.facts[:4]],
            "first": _after(thing.first_seen, start),
            "last": _after(thing.last_seen, start),
        }
        for number, thing in enumerate(things, 1)
    ]


def drift_section(record: BuildRecord) -> dict[str, Any]:
    """How loops moved the way of the camera: both ways drawn, the correction over time, and every loop."""
    stamps, before = record.stamps, record.T_map_camera
    start = float(stamps[0]) if len(stamps) else 0.0
    steps = np.linalg.norm(np.diff(before[:, :3, 3], axis=0), axis=1)
    section: dict[str, Any] = {"length": float(steps.sum()), "plan": None, "chart": None, "most": 0.0, "end": 0.0}
    after = record.T_map_camera_corrected
    if after is not None and len(stamps) > 1:
        moved = np.linalg.norm(after[:, :3, 3] - before[:, :3, 3], axis=1)
        section |= {"most": float(moved.max()), "end": float(moved[-1])}
        if moved.max() > _STILL:
            section["plan"] = _two_ways(record, before, after)
            section["chart"] = line_chart(
                [Line("line drift", stamps - start, moved * 100)],
                label=f"How far the pose graph moved the camera, {100 * moved.max():.1f} centimetres at most",
                x_label="time [s]",
                y_label="moved by [cm]",
                marks=[loop.j_stamp - start for loop in record.loops if loop.is_believed],
            )
    believed = [loop for loop in record.loops if loop.is_believed]
    rows = sorted(record.loops, key=lambda loop: (-loop.translation, loop.j_stamp))[:MAX_LOOPS]
    section["n_believed"], section["n_loops"] = len(believed), len(record.loops)
    section["loops"] = [
        {
            "first": loop.i_stamp - start,
            "again": loop.j_stamp - start,
            "is_believed": loop.is_believed,
            "translation": loop.translation,
            "degrees": float(np.degrees(loop.rotation)),
        }
        for loop in rows
    ]
    return section


def timing_rows(record: BuildRecord) -> list[dict[str, Any]]:
    """The parts of a build with their share of its time, the longest first."""
    total = sum(record.seconds.values(), 0.0)
    parts = sorted(record.seconds.items(), key=lambda item: (-item[1], item[0]))
    return [
        {
            "name": clean(_PARTS.get(name, name)),
            "seconds": seconds,
            "share": seconds / total if total > 0 else 0.0,
            "each": 1000 * seconds / record.n_frames if record.n_frames else None,
        }
        for name, seconds in parts
    ]


def fault_rows(record: BuildRecord) -> list[dict[str, Any]]:
    """What was refused and what was repaired, in words."""
    rows = []
    for what, counts in (("refused", record.refused), ("repaired", record.repaired)):
        for fault, n in sorted(counts.items()):
            rows.append({"what": what, "fault": clean(fault.replace("_", " ")), "n": n})
    return rows


def finding_rows(diagnosis: Diagnosis | None) -> list[dict[str, Any]]:
    """The doctor's findings, worst first."""
    return [
        {
            "severity": finding.severity,
            "kind": clean(finding.kind.replace("_", " ")),
            "stream": clean(finding.stream),
            "message": clean(finding.message),
            "evidence": [(clean(name.replace("_", " ")), _number(value)) for name, value in finding.evidence.items()],
            "flags": clean(finding.flags),
        }
        for finding in (() if diagnosis is None else diagnosis.findings)
    ]


def stream_rows(diagnosis: Diagnosis | None) -> list[dict[str, Any]]:
    """What is in the recording."""
    return [
        {
            "stream": clean(row.stream),
            "kind": row.kind,
            "type": clean(row.type),
            "n": row.n_samples,
            "rate": None if row.rate is None else f"{row.rate:.1f}",
            "frame": clean(row.frame),
        }
        for row in (() if diagnosis is None else diagnosis.contents)
    ]


def settings_text(settings: Mapping[str, Any]) -> tuple[str, str]:
    """(the settings to read, a word that is the same for the same settings)."""
    canonical = json.dumps(settings, sort_keys=True, separators=(",", ":"), default=str)
    digest = hashlib.sha256(canonical.encode("utf-8", "replace")).hexdigest()[:16]
    return json.dumps(settings, indent=2, ensure_ascii=False, default=str), digest


def _two_ways(record: BuildRecord, before: np.ndarray, after: np.ndarray) -> Markup:
    """The way before and after the loops, and where they were closed."""
    ways = np.concatenate([before[:, :2, 3], after[:, :2, 3]])
    (left, bottom), (right, top) = ways.min(axis=0).tolist(), ways.max(axis=0).tolist()
    drawing = Drawing((left, bottom, right, top), "The way of the camera before and after loops were closed")
    for is_believed, name in ((False, "loop doubted"), (True, "loop")):
        ends = [(loop.i_stamp, loop.j_stamp) for loop in record.loops if loop.is_believed == is_believed]
        if ends:
            order = np.argsort(record.stamps, kind="stable")
            at = np.searchsorted(record.stamps[order], np.array(ends))
            drawing.links(after[order[np.minimum(at, len(order) - 1)]][..., :2, 3], name)
    drawing.way(before[:, :2, 3], "way before")
    drawing.way(after[:, :2, 3], "way")
    drawing.ends(after[:, :2, 3])
    drawing.scale(larger=1.8)
    return drawing.svg()


def _plan_label(scene: Scene, things: Sequence[Thing]) -> str:
    rooms = f", {len(scene.rooms)} rooms" if scene.rooms else ""
    return f"Floor plan with the way of the camera{rooms} and {len(things)} things"


def _size(box: Float[np.ndarray, "2 3"]) -> str:
    return " × ".join(f"{100 * edge:.0f}" for edge in (box[1] - box[0]).tolist())  # noqa: RUF001


def _after(stamp: float, start: float) -> float | None:
    return stamp - start if np.isfinite(stamp) else None


def _number(value: float | int | str) -> str:
    return f"{value:.4g}" if isinstance(value, float) else clean(str(value))
