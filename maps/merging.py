"""Merging memories of the layers that embmem brings, whose sessions find themselves in each other's maps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from embmem.errors import InputError
from embmem.geometry import invert_pose
from embmem.maps.relocalise import Acceptance, Relocalisation, Relocaliser
from embmem.maps.spatial_memory import LAYERS, view_memory
from embmem.maps.voxels import VoxelMap
from embmem.merge.files import Align, Aligned, Merged, merge_files, same_frame
from embmem.merge.frames import closed_frames
from embmem.observation import Observation
from embmem.replay.frame_codec import unpack
from embmem.store import RecordStore

FRAMES = ("relocalise", "same")
_FRAMES_A_PART = 10  # that differ by so much:
_STEP, _TURN = 0.2, np.radians(15.0)  # [m], [rad]
_PARTS = 5  # of a session that are looked for
_APART, _TURNED = 0.25, np.radians(5.0)  # [m], [rad] by which two parts may disagree


def merge_memories(
    files: Sequence[Path],
    to: Path,
    *,
    frame: str = "relocalise",
    layers: bool = True,
    overwrite: bool = False,
    acceptance: Acceptance | None = None,
) -> Merged:
    """Write what several memory files hold to a new one; see `embmem.merge.files.merge_files`.

    Args:
        files: two or more; they are only read.
        to: the new file.
        frame: "relocalise" finds each session in the voxel map of an earlier file, by what it saw; "same" if the files
            are in one map frame. Files that were merged before or are of one robot need neither.
        layers: False merges the records alone.
        overwrite: whether `to` may be there.
        acceptance: of relocalisation; the default's numbers if not given.

    Raises:
        InputError: if a file cannot be merged, or a session is not found.
        OutputExistsError: if `to` exists and `overwrite` is not set.
    """
    if frame not in FRAMES:
        raise InputError(f"frame is one of {', '.join(FRAMES)}, got {frame!r}")
    align: Align = same_frame if frame == "same" else partial(relocalised, acceptance=acceptance)
    return merge_files(files, to, align=align, layer_types=LAYERS, with_layers=layers, overwrite=overwrite)


def relocalised(a: Path, b: Path, *, acceptance: Acceptance | None = None) -> Aligned:
    """How the map frame of a memory `b` lies in that of `a`, from what `b` saw in up to five parts of its way.

    Raises:
        InputError: if no part of it is found in the voxel map of `a`, or two parts are found at poses that disagree.
    """
    relocaliser = Relocaliser(_voxels(a), acceptance=acceptance or Acceptance())
    found: list[tuple[Relocalisation, np.ndarray]] = []
    refusals: list[str] = []
    for frames in session_parts(b):
        one = relocaliser.locate(frames)
        if one.is_accepted:
            found.append((one, frames[0].T_map_camera))
        else:
            refusals.append(one.why)
    if not found:
        why = "; ".join(refusals) or "it holds no frames to find it by, say frame=same if it is in the same frame"
        raise InputError(f"{b} is not found in {a}: {why}")
    found.sort(key=lambda one: -one[0].margin)
    best = found[0][0]
    for other, at in found[1:]:
        T = invert_pose(best.T_map_session @ at) @ other.T_map_session @ at
        if np.linalg.norm(T[:3, 3]) > _APART or Rotation.from_matrix(T[:3, :3]).magnitude() > _TURNED:
            raise InputError(f"parts of {b} are found at places in {a} that disagree; its odometry has drifted too far")
    n = len(found) + len(refusals)
    return Aligned(_rigid(best.T_map_session), min(max(best.score, 0.0), 1.0), f"{len(found)} of {n} parts: {best.why}")


def session_parts(path: Path) -> Iterator[list[Observation]]:
    """Frames of up to five stretches of a memory's way, spread over it, each ten frames that differ."""
    with RecordStore(path, read_only=True) as store:
        with store.reading() as db:
            ids, poses = closed_frames(db)
        kept = _differing(poses)
        n_parts = min(_PARTS, max(1, len(kept) // _FRAMES_A_PART)) if kept else 0
        for start in np.linspace(0, max(len(kept) - _FRAMES_A_PART, 0), n_parts).astype(int):
            rows = kept[start : start + _FRAMES_A_PART]
            records = store.get([ids[row] for row in rows])
            yield [replace(unpack(record), T_map_camera=poses[row]) for record, row in zip(records, rows, strict=True)]


def _differing(poses: Float[np.ndarray, "n 4 4"]) -> list[int]:
    """Which frames were taken a step or a turn after the last of them."""
    kept: list[int] = []
    for i, T in enumerate(poses):
        if kept:
            step = invert_pose(poses[kept[-1]]) @ T
            cosine = float(np.clip((np.trace(step[:3, :3]) - 1.0) / 2.0, -1.0, 1.0))
            if np.linalg.norm(step[:3, 3]) < _STEP and np.arccos(cosine) < _TURN:
                continue
        kept.append(i)
    return kept


def _voxels(path: Path) -> VoxelMap:
    memory = view_memory(path)
    try:
        return memory.layer(VoxelMap)
    except KeyError as error:
        raise InputError(
            f"{path} has no voxel map to find another memory in; say frame=same if they share one"
        ) from error
    finally:
        memory.store.close()


def _rigid(T: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "4 4"]:
    """The transform with a rotation that is orthonormal to the last bit that matters."""
    clean = np.eye(4)
    clean[:3, :3] = Rotation.from_matrix(T[:3, :3]).as_matrix()
    clean[:3, 3] = T[:3, 3]
    return clean
