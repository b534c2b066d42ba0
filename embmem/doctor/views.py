"""A bounded sample of a recording's frames: small depth images spread over it, in pairs that see the same things."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from jaxtyping import Float

from embmem.errors import InputError
from embmem.geometry import rotation_angle
from embmem.recordings.choice import Choice
from embmem.recordings.conventions import Conventions
from embmem.recordings.frames import RawFrame, assemble
from embmem.recordings.interpret import camera_pose_of, depth_of
from embmem.recordings.poses import Poses
from embmem.recordings.raw import RawData, RawImage, Sample
from embmem.recordings.recording import Recording

N_ANCHORS = 32  # frames that others are compared with, spread over the recording
_LAGS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96)  # frames to their partners
_MAX_LAG = 6.0  # [s]
_NEAR, _TURNED = np.radians(10.0), np.radians(20.0)  # far apart but hardly turned; turned by this much
_WIDTH = 320  # pixels that a depth image is thinned out to
_MAX_POSES = 4000  # samples of poses that are kept; of more, those near the chosen frames
_AROUND = 1.5  # [s]
_ALMOST_NOTHING = 1e-9  # [s]; an offset makes `Poses` look up by stamp what comes with the frames otherwise


@dataclass(eq=False)
class View:
    """One frame: its depth in metres by the conventions in force, thinned out by `step`."""

    frame: RawFrame
    number: int
    depth: Float[np.ndarray, "h w"]
    step: int
    size: tuple[int, int]  # (width, height) of the whole image


@dataclass(eq=False)
class Views:
    """Views by number of the frame, and the pairs to compare."""

    views: dict[int, View]
    pairs: list[tuple[int, int]]  # numbers of frames
    recording: Recording  # the poses of the recording, in RAM
    camera_frame: str
    _sources: dict[Conventions, Poses] = field(default_factory=dict)

    def poses(
        self, conventions: Conventions, *, shift: float = 0.0, only: Collection[int] | None = None
    ) -> dict[int, np.ndarray]:
        """`T_world_camera` of the views by these conventions; those that have none are left out.

        Args:
            conventions: what the numbers of the poses mean.
            shift: [s] added to the stamps of images, besides what the conventions say.
            only: numbers of the views that are asked for; all if not given.

        Raises:
            InputError: if the recording has no poses by these conventions.
        """
        is_shifted = shift != 0 or conventions.time_offset != 0
        # axes come last and need no other poses
        key = replace(conventions, time_offset=_ALMOST_NOTHING if is_shifted else 0.0, camera_axes="optical")
        if key not in self._sources:
            self._sources[key] = Poses(self.recording, key, camera_frame=self.camera_frame)
        whole = shift + conventions.time_offset - key.time_offset
        asked = self.views if only is None else sorted(only)
        frames = {n: _shifted(self.views[n].frame, whole) if whole else self.views[n].frame for n in asked}
        return {n: camera_pose_of(T, conventions) for n, T in poses_of(frames, self._sources[key]).items()}


def _shifted(frame: RawFrame, seconds: float) -> RawFrame:
    """The frame as if it had been taken later."""
    main = replace(frame.main, stamp=frame.main.stamp + seconds, stamp_ns=frame.main.nanoseconds + round(seconds * 1e9))
    return RawFrame(main, frame.parts)


def poses_of(frames: dict[int, RawFrame], source: Poses) -> dict[int, np.ndarray]:
    """The poses of those frames that have a rigid one."""
    found = {}
    for number, frame in frames.items():
        try:
            T = source.at(frame)
        except InputError:
            continue
        R = T[:3, :3]
        if np.isfinite(T).all() and np.abs(R @ R.T - np.eye(3)).max() < 0.05 and np.linalg.det(R) > 0:
            found[number] = T
    return found


def with_poses_in_ram(recording: Recording, around: np.ndarray) -> Recording:
    """The recording with its samples of poses decoded and kept; of very many, only those near some stamps [s]."""
    kept: list[Sample] = []
    names = [s for s in recording.streams if s.kind in ("pose", "odometry", "tf", "tf_static")]
    is_thinned = sum(s.n_samples for s in names) > _MAX_POSES
    for sample in recording.samples(("pose", "odometry", "tf", "tf_static")):
        if is_thinned and sample.kind != "tf_static":
            at = np.searchsorted(around, sample.stamp)
            near = around[max(0, at - 1) : at + 1]
            if not (np.abs(near - sample.stamp) < _AROUND).any():
                continue
        kept.append(_decoded(sample))
    return replace(recording, samples_of=partial(_of, tuple(kept)))


def _of(kept: tuple[Sample, ...], names: frozenset[str]) -> Iterator[Sample]:
    return (sample for sample in kept if sample.stream in names)


def _decoded(sample: Sample) -> Sample:
    try:
        data = sample.read()
    except InputError as error:
        return replace(sample, read=partial(_raise, error))
    return replace(sample, read=partial(_give, data))


def _give(data: RawData) -> RawData:
    return data


def _raise(error: InputError) -> RawData:
    raise error


def raw_frames(recording: Recording, choice: Choice, conventions: Conventions, *, color: bool) -> Iterator[RawFrame]:
    """The frames of a recording in the order of its main stream; poses come along where they belong to a frame."""
    kinds = ("color",) if color else ()
    others = {kind: name for kind, name in choice.others.items() if kind in kinds}
    if recording.is_grouped:
        others |= {s.kind: s.name for s in recording.of_kind("pose")}
    samples = recording.samples_of(frozenset({choice.main.name, *others.values()}))
    return assemble(samples, choice.main.name, others, gap=conventions.color_gap)


def plain_frames(recording: Recording, choice: Choice, conventions: Conventions) -> list[RawFrame]:
    """All frames with their poses but without their images: a bag's samples hold their bytes."""
    plain = []
    for frame in raw_frames(recording, choice, conventions, color=False):
        main = frame.main if recording.is_listed else replace(frame.main, read=partial(_raise, InputError("let go")))
        plain.append(RawFrame(main, {kind: _decoded(part) for kind, part in frame.parts.items() if kind == "pose"}))
    return plain


def sample_views(
    recording: Recording,
    choice: Choice,
    conventions: Conventions,
    frames: list[RawFrame],
    poses: Recording,
    bad: Collection[str] = (),
    on_progress: Callable[[int, int], None] | None = None,
) -> Views | None:
    """Views of a recording; None where no two frames can be compared.

    Args:
        recording: where the images are.
        choice: of its streams; the main one is depth.
        conventions: of depth and of the poses by which pairs are chosen.
        frames: what `plain_frames` gave.
        poses: what `with_poses_in_ram` gave.
        bad: names samples that cannot be read.
        on_progress: called with the number of images decoded, and of how many.

    Raises:
        InputError: if the recording has no poses.
    """
    if len(frames) < 2:
        return None
    camera_frame = frames[0].main.frame_id
    pairs = choose_pairs(frames, Poses(poses, conventions, camera_frame=camera_frame))
    wanted = {number for pair in pairs for number in pair}
    views: dict[int, View] = {}
    for number, frame in enumerate(raw_frames(recording, choice, conventions, color=False)):
        if number in wanted and frame.main.source not in bad:
            view = _view(frame, frames[number], number, conventions)
            if view is not None:
                views[number] = view
            if on_progress is not None:
                on_progress(len(views), len(wanted))
    pairs = [(i, j) for i, j in pairs if i in views and j in views]
    return Views(views, pairs, poses, camera_frame) if pairs else None


def choose_pairs(frames: list[RawFrame], source: Poses) -> list[tuple[int, int]]:
    """Pairs of frames that see the same things: of each anchor one that hardly turned, and one that turned.

    The angle between two orientations does not depend on axes, direction, order or scale, so that wrong poses choose
    about as well as right ones.
    """
    n = len(frames)
    anchors = np.unique(np.linspace(0, n - 2, min(N_ANCHORS, n - 1)).astype(int)).tolist()
    lags = {anchor: _lags(frames, anchor) for anchor in anchors}
    wanted = {anchor + lag for anchor in anchors for lag in (0, *lags[anchor])}
    poses = poses_of({number: frames[number] for number in sorted(wanted)}, source)
    pairs: set[tuple[int, int]] = set()
    for anchor in anchors:
        posed = [lag for lag in lags[anchor] if anchor + lag in poses]
        if anchor not in poses or not posed:
            pairs |= {
                (anchor, anchor + lags[anchor][0]),
                (anchor, anchor + lags[anchor][min(3, len(lags[anchor]) - 1)]),
            }
            continue
        R = poses[anchor][:3, :3].T
        turned = {lag: rotation_angle(R @ poses[anchor + lag][:3, :3]) for lag in posed}
        straight = max((lag for lag, a in turned.items() if a <= _NEAR), default=min(turned, key=turned.__getitem__))
        pairs |= {(anchor, anchor + straight)}
        pairs |= {(anchor, anchor + min(turned, key=lambda lag: (abs(turned[lag] - _TURNED), lag)))}
    return sorted(pairs)


def _lags(frames: list[RawFrame], anchor: int) -> list[int]:
    """How many frames later a partner may come."""
    left = [lag for lag in _LAGS if anchor + lag < len(frames)]
    return [lag for lag in left if 0 <= frames[anchor + lag].stamp - frames[anchor].stamp <= _MAX_LAG] or [1]


def _view(frame: RawFrame, plain: RawFrame, number: int, conventions: Conventions) -> View | None:
    try:
        image = frame.main.read()
        if not isinstance(image, RawImage):
            return None
        height, width = image.pixels.shape[:2]
        step = max(1, width // _WIDTH)
        depth = depth_of(replace(image, pixels=image.pixels[::step, ::step]), conventions)
    except InputError:
        return None
    return View(plain, number, depth, step, (width, height))
