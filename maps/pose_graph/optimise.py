"""The most likely poses of a pose graph.

GTSAM solves it (extra `recon`): it is the field's reference, kept up since 2010, has robust kernels, and brings wheels
for CPython 3.10 (4.2) and 3.11 to 3.13 (4.3) on x86 and ARM. Open3D's optimiser knows one kernel, for which it wants
information matrices in its own convention and no prior; g2o and Ceres come with no Python wheels of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from embmem.errors import import_extra
from embmem.maps.pose_graph.graph import Edge, edge_errors
from embmem.maps.pose_graph.se3 import are_covariances, are_rigid, likely_below

_MAX_ROUNDS = 8
_CAUCHY = 3.0  # [sigma] where the kernel begins to doubt


@dataclass(frozen=True, eq=False)
class Optimised:
    """The poses, and which edges they rest on."""

    poses: np.ndarray  # (n, 4, 4)
    is_on: np.ndarray  # (m,) False for loop edges that the others contradict
    errors: np.ndarray  # (m,) squared Mahalanobis distance of each edge, of 6 degrees of freedom


def optimise(
    poses: Float[np.ndarray, "n 4 4"],
    edges: Sequence[Edge],
    *,
    probability: float = 0.99,
) -> Optimised:
    """The poses that explain the edges best, with the first keyframe of every connected part where it was.

    Levenberg-Marquardt with a Cauchy kernel on the loop edges; then those farther off than `probability` allows are
    switched off, those that fit again switched on, and the rest is solved without kernels, until nothing changes.
    Odometry is always believed. Loops that are off when they come in stay off.

    Args:
        poses: T_map_camera to begin with.
        edges: between them.
        probability: with which a right loop is to be kept.

    Raises:
        ValueError: if an edge is none, see `check_edge`, or a pose is not finite.
        MissingExtraError: if GTSAM is not installed.
    """
    if not np.isfinite(poses).all():
        raise ValueError("poses must be finite")
    for edge in edges:
        check_edge(edge, len(poses))
    allowed = np.array([edge.is_on for edge in edges], dtype=np.bool_)
    is_loop = np.array([edge.kind == "loop" for edge in edges], dtype=np.bool_)
    if not (allowed & is_loop).any():
        return Optimised(poses.copy(), allowed, edge_errors(poses, edges))
    gtsam = import_extra("gtsam", "recon")
    limit = likely_below(probability)
    current = _solve(gtsam, poses, edges, allowed, is_loop)
    is_on = allowed & (~is_loop | (edge_errors(current, edges) <= limit))
    for _ in range(_MAX_ROUNDS):
        current = _solve(gtsam, current, edges, is_on, np.zeros_like(is_loop))
        now = allowed & (~is_loop | (edge_errors(current, edges) <= limit))
        if (now == is_on).all():
            break
        is_on = now
    return Optimised(current, is_on, edge_errors(current, edges))


def check_edge(edge: Edge, n_poses: int) -> None:
    """Refuse an edge that leads nowhere or says nothing.

    Raises:
        ValueError: if it names a pose that is not there, its pose is not rigid or its covariance none.
    """
    if not (0 <= edge.i < n_poses and 0 <= edge.j < n_poses and edge.i != edge.j):
        raise ValueError(f"edge {edge.i} -> {edge.j} of a graph of {n_poses} poses")
    if not (np.isfinite(edge.T_i_j).all() and np.isfinite(edge.covariance).all()):
        raise ValueError(f"edge {edge.i} -> {edge.j} holds numbers that are not finite")
    if not (are_rigid(edge.T_i_j[None, :3]) and are_covariances(edge.covariance[None])):
        raise ValueError(f"edge {edge.i} -> {edge.j} has a pose that is not rigid or a covariance that is none")


def _solve(
    gtsam: ModuleType, poses: np.ndarray, edges: Sequence[Edge], is_on: np.ndarray, is_doubted: np.ndarray
) -> np.ndarray:
    """Least squares over the edges that are on; those doubted have a Cauchy kernel."""
    graph, values = gtsam.NonlinearFactorGraph(), gtsam.Values()
    for k, T in enumerate(poses):
        values.insert(k, gtsam.Pose3(T))
    used = [(edge, doubted) for edge, on, doubted in zip(edges, is_on, is_doubted, strict=True) if on]
    for k in _first_of_each_part(len(poses), [edge for edge, _ in used]):
        graph.add(gtsam.PriorFactorPose3(int(k), gtsam.Pose3(poses[k]), gtsam.noiseModel.Isotropic.Sigma(6, 1e-6)))
    kernel = gtsam.noiseModel.mEstimator.Cauchy.Create(_CAUCHY)
    for edge, doubted in used:
        noise: Any = gtsam.noiseModel.Gaussian.Covariance(edge.covariance)
        if doubted:
            noise = gtsam.noiseModel.Robust.Create(kernel, noise)
        graph.add(gtsam.BetweenFactorPose3(edge.i, edge.j, gtsam.Pose3(edge.T_i_j), noise))
    params = gtsam.LevenbergMarquardtParams()
    params.setMaxIterations(200)
    params.setRelativeErrorTol(1e-12)
    params.setAbsoluteErrorTol(1e-12)
    found = gtsam.LevenbergMarquardtOptimizer(graph, values, params).optimize()
    return np.stack([found.atPose3(k).matrix() for k in range(len(poses))])


def _first_of_each_part(n: int, edges: Sequence[Edge]) -> np.ndarray:
    """The lowest pose of each connected component."""
    i, j = ([getattr(edge, end) for edge in edges] for end in "ij")
    parts = connected_components(coo_array((np.ones(len(i)), (i, j)), shape=(n, n)), directed=False)[1]
    first: np.ndarray = np.unique(parts, return_index=True)[1]
    return first
