"""A grid as a picture and a YAML file, the format of ROS map_server and Nav2 (wiki.ros.org/map_server, map format)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float, Int8

OCCUPIED, FREE, UNKNOWN = 0, 254, 205  # grey levels of map_saver
# Fixed point: YAML 1.1 reads 1e-09 as a word.
# (255 - 205) / 255 = 0.19608 must fall between the thresholds: Nav2's default of 0.25 reads unknown as free.
_YAML = """image: {image}
mode: trinary
resolution: {resolution:.9f}
origin: [{x:.9f}, {y:.9f}, 0.0]
negate: 0
occupied_thresh: 0.65
free_thresh: 0.196
"""


def write_map_server(
    folder: Path,
    cells: Int8[np.ndarray, "rows columns"],
    origin: Float[np.ndarray, "2"],
    resolution: float,
    *,
    name: str = "map",
) -> None:
    """Write `<name>.pgm` and `<name>.yaml`.

    Args:
        folder: an existing folder.
        cells: -1 unknown, 0 free, 100 occupied; row 0 is the lowest y. The picture's first row is the highest y, and
            rows and columns at its border where all is unknown are left out.
        origin: map x, y of the outer corner of cell (0, 0) [m].
        resolution: edge of a cell [m].
        name: stem of both files.
    """
    cells, origin = _without_unknown_border(cells, origin, resolution)
    pixels = np.full(cells.shape, UNKNOWN, dtype=np.uint8)
    pixels[cells == 0] = FREE
    pixels[cells > 0] = OCCUPIED
    rows, columns = cells.shape
    header = f"P5\n# {resolution} m a pixel\n{columns} {rows}\n255\n".encode("ascii")
    (folder / f"{name}.pgm").write_bytes(header + np.ascontiguousarray(pixels[::-1]).tobytes())
    text = _YAML.format(image=f"{name}.pgm", resolution=float(resolution), x=float(origin[0]), y=float(origin[1]))
    (folder / f"{name}.yaml").write_text(text, "utf-8")


def _without_unknown_border(
    cells: Int8[np.ndarray, "rows columns"], origin: Float[np.ndarray, "2"], resolution: float
) -> tuple[Int8[np.ndarray, "r c"], Float[np.ndarray, "2"]]:
    rows, columns = np.nonzero(cells >= 0)
    if not len(rows):
        raise ValueError("the grid is unknown everywhere: there is nothing to write")
    r, c = int(rows.min()), int(columns.min())
    return cells[r : rows.max() + 1, c : columns.max() + 1], origin + resolution * np.array([c, r])
