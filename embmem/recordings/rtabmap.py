"""Databases of RTAB-Map (Labbé and Michaud, Journal of Field Robotics 2019): nodes with colour, depth and poses.

Read are Node, Data and Admin by the schema of introlab/rtabmap (DatabaseSchema.sql.in and its older versions, from 0.11
on). Poses are the optimised ones of the map where the database has them, else odometry. The database is only read, its
columns are taken for hostile, and nothing that it defines is run.
"""

from __future__ import annotations

import contextlib
import sqlite3
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from embmem.errors import InputError
from embmem.recordings.images import encoded_size
from embmem.recordings.raw import RawCamera, RawData, RawPose, Sample
from embmem.recordings.recording import Recording, Stream
from embmem.recordings.rtabmap_blobs import (
    Calibration,
    Version,
    calibration_of,
    color_image,
    depth_image,
    depth_size,
    poses_of,
    transform_of,
)

MAX_BLOB = 1 << 27  # bytes of one column
MAX_NODES = 1 << 22
OLDEST: Version = (0, 11, 0)
_MAGIC = b"SQLite format 3\x00"
_TABLES = {
    "Node": ("id", "map_id", "stamp", "pose"),
    "Data": ("id", "image", "depth", "calibration"),
    "Admin": ("version",),
}
_UPGRADE = "open it once with a newer RTAB-Map: rtabmap-reprocess old.db new.db"


@dataclass(frozen=True)
class _Node:
    """A frame: its number, stamp [s], whether it has colour, and its pose `T_world_base`."""

    number: int
    stamp: float
    has_color: bool
    pose: np.ndarray


def is_rtabmap(path: Path) -> bool:
    """Whether the file is a SQLite database with the tables of RTAB-Map."""
    if not path.is_file() or path.suffix in (".db3", ".embmem"):
        return False
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            return False
    try:
        with _opened(path) as db:
            return set(_TABLES) <= _tables(db)
    except InputError:
        return path.suffix == ".db"  # damaged; opening says how


def open_rtabmap(path: Path) -> Recording:
    """The frames of a database whose depth and pose are known.

    Raises:
        InputError: if the database is damaged, of a version before 0.11, holds stereo pairs, or no such frame.
    """
    with _opened(path) as db:
        _check_tables(path, db)
        version = _version(path, db)
        nodes, notes, described = _nodes(path, db)
    frames = _Frames(path, version, tuple(nodes))
    calibration = frames.calibration(nodes[0].number)
    n_color = sum(node.has_color for node in nodes)
    streams = [Stream("depth", "depth", "RTAB-Map depth", len(nodes))]
    streams += [Stream("color", "color", "RTAB-Map image", n_color)] if n_color else []
    streams += [Stream("pose", "pose", described, len(nodes)), Stream("camera", "camera", "calibration", 1)]
    streams += [Stream("color/camera", "camera", "calibration", 1)] if n_color else []
    if calibration.n_cameras > 1:
        raise InputError(f"{path}: nodes of {calibration.n_cameras} cameras; only those of one can be read")
    return Recording(
        path=path,
        format=f"RTAB-Map database {'.'.join(map(str, version))}",
        streams=tuple(streams),
        samples_of=frames.samples,
        is_listed=True,
        is_grouped=True,
        is_z_up=True,
        notes=tuple(notes),
    )


@dataclass(frozen=True, eq=False)
class _Frames:
    """Makes samples of nodes; each reads its column from the file when it is asked."""

    path: Path
    version: Version
    nodes: tuple[_Node, ...]

    def samples(self, names: frozenset[str]) -> Iterator[Sample]:
        first = self.nodes[0].stamp
        for name, read in (("camera", self._depth_camera), ("color/camera", self._color_camera)):
            if name in names:
                yield Sample(name, "camera", first, f"{self.path}: {name}", read)
        for group, node in enumerate(self.nodes):
            yield from self._of_node(group, node, names)

    def _of_node(self, group: int, node: _Node, names: frozenset[str]) -> Iterator[Sample]:
        source = f"{self.path}: node {node.number}"
        if "depth" in names:
            depth = partial(self._column, "depth", node.number)
            yield Sample("depth", "depth", node.stamp, f"{source}: depth", partial(_of, depth, depth_image),
                         group=group, check=partial(_of, depth, depth_size))  # fmt: skip
        if "color" in names and node.has_color:
            color = partial(self._column, "image", node.number)
            yield Sample("color", "color", node.stamp, f"{source}: image", partial(_of, color, color_image),
                         group=group, check=partial(_of, color, partial(encoded_size, name="image")))  # fmt: skip
        if "pose" in names:
            yield Sample("pose", "pose", node.stamp, f"{source}: pose", partial(self._pose, node), group=group)

    def _pose(self, node: _Node) -> RawData:
        calibration = self.calibration(node.number)
        return RawPose(matrix=node.pose @ calibration.T_base_camera)

    def calibration(self, number: int) -> Calibration:
        """The camera of a node."""
        blob = self._column("calibration", number)
        try:
            return calibration_of(blob, self.version)
        except InputError as error:
            raise InputError(f"{self.path}: node {number}: {error}") from None

    @cached_property
    def _sizes(self) -> tuple[tuple[int, int], tuple[int, int] | None]:
        """(width, height) of the first depth image that is whole, of the colour image of that node."""
        problem = InputError(f"{self.path}: no depth image")
        for node in self.nodes:
            try:
                depth = depth_size(self._column("depth", node.number))
                color = encoded_size(self._column("image", node.number), "image") if node.has_color else None
                return depth, color
            except InputError as error:
                problem = error  # another one may still tell the size
        raise problem

    def _color_camera(self) -> RawData:
        camera = self.calibration(self.nodes[0].number).camera
        width, height = self._sizes[1] or self._sizes[0]
        return camera if camera.width and camera.height else replace(camera, width=width, height=height)

    def _depth_camera(self) -> RawData:
        """Depth may have been decimated: its intrinsics are those of the colour image, scaled."""
        color = self._color_camera()
        width, height = self._sizes[0]
        if not isinstance(color, RawCamera) or color.width == width:
            return color
        scale = width / color.width
        if round(color.height * scale) != height:
            raise InputError(f"{self.path}: depth of {width}x{height} for a camera of {color.width}x{color.height}")
        fx, fy, cx, cy = (scale * value for value in (color.fx, color.fy, color.cx, color.cy))
        return RawCamera(width, height, fx, fy, cx, cy)

    def _column(self, name: str, number: int) -> bytes:
        with _opened(self.path) as db:
            row = db.execute(f"SELECT {name} FROM Data WHERE id = ?", (number,)).fetchone()
        if row is None or not isinstance(row[0], bytes) or not row[0]:
            raise InputError(f"{self.path}: node {number} has no {name}")
        return row[0]


def _of(blob: Callable[[], bytes], read: Callable[[bytes], Any]) -> Any:
    return read(blob())


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that can neither write nor run what the file defines; SQLite's complaints become ours."""
    address = f"{path.resolve().as_uri()}?mode=ro"
    if not path.with_name(path.name + "-wal").exists():
        address += "&immutable=1"  # no files are made beside it
    try:
        with contextlib.closing(sqlite3.connect(address, uri=True, isolation_level=None)) as db:
            for pragma in ("trusted_schema = OFF", "query_only = ON", "cell_size_check = ON", "mmap_size = 0"):
                db.execute(f"PRAGMA {pragma}")
            if sys.version_info >= (3, 11):
                db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_BLOB)
            yield db
    except (sqlite3.Error, OverflowError, UnicodeDecodeError) as error:  # names of columns may be no text
        raise InputError(f"{path} is damaged or no database of RTAB-Map: {' '.join(str(error).split())}") from None


def _tables(db: sqlite3.Connection) -> set[str]:
    """The names of plain tables: no views and none that a module provides."""
    rows = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchall()
    return {str(name) for name, sql in rows if not str(sql).upper().lstrip().startswith("CREATE VIRTUAL")}


def _columns(db: sqlite3.Connection, table: str) -> set[str]:
    return {str(row[1]) for row in db.execute(f"PRAGMA table_info({table})")}


def _check_tables(path: Path, db: sqlite3.Connection) -> None:
    missing = set(_TABLES) - _tables(db)
    if missing:
        raise InputError(f"{path}: no database of RTAB-Map, it has no table {', '.join(sorted(missing))}")
    for table, wanted in _TABLES.items():
        lacking = set(wanted) - _columns(db, table)
        if lacking:
            raise InputError(f"{path}: its table {table} has no column {', '.join(sorted(lacking))}; {_UPGRADE}")


def _version(path: Path, db: sqlite3.Connection) -> Version:
    row = db.execute("SELECT version FROM Admin").fetchone()
    parts = str(row[0]).split(".") if row else []
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() and len(part) < 6 for part in parts):
        raise InputError(f"{path}: its version is {str(row[0])[:40] if row else 'missing'!r}, not three numbers")
    major, minor, patch = (int(part) for part in parts)
    if (major, minor, patch) < OLDEST:
        raise InputError(f"{path}: of RTAB-Map {'.'.join(parts)}; from 0.11 on can be read, {_UPGRADE}")
    return major, minor, patch


def _nodes(path: Path, db: sqlite3.Connection) -> tuple[list[_Node], list[str], str]:
    """(frames by stamp, what was left out, what their poses are)."""
    optimised = _optimised(path, db)
    rows = db.execute(
        "SELECT Node.id, map_id, stamp, pose, length(image) FROM Node JOIN Data ON Data.id = Node.id "
        "WHERE length(depth) > 0 AND length(calibration) > 0 ORDER BY Node.id LIMIT ?",
        (MAX_NODES + 1,),
    ).fetchall()
    if len(rows) > MAX_NODES:
        raise InputError(f"{path}: more than {MAX_NODES:,} nodes")
    found: dict[int, list[_Node]] = {}
    n_without = 0
    for number, session, stamp, blob, n_image in rows:
        pose = optimised.get(number) if optimised else _odometry(path, number, blob)
        if not isinstance(number, int) or not isinstance(stamp, float) or not abs(stamp) < 9e9:
            raise InputError(f"{path}: node {str(number)[:20]} has the stamp {str(stamp)[:20]!r}")
        if pose is None:
            n_without += 1
            continue
        key = 0 if optimised or not isinstance(session, int) else session
        found.setdefault(key, []).append(_Node(number, stamp, bool(n_image), pose))
    if not found:
        raise InputError(f"{path}: no node with depth, calibration and pose (of {len(rows):,} with depth)")
    nodes = max(found.values(), key=len)
    notes = [f"{n_without:,} nodes have no pose in the map"] if n_without else []
    if len(found) > 1:
        left = sum(map(len, found.values())) - len(nodes)
        notes.append(f"{left:,} nodes of {len(found) - 1} other sessions are left out: odometry does not join sessions")
    nodes.sort(key=lambda node: (node.stamp, node.number))
    return nodes, notes, "optimised poses" if optimised else "odometry"


def _odometry(path: Path, number: Any, blob: Any) -> np.ndarray | None:
    if blob is None:
        return None
    try:
        if not isinstance(blob, bytes):
            raise InputError("a pose that is no blob")
        return transform_of(blob)
    except InputError as error:
        raise InputError(f"{path}: node {str(number)[:20]}: {error}") from None


def _optimised(path: Path, db: sqlite3.Connection) -> dict[int, np.ndarray]:
    """Poses by node after loop closure; none where the database keeps none."""
    if not {"opt_ids", "opt_poses"} <= _columns(db, "Admin"):
        return {}
    row = db.execute("SELECT opt_ids, opt_poses FROM Admin").fetchone()
    if row is None or not row[0] or not row[1]:
        return {}
    try:
        if not (isinstance(row[0], bytes) and isinstance(row[1], bytes)):
            raise InputError("no blobs")
        return poses_of(row[0], row[1])
    except InputError as error:
        raise InputError(f"{path}: the optimised poses are damaged: {error}") from None
