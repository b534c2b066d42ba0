"""OctoMap's graphs of scans (.graph, ScanGraph::writeBinary): points and the pose of the sensor, no stamps.

Scans are numbered in seconds. Edges between them, which stand behind the scans, are not read.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from jaxtyping import Float64

from embmem.errors import InputError
from embmem.geometry import pose_matrix
from embmem.recordings.raw import RawCloud, RawPose, Sample
from embmem.recordings.recording import Recording, Stream

_POINT = np.dtype([("size", "<u4"), ("xyz", "<f8", 3)])
_POSE = np.dtype([("size", "<u4"), ("xyz", "<f8", 3), ("size_q", "<u4"), ("quat_wxyz", "<f8", 4), ("id", "<u4")])
_N = struct.Struct("<I")


class Scan(NamedTuple):
    """One scan of a graph: points in the frame of the sensor [m] and the sensor's pose."""

    points: Float64[np.ndarray, "n 3"]
    T_map_scan: Float64[np.ndarray, "4 4"]


class _Place(NamedTuple):
    """Where a scan lies in the file."""

    start: int  # of the first point [byte]
    n_points: int
    T_map_scan: np.ndarray


def is_octomap_graph(path: Path) -> bool:
    """Whether the name says so: the format has no mark of its own."""
    return path.is_file() and path.suffix == ".graph"


def open_octomap_graph(path: Path) -> Recording:
    """The scans of a graph as a recording of point clouds, each with its pose.

    Raises:
        InputError: if the file is cut or damaged.
    """
    places = _places(path)
    streams = (Stream("scans", "cloud", "points", len(places)), Stream("pose", "pose", "pose", len(places)))
    return Recording(
        path=path,
        format="OctoMap scan graph",
        streams=streams,
        samples_of=partial(_samples, path, places),
        is_listed=True,
        is_grouped=True,
        is_z_up=True,
        notes=("scans have no stamps; they are taken to be a second apart",),
    )


def read_scan_graph(path: Path | str) -> list[Scan]:
    """The scans of a .graph file, in order.

    Raises:
        InputError: if the file is missing, cut or damaged.
    """
    path = Path(path)
    return [Scan(_points(path, place, i), place.T_map_scan) for i, place in enumerate(_places(path))]


def _samples(path: Path, places: list[_Place], names: frozenset[str]) -> Iterator[Sample]:
    for i, place in enumerate(places):
        if "scans" in names:
            yield Sample("scans", "cloud", float(i), f"{path}: scan {i}", partial(_cloud, path, place, i), group=i)
        if "pose" in names:
            pose = partial(RawPose, matrix=place.T_map_scan)
            yield Sample("pose", "pose", float(i), f"{path}: pose of scan {i}", pose, group=i)


def _cloud(path: Path, place: _Place, number: int) -> RawCloud:
    points = _points(path, place, number)
    return RawCloud(points[np.isfinite(points).all(axis=1)])


def _points(path: Path, place: _Place, number: int) -> np.ndarray:
    with path.open("rb") as file:
        file.seek(place.start)
        data = file.read(place.n_points * _POINT.itemsize)
    if len(data) < place.n_points * _POINT.itemsize:
        raise InputError(f"{path} ends in scan {number}, which claims {place.n_points:,} points; get the file again")
    points = np.frombuffer(data, dtype=_POINT)
    if not (points["size"] == 3).all():
        raise InputError(f"{path} is damaged in scan {number}: no points in space; get the file again")
    return np.ascontiguousarray(points["xyz"])


def _places(path: Path) -> list[_Place]:
    """Where the scans lie, by a walk from head to head; no point is read."""
    if not path.is_file():
        raise InputError(f"{path} is not a file; name a .graph file of OctoMap")
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        n_scans = _number(path, file)
        if n_scans * (_N.size + _POSE.itemsize) > size:
            raise InputError(f"{path} is damaged: it claims {n_scans:,} scans in {size:,} bytes; get the file again")
        return [_place(path, file, i, size) for i in range(n_scans)]


def _place(path: Path, file: BinaryIO, number: int, size: int) -> _Place:
    n_points = _number(path, file)
    start = file.tell()
    end = start + n_points * _POINT.itemsize
    if end + _POSE.itemsize > size:
        raise InputError(f"{path} ends in scan {number}, which claims {n_points:,} points; get the file again")
    file.seek(end)
    pose = np.frombuffer(file.read(_POSE.itemsize), dtype=_POSE)[0]
    length = math.hypot(*pose["quat_wxyz"].tolist())
    is_sized = pose["size"] == 3 and pose["size_q"] == 4
    if not (is_sized and np.isfinite(pose["xyz"]).all() and 0.5 < length < 2.0):
        raise InputError(f"{path} is damaged in scan {number}: no pose in space; get the file again")
    return _Place(start, n_points, pose_matrix(pose["xyz"], pose["quat_wxyz"][[1, 2, 3, 0]] / length))


def _number(path: Path, file: BinaryIO) -> int:
    data = file.read(_N.size)
    if len(data) < _N.size:
        raise InputError(f"{path} ends after {file.tell():,} bytes, in the middle; get the file again")
    return int(_N.unpack(data)[0])
