"""Examine a recording: what is in it, what is missing, what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from embmem.doctor.coverage import check_decoded, check_poses_reach, check_streams, check_tf, nothing_to_see
from embmem.doctor.finding import SEVERITIES, Diagnosis, Finding, Number
from embmem.doctor.geometry import check_geometry, lens_of
from embmem.doctor.glimpses import Glimpses, chosen, take_glimpses
from embmem.doctor.image_checks import check_images
from embmem.doctor.pose_checks import check_poses
from embmem.doctor.survey import Survey, period, survey
from embmem.doctor.timing import check_clocks, check_stamps
from embmem.doctor.units import check_plausible
from embmem.doctor.views import plain_frames, poses_of, sample_views, with_poses_in_ram
from embmem.errors import InputError
from embmem.recordings.choice import Choice, choose
from embmem.recordings.conventions import Conventions
from embmem.recordings.frames import RawFrame
from embmem.recordings.opening import open_recording
from embmem.recordings.poses import NoPosesError, Poses
from embmem.recordings.raw import RawCamera
from embmem.recordings.recording import Recording

Progress = Callable[[str, int, int], None]


def examine(
    path: Path | str, settings: Mapping[str, Any] | None = None, *, on_progress: Progress | None = None
) -> Diagnosis:
    """The diagnosis of the recording at `path`.

    Args:
        path: as `open_recording` takes it.
        settings: what `Conventions` are called, where what the format says is not so; None is not given.
        on_progress: called with what is done, how far it is, and of how much.

    Raises:
        InputError: if it cannot be opened at all.
        ValueError: if a setting makes no sense.
    """
    given = {name: value for name, value in (settings or {}).items() if value is not None}
    recording = open_recording(path)
    conventions = recording.conventions.but(given)
    say = on_progress or (lambda *_: None)
    looked = survey(recording, lambda done, n: say("stamps", done, n))
    findings = check_streams(looked) + check_poses(looked)
    facts: dict[str, Number] = {}
    try:
        choice = choose(recording, conventions)
    except InputError:
        findings += [nothing_to_see(looked), *check_tf(looked, ""), *check_stamps(looked, None, lambda _: None)]
    else:
        more, facts = _Examination(looked, choice, conventions, say).findings()
        findings = _explained(findings + more)
    return Diagnosis(
        recording=str(path),
        format=recording.format,
        contents=looked.contents(),
        findings=in_order(findings),
        facts=facts,
        settings=given,
    )


def in_order(findings: list[Finding]) -> tuple[Finding, ...]:
    """Worst first, then by kind and stream."""
    return tuple(sorted(findings, key=lambda f: (SEVERITIES.index(f.severity), f.kind, f.stream)))


@dataclass(eq=False)
class _Examination:
    """The checks of a recording that shows something."""

    looked: Survey
    choice: Choice
    conventions: Conventions
    say: Progress
    frames: list[RawFrame] = field(default_factory=list)

    def findings(self) -> tuple[list[Finding], dict[str, Number]]:
        recording, main = self.looked.recording, self.choice.main.name
        self.frames = plain_frames(recording, self.choice, self.conventions)
        kept = with_poses_in_ram(recording, np.sort(np.array([f.stamp for f in self.frames])))
        camera_frame = self.frames[0].main.frame_id if self.frames else ""
        source: Poses | NoPosesError
        try:
            source = Poses(kept, self.conventions, camera_frame=camera_frame)
        except NoPosesError as error:
            source = error
        findings = check_poses_reach(self.looked, self.choice, self.conventions, source, self.frames)
        findings += check_tf(self.looked, camera_frame)
        poses = {}
        if isinstance(source, Poses):
            numbers = chosen(len(self.frames))
            poses = poses_of({n: f for n, f in enumerate(self.frames) if n in numbers}, source)
        glimpses = Glimpses([], {}, self.conventions.depth_invalid)
        if self.choice.main.kind in ("depth", "color"):
            glimpses = take_glimpses(
                recording, self.choice, self.conventions, self.looked.bad, lambda i, n: self.say("images", i, n)
            )
        findings += check_decoded(glimpses.faults, self.looked)
        findings += check_images(glimpses, poses, self._image_streams())
        clocks = check_clocks(self.looked, main, self.conventions.time_offset)
        findings += clocks + check_stamps(self.looked, main, lambda at: _continues(glimpses, at))
        is_depth = self.choice.main.kind == "depth" and not any(f.kind == "byte_order" for f in findings)
        more, facts = self._geometry(kept, glimpses, poses) if is_depth else ([], {})
        return findings + _not_said(more, findings), facts

    def _image_streams(self) -> dict[str, str]:
        main = self.choice.main
        streams = {main.kind: main.name} if main.kind in ("depth", "color") else {}
        if "color" in self.choice.others:
            streams["color"] = self.choice.others["color"]
        return streams

    def _geometry(
        self, kept: Recording, glimpses: Glimpses, poses: dict[int, np.ndarray]
    ) -> tuple[list[Finding], dict[str, Number]]:
        camera = self._camera()
        values = [g.depth.values for g in glimpses.frames if g.depth is not None and g.depth.values is not None]
        raw = np.concatenate(values) if values else np.empty(0)
        is_integer = raw.dtype.kind in "ui"
        unit = self.conventions.depth_unit or (0.001 if is_integer else 1.0)
        plausible = check_plausible(raw[glimpses.is_valid(raw)] * unit, unit)
        views = None
        if len(poses) > 1:
            views = sample_views(
                self.looked.recording, self.choice, self.conventions, self.frames, kept,
                self.looked.bad, lambda i, n: self.say("depth seen from elsewhere", i, n),
            )  # fmt: skip
        if views is None:
            size = self._size()
            return plausible + (lens_of(camera, self.conventions, size)[1] if size else []), {}
        step = period(self.looked.tracks[self.choice.main.name].stamps) or 1.0
        self.say("hypotheses", 0, 1)
        findings, facts = check_geometry(
            views, self.conventions, camera, period=step, is_integer=is_integer, speed=_speed(poses, self.frames)
        )
        return findings + _not_said(plausible, findings), facts

    def _size(self) -> tuple[int, int] | None:
        sizes = self.looked.tracks[self.choice.main.name].sizes
        return max(sizes, key=lambda s: sizes[s]) if sizes else None

    def _camera(self) -> RawCamera | None:
        track = self.looked.tracks.get(self.choice.camera or "")
        return track.cameras[0] if track is not None and track.cameras else None


# What spoils poses by itself, so that no convention explains them.
_SPOILT = {
    "frozen_poses",
    "nan_poses",
    "pose_jump",
    "pose_not_rigid",
    "quaternion_norm",
    "clock_jump",
    "no_stamps",
    "repeated_images",
}


def _not_said(more: list[Finding], findings: list[Finding]) -> list[Finding]:
    """The findings of a kind that was not found yet."""
    kinds = {finding.kind for finding in findings if finding.severity != "note"}
    return [finding for finding in more if finding.kind not in kinds]


def _explained(findings: list[Finding]) -> list[Finding]:
    """The findings without that of poses that nothing explains, where something does."""
    is_spoilt = any(f.kind in _SPOILT and f.severity != "note" for f in findings)
    return [f for f in findings if not (is_spoilt and f.kind == "poses_unexplained")]


def _continues(glimpses: Glimpses, at: int) -> bool | None:
    """Whether the frame after number `at` shows about what that one showed."""
    here = next(((a, b) for a, b in glimpses.neighbours() if a.number == at), None)
    change = None if here is None else glimpses.change(*here)
    if change is None:
        return None
    usual = [c for a, b in glimpses.neighbours()[::10] if (c := glimpses.change(a, b)) is not None]
    return change < max(0.1, 2.0 * float(np.median(usual)))


def _speed(poses: dict[int, np.ndarray], frames: list[RawFrame]) -> float:
    """The usual speed of the camera [units/s], standing still left out."""
    speeds = []
    for number, T in poses.items():
        if number + 1 in poses:
            dt = frames[number + 1].stamp - frames[number].stamp
            step = float(np.linalg.norm(poses[number + 1][:3, 3] - T[:3, 3]))
            if dt > 0 and step > 0:
                speeds.append(step / dt)
    return float(np.median(speeds)) if speeds else 0.0
