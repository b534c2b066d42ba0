"""The surface of occupied space by marching cubes (Lewiner et al., Journal of Graphics Tools 2003), from scikit-image.

The level set lies between the centres of occupied and other voxels, where interpolated log-odds pass from one to the
other; what was never seen counts as free. So the surface is closed. Space is worked through in tiles, whose vertices
are joined by the edge of the lattice that they lie on: a map of any extent takes the memory of its surface.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from embmem.errors import InputError, import_extra
from embmem.exports.colours import height_colours
from embmem.occupancy import Occupancy

SIDE = 48  # cubes along the edge of a tile
UNSEEN = -2.0  # log-odds of what was never seen
_LEVEL = 1.0 / 64.0  # between free (0 and less) and occupied (1/32 and more): no sample lies on the surface
_LIMIT = 4.0  # of log-odds: beyond, a voxel would push the surface onto its neighbour's centre
_WHOLE = 1e-4  # of a voxel; no vertex is nearer to a sample than _LEVEL / (2 _LIMIT)

Painter = Callable[[Occupancy, Float[np.ndarray, "n 3"]], UInt8[np.ndarray, "n c"]]


@dataclass(frozen=True, eq=False)
class Surface:
    """A closed triangle mesh in the frame of the map, normals out of what is occupied."""

    vertices: Float[np.ndarray, "n 3"]  # [m]
    triangles: Int[np.ndarray, "m 3"]  # anticlockwise, seen from outside
    colours: UInt8[np.ndarray, "n c"]  # red, green, blue and perhaps opacity


def surface_of(occupancy: Occupancy, paint: Painter | None = None) -> Surface:
    """The surface of the occupied voxels; the same on every call.

    Args:
        occupancy: the map.
        paint: the colour of occupied voxels by their centres [m]; each vertex has that of the nearest. By height if not
            given.

    Raises:
        MissingExtraError: if scikit-image is not installed.
        InputError: if no voxel is occupied.
    """
    marching_cubes: Any = import_extra("skimage.measure", "mesh").marching_cubes
    centres = occupancy.occupied()
    if not len(centres):
        raise InputError("the map has no occupied voxel to make a surface of")
    edge = float(occupancy.resolution)
    keys, points, faces, n = [], [], [], 0
    voxels = np.floor(centres / edge).astype(np.int64)
    first, last = voxels.min(axis=0) - 1, voxels.max(axis=0) + 1  # beyond, nothing is occupied
    for tile in _tiles(voxels):
        corner = np.maximum(tile, first)
        field = _log_odds(occupancy, corner, np.minimum(tile + SIDE, last))
        if field.max() <= _LEVEL:
            continue
        vertices, triangles, _, _ = marching_cubes(field, _LEVEL, gradient_direction="ascent")
        on = vertices.astype(np.float64)
        keys.append(_lattice_edges(on) + 2 * corner)
        points.append(on + corner)
        faces.append(triangles.astype(np.int64) + n)
        n += len(on)
    joined, triangles = _joined(np.concatenate(keys), np.concatenate(points), np.concatenate(faces))
    vertices = (joined + 0.5) * edge
    if paint is None:
        return Surface(vertices, triangles, height_colours(vertices[:, 2]))
    nearest, _ = occupancy.nearest_occupied(vertices)
    return Surface(vertices, triangles, paint(occupancy, nearest))


def _tiles(voxels: Int[np.ndarray, "n 3"]) -> Int[np.ndarray, "m 3"]:
    """Lowest voxels of the tiles in which a cube has one of these voxels for a corner."""
    # A voxel on the lowest face of a tile is a corner of cubes of the tile below, too, along each axis.
    sides = np.stack(np.meshgrid(*[[False, True]] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    own, below = voxels // SIDE, (voxels - 1) // SIDE
    every = np.concatenate([_distinct(np.where(s, own, below)) for s in sides])
    return _distinct(every) * SIDE


def _packed(rows: Int[np.ndarray, "n 3"]) -> Int[np.ndarray, " n"] | None:
    """A number for each row, in their order; None where 63 bits are not enough."""
    low, high = rows.min(axis=0), rows.max(axis=0)
    shape = [int(n) for n in high - low + 1]
    if math.prod(shape) >= 1 << 62:
        return None
    x, y, z = (rows - low).T
    return (x * shape[1] + y) * shape[2] + z


def _distinct(rows: Int[np.ndarray, "n 3"]) -> Int[np.ndarray, "m 3"]:
    """The rows there are, in their order; several times as fast as numpy's own where they can be packed."""
    numbers = _packed(rows)
    if numbers is None:
        return np.unique(rows, axis=0)
    return rows[np.unique(numbers, return_index=True)[1]]


def _log_odds(
    occupancy: Occupancy, low: Int[np.ndarray, "3"], high: Int[np.ndarray, "3"]
) -> Float[np.ndarray, "a b c"]:
    """Log-odds of the voxels from `low` to `high`, the corners of the cubes of a tile."""
    shape = [int(n) for n in high - low + 1]
    points = np.empty((*shape, 3))
    for axis in range(3):
        level = (np.arange(low[axis], high[axis] + 1) + 0.5) * occupancy.resolution
        points[..., axis] = np.expand_dims(level, [other for other in range(3) if other != axis])
    values = np.clip(np.nan_to_num(occupancy.log_odds(points.reshape(-1, 3)), nan=UNSEEN), -_LIMIT, _LIMIT)
    return values.astype(np.float32).reshape(shape)


def _lattice_edges(vertices: Float[np.ndarray, "n 3"]) -> Int[np.ndarray, "n 3"]:
    """What each vertex lies on: even along an axis where it is level with a sample, odd between two."""
    whole = np.rint(vertices)
    is_on = np.abs(vertices - whole) < _WHOLE
    return np.where(is_on, 2 * whole, 2 * np.floor(vertices) + 1).astype(np.int64)


def _joined(
    keys: Int[np.ndarray, "n 3"], points: Float[np.ndarray, "n 3"], triangles: Int[np.ndarray, "m 3"]
) -> tuple[Float[np.ndarray, "k 3"], Int[np.ndarray, "p 3"]]:
    """Vertices of one lattice edge made one, triangles that lost a corner by it left out."""
    numbers = _packed(keys)
    rows = keys if numbers is None else numbers
    _, first, inverse = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    triangles = inverse.reshape(-1)[triangles]
    a, b, c = triangles.T
    return points[first], triangles[(a != b) & (b != c) & (c != a)]
