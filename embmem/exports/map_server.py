"""A grid as a picture and a YAML file, the format of ROS map_server and Nav2 (nav2_map_server, map_io)."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int8, UInt8

MODES = ("trinary", "scale", "raw")
OCCUPIED, FREE, UNKNOWN = 0, 254, 205  # grey levels of map_saver in trinary mode
_NOTHING = 255  # in raw mode: beyond 0..100 is unknown
_UNSEEN = -1
# (255 - 205) / 255 = 0.19608 must fall between the thresholds: Nav2's default of 0.25 reads unknown as free.
_THRESHOLDS = {"trinary": ("0.65", "0.196"), "scale": ("1.0", "0.0"), "raw": ("0.65", "0.196")}
# Fixed point: YAML 1.1 reads 1e-09 as a word.
_YAML = """image: {image}
mode: {mode}
resolution: {resolution:.9f}
origin: [{x:.9f}, {y:.9f}, {yaw:.9f}]
negate: {negate}
occupied_thresh: {occupied}
free_thresh: {free}
"""


def write_map_server(
    folder: Path,
    cells: Int8[np.ndarray, "rows columns"],
    origin: Float[np.ndarray, "2"],
    resolution: float,
    *,
    yaw: float = 0.0,
    mode: str = "trinary",
    negate: bool = False,
    crop: bool = True,
    name: str = "map",
) -> None:
    """Write `<name>.pgm`, or `<name>_scale.png` in scale mode, and `<name>.yaml`.

    Args:
        folder: an existing folder.
        cells: -1 unknown, else 0 free to 100 occupied; row 0 is the lowest y. The picture's first row is the highest y.
        origin: map x, y of the outer corner of cell (0, 0) [m].
        resolution: edge of a cell [m].
        yaw: [rad] by which the grid is turned about that corner, counter-clockwise.
        mode: "trinary" knows 0, 100 and -1; "scale" grey levels, and unknown as transparent pixels; "raw" the cells
            themselves as pixels.
        negate: whether white is occupied, not black; raw pixels are never negated.
        crop: leave out rows and columns at the border where all is unknown; not of a turned grid.
        name: stem of both files.

    Raises:
        ValueError: if all is unknown and to be left out, the mode has no such name, or a trinary grid has values
            between.
    """
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}, got {mode!r}")
    if cells.size and (cells.min() < _UNSEEN or cells.max() > 100):
        raise ValueError(f"cells must lie in -1..100, got {cells.min()}..{cells.max()}")
    if not (math.isfinite(yaw) and math.isfinite(resolution) and resolution > 0 and np.isfinite(origin).all()):
        raise ValueError(f"need a finite place and a resolution > 0, got {origin.tolist()}, {yaw}, {resolution}")
    if crop and yaw == 0.0:
        cells, origin = _without_unknown_border(cells, origin, resolution)
    if mode == "scale":
        image = f"{name}_scale.png"
        _write_png(folder / image, _scaled(cells, negate)[::-1])
    else:
        image = f"{name}.pgm"
        pixels = _trinary(cells, negate) if mode == "trinary" else np.where(cells < 0, _NOTHING, cells).astype(np.uint8)
        rows, columns = cells.shape
        header = f"P5\n# {resolution} m a pixel\n{columns} {rows}\n255\n".encode("ascii")
        (folder / image).write_bytes(header + np.ascontiguousarray(pixels[::-1]).tobytes())
    occupied, free = _THRESHOLDS[mode]
    text = _YAML.format(
        image=image, mode=mode, resolution=float(resolution), x=float(origin[0]), y=float(origin[1]), yaw=float(yaw),
        negate=int(negate), occupied=occupied, free=free,
    )  # fmt: skip
    (folder / f"{name}.yaml").write_text(text, "utf-8")


def _trinary(cells: Int8[np.ndarray, "rows columns"], negate: bool) -> UInt8[np.ndarray, "rows columns"]:
    values = np.unique(cells)
    if not np.isin(values, (_UNSEEN, 0, 100)).all():
        raise ValueError(f"a trinary grid holds -1, 0 and 100 alone, got {values[:8].tolist()}; use scale or raw")
    pixels = np.full(cells.shape, UNKNOWN, dtype=np.uint8)
    pixels[cells == 0], pixels[cells == 100] = FREE, OCCUPIED
    return 255 - pixels if negate else pixels


def _scaled(cells: Int8[np.ndarray, "rows columns"], negate: bool) -> UInt8[np.ndarray, "rows columns 4"]:
    """Grey as blue, green, red and opacity; 100 steps in 255 levels, so that each is read back as it was."""
    share = np.clip(cells, 0, 100).astype(np.float64) / 100.0
    grey = np.rint(255.0 * (share if negate else 1.0 - share)).astype(np.uint8)
    opacity = np.where(cells < 0, 0, 255).astype(np.uint8)
    return np.stack([grey, grey, grey, opacity], axis=-1)


def _write_png(path: Path, pixels: UInt8[np.ndarray, "rows columns 4"]) -> None:
    import cv2

    path.write_bytes(cv2.imencode(".png", np.ascontiguousarray(pixels))[1].tobytes())


def _without_unknown_border(
    cells: Int8[np.ndarray, "rows columns"], origin: Float[np.ndarray, "2"], resolution: float
) -> tuple[Int8[np.ndarray, "r c"], Float[np.ndarray, "2"]]:
    rows, columns = np.nonzero(cells >= 0)
    if not len(rows):
        raise ValueError("the grid is unknown everywhere: there is nothing to write")
    r, c = int(rows.min()), int(columns.min())
    return cells[r : rows.max() + 1, c : columns.max() + 1], origin + resolution * np.array([c, r])
