"""Trajectory files: TUM (stamp and seven numbers a line), KITTI (twelve numbers a line), Redwood (.log)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from embmem.errors import InputError
from embmem.recordings.raw import RawPose, Sample

MAX_BYTES = 1 << 30  # of a text file that is read as a whole


def read_lines(path: Path) -> list[tuple[int, str]]:
    """(number from 1, text) of the lines of a text file that are neither empty nor a comment (#).

    Raises:
        InputError: if the file is missing, is no text or has more than a gigabyte.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path}: {path.stat().st_size:,} bytes of text; split it")
        lines = path.read_text("utf-8").splitlines()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise InputError(f"{path}: no text ({error})") from None
    return [(n, line) for n, line in enumerate(lines, 1) if line.strip() and not line.lstrip().startswith("#")]


def numbers_of(path: Path, line: tuple[int, str], n: int | None = None) -> list[float]:
    """The numbers of a line, which must be `n` where that is given; commas are blanks.

    Raises:
        InputError: naming the file and the line.
    """
    try:
        numbers = [float(x) for x in line[1].replace(",", " ").split()]
    except ValueError as error:
        raise InputError(f"{path}: line {line[0]}: {error}") from None
    if n is not None and len(numbers) != n:
        raise InputError(f"{path}: line {line[0]}: {len(numbers)} numbers, expected {n}")
    return numbers


def read_tum(path: Path) -> list[tuple[float, RawPose]]:
    """(stamp [s], pose) of the lines `stamp x y z qx qy qz qw` (Sturm et al., IROS 2012), in the order of the file.

    Raises:
        InputError: if a line is anything else.
    """
    rows = [numbers_of(path, line, 8) for line in read_lines(path)]
    return [(row[0], RawPose(position=np.array(row[1:4]), quaternion=np.array(row[4:8]))) for row in rows]


def read_matrices(path: Path) -> list[RawPose]:
    """The poses of lines of 12 (KITTI, Geiger et al., CVPR 2012) or 16 numbers (NICE-SLAM's Replica), row by row.

    Raises:
        InputError: if a line is anything else.
    """
    poses = []
    for line in read_lines(path):
        row = numbers_of(path, line)
        if len(row) not in (12, 16):
            raise InputError(f"{path}: line {line[0]}: {len(row)} numbers, expected the 12 or 16 of a matrix")
        poses.append(RawPose(matrix=np.array([*row, 0.0, 0.0, 0.0, 1.0][:16]).reshape(4, 4)))
    return poses


def read_log(path: Path) -> list[tuple[tuple[int, ...], RawPose]]:
    """(numbers of the header, pose) of a Redwood trajectory (Choi et al., CVPR 2015): a header, then 4 lines of 4.

    Raises:
        InputError: if it is cut or a line is anything else.
    """
    lines = read_lines(path)
    if len(lines) % 5:
        raise InputError(f"{path}: {len(lines)} lines are not a multiple of the 5 of a pose; the file is cut")
    found = []
    for at in range(0, len(lines), 5):
        header = numbers_of(path, lines[at])
        if not header or any(not x.is_integer() for x in header):
            raise InputError(
                f"{path}: line {lines[at][0]}: a header of whole numbers was expected, got {lines[at][1]!r}"
            )
        rows = [numbers_of(path, line, 4) for line in lines[at + 1 : at + 5]]
        found.append((tuple(int(x) for x in header), RawPose(matrix=np.array(rows))))
    return found


def pose_samples(file: Path, poses: list[tuple[float, RawPose]]) -> Iterator[Sample]:
    """The poses of a trajectory as samples of a stream that is called like its file."""
    for number, (stamp, pose) in enumerate(poses):
        yield Sample(file.name, "pose", stamp, f"{file}: pose {number}", partial(_given, pose))


def _given(pose: RawPose) -> RawPose:
    return pose
