"""The small text files of an RGB-D folder, read one by one with errors that name the file."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from embmem.errors import InputError
from embmem.geometry import pose_matrix
from embmem.observation import Intrinsics
from embmem.recordings.images import image_size

FRAME_RATE = 30.0  # [1/s], of a Kinect, where the folder has no timestamps
_NAME = re.compile(r"frame-(\d+)\.(pose|depth|color|semantic|instance)\.(?:txt|png|jpg)")


def frame_files(path: Path) -> dict[int, dict[str, Path]]:
    """Frame number -> kind of file -> file; frames may be incomplete.

    Raises:
        InputError: if the folder is missing or holds no frame.
    """
    if not path.is_dir():
        raise InputError(f"{path}: no such folder")
    files: dict[int, dict[str, Path]] = {}
    for file in path.iterdir():
        match = _NAME.fullmatch(file.name)
        if match:
            files.setdefault(int(match[1]), {})[match[2]] = file
    if not files:
        raise InputError(f"{path}: no frame-NNNNNN.depth.png in this folder")
    return files


def read_matrix(path: Path) -> np.ndarray:
    """The numbers of a text file as they are laid out."""
    try:
        rows = [[float(x) for x in line.split()] for line in path.read_text("utf-8").splitlines() if line.strip()]
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
    if not rows or len({len(row) for row in rows}) != 1:
        raise InputError(f"{path}: expected rows of numbers of one length, got {len(rows)} rows")
    return np.array(rows)


def read_pose(path: Path) -> np.ndarray:
    """(4, 4) from a 4x4 matrix or from x y z qx qy qz qw; whether it is rigid is for the ingress gate to say."""
    matrix = read_matrix(path)
    if matrix.shape == (4, 4):
        return matrix
    if matrix.size != 7:
        raise InputError(f"{path}: expected a 4x4 pose or x y z qx qy qz qw, got shape {matrix.shape}")
    try:
        return pose_matrix(matrix.ravel()[:3], matrix.ravel()[3:])
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None


def read_intrinsics(path: Path, files: dict[int, dict[str, Path]]) -> Intrinsics:
    """Camera of the folder; its size is that of the first whole depth image."""
    file = path / "camera-intrinsics.txt"
    K = read_matrix(file)
    is_pinhole = K.shape == (3, 3) and np.isfinite(K).all() and K[0, 0] > 0 and K[1, 1] > 0
    if not is_pinhole or K[2].tolist() != [0.0, 0.0, 1.0]:
        raise InputError(f"{file}: expected a finite 3x3 K with fx, fy > 0 and last row 0 0 1, got {K.tolist()}")
    problem = InputError(f"{path}: no depth image in this folder")
    for number in sorted(files):
        if "depth" in files[number]:
            try:
                width, height = image_size(files[number]["depth"], is_u16=True)
            except InputError as error:
                problem = error  # another frame may still tell the size
                continue
            return Intrinsics(width, height, float(K[0, 0]), float(K[1, 1]), float(K[0, 2]), float(K[1, 2]))
    raise problem


def read_stamps(path: Path, numbers: list[int]) -> dict[int, float]:
    """Frame number -> stamp [s], from one number a frame or, without the file, from a Kinect's frame rate."""
    if not path.is_file():
        return {number: number / FRAME_RATE for number in numbers}
    stamps = read_matrix(path).ravel()
    if len(stamps) != len(numbers):
        raise InputError(f"{path}: {len(stamps)} stamps for {len(numbers)} frames")
    return dict(zip(numbers, stamps.tolist(), strict=True))


def read_labels(path: Path) -> tuple[str, ...]:
    """Category names, one a line; the line number from 0 is the semantic id."""
    try:
        return tuple(path.read_text("utf-8").splitlines())
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror} (semantic images need it)") from None
