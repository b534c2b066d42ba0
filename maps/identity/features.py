"""What is compared when a segment may be a remembered thing."""

from __future__ import annotations

from math import log, sqrt
from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Bool, Float, Int
from numba import njit

from embmem.maps.identity.model import N_FEATURES

TOUCH = 0.05  # [m] between the boxes of two views of one large thing
_RIM = 0.02  # [m] by which boxes are widened: a thing seen from one side may be flat
_NOMINAL = 1.0  # [m] from the camera, of things
_NOT_ALIKE = 1e-9  # product of looks that have nothing in common


class Compared(NamedTuple):
    """Things or segments, as the kernel wants them."""

    position: Float[np.ndarray, "n 3"]  # [m]
    box: Float[np.ndarray, "n 2 3"]  # [m]
    category: Int[np.ndarray, " n"]
    is_cut: Bool[np.ndarray, " n"]
    distance: Float[np.ndarray, " n"]  # [m] from the camera
    existence: Float[np.ndarray, " n"]  # log-odds
    stamp: Float[np.ndarray, " n"]  # [s] of the last sighting


def things(rows: np.ndarray) -> Compared:
    """Rows of the table to be compared."""
    position, box, category, existence, stamp = (
        np.ascontiguousarray(rows[name]) for name in ("position", "box", "category", "log_odds", "last_seen")
    )
    n = len(rows)
    return Compared(position, box, category, np.zeros(n, np.bool_), np.full(n, _NOMINAL), existence, stamp)


def compare(
    old: Compared, new: Compared, looks: tuple[np.ndarray, np.ndarray], *, gate: float
) -> tuple[Float[np.ndarray, "n m f"], Int[np.ndarray, "n m"]]:
    """(features, regime) of every pair of an old thing and a new one; the looks (n, d), (m, d) are 0 where unknown."""
    features, regime = _all_pairs(tuple(old), tuple(new), gate)
    if _comparable(looks):
        is_known = np.logical_and.outer(_known(looks[0]), _known(looks[1]))
        _put_alike(features, looks[0].astype(np.float64) @ looks[1].astype(np.float64).T, is_known)
    return features, regime


def compare_each(
    old: Compared, new: Compared, looks: tuple[np.ndarray, np.ndarray], *, gate: float
) -> tuple[Float[np.ndarray, "n f"], Int[np.ndarray, " n"]]:
    """The same of each old thing and the new one with the same index."""
    features, regime = _each_pair(tuple(old), tuple(new), gate)
    if _comparable(looks):
        is_known = _known(looks[0]) & _known(looks[1])
        alike = np.einsum("nd,nd->n", looks[0].astype(np.float64), looks[1].astype(np.float64))
        _put_alike(features, alike, is_known)
    return features, regime


def _put_alike(
    features: Float[np.ndarray, "*pairs f"], alike: Float[np.ndarray, "*pairs"], is_known: Bool[np.ndarray, "*pairs"]
) -> None:
    """Fill in the last two features; 0 says that a look is missing, so at right angles it is nearly 0."""
    alike = np.where(is_known & (alike == 0.0), _NOT_ALIKE, alike)
    features[..., -1], features[..., -2] = alike, alike * np.abs(alike)


def _known(looks: np.ndarray) -> Bool[np.ndarray, " n"]:
    return np.asarray(looks.any(axis=1))


def _comparable(looks: tuple[np.ndarray, np.ndarray]) -> bool:
    return bool(looks[0].shape[1] > 0 and looks[0].shape[1] == looks[1].shape[1])


@no_type_check
@njit(cache=True)
def _all_pairs(old, new, gate):
    """((n, m, f) features without looks, (n, m) regimes: 0 none, 1 here, 2 elsewhere) of `Compared` tuples."""
    n, m = len(old[2]), len(new[2])
    features = np.zeros((n, m, N_FEATURES))
    regime = np.zeros((n, m), dtype=np.int64)
    for i in range(n):
        for j in range(m):
            regime[i, j] = _compare(old, i, new, j, gate, features[i, j])
    return features, regime


@no_type_check
@njit(cache=True)
def _each_pair(old, new, gate):
    n = len(old[2])
    features = np.zeros((n, N_FEATURES))
    regime = np.zeros(n, dtype=np.int64)
    for i in range(n):
        regime[i] = _compare(old, i, new, i, gate, features[i])
    return features, regime


@no_type_check
@njit(cache=True)
def _compare(old, i, new, j, gate, f):
    """The regime of one pair, whose features are written to f; those of no regime stay 0.

    Here: positions within `gate` plus half the larger one, or boxes within a touch. Elsewhere: of one category.
    """
    square, gap, largest = 0.0, 0.0, 0.0
    common, volume, volume_too, diagonal, diagonal_too = 1.0, 1.0, 1.0, 0.0, 0.0
    for axis in range(3):
        low, high = old[1][i, 0, axis], old[1][i, 1, axis]
        low_too, high_too = new[1][j, 0, axis], new[1][j, 1, axis]
        square += (old[0][i, axis] - new[0][j, axis]) ** 2
        gap += max(low - high_too, low_too - high, 0.0) ** 2
        largest = max(largest, high - low, high_too - low_too)
        common *= max(min(high, high_too) - max(low, low_too) + 2.0 * _RIM, 0.0)
        side, side_too = high - low + 2.0 * _RIM, high_too - low_too + 2.0 * _RIM
        volume, volume_too = volume * side, volume_too * side_too
        diagonal, diagonal_too = diagonal + side * side, diagonal_too + side_too * side_too
    is_other = old[2][i] != new[2][j]
    is_here = square <= (gate + 0.5 * largest) ** 2 or gap <= TOUCH * TOUCH
    if is_other and not is_here:
        return 0
    f[0] = 1.0
    f[1] = log(1.0 + sqrt(square) / 0.1)
    f[2] = common / min(volume, volume_too)
    f[3] = 0.0 if new[3][j] else abs(0.5 * log(diagonal / diagonal_too))
    f[4] = 1.0 if new[3][j] else 0.0
    f[5] = 1.0 if is_other else 0.0
    f[6] = new[4][j] / 5.0
    f[7] = old[5][i]
    f[8] = log(1.0 + max(new[6][j] - old[6][i], 0.0) / 3600.0)
    f[9] = 0.5 * log(diagonal / 0.09)
    return 1 if is_here else 2
