"""The grid of a memory node as it comes in: whole once, then in patches."""

from __future__ import annotations

from typing import Any

import numpy as np

from embmem.driving import Grid
from embmem.errors import InputError
from embmem.ros.messages import quaternion_of
from embmem.ros.nodes.planner.where import yaw_of

MAX_CELLS = 1 << 26
_LEVEL = 1e-6  # [rad] by which a grid may be turned


class GridTopic:
    """Keeps the newest grid of nav_msgs/OccupancyGrid and map_msgs/OccupancyGridUpdate."""

    def __init__(self) -> None:
        self.grid: Grid | None = None
        self.frame = ""
        self.heard_ns = 0  # when something came last, by the clock of whoever listens

    def forget(self) -> None:
        """Begin anew."""
        self.grid, self.frame = None, ""

    def take(self, message: Any, now_ns: int) -> None:
        """A whole grid.

        Raises:
            InputError: if it is none that can be driven on.
        """
        info = message.info
        height, width, resolution = int(info.height), int(info.width), float(info.resolution)
        x, y = float(info.origin.position.x), float(info.origin.position.y)
        if not (0 <= height * width <= MAX_CELLS and len(message.data) == height * width):
            raise InputError(f"a grid of {width} x {height} cells in {len(message.data)} bytes")
        if not (np.isfinite([x, y, resolution]).all() and resolution > 0):
            raise InputError(f"a grid with cells of {resolution} m at {x}, {y}")
        yaw = yaw_of(quaternion_of(info.origin.orientation))
        if not abs(yaw) <= _LEVEL:
            raise InputError(f"a grid that is turned by {yaw:.3f} rad; only upright ones are driven on")
        cells = np.array(message.data, dtype=np.int8).reshape(height, width)
        self.grid = Grid(cells, np.array([x, y]), resolution)
        self.frame, self.heard_ns = str(message.header.frame_id), now_ns

    def patch(self, message: Any, now_ns: int) -> None:
        """A part of the grid, whose cells are replaced. Whoever holds the grid from before keeps that.

        Raises:
            InputError: if it does not lie in the grid.
        """
        grid = self.grid
        if grid is None:
            return  # what it belongs to has not come yet, and will be newer
        x, y, width, height = int(message.x), int(message.y), int(message.width), int(message.height)
        rows, columns = grid.cells.shape
        if not (0 <= x <= x + width <= columns and 0 <= y <= y + height <= rows):
            raise InputError(f"an update of {width} x {height} cells at {x}, {y} in a grid of {columns} x {rows}")
        if len(message.data) != width * height or str(message.header.frame_id) != self.frame:
            raise InputError(f"an update in {message.header.frame_id!r} with {len(message.data)} cells")
        if width * height:
            cells = grid.cells.copy()
            cells[y : y + height, x : x + width] = np.array(message.data, dtype=np.int8).reshape(height, width)
            self.grid = Grid(cells, grid.origin, grid.resolution)
        self.heard_ns = now_ns
