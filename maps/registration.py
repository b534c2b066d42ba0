"""Rigid registration of two point clouds that says when it is not to be believed.

Point-to-plane ICP (Chen and Medioni, ICRA 1991) from a guess, or from the best of several rough poses. Open3D's ICP
sums in the order in which its threads finish; this one gives the same bits on every run, and tests hold it to Open3D's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Bool, Float
from numpy.lib.stride_tricks import sliding_window_view
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from embmem.geometry import invert_pose, transform_points
from embmem.maps.coarse_alignment import SearchRange, are_apart, feature_guesses, upright_guesses

FreeSpace = Callable[[np.ndarray], np.ndarray]  # (n, 3) points [m] -> (n,) True where space was seen to be empty

_NEIGHBOURS = 12  # from which a normal is estimated
_MIN_POINTS = 30
_ROUGH = ((5.0, 15, 800), (3.0, 10, 800))  # ICP: pairs up to so many voxels apart, steps, points
_FINE = ((3.0, 10, 1500), (1.5, 20, 3000))
_SLIDES = 0.005  # stiffness below which ICP does not follow a direction
_BIN = np.radians(5.0)  # of the range image that tells free space ...
_N_AZIMUTH, _N_POLAR = 72, 36  # ... and its size
_CORRELATED = 20.0  # neighbouring points err alike: so many count as one


@dataclass(frozen=True)
class Acceptance:
    """What a registration must fulfil to be verified."""

    min_fitness: float = 0.5  # share of the source that lies on the target
    max_rmse: float = 0.06  # [m] of these points from their planes
    min_stiffness: float = 0.01  # see `Registration.stiffness`
    max_violation: float = 0.08  # see `Registration.violation`
    max_rival: float = 0.92  # see `Registration.rival`
    max_tilt: float = np.radians(5.0)  # between the z axes, where both frames are upright [rad]


@dataclass(frozen=True, eq=False)
class Registration:
    """Where the source lies in the target, and whether to believe it."""

    T_target_source: np.ndarray  # (4, 4)
    covariance: np.ndarray  # (6, 6) of xi in T Exp(xi), rotation [rad] first, then translation [m]
    fitness: float  # share of the source points within `distance` of the target's surface
    rmse: float  # [m] of these points from their planes
    stiffness: float  # least eigenvalue of the information a point; ~0 if something can slide (Zhang et al., ICRA 2016)
    violation: float  # share of points that lie where the other cloud saw empty space
    rival: float  # fitness of the next best, distinct pose as a share of this one's; 0 without a search
    is_verified: bool
    why_not: str = ""  # the first condition that does not hold


@dataclass(frozen=True, eq=False)
class Cloud:
    """Points with what registering them needs; make one with `prepare` and use it often."""

    points: np.ndarray  # (n, 3) [m]
    normals: np.ndarray  # (n, 3) unit length, sign undefined
    tree: cKDTree = field(repr=False)


def prepare(points: Float[np.ndarray, "n 3"]) -> Cloud:
    """The points with normals and a search tree.

    Raises:
        ValueError: if a point is not finite.
    """
    points = np.ascontiguousarray(points, dtype=np.float64)
    if not np.isfinite(points).all():
        raise ValueError(f"{np.count_nonzero(~np.isfinite(points).all(axis=1))} points are not finite")
    tree = cKDTree(points)
    if len(points) < 3:
        return Cloud(points, np.tile([0.0, 0.0, 1.0], (len(points), 1)), tree)
    near = points[tree.query(points, k=min(_NEIGHBOURS, len(points)))[1]]
    near = near - near.mean(axis=1, keepdims=True)
    _, vectors = np.linalg.eigh(np.einsum("nki,nkj->nij", near, near))
    return Cloud(points, np.ascontiguousarray(vectors[:, :, 0]), tree)


def seen_free(
    points: Float[np.ndarray, "n 3"], origin: Float[np.ndarray, "3"] | None = None, *, margin: float = 0.3
) -> FreeSpace:
    """What a sensor at `origin` saw to be empty: the space `margin` [m] and more before the points that it measured."""
    centre = np.zeros(3) if origin is None else np.asarray(origin, dtype=np.float64)
    azimuth, polar, ranges = _directions(points - centre)
    image = np.full((_N_AZIMUTH, _N_POLAR), np.inf)
    order = np.argsort(-ranges, kind="stable")
    image[azimuth[order], polar[order]] = ranges[order]  # the nearest stays
    padded = np.pad(np.pad(image, ((1, 1), (0, 0)), mode="wrap"), ((0, 0), (1, 1)), constant_values=np.inf)
    around = sliding_window_view(padded, (3, 3)).reshape(_N_AZIMUTH, _N_POLAR, 9)
    # A direction is known if most of those around it are; the nearest of them counts.
    nearest = np.where(np.isfinite(around).sum(axis=2) >= 5, around.min(axis=2), 0.0)

    def is_free(asked: np.ndarray) -> np.ndarray:
        a, p, r = _directions(asked - centre)
        return r < nearest[a, p] - margin

    return is_free


def register(
    source: Float[np.ndarray, "n 3"] | Cloud,
    target: Float[np.ndarray, "m 3"] | Cloud,
    guess: Float[np.ndarray, "4 4"] | None = None,
    *,
    voxel: float = 0.1,
    search: SearchRange | None = None,
    upright: bool = True,
    source_free: FreeSpace | None = None,
    target_free: FreeSpace | None = None,
    acceptance: Acceptance = Acceptance(),
    seed: int = 0,
) -> Registration:
    """Where the source lies in the target.

    Args:
        source: points [m], about one a `voxel`.
        target: points [m], likewise; a whole map may be one.
        guess: `T_target_source`; without one everything is searched.
        voxel: [m] how dense the clouds are. ICP begins with points up to 5 voxels apart.
        search: look around the guess as far as this; None believes a guess to a few voxels.
        upright: z is up in both frames: the search turns about z only, and a tilt is refused. Else it is by features
            and everywhere, which takes Open3D.
        source_free: where the source saw empty space, in its frame; a target point there speaks against the pose.
        target_free: likewise of the target.
        acceptance: what is verified.
        seed: of the triples that features are matched by.

    Raises:
        ValueError: if points or guess are not finite, or `voxel` is not > 0.
        MissingExtraError: if features are needed and Open3D is not installed.
    """
    if not voxel > 0 or (guess is not None and not (guess.shape == (4, 4) and np.isfinite(guess).all())):
        raise ValueError(f"need voxel > 0 and a finite (4, 4) guess, got {voxel}, {guess}")
    ours = source if isinstance(source, Cloud) else prepare(source)
    theirs = target if isinstance(target, Cloud) else prepare(target)
    if min(len(ours.points), len(theirs.points)) < _MIN_POINTS:
        return _refused(guess, f"need {_MIN_POINTS} points, got {len(ours.points)} and {len(theirs.points)}")
    starts = [guess] if guess is not None and search is None else []
    if not starts and upright:
        around, within = np.eye(4) if guess is None else guess, search or SearchRange()
        try:  # loops are looked for while the robot drives: clouds too large to search must not stop it
            starts = upright_guesses(ours.points, theirs.points, around, within=within, cell=2.0 * voxel)
        except ValueError as error:
            return _refused(guess, str(error))
    elif not starts:
        rng = np.random.default_rng(seed)
        starts = feature_guesses(ours.points, theirs.points, voxel=voxel, rng=rng)
    if not starts:
        return _refused(guess, "nothing in the two clouds matches")
    rough = [_judged(_some(ours, 800), theirs, _icp(ours, theirs, start, _ROUGH, voxel), voxel) for start in starts]
    hopeful = [one for one in rough if one.fitness >= 0.8 * max(each.fitness for each in rough)]
    fine = [_icp(ours, theirs, one.T_target_source, _FINE, voxel) for one in hopeful]
    tried = sorted((_judged(ours, theirs, T, voxel) for T in fine), key=lambda one: -one.fitness)
    best = tried[0]
    rival = max((one.fitness for one in tried if _is_elsewhere(one, best, voxel)), default=0.0)
    best = replace(
        best,
        rival=rival / max(best.fitness, 1e-9),
        violation=_violation(ours, theirs, best, (source_free, target_free), voxel),
    )
    why_not = _complaint(best, acceptance, upright)
    return replace(best, is_verified=not why_not, why_not=why_not)


def _directions(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(azimuth bin, polar bin, range [m]) of points around the sensor."""
    ranges = np.linalg.norm(points, axis=1)
    azimuth = ((np.arctan2(points[:, 1], points[:, 0]) + np.pi) / _BIN).astype(np.int64)
    cosine = np.clip(points[:, 2] / np.maximum(ranges, 1e-9), -1.0, 1.0)
    polar = (np.arccos(cosine) / _BIN).astype(np.int64)
    return azimuth % _N_AZIMUTH, np.minimum(polar, _N_POLAR - 1), ranges


def _some(cloud: Cloud, n: int) -> Cloud:
    """About n of the points, to be laid on another cloud."""
    every = slice(None, None, -(-len(cloud.points) // n))
    return Cloud(cloud.points[every], cloud.normals[every], cloud.tree)


def _icp(
    source: Cloud, target: Cloud, start: np.ndarray, stages: tuple[tuple[float, int, int], ...], voxel: float
) -> np.ndarray:
    """Point-to-plane from the start, in stages, with Cauchy weights."""
    T = np.array(start, dtype=np.float64)
    for n_voxels, n_steps, n_points in stages:
        reach, some = n_voxels * voxel, _some(source, n_points)
        for _ in range(n_steps):
            J, residual, rows = _pairs(some, target, T, reach)
            if len(residual) < 6:
                return T
            weight = 1.0 / (1.0 + (residual / (0.3 * reach)) ** 2)
            units = _units(some.points[rows])
            J = J @ units
            values, vectors = np.linalg.eigh(J.T @ (J * weight[:, None]))
            stiff = values > _SLIDES * weight.sum()  # what can slide stays where the guess has it
            along = vectors[:, stiff]
            xi = -units @ along @ ((along.T @ (J.T @ (weight * residual))) / values[stiff])
            T[:3, 3] += T[:3, :3] @ xi[3:]
            T[:3, :3] = T[:3, :3] @ Rotation.from_rotvec(xi[:3]).as_matrix()
            if np.abs(xi).max() < 1e-3 * voxel:
                break
    return T


def _pairs(source: Cloud, target: Cloud, T: np.ndarray, reach: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(Jacobians (n, 6), distances to the plane (n,), source rows) of points with one nearby that faces alike."""
    moved = transform_points(T, source.points)
    distance, at = target.tree.query(moved, distance_upper_bound=reach)
    rows = np.flatnonzero(np.isfinite(distance))
    normals = target.normals[at[rows]]
    facing = np.abs(np.einsum("ni,ij,nj->n", normals, T[:3, :3], source.normals[rows])) > 0.7
    rows, normals = rows[facing], normals[facing]
    residual = np.einsum("ni,ni->n", normals, moved[rows] - target.points[at[rows]])
    local = normals @ T[:3, :3]
    return np.concatenate([np.cross(source.points[rows], local), local], axis=1), residual, rows


def _judged(source: Cloud, target: Cloud, T: np.ndarray, voxel: float) -> Registration:
    """The pose with fitness, error and covariance, not verified yet."""
    J, residual, rows = _pairs(source, target, T, 1.5 * voxel)
    near = np.abs(residual) < voxel
    J, residual, rows = J[near], residual[near], rows[near]
    if len(rows) < 6:
        return _refused(T, "nothing meets")
    rmse = float(np.sqrt(np.mean(residual**2)))
    units = _units(source.points[rows])
    values, vectors = np.linalg.eigh(units.T @ (J.T @ J) @ units / len(J))
    stiffness = float(values[0])
    values = np.where(values > _SLIDES, values, 1e-6)  # below it is noise of the normals that seems to hold
    spread = units @ (vectors / np.sqrt(values))
    noise = (rmse**2 + (0.1 * voxel) ** 2) * _CORRELATED / len(J)
    covariance = noise * (spread @ spread.T) + np.diag([1e-3**2] * 3 + [(0.05 * voxel) ** 2] * 3)
    return Registration(T, covariance, len(rows) / len(source.points), rmse, stiffness, 0.0, 0.0, False)


def _units(points: np.ndarray) -> Float[np.ndarray, "6 6"]:
    """Turns rotations about the middle of the points, in units of their size, and translations into xi.

    In these units the eigenvalues of the information matrix compare with each other.
    """
    x, y, z = middle = points.mean(axis=0)
    size = float(np.sqrt(np.mean(np.sum((points - middle) ** 2, axis=1)))) + 1e-9
    units = np.eye(6)
    units[:3, :3] /= size
    units[3:, :3] = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]]) / size
    return units


def _violation(
    source: Cloud, target: Cloud, found: Registration, free: tuple[FreeSpace | None, FreeSpace | None], voxel: float
) -> float:
    """The larger share of points of one cloud that lie in what the other saw to be empty, of those that it saw."""
    T = found.T_target_source
    worst = 0.0
    for is_free, asked, other, pose in (
        (free[0], target.points, source, invert_pose(T)),
        (free[1], source.points, target, T),
    ):
        if is_free is None:
            continue
        moved = transform_points(pose, asked)
        meets: Bool[np.ndarray, " n"] = np.isfinite(other.tree.query(moved, distance_upper_bound=2.0 * voxel)[0])
        n_free = int(np.count_nonzero(is_free(moved) & ~meets))
        worst = max(worst, n_free / max(n_free + int(np.count_nonzero(meets)), 1))
    return worst


def _is_elsewhere(one: Registration, best: Registration, voxel: float) -> bool:
    """True if the pose is another one, not the same a little off."""
    return are_apart(one.T_target_source, best.T_target_source, 4.0 * voxel, 0.2)


def _complaint(found: Registration, acceptance: Acceptance, upright: bool) -> str:
    """The first condition that does not hold, empty if all do."""
    tilt = float(np.arccos(np.clip(found.T_target_source[2, 2], -1.0, 1.0)))
    if found.fitness < acceptance.min_fitness:
        return f"only {found.fitness:.2f} of the source lies on the target"
    if found.rmse > acceptance.max_rmse:
        return f"what meets is {found.rmse:.3f} m off"
    if found.stiffness < acceptance.min_stiffness:
        return f"it can slide: least eigenvalue {found.stiffness:.4f}"
    if upright and tilt > acceptance.max_tilt:
        return f"it is tilted by {np.degrees(tilt):.1f} degrees"
    if found.violation > acceptance.max_violation:
        return f"{found.violation:.2f} of the points lie in space that was seen to be empty"
    if found.rival > acceptance.max_rival:
        return f"another pose fits {found.rival:.2f} as well"
    return ""


def _refused(guess: np.ndarray | None, why_not: str) -> Registration:
    T = np.eye(4) if guess is None else np.array(guess, dtype=np.float64)
    return Registration(T, np.full((6, 6), np.inf), 0.0, np.inf, 0.0, 0.0, 0.0, False, why_not)
