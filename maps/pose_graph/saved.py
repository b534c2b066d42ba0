"""A pose graph as plain arrays, and back: what a file or a log holds of it is checked in full before any is used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from embmem.errors import InputError
from embmem.maps.pose_graph.appearance import SIZE
from embmem.maps.pose_graph.graph import Edge, Keyframe
from embmem.maps.pose_graph.loops import LoopSearch
from embmem.maps.pose_graph.se3 import are_covariances, are_rigid
from embmem.maps.registration import Acceptance
from embmem.maps.states import checked_array
from embmem.protocols import LayerState

KIND = "pose_graph"
_POSES = ("T_map_camera", "T_map_made", "T_odom_camera")


def keyframe_arrays(keyframes: Sequence[Keyframe]) -> dict[str, np.ndarray]:
    """Keyframes as arrays; the clouds lie one after the other, `cloud_ends` tells where each ends."""
    poses = {
        name: np.array([getattr(keyframe, name)[:3] for keyframe in keyframes]).reshape(-1, 3, 4) for name in _POSES
    }
    clouds = [keyframe.cloud for keyframe in keyframes]
    return {
        "stamps": np.array([keyframe.stamp for keyframe in keyframes], dtype=np.float64),
        "sessions": np.array([keyframe.session for keyframe in keyframes], dtype=np.int64),
        "descriptors": np.array([k.descriptor for k in keyframes], dtype=np.float32).reshape(-1, SIZE),
        "clouds": np.concatenate([np.zeros((0, 3), dtype=np.int16), *clouds]),
        "cloud_ends": np.cumsum([len(cloud) for cloud in clouds], dtype=np.int64),
        **poses,
    }


def keyframes_from(state: LayerState) -> list[Keyframe]:
    """The keyframes of a state.

    Raises:
        InputError: if an array is missing or malformed, or a pose is none.
    """
    stamps = checked_array(state, "stamps", np.float64, (None,))
    n = len(stamps)
    sessions = checked_array(state, "sessions", np.int64, (n,))
    descriptors = checked_array(state, "descriptors", np.float32, (n, SIZE))
    clouds = checked_array(state, "clouds", np.int16, (None, 3))
    ends = checked_array(state, "cloud_ends", np.int64, (n,))
    starts = np.concatenate([[0], ends[:-1]]) if n else ends
    if (starts > ends).any() or (n and (ends[0] < 0 or ends[-1] != len(clouds))) or (not n and len(clouds)):
        raise InputError(f"the clouds of layer {KIND!r} do not end where they should")
    if n and (sessions[0] < 0 or (np.diff(sessions) < 0).any()):
        raise InputError(f"the sessions of layer {KIND!r} do not ascend")
    if ((np.diff(stamps) <= 0) & (np.diff(sessions) == 0)).any():
        raise InputError(f"the stamps of a session of layer {KIND!r} do not ascend")
    poses = [_poses(checked_array(state, name, np.float64, (n, 3, 4))) for name in _POSES]
    return [
        Keyframe(float(stamps[k]), int(sessions[k]), poses[0][k], poses[1][k], poses[2][k],
                 clouds[starts[k] : ends[k]].copy(), descriptors[k])
        for k in range(n)
    ]  # fmt: skip


def loop_arrays(loops: Sequence[Edge]) -> dict[str, np.ndarray]:
    """Loop edges as arrays."""
    return {
        "loop_ends": np.array([(loop.i, loop.j) for loop in loops], dtype=np.int64).reshape(-1, 2),
        "is_on": np.array([loop.is_on for loop in loops], dtype=np.uint8),
        **_measured(loops),
    }


def loops_from(state: LayerState, n_keyframes: int) -> list[Edge]:
    """The loops of a state.

    Raises:
        InputError: if an array is missing or malformed, or an edge leads nowhere.
    """
    ends = checked_array(state, "loop_ends", np.int64, (None, 2))
    is_on = checked_array(state, "is_on", np.uint8, (len(ends),))
    if len(ends) and (ends.min() < 0 or ends.max() >= n_keyframes or (ends[:, 0] == ends[:, 1]).any()):
        raise InputError(f"a loop of layer {KIND!r} joins none of its {n_keyframes} keyframes")
    return [
        Edge(int(i), int(j), T, covariance, kind="loop", is_on=bool(on))
        for (i, j), (T, covariance), on in zip(ends, _checked_measurements(state, len(ends)), is_on, strict=True)
    ]


def evidence_of(keyframes: Sequence[Keyframe], loops: Sequence[Edge], n_known: int) -> dict[str, np.ndarray]:
    """What a deformation rests on, by the stamps of keyframes: the loops after the known ones, and those of all off."""
    stamps = np.array([(keyframes[loop.i].stamp, keyframes[loop.j].stamp) for loop in loops]).reshape(-1, 2)
    is_off = np.array([not loop.is_on for loop in loops], dtype=np.bool_)
    return {"loop_stamps": stamps[n_known:], "off_stamps": stamps[is_off], **_measured(loops[n_known:])}


def loops_with(keyframes: Sequence[Keyframe], known: Sequence[Edge], evidence: dict[str, np.ndarray]) -> list[Edge]:
    """The known loops and those of the evidence whose keyframes are there, switched as it says.

    Where observations were withdrawn, a log is replayed without their keyframes; loops that rest on them go too.

    Raises:
        InputError: if the evidence is malformed.
    """
    state = LayerState(KIND, 1, {}, evidence)
    stamps = checked_array(state, "loop_stamps", np.float64, (None, 2))
    off = {(float(i), float(j)) for i, j in checked_array(state, "off_stamps", np.float64, (None, 2))}
    at = {keyframe.stamp: k for k, keyframe in reversed(list(enumerate(keyframes)))}
    new = [
        Edge(at[i], at[j], T, covariance, kind="loop")
        for (i, j), (T, covariance) in zip(stamps.tolist(), _checked_measurements(state, len(stamps)), strict=True)
        if i in at and j in at and i != j
    ]
    return [
        replace(loop, is_on=(keyframes[loop.i].stamp, keyframes[loop.j].stamp) not in off) for loop in [*known, *new]
    ]


def pose_from(T: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "4 4"]:
    """The transform.

    Raises:
        InputError: if it is not rigid.
    """
    if T.shape != (4, 4) or not np.isfinite(T).all() or not np.array_equal(T[3], [0.0, 0.0, 0.0, 1.0]):
        raise InputError(f"a pose of layer {KIND!r} is {T.tolist()}")
    return _poses(T[None, :3])[0]


def search_params(search: LoopSearch) -> dict[str, Any]:
    """The settings as JSON."""
    return asdict(search)


def search_from(params: object) -> LoopSearch:
    """The settings that were saved.

    Raises:
        InputError: if one is missing, unknown or out of range.
    """
    try:
        if not isinstance(params, dict) or set(params) != {field.name for field in fields(LoopSearch)}:
            raise ValueError(f"got {params!r}")
        numbers: dict[str, Any] = dict(params)
        acceptance = {name: _number(value) for name, value in dict(numbers.pop("acceptance")).items()}
        for value in numbers.values():
            _number(value)
        return LoopSearch(**numbers, acceptance=Acceptance(**acceptance))
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"the search of layer {KIND!r} is malformed: {error}") from error


def _measured(loops: Sequence[Edge]) -> dict[str, np.ndarray]:
    return {
        "loop_poses": np.array([loop.T_i_j[:3] for loop in loops], dtype=np.float64).reshape(-1, 3, 4),
        "loop_covariances": np.array([loop.covariance for loop in loops], dtype=np.float64).reshape(-1, 6, 6),
    }


def _checked_measurements(state: LayerState, n: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """(T_i_j, covariance) of n loops."""
    poses = _poses(checked_array(state, "loop_poses", np.float64, (n, 3, 4)))
    covariances = checked_array(state, "loop_covariances", np.float64, (n, 6, 6))
    if not are_covariances(covariances):
        raise InputError(f"a covariance of layer {KIND!r} is none")
    return list(zip(poses, covariances, strict=True))


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < np.inf:
        raise ValueError(f"{value!r} is not a finite number")
    return float(value)


def _poses(rows: np.ndarray) -> np.ndarray:
    """(n, 4, 4) of (n, 3, 4)."""
    if not are_rigid(rows):
        raise InputError(f"a pose of layer {KIND!r} is not rigid")
    T = np.tile(np.eye(4), (len(rows), 1, 1))
    T[:, :3] = rows
    return T
