"""Stacks of rigid transforms: inverse, logarithm and adjoint, as GTSAM has them.

xi = (rotation [rad], translation [m]); a pose T moves to T Exp(xi). Barfoot, State Estimation for Robotics, 2017
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation
from scipy.special import gammaincinv

_RIGID = 1e-6  # of the products of two rows of a rotation


def inverse(T: Float[np.ndarray, "*n 4 4"]) -> Float[np.ndarray, "*n 4 4"]:
    """The inverses of rigid transforms."""
    turned = np.swapaxes(T[..., :3, :3], -1, -2)
    result = np.zeros_like(T)
    result[..., :3, :3] = turned
    result[..., :3, 3] = -np.einsum("...ij,...j->...i", turned, T[..., :3, 3])
    result[..., 3, 3] = 1.0
    return result


def rigid(T: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "4 4"]:
    """The transform with the nearest rotation in it: recorded poses are rounded."""
    U, _, Vt = np.linalg.svd(T[:3, :3])
    result = T.copy()
    result[:3, :3] = U @ Vt
    return result


def are_rigid(poses: Float[np.ndarray, "n 3 4"]) -> bool:
    """Whether the upper rows of transforms hold rotations, to 1e-6."""
    R = poses[:, :, :3]
    error = np.abs(R @ np.swapaxes(R, 1, 2) - np.eye(3)).max(initial=0.0)
    return bool(error <= _RIGID and (np.linalg.det(R) > 0).all())


def are_covariances(matrices: Float[np.ndarray, "n 6 6"]) -> bool:
    """Whether the matrices are symmetric and positive definite."""
    is_even = (np.abs(matrices - np.swapaxes(matrices, 1, 2)) <= 1e-9 * (1.0 + np.abs(matrices))).all()
    return bool(is_even and (np.linalg.eigvalsh(matrices) > 0).all())


def skew(v: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3 3"]:
    """[v]x, with which [v]x w is the cross product of v and w."""
    result = np.zeros((*v.shape[:-1], 3, 3))
    result[..., 0, 1], result[..., 0, 2], result[..., 1, 2] = -v[..., 2], v[..., 1], -v[..., 0]
    return result - np.swapaxes(result, -1, -2)


def adjoint(T: Float[np.ndarray, "*n 4 4"]) -> Float[np.ndarray, "*n 6 6"]:
    """Ad(T), with which T Exp(xi) = Exp(Ad(T) xi) T."""
    R = T[..., :3, :3]
    result = np.zeros((*T.shape[:-2], 6, 6))
    result[..., :3, :3] = result[..., 3:, 3:] = R
    result[..., 3:, :3] = skew(T[..., :3, 3]) @ R
    return result


def logarithm(T: Float[np.ndarray, "n 4 4"]) -> Float[np.ndarray, "n 6"]:
    """The xi with Exp(xi) = T, rotation first."""
    turn = Rotation.from_matrix(T[:, :3, :3]).as_rotvec().reshape(-1, 3)
    angle = np.linalg.norm(turn, axis=1)
    half = np.where(angle > 1e-4, 0.5 * angle, 1.0)
    factor = np.where(angle > 1e-4, (1.0 - half / np.tan(half)) / np.maximum(angle, 1e-4) ** 2, 1.0 / 12.0)
    W = skew(turn)
    unroll = np.eye(3) - 0.5 * W + factor[:, None, None] * (W @ W)
    return np.concatenate([turn, np.einsum("nij,nj->ni", unroll, T[:, :3, 3])], axis=1)


def exponential(xi: Float[np.ndarray, "n 6"]) -> Float[np.ndarray, "n 4 4"]:
    """Exp(xi), the inverse of `logarithm`."""
    angle = np.linalg.norm(xi[:, :3], axis=1)
    safe = np.maximum(angle, 1e-4)
    a = np.where(angle > 1e-4, (1.0 - np.cos(safe)) / safe**2, 0.5)
    b = np.where(angle > 1e-4, (safe - np.sin(safe)) / safe**3, 1.0 / 6.0)
    W = skew(xi[:, :3])
    T = np.zeros((len(xi), 4, 4))
    T[:, :3, :3] = Rotation.from_rotvec(xi[:, :3]).as_matrix()
    roll = np.eye(3) + a[:, None, None] * W + b[:, None, None] * (W @ W)
    T[:, :3, 3] = np.einsum("nij,nj->ni", roll, xi[:, 3:])
    T[:, 3, 3] = 1.0
    return T


def mahalanobis(errors: Float[np.ndarray, "n 6"], covariances: Float[np.ndarray, "n 6 6"]) -> Float[np.ndarray, " n"]:
    """Squared Mahalanobis lengths."""
    return np.einsum("ni,ni->n", errors, np.linalg.solve(covariances, errors[..., None])[..., 0])


def likely_below(probability: float) -> float:
    """What a squared Mahalanobis length is below with this probability: the quantile of chi-square with 6 degrees."""
    return float(2.0 * gammaincinv(3.0, probability))  # scipy.stats has it, too, and costs half a second to import
