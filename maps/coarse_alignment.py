"""Rough poses of one point cloud in another, to begin a registration from, best first.

Upright clouds (z up in both frames, as everywhere in the map frame) are laid over each other on a grid by height, at
every heading (correlative scan matching: Olson, ICRA 2009, here by FFT); clouds in any attitude are matched by features
(FPFH: Rusu, Blodow and Beetz, ICRA 2009) and a consensus of triples (Fischler and Bolles, CACM 1981).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import fft
from scipy.ndimage import gaussian_filter, maximum_filter
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from embmem.errors import import_extra
from embmem.geometry import rotation_angle

_LAYER = 0.4  # [m] height of the slices that are laid over each other
_MAX_CELLS = 1 << 22  # of one slice


@dataclass(frozen=True)
class SearchRange:
    """How far from the guess a pose is looked for, in the target frame."""

    distance: float = np.inf  # [m] in x and y
    yaw: float = np.pi  # [rad] to either side
    height: float = 0.0  # [m] in z

    def __post_init__(self) -> None:
        if not (self.distance > 0 and 0 <= self.yaw <= np.pi and 0 <= self.height < 100):
            raise ValueError(f"need distance > 0, yaw in [0, pi] and height in [0, 100), got {self}")


@dataclass(frozen=True)
class _Grid:
    """Slices of space, with room for the source beside every point of the target."""

    low: np.ndarray  # (3,) [m]
    reach: float  # [m] of the source from its origin, in x and y
    span: np.ndarray  # (2,) [m] of the target
    cell: float  # [m]
    size: tuple[int, int, int]  # layers, cells in x, cells in y

    @staticmethod
    def around(target: np.ndarray, source: np.ndarray, *, reach: float, lift: float, cell: float) -> _Grid:
        """The grid of two clouds of which one may be lifted."""
        low, high = target.min(axis=0), target.max(axis=0)
        z = (min(low[2], source[:, 2].min()) - lift - _LAYER, max(high[2], source[:, 2].max()) + lift + _LAYER)
        span = high[:2] - low[:2]
        nx, ny = (int(fft.next_fast_len(int((side + 2.0 * reach) / cell) + 3, real=True)) for side in span)
        if nx * ny > _MAX_CELLS:
            raise ValueError(f"clouds of {span} m and a reach of {reach:.1f} m are too large for cells of {cell} m")
        n_layers = int((z[1] - z[0]) / _LAYER) + 1
        return _Grid(np.append(low[:2] - reach, z[0]), reach, span, cell, (n_layers, nx, ny))

    def slices(self, points: np.ndarray, low: np.ndarray) -> Float[np.ndarray, "l a b"]:
        """1 where a cell of a layer holds points, else 0."""
        image = np.zeros(self.size, dtype=np.float32)
        index = np.floor((points - low) / [self.cell, self.cell, _LAYER]).astype(np.int64)
        index = index[((index >= 0) & (index < [self.size[1], self.size[2], self.size[0]])).all(axis=1)]
        image[index[:, 2], index[:, 0], index[:, 1]] = 1.0
        return image

    def shifts(self, axis: int) -> Float[np.ndarray, " n"]:
        """Where [m] the origin of the source is for each place of a correlation, which wraps around."""
        n = self.size[1 + axis]
        cells = np.arange(n)
        cells[cells * self.cell > self.span[axis] + self.reach] -= n
        return self.low[axis] + self.reach + self.cell * cells


def upright_guesses(
    source: Float[np.ndarray, "n 3"],
    target: Float[np.ndarray, "m 3"],
    guess: Float[np.ndarray, "4 4"],
    *,
    within: SearchRange,
    cell: float,
    k: int = 5,
) -> list[Float[np.ndarray, "4 4"]]:
    """The k poses around the guess at which most of the source falls on the target; rotations about z only.

    Args:
        source: points [m] in a frame with z up, less the rotation of the guess.
        target: points [m] in a frame with z up.
        guess: `T_target_source` to search around.
        within: how far.
        cell: edge of the grid [m].
        k: how many; each is a local maximum.

    Raises:
        ValueError: if the two clouds are too large for a grid of that cell.
    """
    turned = source @ guess[:3, :3].T + [0.0, 0.0, guess[2, 3]]
    radius = np.linalg.norm(turned[:, :2], axis=1)
    grid = _Grid.around(target, turned, reach=float(radius.max()) + cell, lift=within.height, cell=cell)
    spectrum = fft.rfft2(gaussian_filter(grid.slices(target, grid.low), (0.5, 1.0, 1.0)))
    x, y = grid.shifts(0), grid.shifts(1)
    is_allowed = np.hypot(x[:, None] - guess[0, 3], y[None, :] - guess[1, 3]) <= max(within.distance, cell)
    step = max(cell / max(float(np.percentile(radius, 75)), cell), 0.01)
    n_turns = int(np.ceil(within.yaw / step))
    yaws = np.linspace(-within.yaw, within.yaw, 2 * n_turns + 1)
    n_lifts = int(np.ceil(within.height / _LAYER))
    found: list[tuple[float, int, int, int, int]] = []
    for a, yaw in enumerate(yaws):
        moved = turned @ Rotation.from_euler("z", yaw).as_matrix().T
        stamp = np.conj(fft.rfft2(grid.slices(moved, np.array([-grid.reach, -grid.reach, grid.low[2]]))))
        for lift in range(-n_lifts, n_lifts + 1):
            score = fft.irfft2(np.sum(np.roll(spectrum, -lift, axis=0) * stamp, axis=0), s=is_allowed.shape)
            found += [(value, a, lift, i, j) for value, i, j in peaks(score, is_allowed & (score > 0.5), k)]
    found.sort(key=lambda peak: (-peak[0], peak[1:]))
    poses: list[np.ndarray] = []
    for _, a, lift, i, j in found:
        T = np.eye(4)
        T[:3, :3] = Rotation.from_euler("z", yaws[a]).as_matrix() @ guess[:3, :3]
        T[:3, 3] = [x[i], y[j], guess[2, 3] + lift * _LAYER]
        if all(are_apart(T, other, 4.0 * cell, 4.0 * step) for other in poses):
            poses.append(T)
        if len(poses) == k:
            break
    return poses


def feature_guesses(
    source: Float[np.ndarray, "n 3"],
    target: Float[np.ndarray, "m 3"],
    *,
    voxel: float,
    rng: np.random.Generator,
    k: int = 5,
    n_triples: int = 20_000,
) -> list[Float[np.ndarray, "4 4"]]:
    """The k poses that most matches of features agree with, any rotation. Needs Open3D (extra `recon`).

    Args:
        source: points [m].
        target: points [m].
        voxel: [m] of the clouds, which are that dense.
        rng: draws the triples.
        k: how many.
        n_triples: that are tried.
    """
    ours, theirs = _features(source, voxel), _features(target, voxel)
    to = cKDTree(theirs).query(ours)[1]
    back = cKDTree(ours).query(theirs)[1]
    mutual = np.flatnonzero(back[to] == np.arange(len(source)))
    if len(mutual) < 3:
        return []
    p, q = source[mutual], target[to[mutual]]
    triples = np.stack([rng.integers(0, len(p), n_triples) for _ in range(3)], axis=1)
    a, b = p[triples], q[triples]
    edges = [np.linalg.norm(np.roll(x, 1, axis=1) - x, axis=2) for x in (a, b)]
    is_rigid = (np.abs(edges[0] - edges[1]) < voxel + 0.1 * edges[0]).all(axis=1) & (edges[0] > 4 * voxel).all(axis=1)
    R, t = _fit_triples(a[is_rigid], b[is_rigid])
    if len(R) == 0:
        return []
    score = np.array(
        [np.count_nonzero(_squared(p @ Ri.T + ti - q) < 4 * voxel**2) for Ri, ti in zip(R, t, strict=True)]
    )
    poses: list[np.ndarray] = []
    for best in np.argsort(-score, kind="stable"):
        T = np.eye(4)
        T[:3, :3], T[:3, 3] = R[best], t[best]
        if all(are_apart(T, other, 5 * voxel, 0.3) for other in poses):
            poses.append(T)
        if len(poses) == k:
            break
    return poses


def peaks(score: np.ndarray, is_allowed: np.ndarray, k: int, *, width: int = 5) -> list[tuple[float, int, int]]:
    """(value, row, column) of the k best local maxima of a correlation, each the highest of `width` x `width` cells."""
    at = np.flatnonzero(is_allowed & (score >= maximum_filter(score, width)))
    at = at[np.argsort(-score.ravel()[at], kind="stable")[:k]]
    return [(float(score.flat[i]), int(i) // score.shape[1], int(i) % score.shape[1]) for i in at]


def are_apart(a: np.ndarray, b: np.ndarray, distance: float, angle: float) -> bool:
    """True if two poses are more than `distance` [m] or `angle` [rad] apart: not one pose and the same a little off."""
    is_far = float(np.linalg.norm(a[:3, 3] - b[:3, 3])) > distance
    return bool(is_far or rotation_angle(a[:3, :3].T @ b[:3, :3]) > angle)


def _features(points: np.ndarray, voxel: float) -> Float[np.ndarray, "n 33"]:
    """FPFH of every point, of unit length."""
    o3d = import_extra("open3d", "recon")
    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(np.asarray(points, dtype=np.float64)))
    cloud.estimate_normals(o3d.geometry.KDTreeSearchParamHybrid(2.5 * voxel, 30))
    cloud.orient_normals_towards_camera_location(points.mean(axis=0))
    search = o3d.geometry.KDTreeSearchParamHybrid(6.0 * voxel, 100)
    features = np.asarray(o3d.pipelines.registration.compute_fpfh_feature(cloud, search).data).T.copy()
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-9)


def _fit_triples(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(R, t) of the rigid motions of (n, 3, 3) points that fit best (Arun, Huang and Blostein, PAMI 1987)."""
    middle_a, middle_b = a.mean(axis=1, keepdims=True), b.mean(axis=1, keepdims=True)
    U, _, Vt = np.linalg.svd(np.einsum("nki,nkj->nij", a - middle_a, b - middle_b))
    turn = np.swapaxes(U @ Vt, 1, 2)
    Vt[:, 2] *= np.sign(np.linalg.det(turn))[:, None]
    R = np.swapaxes(U @ Vt, 1, 2)
    return R, middle_b[:, 0] - np.einsum("nij,nj->ni", R, middle_a[:, 0])


def _squared(difference: np.ndarray) -> np.ndarray:
    return np.einsum("ni,ni->n", difference, difference)
