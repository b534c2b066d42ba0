"""The layer that the others hang on: keyframes, how they lie to each other, and what follows when a loop closes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from embmem.errors import InputError, import_extra
from embmem.geometry import rotation_angle
from embmem.maps.pose_graph.appearance import SIZE, describe
from embmem.maps.pose_graph.clouds import packed, redundant, visible
from embmem.maps.pose_graph.consistency import consistent
from embmem.maps.pose_graph.graph import DRIFT, Chain, Drift, Edge, Keyframe, forward, odometry_edges
from embmem.maps.pose_graph.loops import LoopSearch, find_loops
from embmem.maps.pose_graph.optimise import check_edge, optimise
from embmem.maps.pose_graph.saved import (
    evidence_of,
    keyframe_arrays,
    keyframes_from,
    loop_arrays,
    loops_from,
    loops_with,
    pose_from,
    search_from,
    search_params,
)
from embmem.maps.pose_graph.se3 import inverse, rigid
from embmem.maps.states import check_header, checked_array, checked_numbers
from embmem.observation import Observation
from embmem.protocols import Deformation, LayerState
from embmem.records import Hit, Query, Record

NUMBERS = ("distance", "angle", "voxel", "max_range", "least_move", "close_every", "max_clouds", *DRIFT)
_LEVER = 2.0  # [m] at which a turn counts as a move


class PoseGraph:
    """Keyframes joined by odometry and by loops, and the correction of the poses that come in.

    The poses of observations are odometry's: smooth, drifting. `close_loops` looks for places seen before, verifies
    them, throws out what does not agree and optimises; the result reaches every layer at once as a `Deformation`, and
    what comes in later is corrected by `T_map_odom`. Stamps of one session must not fall into those of another.
    """

    kind: ClassVar[str] = "pose_graph"
    version: ClassVar[int] = 1

    def __init__(
        self,
        *,
        distance: float = 0.5,
        angle: float = 0.5,
        voxel: float = 0.1,
        max_range: float = 5.0,
        least_move: float = 0.02,
        close_every: int = 0,
        max_clouds: int = 5000,
        drift_distance: float = 0.02,
        drift_yaw: float = 0.01,
        drift_turn: float = 0.02,
        tilt: float = 0.003,
        search: LoopSearch | None = None,
    ) -> None:
        """An empty graph.

        Args:
            distance: a keyframe is made when the camera has moved this far [m] ...
            angle: ... or turned this much [rad].
            voxel: [m] of the clouds that are kept.
            max_range: [m] of depth that is kept.
            least_move: [m] keyframes that a loop moves by less stay, in all layers alike: voxels could not follow.
            close_every: look for loops by itself after so many keyframes; 0 when asked only.
            max_clouds: of which the ones missed least go first; their keyframes stay.
            drift_distance: of odometry [m / sqrt(m)].
            drift_yaw: of odometry about the vertical [rad / sqrt(m)].
            drift_turn: likewise, by turning [rad / sqrt(rad)].
            tilt: of odometry from the vertical [rad].
            search: which loops are looked for and believed.
        """
        if not (min(distance, angle, max_range) > 0 and 0.01 <= voxel <= 1.0 and least_move >= 0):
            raise ValueError(
                f"need distance, angle, max_range > 0, voxel in [0.01, 1] and least_move >= 0, got "
                f"{distance, angle, max_range, voxel, least_move}"
            )
        if close_every < 0 or max_clouds < 1:
            raise ValueError(f"need close_every >= 0 and max_clouds >= 1, got {close_every}, {max_clouds}")
        self.distance, self.angle, self.voxel, self.max_range = distance, angle, voxel, max_range
        self.least_move, self.close_every, self.max_clouds = least_move, int(close_every), int(max_clouds)
        self.drift = Drift(drift_distance, drift_yaw, drift_turn, tilt)
        self.search = LoopSearch() if search is None else search
        self.keyframes: list[Keyframe] = []
        self.loops: list[Edge] = []
        self.T_map_odom = np.eye(4)
        self._pending: list[Edge] = []  # loops found that nothing agrees with yet; the search finds them again
        self._n_closed = 0  # keyframes that the latest deformation knew ...
        self._n_searched = 0  # ... and those for which loops were looked for since
        self._last: tuple[float, np.ndarray] | None = None  # (stamp, T_map_camera) of the newest observation
        self._is_forced = False  # the next observation is a keyframe
        self._session = 0

    def __len__(self) -> int:
        """Number of keyframes."""
        return len(self.keyframes)

    @property
    def edges(self) -> list[Edge]:
        """Odometry, then loops, those switched off included."""
        return odometry_edges(self.keyframes, self.drift) + self.loops

    @property
    def is_due(self) -> bool:
        """True when `close_every` keyframes have come since loops were looked for."""
        return 0 < self.close_every <= len(self.keyframes) - self._n_searched

    def trajectory(self) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n 4 4"]]:
        """(stamps [s], T_map_camera now) of the keyframes, in the order in which they were made."""
        stamps = np.array([keyframe.stamp for keyframe in self.keyframes])
        return stamps, np.stack([keyframe.T_map_camera for keyframe in self.keyframes] or [np.eye(4)])[: len(stamps)]

    def observe(self, observation: Observation) -> None:
        """Make a keyframe if the camera has moved on; the pose is the corrected one.

        Raises:
            MissingExtraError: at the first frame, if loops are to be closed by itself and GTSAM is not there.
        """
        if self.close_every and not self.keyframes:
            import_extra("gtsam", "recon")
        stamp, T = float(observation.stamp), rigid(np.asarray(observation.T_map_camera, dtype=np.float64))
        if self._last is not None and stamp < self._last[0]:
            self._session += 1
            self._is_forced = True
        self._last = (stamp, T)
        if not self._is_new(stamp, T):
            return
        points, pixels = visible(observation, self.max_range)
        self._append(stamp, T, packed(points, self.voxel), describe(observation, points, pixels))
        self._is_forced = False
        n_clouds = sum(len(keyframe.cloud) > 0 for keyframe in self.keyframes)
        if n_clouds > self.max_clouds:
            for k in redundant(self.keyframes, n_clouds - self.max_clouds + self.max_clouds // 10):
                self.keyframes[k] = replace(self.keyframes[k], cloud=np.zeros((0, 3), dtype=np.int16))

    def close_loops(self, given: Sequence[Edge] = ()) -> Deformation | None:
        """How every layer is to move, or None. Nothing has changed until this comes back through `deform`.

        Args:
            given: loop edges that were found by others, e.g. by markers; they are doubted as the own ones are. They
                are lost with the process until a deformation rests on them.

        Raises:
            ValueError: if a given edge names a keyframe that is not there, has a pose that is not rigid or a covariance
                that is none.
            MissingExtraError: if GTSAM is not installed.
        """
        n = len(self.keyframes)
        for edge in given:
            check_edge(edge, n)
        if n == 0:
            return None
        odometry = odometry_edges(self.keyframes, self.drift)
        new = range(self._n_searched, n)
        found = find_loops(self.keyframes, odometry + self.loops, new, voxel=self.voxel, search=self.search)
        self._n_searched = n
        self._pending += [*found, *(replace(forward(edge), kind="loop", is_on=True) for edge in given)]
        if not self._pending:
            return None
        loops = [*self.loops, *self._pending]
        agrees = consistent(loops, Chain(self.keyframes, self.drift))
        loops = [replace(loop, is_on=bool(on)) for loop, on in zip(loops, agrees, strict=True)]
        _, poses = self.trajectory()
        result = optimise(poses, odometry + loops)
        is_on = result.is_on[len(odometry) :]
        if not is_on[len(self.loops) :].any():
            return None
        loops = [replace(loop, is_on=bool(on)) for loop, on in zip(loops, is_on, strict=True)]
        return self._deformation(poses, result.poses, evidence_of(self.keyframes, loops, len(self.loops)))

    def relocated(self, T_map_odom: Float[np.ndarray, "4 4"]) -> Deformation:
        """What to `deform` with when odometry begins anew, at a known place: nothing moves but what comes in next."""
        return Deformation(np.zeros(0), np.zeros((0, 4, 4)), {"T_map_odom": np.array(T_map_odom, dtype=np.float64)})

    def deform(self, deformation: Deformation) -> None:
        """Move the keyframes and remember what it rests on.

        What was observed last becomes a keyframe, and so does what is observed next: whatever has a stamp between two
        deformations is nearest to a keyframe that was made between them.

        Raises:
            InputError: if the evidence is damaged.
        """
        evidence = dict(deformation.evidence)
        T_map_odom = pose_from(evidence.pop("T_map_odom")) if "T_map_odom" in evidence else None
        loops = loops_with(self.keyframes, self.loops, evidence) if evidence else self.loops
        if len(deformation.stamps):
            self._keep_last()
            T_new_old = deformation.at(self.trajectory()[0])
            self.keyframes = [
                replace(keyframe, T_map_camera=rigid(T @ keyframe.T_map_camera))
                for keyframe, T in zip(self.keyframes, T_new_old, strict=True)
            ]
            if self._last is not None:
                newest = deformation.at(np.array([self._last[0]]))[0]
                self.T_map_odom = rigid(newest @ self.T_map_odom)
                self._last = (self._last[0], rigid(newest @ self._last[1]))
            self._is_forced = True
        if evidence:
            self.loops, self._pending = loops, []
            self._n_closed = self._n_searched = len(self.keyframes)
        if T_map_odom is not None:
            self._keep_last()  # while its session lasts
            self.T_map_odom = T_map_odom
            self._session += 1
            self._is_forced = True

    def tick(self, stamp: float) -> None:
        """Time alone changes nothing."""

    def corrections(self, stamps: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n 4 4"]:
        """How far what was written down at these times [s] has been moved since, as every layer was."""
        if not self.keyframes:
            return np.tile(np.eye(4), (len(stamps), 1, 1))
        made = np.stack([keyframe.T_map_made for keyframe in self.keyframes])
        return self._by_time(self.trajectory()[1] @ inverse(made)).at(stamps)

    def now(self, record: Record) -> Record:
        """The record with its pose and position as they lie in the map now; the store keeps them as they were made.

        A position must have been written at the time of its event, as those of views and sightings are.
        """
        T = self.corrections(np.array([record.t_event]))[0]
        pose = None if record.T_map_obs is None else T @ record.T_map_obs
        position = None if record.position is None else T[:3, :3] @ record.position + T[:3, 3]
        return replace(record, T_map_obs=pose, position=position)

    def query(self, query: Query) -> list[Hit]:
        """The keyframes nearest to `query.near`; they have no name, no words and no links."""
        asked = (query.entity, query.place, query.text, query.embedding, query.key, query.source, query.linked_to)
        is_other = query.frustum is not None or any(field is not None for field in asked)
        if is_other or query.near is None or query.kind not in (None, self.kind) or not self.keyframes:
            return []
        stamps, poses = self.trajectory()
        distance = np.linalg.norm(poses[:, :3, 3] - query.near, axis=1)
        match = (distance <= query.radius) & (query.since <= stamps) & (stamps < query.until)
        if query.box is not None:
            match &= ((query.box[0] <= poses[:, :3, 3]) & (poses[:, :3, 3] <= query.box[1])).all(axis=1)
        rows = np.flatnonzero(match)
        rows = rows[np.lexsort((-stamps[rows], distance[rows]))][: query.k]
        return [
            Hit(
                score=-float(distance[row]),
                why=f"keyframe {row}, {distance[row]:.2f} m away",
                layer=self.kind,
                stamp=float(stamps[row]),
                position=poses[row, :3, 3].copy(),
                detail={"keyframe": float(row), "session": float(self.keyframes[row].session)},
            )
            for row in rows
        ]

    def stats(self) -> dict[str, float]:
        """Keyframes, loops that are on and off, sessions, bytes of RAM."""
        clouds = sum(keyframe.cloud.nbytes for keyframe in self.keyframes)
        n_on = sum(loop.is_on for loop in self.loops)
        return {
            "keyframes": float(len(self.keyframes)),
            "loops": float(n_on),
            "loops_off": float(len(self.loops) - n_on),
            "sessions": float(self._session + 1),
            "bytes": float(512 + clouds + len(self.keyframes) * (SIZE * 4 + 3 * 128) + len(self.loops) * 416),
        }

    def save(self) -> LayerState:
        """Keyframes with their clouds, loops, and where odometry has got to."""
        params: dict[str, Any] = {name: getattr(self, name) for name in NUMBERS[:-4]} | asdict(self.drift)
        last = np.zeros(0) if self._last is None else np.append(self._last[0], self._last[1][:3].ravel())
        state = {
            "T_map_odom": self.T_map_odom.copy(),
            "last": last,
            "counters": np.array([self._n_closed, self._session, int(self._is_forced)], dtype=np.int64),
        }
        arrays = keyframe_arrays(self.keyframes) | loop_arrays(self.loops) | state
        return LayerState(self.kind, self.version, params | {"search": search_params(self.search)}, arrays)

    @classmethod
    def load(cls, state: LayerState) -> PoseGraph:
        """The graph that was saved.

        Raises:
            InputError: if the state is of another kind, a newer version or malformed.
        """
        check_header(state, cls.kind, cls.version)
        params = dict(state.params)
        search = search_from(params.pop("search", None))
        numbers: dict[str, Any] = checked_numbers(replace(state, params=params), NUMBERS)
        try:
            for name in ("close_every", "max_clouds"):
                if numbers[name] != int(numbers[name]):
                    raise ValueError(f"{name} is {numbers[name]}, not a whole number")
                numbers[name] = int(numbers[name])
            graph = cls(**numbers, search=search)
        except ValueError as error:
            raise InputError(f"layer {cls.kind!r}: {error}") from error
        graph.keyframes = keyframes_from(state)
        n = len(graph.keyframes)
        graph.loops = loops_from(state, n)
        graph.T_map_odom = pose_from(checked_array(state, "T_map_odom", np.float64, (4, 4)))
        counters = checked_array(state, "counters", np.int64, (3,))
        newest = max((keyframe.session for keyframe in graph.keyframes), default=0)
        if not (0 <= counters[0] <= n and counters[1] >= newest and counters[2] in (0, 1)):
            raise InputError(f"layer {cls.kind!r} of {n} keyframes has the counters {counters.tolist()}")
        graph._n_closed = graph._n_searched = int(counters[0])
        graph._session, graph._is_forced = int(counters[1]), bool(counters[2])
        last = checked_array(state, "last", np.float64, (None,))
        if len(last) not in (0, 13):
            raise InputError(f"array 'last' of layer {cls.kind!r} has {len(last)} numbers, not 0 or 13")
        if len(last):
            graph._last = (float(last[0]), pose_from(np.vstack([last[1:].reshape(3, 4), [0.0, 0.0, 0.0, 1.0]])))
        return graph

    def unsaved(self) -> dict[str, np.ndarray]:
        """Where the search for loops has got to: a build that is taken up again needs it, a memory file does not."""
        return {"searched": np.array([self._n_searched], dtype=np.int64), **loop_arrays(self._pending)}

    def resume(self, arrays: dict[str, np.ndarray]) -> None:
        """Search on from there.

        Raises:
            InputError: if it is not of this graph.
        """
        state = LayerState(self.kind, self.version, {}, arrays)
        searched = int(checked_array(state, "searched", np.int64, (1,))[0])
        if not self._n_closed <= searched <= len(self.keyframes):
            raise InputError(f"{searched} of {len(self.keyframes)} keyframes of layer {self.kind!r} are searched")
        self._pending, self._n_searched = loops_from(state, len(self.keyframes)), searched

    def _is_new(self, stamp: float, T: np.ndarray) -> bool:
        if not self.keyframes:
            return True
        last = self.keyframes[-1]
        if stamp == last.stamp:
            return False
        if self._is_forced or np.linalg.norm(T[:3, 3] - last.T_map_camera[:3, 3]) >= self.distance:
            return True
        return rotation_angle(T[:3, :3].T @ last.T_map_camera[:3, :3]) >= self.angle

    def _append(self, stamp: float, T: np.ndarray, cloud: np.ndarray, descriptor: np.ndarray) -> None:
        is_corrected = not np.array_equal(self.T_map_odom, np.eye(4))
        T_odom = inverse(self.T_map_odom) @ T if is_corrected else T
        self.keyframes.append(Keyframe(stamp, self._session, T, T, T_odom, cloud, descriptor))

    def _keep_last(self) -> None:
        """Make a keyframe, without a cloud, of what was observed last."""
        if self._last is not None and (not self.keyframes or self._last[0] != self.keyframes[-1].stamp):
            nothing = np.zeros((0, 3), dtype=np.int16), np.zeros(SIZE, dtype=np.float32)
            self._append(self._last[0], self._last[1], *nothing)

    def _deformation(self, old: np.ndarray, new: np.ndarray, evidence: dict[str, np.ndarray]) -> Deformation:
        """The moves of the keyframes, those too small to follow left out."""
        T_new_old = new @ inverse(old)
        shift = np.linalg.norm(new[:, :3, 3] - old[:, :3, 3], axis=1)
        turn = np.array([rotation_angle(T[:3, :3]) for T in T_new_old])
        is_small = shift + _LEVER * turn < self.least_move
        T_new_old[is_small] = np.eye(4)
        if is_small.all():
            return Deformation(np.zeros(0), np.zeros((0, 4, 4)), evidence)
        return replace(self._by_time(T_new_old), evidence=evidence)

    def _by_time(self, T: np.ndarray) -> Deformation:
        stamps = self.trajectory()[0]
        order = np.argsort(stamps, kind="stable")
        return Deformation(stamps[order], T[order])
