"""A grid of ROS map_server or Nav2: a YAML file and the picture that it names (nav2_map_server, map_io)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int8, UInt8

from embmem.errors import InputError
from embmem.exports.map_server import MODES
from embmem.imports.grey_images import read_grey

MAX_YAML = 1 << 20  # bytes
_FAR = 1e7  # [m]
_FREE, _OCCUPIED, _UNKNOWN = 0, 100, -1


@dataclass(frozen=True, eq=False)
class GridMap:
    """Cells on a plane, in the numbers of nav_msgs/OccupancyGrid."""

    cells: Int8[np.ndarray, "rows columns"]  # -1 unknown, 0 free .. 100 occupied; row 0 is the lowest y of the grid
    origin: Float[np.ndarray, "2"]  # [m] map x, y of the outer corner of cell (0, 0)
    yaw: float  # [rad] by which the grid is turned about that corner, counter-clockwise
    resolution: float  # edge of a cell [m]
    mode: str = "trinary"
    negate: bool = False


def read_map_server(path: Path) -> GridMap:
    """The grid that a YAML file describes, read as Nav2 reads it.

    trinary: occupied from `occupied_thresh` on, free up to `free_thresh`, else unknown; scale: in between 1 to 99 in
    proportion; raw: the pixel. In the first two a transparent pixel is unknown.

    Raises:
        InputError: if the YAML or the picture is missing, damaged, too large, lies outside of the YAML's folder, or
            says something senseless.
    """
    fields = _read_yaml(path)
    mode, negate = fields.get("mode", "trinary"), _switch(fields, "negate", path)
    if mode not in MODES:
        raise InputError(f"{path}: mode must be one of {', '.join(MODES)}, got {str(mode)[:40]!r}")
    resolution = _number(fields.get("resolution"), f"{path}: resolution")
    occupied, free = (_number(fields.get(name), f"{path}: {name}") for name in ("occupied_thresh", "free_thresh"))
    if not 1e-4 <= resolution <= 1e4 or not 0.0 <= free < occupied <= 1.0:
        raise InputError(
            f"{path}: need a resolution in 0.0001..10000 m and 0 <= free_thresh < occupied_thresh <= 1, got "
            f"{resolution:g}, {free:g}, {occupied:g}"
        )
    origin = fields.get("origin")
    if not isinstance(origin, list) or len(origin) != 3:
        raise InputError(f"{path}: origin must be a list of x, y and yaw, got {str(origin)[:80]}")
    x, y, yaw = (_number(value, f"{path}: origin") for value in origin)
    if max(abs(x), abs(y)) > _FAR or abs(yaw) > 1e3:
        raise InputError(f"{path}: the origin {[x, y, yaw]} is out of bounds")
    grey, alpha = read_grey(_image(path, fields.get("image")))
    cells = (
        _raw(grey) if mode == "raw" else _levels(grey, alpha, (free, occupied), negate=negate, scale=mode == "scale")
    )
    return GridMap(np.ascontiguousarray(cells[::-1]), np.array([x, y]), yaw, resolution, mode, negate)


def _levels(
    grey: UInt8[np.ndarray, "rows columns"],
    alpha: UInt8[np.ndarray, "rows columns"] | None,
    thresholds: tuple[float, float],
    *,
    negate: bool,
    scale: bool,
) -> Int8[np.ndarray, "rows columns"]:
    """What 256 levels of grey mean, by a table; the picture may be large."""
    free, occupied = np.float32(thresholds[0]), np.float32(thresholds[1])
    level = np.arange(256, dtype=np.float32) / np.float32(255.0)  # as Nav2 computes, in single precision
    share = level if negate else np.float32(1.0) - level
    table = np.full(256, _UNKNOWN, dtype=np.int8)
    between = (share > free) & (share < occupied)
    if scale:
        exact = (share[between] - free) / (occupied - free) * np.float32(100.0)
        table[between] = np.floor(exact + np.float32(0.5)).astype(np.int8)
    table[share >= occupied] = _OCCUPIED
    table[share <= free] = _FREE
    cells: np.ndarray = table[grey]
    if alpha is not None:
        cells[alpha < 255] = _UNKNOWN
    return cells


def _raw(grey: UInt8[np.ndarray, "rows columns"]) -> Int8[np.ndarray, "rows columns"]:
    return np.where(grey > 100, _UNKNOWN, grey.astype(np.int16)).astype(np.int8)


def _read_yaml(path: Path) -> Mapping[str, Any]:
    import yaml

    try:
        if path.stat().st_size > MAX_YAML:
            raise InputError(f"{path}: {path.stat().st_size:,} bytes are no description of a map")
        text = path.read_text("utf-8")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: no text in UTF-8") from None
    try:
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            raise InputError(f"{path}: a description of a map has no aliases")
        fields = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError, AttributeError, TypeError) as error:
        raise InputError(f"{path}: no YAML ({' '.join(str(error).split())[:200]})") from None
    if not isinstance(fields, dict):
        raise InputError(f"{path}: expected image, resolution, origin and so on, got {type(fields).__name__}")
    return fields


def _image(path: Path, name: Any) -> Path:
    """The picture beside the YAML: a file of strangers may not name another one of ours."""
    if not isinstance(name, str) or not name or "\x00" in name:
        raise InputError(f"{path}: image must name a file, got {str(name)[:80]!r}")
    folder = path.resolve().parent
    image = (folder / name).resolve()
    if not image.is_relative_to(folder):
        raise InputError(f"{path}: the image {name[:80]!r} lies outside of its folder; put it beside the YAML file")
    return image


def _number(value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > 1e300 or not math.isfinite(value):
        raise InputError(f"{what} must be a finite number, got {str(value)[:40]!r}")
    return float(value)


def _switch(fields: Mapping[str, Any], name: str, path: Path) -> bool:
    value = fields.get(name)
    if value not in (0, 1, True, False) or isinstance(value, float):
        raise InputError(f"{path}: {name} must be 0 or 1, got {str(value)[:40]!r}")
    return bool(value)
