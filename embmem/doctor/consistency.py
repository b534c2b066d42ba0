"""How well a hypothesis about poses, camera and depth explains the frames: depth of one frame seen from another.

Points of one depth image are moved by the poses of two frames and compared with what the second depth image shows where
they fall. The right conventions make surfaces coincide; wrong ones do not, whatever the scene. This is the photometric
check of direct visual odometry (Kerl et al., ICRA 2013) with depth instead of brightness.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import no_type_check

import numpy as np
from jaxtyping import Float
from numba import njit

from embmem.doctor.views import Views
from embmem.geometry import invert_pose

N_POINTS = 500  # a pair
TOLERANCE = 0.1  # of the depth: what differs by more is as wrong as can be
_FEW = 0.08  # share of points that must be seen by both frames for their agreement to count in full


@dataclass(frozen=True, eq=False)
class Pairs:
    """Points of the first frame of each pair, and the depth image of the second."""

    u: Float[np.ndarray, "p n"]
    v: Float[np.ndarray, "p n"]
    z: Float[np.ndarray, "p n"]  # [m] by the conventions in force; NaN where there is none
    depth: Float[np.ndarray, "p h w"]  # of the second frames [m]
    step: int  # pixels of the whole image from one of `depth` to the next
    size: tuple[int, int]
    numbers: tuple[tuple[int, int], ...]  # of the frames


@dataclass(frozen=True)
class Lens:
    """fx fy cx cy, and what may have happened to the images."""

    fx: float
    fy: float
    cx: float
    cy: float
    scale: float = 1.0  # that depth is multiplied with
    flip: str = ""  # "x", "y" or "xy": mirrored or turned round images
    is_ray: bool = False  # depth is the length of the ray, not z


def pairs_of(views: Views) -> Pairs:
    """The pairs of views as arrays; points are taken from a regular grid."""
    sizes = [view.size for view in views.views.values()]
    size = max(set(sizes), key=sizes.count)
    numbers = [(i, j) for i, j in views.pairs if views.views[i].size == size == views.views[j].size]
    step = views.views[numbers[0][0]].step
    depths = [views.views[i].depth for i, _ in numbers]
    h, w = depths[0].shape
    grid = max(1, int(np.sqrt(h * w / N_POINTS)))
    row, column = np.arange(grid // 2, h, grid), np.arange(grid // 2, w, grid)
    rows, columns = np.repeat(row, len(column)), np.tile(column, len(row))
    z = np.stack([depth[rows, columns] for depth in depths]).astype(np.float64)
    across, down = (np.ascontiguousarray(np.broadcast_to(a * float(step), z.shape)) for a in (columns, rows))
    return Pairs(across, down, z, np.stack([views.views[j].depth for _, j in numbers]), step, size, tuple(numbers))


def relative(pairs: Pairs, poses: dict[int, np.ndarray]) -> Float[np.ndarray, "p 4 4"]:
    """`T_second_first` of each pair; NaN where a pose is missing."""
    none = np.full((4, 4), np.nan)
    return np.stack([invert_pose(poses[j]) @ poses[i] if i in poses and j in poses else none for i, j in pairs.numbers])


def disagreement(pairs: Pairs, T: Float[np.ndarray, "p 4 4"], lens: Lens) -> Float[np.ndarray, " p"]:
    """Of each pair the mean disagreement of depth in [0, 1]: 0 where surfaces coincide, 1 where nothing fits.

    Pairs that hardly see the same things tend to 1, so that a hypothesis cannot win by looking away. NaN where there is
    no pose.
    """
    numbers = (lens.fx, lens.fy, lens.cx, lens.cy, lens.scale)
    flips = "x" in lens.flip, "y" in lens.flip
    result = np.full(len(T), np.nan)
    few = _FEW * max(1, pairs.z.shape[1])
    _disagree(
        pairs.u, pairs.v, pairs.z, pairs.depth, T, numbers, flips, lens.is_ray, pairs.step, *pairs.size, few, result
    )
    return result


@no_type_check
@njit(cache=True, nogil=True, error_model="numpy")
def _disagree(u, v, z, seen, T, numbers, flips, is_ray, step, width, height, few, result):
    """Fills `result` (p,) with the disagreement of each pair; see `disagreement`."""
    fx, fy, cx, cy, scale = numbers
    flip_x, flip_y = flips
    n_pairs, n_points = z.shape
    rows, columns = seen.shape[1:]
    for p in range(n_pairs):
        R = T[p]
        if not np.isfinite(R).all():
            continue
        total, n = 0.0, 0
        for i in range(n_points):
            d = z[p, i] * scale
            if not d > 0:
                continue
            x = ((width - 1 - u[p, i] if flip_x else u[p, i]) - cx) / fx
            y = ((height - 1 - v[p, i] if flip_y else v[p, i]) - cy) / fy
            if is_ray:
                d /= np.sqrt(1.0 + x * x + y * y)
            depth = R[2, 0] * x * d + R[2, 1] * y * d + R[2, 2] * d + R[2, 3]
            if not depth > 1e-6:
                continue
            x2 = (R[0, 0] * x * d + R[0, 1] * y * d + R[0, 2] * d + R[0, 3]) / depth
            y2 = (R[1, 0] * x * d + R[1, 1] * y * d + R[1, 2] * d + R[1, 3]) / depth
            a, b = fx * x2 + cx, fy * y2 + cy
            a = width - 1 - a if flip_x else a
            b = height - 1 - b if flip_y else b
            if not (-0.5 < a < width - 0.5 and -0.5 < b < height - 0.5):
                continue
            row = min(max(int(np.rint(b / step)), 0), rows - 1)
            column = min(max(int(np.rint(a / step)), 0), columns - 1)
            other = seen[p, row, column] * scale
            if not other > 0:
                continue
            if is_ray:
                other /= np.sqrt(1.0 + x2 * x2 + y2 * y2)
            total += min(abs(depth - other) / (TOLERANCE * depth), 1.0)
            n += 1
        # where enough is seen the constant does not matter; it is left out
        result[p] = total / n if n > 4 * few else (total + few) / (n + few)


def scaled(T: Float[np.ndarray, "p 4 4"], scale: float) -> Float[np.ndarray, "p 4 4"]:
    """The motions with their translation multiplied."""
    T = T.copy()
    T[:, :3, 3] *= scale
    return T


def subset(pairs: Pairs, keep: np.ndarray) -> Pairs:
    """Some of the pairs."""
    numbers = tuple(pair for pair, is_kept in zip(pairs.numbers, keep, strict=True) if is_kept)
    return replace(pairs, u=pairs.u[keep], v=pairs.v[keep], z=pairs.z[keep], depth=pairs.depth[keep], numbers=numbers)
