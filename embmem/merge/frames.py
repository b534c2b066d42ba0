"""Where the operations of several memories lie in one map frame.

Memories either share a frame from the start, or a record of kind "alignment" says how the frame of one lies in that of
another; whoever relocalised it wrote it, and it can be withdrawn like any record.
Loop closures that a memory has logged are applied to the poses of its frames: replayed among the frames of others, they
would move those too.
"""

from __future__ import annotations

import contextlib
import sqlite3
import struct
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from embmem.errors import InputError
from embmem.geometry import invert_pose
from embmem.merge.operations import Operation, Origin, Placed, moved, silenced
from embmem.protocols import Deformation
from embmem.records import Record
from embmem.replay.observation_log import IS_BELIEVED, deformation_of
from embmem.store import hidden
from embmem.store.rows import select_records
from embmem.store.schema import LOG_TABLES, Connection, run_script

ALIGNMENT, SOURCE = "alignment", "merge"  # kind and source of the record
_RIGID = 1e-6
_BY_TARGET = "CREATE INDEX links_by_target ON links (target, relation);\n"


def alignment(memory: str, to: str, T_to_memory: np.ndarray, *, t_event: float, confidence: float, why: str) -> Record:
    """The record that says how the frame of `memory` lies in that of the memory `to`."""
    payload = {"memory": memory, "to": to, "T_to_memory": [float(x) for x in np.asarray(T_to_memory).ravel()]}
    return Record(kind=ALIGNMENT, t_event=t_event, source=SOURCE, text=why, payload=payload, confidence=confidence)


def placements(ops: Sequence[Operation], same: Mapping[str, str]) -> dict[Origin, Placed]:
    """What of the operations, in their order, has to move or fall silent in a merged file.

    Args:
        ops: see `log.ordered`.
        same: the first of the memories that share a frame, by memory.

    Raises:
        InputError: if an alignment or a loop closure is damaged.
    """
    if not any(op.kind in (ALIGNMENT, "deform") for op in ops):
        return {}
    believed = _believed(ops)
    frames = frames_of([op for op in ops if op.kind == ALIGNMENT and op.origin in believed], same)
    closures: dict[str, list[tuple[int, Deformation]]] = {}
    found: dict[Origin, Placed] = {}
    for op in ops:
        if op.kind == "deform" and "log" in op.payload:
            found[op.origin] = silenced(op)
            if op.origin in believed:
                record = Record(kind="deform", t_event=op.t_event, source=op.source, blob=op.read_blob())
                closures.setdefault(op.origin.memory, []).append((op.origin.seq, deformation_of(record)))
    for op in ops:
        T = frames.get(op.origin.memory, np.eye(4)) @ _closed(op, closures.get(op.origin.memory, ()))
        if op.origin not in found and not np.array_equal(T, np.eye(4)):
            found[op.origin] = _moved_by(op, T)
    return found


def closed_frames(db: Connection) -> tuple[list[int], np.ndarray]:
    """(ids, (n, 4, 4) poses) of the frames of a memory that are believed, in order, with its loop closures applied.

    Raises:
        InputError: if a frame has no pose, or a loop closure is damaged.
    """
    ids: list[int] = []
    stamps: list[float] = []
    poses: list[np.ndarray] = []
    sql = f"SELECT id, kind, t_event, pose FROM records WHERE {IS_BELIEVED} AND kind <> 'tick' ORDER BY id"
    for record_id, kind, t_event, pose in db.execute(sql).fetchall():
        if kind == "frame":
            if not isinstance(pose, bytes) or len(pose) != 128:
                raise InputError(f"frame {record_id} has no pose")
            ids.append(record_id)
            stamps.append(t_event)
            poses.append(np.frombuffer(pose, dtype="<f8").reshape(4, 4))
            continue
        (record,) = select_records(db, [record_id])
        deformation = deformation_of(record)
        if len(deformation.stamps) and ids:
            poses = list(deformation.at(np.array(stamps)) @ np.array(poses))
    return ids, np.array(poses).reshape(-1, 4, 4)


def frames_of(alignments: Sequence[Operation], same: Mapping[str, str]) -> dict[str, np.ndarray]:
    """`T_map_memory` of the memories that are aligned, in the frame of one of each group that hangs together.

    Of several ways to align the same two groups the surest counts, then the latest, then the first by origin. The
    frame of a group is that of memories that were not themselves aligned to others; of several, the first by name.

    Raises:
        InputError: if an alignment is damaged.
    """
    group = dict(same)
    edges: dict[str, list[tuple[str, np.ndarray]]] = {}
    for memory, first in same.items():
        edges.setdefault(first, []).append((memory, np.eye(4)))
        edges.setdefault(memory, []).append((first, np.eye(4)))
    aligned: set[str] = set()
    for op in sorted(alignments, key=lambda op: (-float(op.facts[10]), -op.t_event, op.origin)):
        memory, to, T = _checked(op)
        a, b = group.setdefault(memory, memory), group.setdefault(to, to)
        if a == b:
            continue
        aligned |= {each for each in group if same.get(each, each) == same.get(memory, memory)}
        group = {each: min(a, b) if its in (a, b) else its for each, its in group.items()}
        edges.setdefault(to, []).append((memory, T))
        edges.setdefault(memory, []).append((to, invert_pose(T)))
    return _spread(group, edges, aligned)


def _spread(
    group: Mapping[str, str], edges: Mapping[str, Sequence[tuple[str, np.ndarray]]], aligned: set[str]
) -> dict[str, np.ndarray]:
    frames: dict[str, np.ndarray] = {}
    for name in sorted(set(group.values())):
        members = sorted(memory for memory, its in group.items() if its == name)
        root = next((memory for memory in members if memory not in aligned), members[0])
        frames[root], waiting = np.eye(4), [root]
        while waiting:
            at = waiting.pop()
            for other, T in edges.get(at, ()):
                if other not in frames:
                    frames[other] = frames[at] @ T
                    waiting.append(other)
    return frames


def root_of(ops: Sequence[Operation], same: Mapping[str, str], memories: Iterable[str]) -> str:
    """The memory in whose frame a file with these memories lies."""
    names = sorted(memories)
    believed = _believed(ops)
    frames = frames_of([op for op in ops if op.kind == ALIGNMENT and op.origin in believed], same)
    return next((name for name in names if np.array_equal(frames.get(name, np.eye(4)), np.eye(4))), names[0])


def _checked(op: Operation) -> tuple[str, str, np.ndarray]:
    told = op.payload
    memory, to = told.get("memory"), told.get("to")
    try:
        T = np.array(told.get("T_to_memory", ()), dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        T = np.zeros(0)
    if T.shape != (16,) or not np.isfinite(T).all() or type(memory) is not str or type(to) is not str or memory == to:
        raise InputError(f"the alignment of record {op.origin.seq} of memory {op.origin.memory} is damaged")
    T = T.reshape(4, 4)
    R = T[:3, :3]
    if np.abs(R @ R.T - np.eye(3)).max() > _RIGID or np.linalg.det(R) < 0 or not np.array_equal(T[3], [0, 0, 0, 1]):
        raise InputError(f"record {op.origin.seq} of memory {op.origin.memory} aligns by what is no rigid transform")
    return memory, to, T


def _closed(op: Operation, closures: Sequence[tuple[int, Deformation]]) -> np.ndarray:
    """What the loop closures after a frame make of its pose."""
    T = np.eye(4)
    if op.kind == "frame" and "log" in op.payload:
        for seq, deformation in closures:
            if seq > op.origin.seq and len(deformation.stamps):
                T = deformation.at(np.array([op.t_event]))[0] @ T
    return T


def _moved_by(op: Operation, T: np.ndarray) -> Placed:
    pose, (x, y, z) = op.facts[7], op.facts[4:7]
    new_pose = None if pose is None else T @ np.frombuffer(pose, dtype="<f8").reshape(4, 4)
    xyz = None
    if x is not None:
        at = T[:3, :3] @ np.array([x, y, z]) + T[:3, 3]
        is_pose = new_pose is not None and np.array_equal((x, y, z), np.frombuffer(pose, dtype="<f8")[3:12:4])
        xyz = tuple((new_pose[:3, 3] if is_pose and new_pose is not None else at) + 0.0)
        if not np.isfinite(at).all():
            raise InputError(f"record {op.origin.seq} of memory {op.origin.memory} cannot be moved: {at}")
    return moved(op, None if new_pose is None else struct.pack("<16d", *(new_pose.ravel() + 0.0)), xyz)


def _believed(ops: Sequence[Operation]) -> set[Origin]:
    """Which of the operations are not hidden."""
    ids = {op.origin: i for i, op in enumerate(ops, start=1)}
    with contextlib.closing(sqlite3.connect(":memory:")) as db:
        run_script(db, LOG_TABLES + _BY_TARGET)
        rows = [(ids[op.origin], relation, ids[to]) for op in ops for relation, to in op.links if to in ids]
        db.executemany("INSERT INTO links VALUES (?, ?, ?)", rows)
        sql = "INSERT INTO records VALUES (?, '', 0.0, ?, '', NULL, NULL, NULL, NULL, NULL, '', '', 0.0, 0.0, 0.0, 0)"
        db.executemany(sql, [(ids[op.origin], op.t_ingest) for op in ops if op.links])
        gone = hidden.hidden_as_of(db)
    return {origin for origin, i in ids.items() if i not in gone}
