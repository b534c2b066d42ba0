"""What folders of other people have in common: numbered images, and intrinsics in small files."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from embmem.errors import InputError
from embmem.recordings.images import image_size
from embmem.recordings.raw import RawCamera
from embmem.recordings.trajectories import numbers_of, read_lines

_IMAGES = (".png", ".jpg", ".jpeg")
_LAST_NUMBER = re.compile(r"(\d+)\D*$")


def numbered(folder: Path, prefix: str = "", suffixes: tuple[str, ...] = _IMAGES) -> dict[int, Path]:
    """Number -> file of the images in a folder whose name is `prefix` and a number; empty without the folder."""
    if not folder.is_dir():
        return {}
    pattern = re.compile(rf"{re.escape(prefix)}(\d+)({'|'.join(map(re.escape, suffixes))})", re.IGNORECASE)
    found: dict[int, Path] = {}
    for file in folder.iterdir():
        match = pattern.fullmatch(file.name)
        if match:
            found[int(match[1])] = file
    return found


def first_folder(path: Path, names: tuple[str, ...]) -> Path | None:
    """The first of these folders that is there."""
    return next((path / name for name in names if (path / name).is_dir()), None)


def size_of_first(files: dict[int, Path], *, is_u16: bool) -> tuple[int, int]:
    """(width, height) of the first image that is whole.

    Raises:
        InputError: if none is.
    """
    problem = InputError("no image in this folder")
    for number in sorted(files):
        try:
            return image_size(files[number], is_u16=is_u16)
        except InputError as error:
            problem = error  # another one may still tell the size
    raise problem


def camera_from_matrix(K: np.ndarray, size: tuple[int, int], source: Path) -> RawCamera:
    """A camera from a 3x3 or 4x4 matrix.

    Raises:
        InputError: if it is no pinhole's.
    """
    is_pinhole = K.shape in ((3, 3), (4, 4)) and np.isfinite(K).all() and K[0, 0] > 0 and K[1, 1] > 0
    if not is_pinhole or K[2, :3].tolist() != [0.0, 0.0, 1.0]:
        raise InputError(f"{source}: expected a finite 3x3 K with fx, fy > 0 and last row 0 0 1, got {K.tolist()}")
    return RawCamera(*size, float(K[0, 0]), float(K[1, 1]), float(K[0, 2]), float(K[1, 2]))


def read_matrix(path: Path) -> np.ndarray:
    """The numbers of a text file as they are laid out.

    Raises:
        InputError: if they are no rows of one length.
    """
    rows = [numbers_of(path, line) for line in read_lines(path)]
    if not rows or len({len(row) for row in rows}) != 1:
        raise InputError(f"{path}: expected rows of numbers of one length, got {len(rows)} rows")
    return np.array(rows)


def read_json(path: Path) -> dict[str, object]:
    """The object of a JSON file.

    Raises:
        InputError: if the file holds anything else.
    """
    try:
        value = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: no JSON ({error})") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: expected an object in braces, got {type(value).__name__}")
    return value


def number_in(values: dict[str, object], key: str, path: Path) -> float:
    """The number at a key.

    Raises:
        InputError: if there is none.
    """
    value = values.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= sys.float_info.max:
        raise InputError(f"{path}: {key} must be a finite number, got {str(value)[:40]}")
    return float(value)


def camera_file(path: Path, size: Callable[[], tuple[int, int]]) -> Callable[[], RawCamera] | None:
    """How to read the intrinsics that lie in a folder under a name that is in use; None where there is none."""
    for name in ("camera-intrinsics.txt", "intrinsics.txt", "intrinsic.txt", "K.txt"):
        file = path / name
        if file.is_file():
            return lambda: camera_from_matrix(read_matrix(file), size(), file)
    for name in ("camera_intrinsic.json", "intrinsic.json", "camera.json"):
        file = path / name
        if file.is_file():
            return lambda: open3d_camera(file)
    return None


def open3d_camera(path: Path) -> RawCamera:
    """The camera in a JSON file of Open3D's PinholeCameraIntrinsic: width, height and K column by column.

    Raises:
        InputError: if it is anything else.
    """
    values = read_json(path)
    column_major = values.get("intrinsic_matrix")
    if not isinstance(column_major, list) or len(column_major) != 9:
        raise InputError(f"{path}: intrinsic_matrix must be the 9 numbers of K, got {column_major!r}")
    numbers = {str(i): value for i, value in enumerate(column_major)}
    K = np.array([number_in(numbers, str(i), path) for i in range(9)]).reshape(3, 3).T
    return camera_from_matrix(K, (int(number_in(values, "width", path)), int(number_in(values, "height", path))), path)
