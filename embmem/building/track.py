"""Where the camera was, worked out before anything is built: odometry over all frames, then loops."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from embmem.building.clock import Clock
from embmem.building.closed import LoopCloser, loop_records_of
from embmem.building.keyframes import Keyframes
from embmem.building.record import LoopRecord
from embmem.errors import InputError, RefusedObservation
from embmem.geometry import invert_pose
from embmem.observation import Observation
from embmem.recordings.frames import RawFrame
from embmem.recordings.reading import Reading


@runtime_checkable
class Odometry(Protocol):
    """Finds the camera's way from what it sees."""

    is_kept: bool  # whether the newest frame changed what the next ones are compared with

    def track(self, observation: Observation) -> np.ndarray | None:
        """`T_world_camera`, whatever the pose of the observation says; None where it is lost."""

    def go_on(self, kept: Iterator[tuple[Observation, np.ndarray]], poses: list[np.ndarray | None]) -> None:
        """Be as after tracking frames before: those kept with their poses, and what `track` said of all."""


@dataclass(eq=False)
class Track:
    """Poses of the frames of a recording, by the name of their main sample."""

    numbers: list[int] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    stamps: list[float] = field(default_factory=list)
    poses: list[np.ndarray | None] = field(default_factory=list)  # T_world_camera; None: lost
    kept: list[int] = field(default_factory=list)  # numbers of the frames in the model
    corrected: np.ndarray | None = None  # (n, 4, 4) of those not lost, after loops were closed
    loops: tuple[LoopRecord, ...] = ()
    is_done: bool = False

    def pose_at(self) -> Callable[[RawFrame], np.ndarray]:
        """What tells a `Reading` where the camera was."""
        return self._lookup(self.found() if self.corrected is None else self.corrected)

    def odometry_at(self) -> Callable[[RawFrame], np.ndarray]:
        """Likewise, as before loops were closed."""
        return self._lookup(self.found())

    def found(self) -> np.ndarray:
        """(n, 4, 4) of the frames that are not lost, as odometry has them."""
        return np.array([T for T in self.poses if T is not None], dtype=np.float64).reshape(-1, 4, 4)

    def before(self, stamps: list[float], T_map_world: np.ndarray) -> np.ndarray:
        """(n, 4, 4) `T_map_camera` of the frames of these times as odometry alone has it."""
        by_stamp = {s: T for s, T in zip(self.stamps, self.poses, strict=True) if T is not None}
        return np.array([T_map_world @ by_stamp[stamp] for stamp in stamps]).reshape(-1, 4, 4)

    def _lookup(self, found: np.ndarray) -> Callable[[RawFrame], np.ndarray]:
        named = [source for source, T in zip(self.sources, self.poses, strict=True) if T is not None]
        poses = dict(zip(named, found, strict=True))

        def pose_at(frame: RawFrame) -> np.ndarray:
            T = poses.get(frame.main.source)
            if T is None:
                raise RefusedObservation("lost", f"{frame.main.source}: odometry does not know where it was taken")
            return np.asarray(T)

        return pose_at

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """(JSON values, arrays)."""
        lost = np.full((4, 4), np.nan)
        params = {
            "numbers": self.numbers, "sources": self.sources, "kept": self.kept, "is_done": self.is_done,
            "loops": [list(vars(loop).values()) for loop in self.loops],
        }  # fmt: skip
        arrays = {
            "track/stamps": np.array(self.stamps, dtype=np.float64),
            "track/poses": np.array([lost if T is None else T for T in self.poses]).reshape(-1, 4, 4),
        }
        return params, arrays if self.corrected is None else arrays | {"track/corrected": self.corrected}

    @classmethod
    def of(cls, params: dict[str, Any], arrays: dict[str, np.ndarray]) -> Track:
        """The track of a state."""
        poses = [None if np.isnan(T).any() else T for T in arrays["track/poses"]]
        return cls(
            numbers=[int(number) for number in params["numbers"]],
            sources=[str(source) for source in params["sources"]],
            stamps=arrays["track/stamps"].tolist(),
            poses=poses,
            kept=[int(number) for number in params["kept"]],
            corrected=arrays.get("track/corrected"),
            loops=tuple(LoopRecord(*loop) for loop in params["loops"]),
            is_done=bool(params["is_done"]),
        )


def follow(track: Track, odometry: Odometry, reading: Reading, clock: Clock) -> Iterator[int]:
    """Track the frames that are not tracked yet; how many of the recording are done so far.

    Args:
        track: what is known already; grows.
        odometry: new.
        reading: of the same recording, whatever its poses.
        clock: gets the part `odometry`.
    """
    if track.numbers:
        kept = set(track.kept)
        by_number = dict(zip(track.numbers, track.poses, strict=True))
        with clock.part("odometry"):
            odometry.go_on(_known(reading, kept, by_number), track.poses)
    start = track.numbers[-1] + 1 if track.numbers else 0
    for number, frame, observations in clock.timed("odometry", reading.numbered(start)):
        if len(observations) != 1 or observations[0].depth is None:
            raise InputError(f"{frame.describe()}: odometry takes depth images; this is none")
        with clock.part("odometry"):
            T = odometry.track(observations[0])
        track.numbers.append(number)
        track.sources.append(frame.main.source)
        track.stamps.append(float(frame.stamp))
        track.poses.append(T)
        if odometry.is_kept:
            track.kept.append(number)
        yield number + 1
    if not len(track.found()):
        raise InputError(f"{reading.recording.path}: no frame that odometry can use")


def _known(
    reading: Reading, kept: set[int], poses: dict[int, np.ndarray | None]
) -> Iterator[tuple[Observation, np.ndarray]]:
    for number, _, observations in reading.numbered(among=kept):
        T = poses[number]
        if T is not None:
            yield observations[0], T


def close_loops(track: Track, graph: LoopCloser, reading: Reading) -> None:
    """Let a pose graph see the keyframes and correct the track; between keyframes corrections are interpolated.

    Args:
        track: is corrected.
        graph: new.
        reading: with the poses of the track, levelled: pose graphs want z up.
    """
    keyframes = Keyframes(distance=0.5 * graph.distance, angle=0.5 * graph.angle)
    for _, _, observations in reading.numbered(keep=keyframes.keep):
        graph.observe(observations[0])
    deformation = graph.close_loops()
    if deformation is not None:
        graph.deform(deformation)
    track.loops = loop_records_of(graph)
    if deformation is None or not len(graph.keyframes):
        return
    stamps = np.array([s for s, T in zip(track.stamps, track.poses, strict=True) if T is not None])
    made = np.stack([keyframe.T_odom_camera for keyframe in graph.keyframes])
    now = np.stack([keyframe.T_map_camera for keyframe in graph.keyframes])
    moves = _between(np.array([keyframe.stamp for keyframe in graph.keyframes]), made, now, stamps)
    T_map_world = reading.T_map_world
    track.corrected = invert_pose(T_map_world) @ moves @ T_map_world @ track.found()


def _between(at: np.ndarray, made: np.ndarray, now: np.ndarray, stamps: np.ndarray) -> np.ndarray:
    """(n, 4, 4) moves of the map at these times, between those of the keyframes."""
    order = np.unique(at, return_index=True)[1]
    at, moves = at[order], np.stack([b @ invert_pose(a) for a, b in zip(made[order], now[order], strict=True)])
    inside = np.clip(stamps, at[0], at[-1])
    result = np.tile(np.eye(4), (len(stamps), 1, 1))
    # Of the camera, not of the origin: a turn about a far origin is no small move on the way.
    places = np.stack([np.interp(inside, at, made[order][:, axis, 3]) for axis in range(3)], axis=1)
    ends = np.stack([np.interp(inside, at, now[order][:, axis, 3]) for axis in range(3)], axis=1)
    turns = Rotation.from_matrix(moves[:, :3, :3])
    turned = Slerp(at, turns)(inside) if len(at) > 1 else Rotation.concatenate([turns[0]] * len(inside))
    result[:, :3, :3] = turned.as_matrix()
    result[:, :3, 3] = ends - np.einsum("nij,nj->ni", result[:, :3, :3], places)
    return result
