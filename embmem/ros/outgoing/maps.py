"""Maps as messages: clouds, trees of OctoMap, occupancy grids and their updates."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int8, UInt8

from embmem.ros.outgoing.parts import Fields, header
from embmem.ros.shown import GridShown, VoxelsShown

_FLOAT32 = 7  # of sensor_msgs/PointField


def cloud(
    points: Float[np.ndarray, "n 3"], stamp_ns: int, frame: str, colours: UInt8[np.ndarray, "n 3"] | None = None
) -> Fields:
    """A sensor_msgs/PointCloud2 of float32 x, y, z [m] and, with `colours`, a packed rgb as RViz and PCL have it."""
    columns = [np.ascontiguousarray(points, dtype="<f4")]
    names = ["x", "y", "z"]
    if colours is not None:
        r, g, b = colours.astype(np.uint32).T
        packed = ((r << 16) | (g << 8) | b).astype("<u4")
        columns.append(packed.view("<f4")[:, None])
        names.append("rgb")
    data = np.concatenate(columns, axis=1)
    step = 4 * len(names)
    return {
        "header": header(stamp_ns, frame), "height": 1, "width": len(data),
        "fields": [{"name": n, "offset": 4 * i, "datatype": _FLOAT32, "count": 1} for i, n in enumerate(names)],
        "is_bigendian": False, "point_step": step, "row_step": step * len(data), "data": data.tobytes(),
        "is_dense": True,
    }  # fmt: skip


def octomap(shown: VoxelsShown, stamp_ns: int, frame: str) -> Fields:
    """An octomap_msgs/Octomap: a binary tree, as `octomap_msgs::binaryMapToMsg` makes it."""
    data = np.frombuffer(shown.tree, dtype=np.int8)
    return {
        "header": header(stamp_ns, frame), "binary": True, "id": "OcTree", "resolution": shown.resolution, "data": data,
    }  # fmt: skip


def occupancy_grid(grid: GridShown, stamp_ns: int, frame: str) -> Fields:
    """A nav_msgs/OccupancyGrid."""
    height, width = grid.cells.shape
    x, y = grid.origin.tolist()
    origin = {"position": {"x": x, "y": y, "z": 0.0}, "orientation": {"w": 1.0}}
    head = header(stamp_ns, frame)
    info = {
        "map_load_time": head["stamp"], "resolution": grid.resolution, "width": width, "height": height,
        "origin": origin,
    }  # fmt: skip
    return {"header": head, "info": info, "data": np.ascontiguousarray(grid.cells).ravel()}


def changed_part(
    before: Int8[np.ndarray, "h w"], now: Int8[np.ndarray, "h w"]
) -> tuple[int, int, Int8[np.ndarray, "a b"]] | None:
    """(row, column, cells) of the smallest rectangle that holds all that differs; None where nothing does."""
    changed = before != now
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    if not len(rows):
        return None
    part = now[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return int(rows[0]), int(columns[0]), np.ascontiguousarray(part)


def grid_update(row: int, column: int, cells: Int8[np.ndarray, "a b"], stamp_ns: int, frame: str) -> Fields:
    """A map_msgs/OccupancyGridUpdate."""
    height, width = cells.shape
    return {
        "header": header(stamp_ns, frame), "x": column, "y": row, "width": width, "height": height,
        "data": cells.ravel(),
    }  # fmt: skip
