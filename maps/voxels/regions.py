"""The voxels in a box, in a ball, in a camera's frustum; only the blocks that reach into it are looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, no_type_check

import numpy as np
from jaxtyping import Float
from numba import njit

from embmem.geometry import invert_pose
from embmem.maps.voxels import morton
from embmem.maps.voxels.blocks import AXIS_LIMIT, SIDE, find, pack, unpack
from embmem.maps.voxels.cast import list_voxels, read_points
from embmem.maps.voxels.summary import Voxels, unpack_one
from embmem.observation import Intrinsics

State = Literal["occupied", "free", "known"]
_BYTES = {"occupied": (1, 127), "free": (-127, 0), "known": (-127, 127)}
_HALF = SIDE / 2 * np.sqrt(3.0)  # voxels from the middle of a block to its corners
_LOOK_UP_COST = 6.0  # of one block in the table, in blocks looked through
Rows = np.ndarray


def in_box(
    voxels: Voxels, low: Float[np.ndarray, "3"], high: Float[np.ndarray, "3"], *, state: State = "occupied"
) -> Float[np.ndarray, "n 3"]:
    """Centres [m] of the voxels whose centre is in the box from `low` to `high`, in the order of the map.

    Raises:
        ValueError: if the box is upside down or a number is NaN.
    """
    if not (low <= high).all():
        raise ValueError(f"a box needs low <= high, got {low} and {high}")
    centres, _ = _centres_of(voxels, _rows_in_box(voxels, low, high, state), state)
    return centres[((low <= centres) & (centres <= high)).all(axis=1)]


def in_radius(
    voxels: Voxels, centre: Float[np.ndarray, "3"], radius: float, *, state: State = "occupied"
) -> Float[np.ndarray, "n 3"]:
    """Centres [m] of the voxels whose centre is at most `radius` away from `centre` [m], in the order of the map.

    Raises:
        ValueError: if the radius is negative or a number is NaN.
    """
    return within(voxels, centre, radius, state=state)[0]


def within(
    voxels: Voxels, centre: Float[np.ndarray, "3"], radius: float, *, state: State = "occupied"
) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, " n"], Rows]:
    """What `in_radius` finds, with the distances [m] and the rows of the blocks.

    Raises:
        ValueError: if the radius is negative or a number is NaN.
    """
    if not (radius >= 0 and np.isfinite(centre).all()):
        raise ValueError(f"need a finite centre and a radius >= 0, got {centre} and {radius}")
    rows = _rows_in_box(voxels, centre - radius, centre + radius, state)
    rows = rows[np.linalg.norm(_middles(voxels, rows) - centre, axis=1) <= radius + _HALF * voxels.resolution]
    centres, found = _centres_of(voxels, rows, state)
    distances = np.linalg.norm(centres - centre, axis=1)
    inside = distances <= radius
    return centres[inside], distances[inside], found[inside]


def in_frustum(
    voxels: Voxels,
    T_map_camera: Float[np.ndarray, "4 4"],
    intrinsics: Intrinsics,
    *,
    near: float = 0.0,
    far: float,
    state: State = "occupied",
) -> Float[np.ndarray, "n 3"]:
    """Centres [m] of the voxels whose centre a camera has in its image, hidden or not, in the order of the map.

    Args:
        T_map_camera: camera to map.
        intrinsics: of the pinhole; its image ends half a pixel beyond the centres of the outer pixels.
        near: least depth along the optical axis [m].
        far: greatest depth [m].

    Raises:
        ValueError: unless 0 <= near <= far < inf and the pose is finite.
    """
    if not (0 <= near <= far < np.inf and np.isfinite(T_map_camera).all()):
        raise ValueError(f"need 0 <= near <= far < inf and a finite pose, got {near}, {far}, {T_map_camera}")
    planes = _planes(intrinsics, near, far)
    to_camera = invert_pose(np.asarray(T_map_camera, dtype=np.float64))
    u, v = np.array([[-0.5, intrinsics.width - 0.5], [-0.5, intrinsics.height - 0.5]])
    x, y = (u - intrinsics.cx) / intrinsics.fx * far, (v - intrinsics.cy) / intrinsics.fy * far
    corners = np.array([[0.0, 0.0, 0.0], *([a, b, far] for a in x for b in y)])
    in_map = corners @ T_map_camera[:3, :3].T + T_map_camera[:3, 3]

    def is_inside(points: np.ndarray, margin: float) -> np.ndarray:
        camera = points @ to_camera[:3, :3].T + to_camera[:3, 3]
        inside = np.ones(len(points), dtype=bool)
        for normal, offset in planes:
            inside &= camera @ normal + offset >= -margin * np.linalg.norm(normal)
        return inside

    slack = voxels.resolution
    rows = _rows_in_box(voxels, in_map.min(axis=0) - slack, in_map.max(axis=0) + slack, state)
    rows = rows[is_inside(_middles(voxels, rows), _HALF * voxels.resolution)]
    centres, _ = _centres_of(voxels, rows, state)
    return centres[is_inside(centres, 0.0)]


def closest(
    voxels: Voxels, near: Float[np.ndarray, "3"], radius: float, k: int, keep: Callable[[Rows], np.ndarray]
) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, " n"], Rows]:
    """(centres [m], distances [m], rows of blocks) of the k nearest occupied voxels within the radius.

    Args:
        keep: says of rows of blocks which ones count.
    """
    near = np.asarray(near, dtype=np.float64)
    box = np.stack([voxels.summary().box[0], voxels.summary().box[1] + 1]) * (SIDE * voxels.resolution)
    farthest = float(np.linalg.norm(np.maximum(np.abs(box[0] - near), np.abs(box[1] - near))))
    reach = min(radius, max(16 * voxels.resolution, float(np.linalg.norm(near - np.clip(near, *box)))))
    while True:
        centres, distances, rows = within(voxels, near, reach)
        match = keep(rows)
        if np.count_nonzero(match) >= k or reach >= min(radius, farthest):
            break
        reach = min(2 * reach, radius)
    best = np.flatnonzero(match)[np.argsort(distances[match], kind="stable")][:k]
    return centres[best], distances[best], rows[best]


def iterate(
    voxels: Voxels, *, state: State = "known", n_blocks: int = 4096
) -> Iterator[tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, " n"]]]:
    """Chunks of (centres [m], log-odds) of at most 512 * n_blocks voxels, in the order of the map.

    Raises:
        ValueError: if n_blocks < 1.
    """
    if n_blocks < 1:
        raise ValueError(f"n_blocks must be at least 1, got {n_blocks}")
    order = voxels.blocks.order()
    for first in range(0, len(order), n_blocks):
        centres, _ = _centres_of(voxels, order[first : first + n_blocks], state)
        yield centres, read_points(voxels, centres)


def _planes(k: Intrinsics, near: float, far: float) -> list[tuple[np.ndarray, float]]:
    """(normal, offset) of the six planes of a frustum in its camera's frame; what lies inside is >= 0 for all."""
    return [
        (np.array([k.fx, 0.0, k.cx + 0.5]), 0.0),
        (np.array([-k.fx, 0.0, k.width - 0.5 - k.cx]), 0.0),
        (np.array([0.0, k.fy, k.cy + 0.5]), 0.0),
        (np.array([0.0, -k.fy, k.height - 0.5 - k.cy]), 0.0),
        (np.array([0.0, 0.0, 1.0]), -near),
        (np.array([0.0, 0.0, -1.0]), far),
    ]


def _rows_in_box(voxels: Voxels, low: np.ndarray, high: np.ndarray, state: State) -> Rows:
    """Rows of the blocks that reach into the box and hold a voxel of the state, in Morton order."""
    if state not in _BYTES:
        raise ValueError(f"state must be one of {list(_BYTES)}, got {state!r}")
    pool, summary = voxels.blocks, voxels.summary()
    edge = SIDE * voxels.resolution
    around = summary.box[0] - 1, summary.box[1] + 1
    first, last = (
        np.clip(np.floor(bound / edge + margin), *around).astype(np.int64)
        for bound, margin in ((low, -1.0 / SIDE), (high, 1.0 / SIDE))
    )
    n_occupied, n_free = summary.n_occupied[: pool.n], summary.n_free[: pool.n]
    counts = {"occupied": (n_occupied,), "free": (n_free,), "known": (n_occupied, n_free)}[state]
    rows = _find_rows(pool.table, pool.keys[: pool.n], first, last, counts)
    return rows[np.argsort(morton.encode(unpack(pool.keys[rows]) + AXIS_LIMIT))]


def _middles(voxels: Voxels, rows: Rows) -> Float[np.ndarray, "n 3"]:
    return (unpack(voxels.blocks.keys[rows]) + 0.5) * (SIDE * voxels.resolution)


def _centres_of(voxels: Voxels, rows: Rows, state: State) -> tuple[Float[np.ndarray, "n 3"], Rows]:
    """(centres [m], rows of their blocks) of the voxels of a state in these blocks."""
    found, blocks = list_voxels(rows, voxels.blocks.keys, voxels.blocks.cells, *_BYTES[state])
    return (found + 0.5) * voxels.resolution, blocks


@no_type_check
@njit(cache=True)
def _find_rows(table, keys, first, last, counts):
    """Rows of the blocks between two block coordinates, inclusive, with any count > 0: by looking up or by looking
    through, whichever is less work."""
    n_places = 1.0
    for axis in range(3):
        n_places *= max(last[axis] - first[axis] + 1, 0)
    rows, n = np.empty(np.int64(min(n_places, float(len(keys)))), dtype=np.int64), 0
    if n_places * _LOOK_UP_COST < len(keys):
        for x in range(first[0], last[0] + 1):
            for y in range(first[1], last[1] + 1):
                for z in range(first[2], last[2] + 1):
                    row = find(table, keys, pack(x, y, z))
                    if row >= 0 and _any(counts, row):
                        rows[n] = row
                        n += 1
        return rows[:n]
    for row in range(len(keys)):
        x, y, z = unpack_one(keys[row])
        inside = (first[0] <= x <= last[0]) & (first[1] <= y <= last[1]) & (first[2] <= z <= last[2])
        if inside and _any(counts, row):
            rows[n] = row
            n += 1
    return rows[:n]


@no_type_check
@njit(cache=True, inline="always")
def _any(counts, row):
    total = 0
    for array in counts:
        total += array[row]
    return total > 0
