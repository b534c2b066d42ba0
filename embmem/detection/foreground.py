"""Which pixels of a box belong to the thing that it was drawn around."""

from __future__ import annotations

from math import ceil, log

import numpy as np
from jaxtyping import Bool, Float
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

MIN_PIXELS = 12
_BIN = log(1.04)  # of the histogram of log depth
_PEAK = 0.7  # share of the highest peak from which a nearer one is what the box was drawn around
_REACH = (0.08, 1.0)  # [m] least and most that a thing goes before and behind its middle
_NOISE, _SLOPE = 0.03, 4.0  # share of its depth, and slope against the image, by which a surface may go on
_PART = 0.1  # share of the middle depth's weight from which a part belongs to the thing
_SIDE = 160  # pixels of a box's edge; of larger ones every second, third, ... is looked at


def foreground(depth: Float[np.ndarray, "h w"], focal: float) -> Bool[np.ndarray, "h w"]:
    """The thing in a box, by depth: the nearest surface that takes up much of its middle, as far as it goes on.

    Depths are counted in steps of 4 %, the middle of the box more than its edges; the nearest peak with 70 % of the
    highest is the depth of the thing. To it belongs what is connected without a jump and no farther before or behind
    than three quarters of the longer edge of the box.

    Args:
        depth: inside of the box [m], NaN invalid.
        focal: length [px].
    """
    step = ceil(max(depth.shape) / _SIDE)
    if step > 1:
        few = foreground(depth[::step, ::step], focal / step)
        grown = few.repeat(step, axis=0).repeat(step, axis=1)[: depth.shape[0], : depth.shape[1]]
        return np.asarray(grown & np.isfinite(depth))
    is_valid = np.isfinite(depth) & (depth > 0)
    if is_valid.sum() < MIN_PIXELS:
        return np.zeros(depth.shape, dtype=bool)
    weights = np.where(is_valid, _towards_middle(depth.shape), 0.0)
    steps = np.floor(np.log(np.where(is_valid, depth, 1.0)) / _BIN).astype(np.int64)
    peak = _nearest_peak(steps, weights)
    is_peak = is_valid & (np.abs(steps - peak) <= 1)
    middle = float(np.median(depth[is_peak]))
    reach = float(np.clip(0.75 * max(depth.shape) * middle / focal, *_REACH))
    is_near = is_valid & (np.abs(np.where(is_valid, depth, np.inf) - middle) <= reach)
    parts = _connected(is_near, depth, _NOISE + _SLOPE / focal)
    share = np.bincount(parts[is_peak], weights[is_peak], minlength=int(parts.max()) + 1)
    share[0] = 0.0
    return np.asarray((share >= max(_PART * share.sum(), 1e-12))[parts])


def _towards_middle(shape: tuple[int, ...]) -> Float[np.ndarray, "h w"]:
    """1 in the middle of a box, a tenth at its corners."""
    y, x = (1.0 - np.abs(2.0 * (np.arange(n) + 0.5) / n - 1.0) for n in shape)
    return np.asarray(0.1 + 0.9 * np.outer(y, x))


def _nearest_peak(steps: np.ndarray, weights: np.ndarray) -> int:
    """The first step of depth whose smoothed weight is a maximum and not much below the highest."""
    first = int(steps[weights > 0].min())
    counts = np.bincount((steps - first)[weights > 0], weights[weights > 0])
    smooth = np.convolve(counts, [0.25, 0.5, 0.25])[1:-1] if len(counts) > 1 else counts
    around = np.pad(smooth, 1)
    is_peak = (smooth >= around[:-2]) & (smooth >= around[2:]) & (smooth >= _PEAK * smooth.max())
    return first + int(np.argmax(is_peak))


def _connected(is_on: Bool[np.ndarray, "h w"], depth: Float[np.ndarray, "h w"], jump: float) -> np.ndarray:
    """Number from 1 of the part that each pixel belongs to, 0 for those that are not on; neighbours up, down, aside."""
    numbers = np.arange(is_on.size).reshape(is_on.shape)
    pairs = []
    for one, other in ((np.s_[:, 1:], np.s_[:, :-1]), (np.s_[1:], np.s_[:-1])):
        with np.errstate(invalid="ignore"):
            is_one = is_on[one] & is_on[other] & (np.abs(depth[one] - depth[other]) <= jump * depth[one])
        pairs.append((numbers[one][is_one], numbers[other][is_one]))
    a, b = (np.concatenate(ends) for ends in zip(*pairs, strict=True))
    graph = coo_matrix((np.ones(len(a), dtype=np.int8), (a, b)), shape=(is_on.size, is_on.size))
    labels = connected_components(graph, directed=False)[1].reshape(is_on.shape)
    return np.where(is_on, labels + 1, 0)
