"""The small text files of an RGB-D folder, read one by one with errors that name the file."""

from __future__ import annotations

import re
from pathlib import Path

from embmem.errors import InputError
from embmem.recordings.files import FRAME_RATE, missing
from embmem.recordings.layout import camera_from_matrix, read_matrix, size_of_first
from embmem.recordings.raw import RawCamera, RawPose

_NAME = re.compile(r"frame-(\d+)\.(pose|depth|color|semantic|instance)\.(?:txt|png|jpg)")


def is_frame_folder(path: Path) -> bool:
    """Whether a folder holds a file frame-NNNNNN.*."""
    return any(_NAME.fullmatch(file.name) for file in path.iterdir())


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


def read_pose(path: Path) -> RawPose:
    """A 4x4 matrix or x y z and a quaternion; whether it is rigid is for the ingress gate to say."""
    if not path.is_file():
        missing(path)
    matrix = read_matrix(path)
    if matrix.shape == (4, 4):
        return RawPose(matrix=matrix)
    if matrix.size != 7:
        raise InputError(f"{path}: expected a 4x4 pose or x y z qx qy qz qw, got shape {matrix.shape}")
    return RawPose(position=matrix.ravel()[:3], quaternion=matrix.ravel()[3:])


def read_intrinsics(path: Path, files: dict[int, dict[str, Path]]) -> RawCamera:
    """Camera of the folder; its size is that of the first whole depth image."""
    file = path / "camera-intrinsics.txt"
    K = read_matrix(file)
    depth = {number: kinds["depth"] for number, kinds in files.items() if "depth" in kinds}
    if not depth:
        raise InputError(f"{path}: no depth image in this folder")
    return camera_from_matrix(K, size_of_first(depth, is_u16=True), file)


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
