"""Findings about what the numbers mean, from how well hypotheses explain the frames."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from embmem.doctor.consistency import Lens
from embmem.doctor.finding import Finding, Number, Setting
from embmem.doctor.hypotheses import Trial, Verdict, try_all
from embmem.doctor.units import Believed, explain_scale
from embmem.doctor.views import Views
from embmem.recordings.conventions import Conventions
from embmem.recordings.raw import RawCamera

UNEXPLAINED = 0.45  # disagreement that good poses never have
_MESSAGES = {
    (
        "camera_axes",
        "body",
    ): "the poses move a frame with x ahead and z up (REP 103), not the optical one of the images",
    ("camera_axes", "opengl"): "the poses move a camera that looks along -z with y up (OpenGL), not an optical frame",
    ("camera_axes", "optical"): "the poses move an optical frame (z ahead), not one with other axes",
    ("quaternion", "wxyz"): "quaternions come with w first",
    ("quaternion", "xyzw"): "quaternions come with w last",
    (
        "pose_direction",
        "world_to_camera",
    ): "the poses take the world to the camera (extrinsics), not the other way round",
    ("pose_direction", "camera_to_world"): "the poses take the camera to the world",
}
_KINDS = {"camera_axes": "camera_axes", "quaternion": "quaternion_order", "pose_direction": "inverted_pose"}
_FLIPS = {"x": "mirrored left to right", "y": "mirrored top to bottom", "xy": "turned by 180 degrees"}


def lens_of(camera: RawCamera | None, conventions: Conventions, size: tuple[int, int]) -> tuple[Lens, list[Finding]]:
    """What to begin with, and a finding where nothing fits the images."""
    width, height = size
    if conventions.intrinsics is not None:
        fx, fy, cx, cy = conventions.intrinsics
        return Lens(fx, fy, cx, cy), []
    if camera is None or not min(camera.fx, camera.fy, camera.width, camera.height) > 0:
        what = "no intrinsics were recorded" if camera is None else "the intrinsics are empty (focal length 0)"
        message = f"{what}: give them with read.intrinsics=[fx,fy,cx,cy] in pixels"
        focal = 0.9 * width
        return Lens(focal, focal, (width - 1) / 2, (height - 1) / 2), [Finding("no_intrinsics", "error", "", message)]
    if (camera.width, camera.height) == size:
        return Lens(camera.fx, camera.fy, camera.cx, camera.cy), []
    evidence: dict[str, Number] = {
        "camera": f"{camera.width}x{camera.height}",
        "images": f"{width}x{height}",
    }
    if (camera.height, camera.width) == size:
        lens = Lens(camera.fy, camera.fx, camera.cy, camera.cx)
        how = "width and height are swapped"
    else:
        x, y = width / camera.width, height / camera.height
        lens = Lens(camera.fx * x, camera.fy * y, (camera.cx + 0.5) * x - 0.5, (camera.cy + 0.5) * y - 0.5)
        how = "scaled to the images they are as proposed"
    message = f"the intrinsics are for {camera.width}x{camera.height}, the images have {width}x{height}; {how}"
    return lens, [Finding("intrinsics_size", "error", "camera", message, evidence, {"intrinsics": _numbers(lens)})]


def _numbers(lens: Lens) -> list[float]:
    return [round(x, 2) for x in (lens.fx, lens.fy, lens.cx, lens.cy)]


def check_geometry(
    views: Views,
    conventions: Conventions,
    camera: RawCamera | None,
    *,
    period: float,
    is_integer: bool,
    speed: float,
    try_hypotheses: Callable[..., Trial] = try_all,
) -> tuple[list[Finding], dict[str, Number]]:
    """Findings of all hypotheses that explain the frames better, and the numbers that were measured.

    Args:
        views: frames with depth and poses.
        conventions: in force.
        camera: intrinsics as recorded; None where there are none.
        period: [s] between two frames.
        is_integer: whether raw depth is integers.
        speed: [1/s] raw units of positions, the usual one.
        try_hypotheses: as `hypotheses.try_all`.
    """
    sizes = [view.size for view in views.views.values()]
    size = max(set(sizes), key=sizes.count)
    lens, findings = lens_of(camera, conventions, size)
    trial = try_hypotheses(views, conventions, lens, period=period)
    depth = np.concatenate([view.depth[np.isfinite(view.depth)][::50] for view in views.views.values()])
    unit = conventions.depth_unit or (0.001 if is_integer else 1.0)
    believed = Believed(float(np.median(depth)) if len(depth) else math.nan, unit, speed, conventions.pose_scale)
    for verdict in trial.verdicts:
        found = _of_verdict(verdict, conventions, believed, size)
        if verdict.family == "lens" and findings:  # the size does not fit, and this is what fits
            evidence = {**findings[0].evidence, **found[0].evidence}
            findings = [replace(findings[0], evidence=evidence, fix=found[0].fix)]
            continue
        findings += found
    if trial.left > UNEXPLAINED and trial.left > 0.5 * trial.still:
        findings.append(_unexplained(trial))
    facts: dict[str, Number] = {
        "pairs compared": trial.n_pairs,
        "disagreement of depth as recorded": round(trial.first, 4),
        "disagreement if mended": round(trial.left, 4),
        "disagreement if the camera had stood still": round(trial.still, 4),
    }
    return findings, facts


def _unexplained(trial: Trial) -> Finding:
    message = (
        "the poses do not explain what the depth images show, by any convention: they belong to another recording or "
        "another camera, or a transform between the two is missing; build with RGB-D odometry instead"
    )
    evidence: dict[str, Number] = {
        "disagreement": round(trial.left, 4),
        "standing_still": round(trial.still, 4),
        "pairs": trial.n_pairs,
    }
    return Finding("poses_unexplained", "error", "pose", message, evidence)


def _of_verdict(v: Verdict, conventions: Conventions, believed: Believed, size: tuple[int, int]) -> list[Finding]:
    evidence: dict[str, Number] = {
        "before": round(v.before, 4),
        "after": round(v.after, 4),
        "next_best": round(v.runner_up, 4),
        "pairs": v.n_pairs,
    }
    if v.family == "conventions":
        return [
            Finding(_KINDS[name], "error", "pose", f"{_MESSAGES[name, value]}{_better(v)}", evidence, {name: value})
            for name, value in v.changed.items()
        ]
    if v.family == "scale":
        return [explain_scale(v.state.scale, believed, evidence, _better(v))]
    if v.family == "offset":
        seconds = round(conventions.time_offset + v.state.offset, 4)
        how = "late" if v.state.offset < 0 else "early"
        message = (
            f"the stamps of the images are {abs(v.state.offset):.3f} s {how} against those of the poses{_better(v)}"
        )
        return [
            Finding("time_offset", "error", "pose", message, {"seconds": seconds, **evidence}, {"time_offset": seconds})
        ]
    if v.family == "lens":
        fix: dict[str, Setting] = {"intrinsics": _numbers(v.state.lens)}
        found = ", ".join(f"{x:.0f}" for x in _numbers(v.state.lens))
        message = (
            f"the intrinsics do not belong to these images of {size[0]}x{size[1]}; [{found}] fits them{_better(v)}"
        )
        return [Finding("intrinsics", "error", "camera", message, evidence, fix)]
    if v.family == "flip":
        message = f"the depth images are {_FLIPS[v.state.lens.flip]}{_better(v)}; turn them back in the driver"
        return [Finding("flipped_images", "error", "depth", message, {"flip": v.state.lens.flip, **evidence})]
    message = f"depth is measured along the ray of each pixel, not along the optical axis{_better(v)}; convert it to z"
    return [Finding("depth_along_rays", "error", "depth", message, evidence)]


def _better(v: Verdict) -> str:
    return f" (depth disagrees by {v.before:.0%} as recorded, by {v.after:.0%} so)"
