"""What a pose graph is made of: where the camera was, and how two such places lie to each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float

from embmem.maps.pose_graph.se3 import adjoint, inverse, logarithm, mahalanobis

STEP = 0.002  # [m] of the coordinates of a kept cloud, which reach 65 m
DRIFT = ("drift_distance", "drift_yaw", "drift_turn", "tilt")


@dataclass(frozen=True, eq=False)
class Keyframe:
    """One place of the camera that is remembered."""

    stamp: float  # [s]
    session: int  # odometry links keyframes of one session only
    T_map_camera: np.ndarray  # (4, 4) where the layers have it now
    T_map_made: np.ndarray  # (4, 4) where it was thought to be when it was made; records keep that
    T_odom_camera: np.ndarray  # (4, 4) as odometry had it
    cloud: np.ndarray  # (n, 3) int16 in steps of STEP, camera frame; one point a voxel
    descriptor: np.ndarray  # (d,) float32, see `appearance`

    def points(self) -> Float[np.ndarray, "n 3"]:
        """The cloud [m], camera frame."""
        return self.cloud * STEP


@dataclass(frozen=True, eq=False)
class Edge:
    """Keyframe j as seen from keyframe i."""

    i: int
    j: int
    T_i_j: np.ndarray  # (4, 4)
    covariance: np.ndarray  # (6, 6) of xi in T_i_j Exp(xi), rotation first
    kind: Literal["odometry", "loop"] = "odometry"
    is_on: bool = True  # False: thought to be wrong, kept because more evidence may say otherwise


def forward(edge: Edge) -> Edge:
    """The same edge from the earlier keyframe to the later one."""
    if edge.i < edge.j:
        return edge
    Ad = adjoint(edge.T_i_j)
    return replace(edge, i=edge.j, j=edge.i, T_i_j=inverse(edge.T_i_j), covariance=Ad @ edge.covariance @ Ad.T)


@dataclass(frozen=True)
class Drift:
    """How odometry errs. Variances grow with the way, so that sums over edges do not depend on how it is cut."""

    drift_distance: float = 0.02  # [m / sqrt(m)]
    drift_yaw: float = 0.01  # [rad / sqrt(m)] about the vertical
    drift_turn: float = 0.02  # [rad / sqrt(rad)] likewise, of turning
    tilt: float = 0.003  # [rad] from the vertical, of every edge: accelerometers see the vertical

    def __post_init__(self) -> None:
        rates = (self.drift_distance, self.drift_yaw, self.drift_turn, self.tilt)
        if not all(0 < rate < np.inf for rate in rates):
            raise ValueError(f"drift rates must be > 0 and finite, got {self}")

    def covariances(
        self, T_i_j: Float[np.ndarray, "n 4 4"], R_odom_j: Float[np.ndarray, "n 3 3"]
    ) -> Float[np.ndarray, "n 6 6"]:
        """Of odometry edges, from the relative poses and from the attitudes of their ends."""
        way = np.linalg.norm(T_i_j[:, :3, 3], axis=1) + 0.01
        cosine = np.clip((np.trace(T_i_j[:, :3, :3], axis1=1, axis2=2) - 1.0) / 2.0, -1.0, 1.0)
        yaw = self.drift_yaw**2 * way + self.drift_turn**2 * np.arccos(cosine)
        upright = np.zeros((len(way), 3, 3))
        upright[:, 0, 0] = upright[:, 1, 1] = self.tilt**2
        upright[:, 2, 2] = yaw
        result = np.zeros((len(way), 6, 6))
        result[:, :3, :3] = np.swapaxes(R_odom_j, 1, 2) @ upright @ R_odom_j
        result[:, 3:, 3:] = (self.drift_distance**2 * way)[:, None, None] * np.eye(3)
        return result


def odometry_edges(keyframes: Sequence[Keyframe], drift: Drift) -> list[Edge]:
    """One edge from each keyframe to the next of its session."""
    at = [k for k in range(len(keyframes) - 1) if keyframes[k].session == keyframes[k + 1].session]
    if not at:
        return []
    T_odom = np.stack([keyframe.T_odom_camera for keyframe in keyframes])
    rows = np.array(at)
    T_i_j = inverse(T_odom[rows]) @ T_odom[rows + 1]
    covariances = drift.covariances(T_i_j, T_odom[rows + 1, :3, :3])
    return [Edge(k, k + 1, T, covariance) for k, T, covariance in zip(at, T_i_j, covariances, strict=True)]


def edge_errors(poses: Float[np.ndarray, "n 4 4"], edges: Sequence[Edge]) -> Float[np.ndarray, " m"]:
    """Squared Mahalanobis distance of each edge from what the poses say; of 6 degrees of freedom."""
    if not edges:
        return np.zeros(0)
    i, j = (np.array([getattr(edge, end) for edge in edges]) for end in "ij")
    measured = np.stack([edge.T_i_j for edge in edges])
    error = logarithm(inverse(measured) @ inverse(poses[i]) @ poses[j])
    return mahalanobis(error, np.stack([edge.covariance for edge in edges]))


class Chain:
    """Relative poses along the odometry with their covariances, for any two keyframes of a session at once.

    Ad moves every edge's noise to the odometry frame, where sums over a stretch are differences of prefix sums.
    """

    def __init__(self, keyframes: Sequence[Keyframe], drift: Drift) -> None:
        self.T = np.stack([keyframe.T_odom_camera for keyframe in keyframes])
        self.session = np.array([keyframe.session for keyframe in keyframes])
        noise = np.zeros((len(keyframes), 6, 6))
        for edge in odometry_edges(keyframes, drift):
            noise[edge.j] = edge.covariance
        Ad = adjoint(self.T)
        self._sums = np.cumsum(Ad @ noise @ np.swapaxes(Ad, 1, 2), axis=0)

    def between(self, i: np.ndarray, j: np.ndarray) -> tuple[Float[np.ndarray, "n 4 4"], Float[np.ndarray, "n 6 6"]]:
        """(T_i_j, covariance in the frame of j) of pairs in the same session, either order."""
        T = inverse(self.T[i]) @ self.T[j]
        Ad = adjoint(inverse(self.T[j]))
        sign = np.where(j >= i, 1.0, -1.0)[:, None, None]
        return T, Ad @ (sign * (self._sums[j] - self._sums[i])) @ np.swapaxes(Ad, 1, 2)
