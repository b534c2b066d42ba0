"""What real sensors do to perfect images: a depth camera's noise and holes, a detector's mistakes.

Both are cheap (well below a millisecond at 256 x 192), take every random number from the generator that is passed
in, and leave their inputs as they are. `@no_type_check` keeps the test suite's run-time type checker away from
functions that numba compiles.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import no_type_check

import numpy as np
from jaxtyping import Float32, Int, Int32
from numba import njit

from embmem.sim_envs.house.categories import LABEL_IDS, OBJECT_CATEGORIES
from embmem.sim_envs.house.furniture import FURNITURE_CATEGORIES

_BLOB = (0.02, 0.1)  # half axes of a false detection, as shares of the image's width


@dataclass(frozen=True)
class CameraNoise:
    """A structured-light depth camera.

    The sensor measures disparity, so noise and quantisation are even in 1/z and grow with z^2 in depth: sigma(z) =
    `depth_sigma_quadratic` z^2 (Khoshelham and Elberink, Accuracy and resolution of Kinect depth data for indoor
    mapping applications, Sensors 2012, eq. 8; they measure 1.425e-3 / m, and levels 2.85e-3 / m apart).
    """

    depth_sigma_quadratic: float = 1.425e-3  # [1/m] standard deviation of the inverse depth
    disparity_step: float = 2.85e-3  # [1/m] distance of two levels of inverse depth, 0 = continuous
    hole_rate: float = 0.01  # share of all pixels that get no depth, evenly spread
    edge_hole_rate: float = 0.5  # share of pixels at jumps and grazing surfaces that get no depth
    edge_jump: float = 0.05  # relative difference to a neighbour that makes such a pixel
    near: float = 0.1  # [m] nothing nearer is measured
    far: float = 8.0  # [m] nothing farther is measured

    def __post_init__(self) -> None:
        rates = (self.hole_rate, self.edge_hole_rate)
        if self.depth_sigma_quadratic < 0 or self.disparity_step < 0 or not all(0 <= r <= 1 for r in rates):
            raise ValueError(f"need deviation and step >= 0 and rates in [0, 1], got {self}")
        if not 0 <= self.near < self.far or self.edge_jump <= 0:
            raise ValueError(f"need 0 <= near < far and edge_jump > 0, got {self}")

    def apply(self, depth: Float32[np.ndarray, "h w"], rng: np.random.Generator) -> Float32[np.ndarray, "h w"]:
        """The depth image [m] that the camera measures instead of `depth`; NaN stays NaN, lost pixels become NaN."""
        measured = np.empty_like(depth)
        n = depth.size if self.depth_sigma_quadratic > 0 else 0
        bits = rng.integers(0, 2**64, size=n, dtype=np.uint64)
        limits = (self.near, self.far)
        _measure(depth, bits, self.depth_sigma_quadratic, self.disparity_step, limits, measured)
        if self.edge_hole_rate > 0:
            _drop_edges(depth, self.edge_jump, self.edge_hole_rate, rng, measured)
        if self.hole_rate > 0:
            _drop(measured, self.hole_rate, rng)
        return measured


@dataclass(frozen=True)
class Detector:
    """An instance segmenter for furniture and small objects; what has instance 0 (walls, floors) passes unchanged.

    Each frame is judged on its own: a segment is missed, found or found under a wrong label, and segments get new
    numbers 1..n in random order, since a detector does not know what it saw before.
    """

    miss: float = 0.05  # probability that a segment is overlooked
    false_positive: float = 0.01  # mean number of segments per frame that are not there (Poisson)
    confusion: float = 0.02  # probability that a found segment gets another of the known labels
    min_pixels: int = 12  # smaller segments are never found
    labels: Sequence[str] | None = None  # what it can find; others are always missed; None = everything
    _known: np.ndarray = field(init=False, repr=False, compare=False)  # (k,) ids of `labels`, ascending
    _is_known: np.ndarray = field(init=False, repr=False, compare=False)  # by label id

    def __post_init__(self) -> None:
        if not (0 <= self.miss <= 1 and 0 <= self.confusion <= 1 and self.false_positive >= 0):
            raise ValueError(f"need probabilities in [0, 1] and false_positive >= 0, got {self}")
        labels = (*FURNITURE_CATEGORIES, *OBJECT_CATEGORIES) if self.labels is None else tuple(self.labels)
        unknown = [label for label in labels if label not in LABEL_IDS]
        if unknown or not labels:
            raise ValueError(f"unknown labels {unknown} among the detector's {len(labels)}")
        known = np.unique([LABEL_IDS[label] for label in labels]).astype(np.int32)
        is_known = np.zeros(len(LABEL_IDS), dtype=bool)
        is_known[known] = True
        object.__setattr__(self, "_known", known)
        object.__setattr__(self, "_is_known", is_known)

    def apply(
        self, semantic: Int32[np.ndarray, "h w"], instance: Int32[np.ndarray, "h w"], rng: np.random.Generator
    ) -> tuple[Int32[np.ndarray, "h w"], Int32[np.ndarray, "h w"]]:
        """The semantic and instance images that the detector makes of the true ones; missed segments become 0."""
        pixels, label = _segments(semantic, instance, int(instance.max(initial=0)) + 1)
        found = np.flatnonzero((pixels >= max(self.min_pixels, 1)) & self._is_known[label])
        found = found[rng.random(len(found)) >= self.miss]
        given = self._confuse(label[found], rng)
        n_false = int(rng.poisson(self.false_positive))
        numbers = (rng.permutation(len(found) + n_false) + 1).astype(np.int32)
        new_label, new_number = np.zeros_like(label), np.zeros_like(label)
        new_label[found], new_number[found] = given, numbers[: len(found)]
        seen, number = np.empty_like(semantic), np.empty_like(instance)
        _relabel(semantic, instance, new_label, new_number, seen, number)
        for blob in numbers[len(found) :]:
            name = rng.choice(self._known)
            shape = (*rng.random(2), *rng.uniform(*_BLOB, size=2))
            _paint_blob(semantic, instance, shape, name, blob, seen, number)
        return seen, number

    def _confuse(self, label: Int[np.ndarray, " n"], rng: np.random.Generator) -> Int[np.ndarray, " n"]:
        """The labels after confusion: a wrong one is drawn evenly from the other known labels."""
        is_confused = rng.random(len(label)) < self.confusion
        if len(self._known) < 2:
            return label
        index = np.searchsorted(self._known, label)
        other = (index + rng.integers(1, len(self._known), size=len(label))) % len(self._known)
        return np.where(is_confused, self._known[other], label)


@njit(cache=True, error_model="numpy")
@no_type_check
def _normal(bits):
    """A nearly normal number from 64 random bits: the standardised sum of the eight bytes.

    Its kurtosis is 2.85 and it ends at 4.9 deviations; drawing an exact one costs more than the rest of the camera.
    """
    pairs = (bits & np.uint64(0x00FF00FF00FF00FF)) + ((bits >> np.uint64(8)) & np.uint64(0x00FF00FF00FF00FF))
    total = (pairs * np.uint64(0x0001000100010001)) >> np.uint64(48)
    return (np.float32(np.int32(total)) - np.float32(1020.0)) * np.float32(1.0 / math.sqrt(8.0 * 65535.0 / 12.0))


@njit(cache=True, error_model="numpy")
@no_type_check
def _measure(depth, bits, sigma, step, limits, measured):
    """Disturb and quantise the inverse depth."""
    one, sigma, step = np.float32(1.0), np.float32(sigma), np.float32(step)
    near, far, nothing = np.float32(limits[0]), np.float32(limits[1]), np.float32(np.nan)
    z, out = depth.ravel(), measured.ravel()
    for i in range(z.size):
        w = one / z[i]
        if sigma > np.float32(0.0):
            w += sigma * _normal(bits[i])
        if step > np.float32(0.0):
            w = np.rint(w / step) * step
        d = one / w
        out[i] = d if (d >= near) & (d <= far) else nothing


@njit(cache=True, error_model="numpy")
@no_type_check
def _differs(z, a, b, c, d, jump):
    """Whether a depth differs from one of its neighbours' by more than `jump` times itself; NaN never does."""
    t = jump * z
    return np.uint8((abs(z - a) > t) | (abs(z - b) > t) | (abs(z - c) > t) | (abs(z - d) > t))


@njit(cache=True, error_model="numpy")
@no_type_check
def _mark_edges(row, above, below, jump, is_edge):
    """Mark the pixels of a row that differ from one of their four neighbours."""
    end = row.size - 1
    for u in range(1, end):
        is_edge[u] = _differs(row[u], row[u - 1], row[u + 1], above[u], below[u], jump)
    is_edge[0] = _differs(row[0], row[0], row[min(1, end)], above[0], below[0], jump)
    is_edge[end] = _differs(row[end], row[end], row[max(end - 1, 0)], above[end], below[end], jump)


@njit(cache=True, error_model="numpy")
@no_type_check
def _drop_edges(depth, jump, rate, rng, measured):
    """Lose pixels beside a depth jump, on both of its sides."""
    h, w = depth.shape
    is_edge = np.zeros(w, np.uint8)
    for v in range(h):
        _mark_edges(depth[v], depth[max(v - 1, 0)], depth[min(v + 1, h - 1)], np.float32(jump), is_edge)
        for u in range(w):
            if is_edge[u] and rng.random() < rate:
                measured[v, u] = np.nan


@njit(cache=True, error_model="numpy")
@no_type_check
def _drop(measured, rate, rng):
    """Lose each pixel with probability `rate`: the gaps between lost pixels are geometric, so few are drawn."""
    out = measured.ravel()
    scale = math.log1p(-rate) if rate < 1.0 else -np.inf
    i = -1
    while True:
        gap = math.log1p(-rng.random()) / scale
        if gap >= out.size:  # also keeps the conversion below in range
            return
        i += 1 + int(gap)
        if i >= out.size:
            return
        out[i] = np.nan


@njit(cache=True, error_model="numpy")
@no_type_check
def _segments(semantic, instance, size):
    """Pixels and label of every instance id below `size`; id 0 counts no pixels."""
    pixels, label = np.zeros(size, np.int32), np.zeros(size, np.int32)
    s, n = semantic.ravel(), instance.ravel()
    for i in range(n.size):
        if n[i] > 0:
            pixels[n[i]] += 1
            label[n[i]] = s[i]
    return pixels, label


@njit(cache=True, error_model="numpy")
@no_type_check
def _relabel(semantic, instance, new_label, new_number, seen, number):
    for v in range(semantic.shape[0]):
        for u in range(semantic.shape[1]):
            n = instance[v, u]
            seen[v, u] = new_label[n] if n > 0 else semantic[v, u]
            number[v, u] = new_number[n] if n > 0 else 0


@njit(cache=True, error_model="numpy")
@no_type_check
def _paint_blob(semantic, instance, shape, name, blob, seen, number):
    """Put a false segment on the image: an ellipse, cut to the one true surface that its centre lies on."""
    h, w = semantic.shape
    cv, cu = int(shape[0] * h), int(shape[1] * w)
    rv, ru = shape[2] * w, shape[3] * w
    for v in range(max(0, int(cv - rv)), min(h, int(cv + rv) + 1)):
        for u in range(max(0, int(cu - ru)), min(w, int(cu + ru) + 1)):
            inside = ((v - cv) / rv) ** 2 + ((u - cu) / ru) ** 2 <= 1.0
            if inside and instance[v, u] == instance[cv, cu] and semantic[v, u] == semantic[cv, cu]:
                seen[v, u] = name
                number[v, u] = blob
