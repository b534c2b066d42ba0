"""The segments of one frame as things in space: category, place and box of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import no_type_check

import numpy as np
from jaxtyping import Bool, Float, Int, Int32
from numba import njit

from embmem.observation import Observation

N_SAMPLES = 96  # points of a segment that its medians are taken from
_DENSE_IDS = 4096  # instance numbers below this index arrays directly


@dataclass(frozen=True, eq=False)
class Segments:
    """What the detector saw in one frame, in the frame of the map."""

    label: Int[np.ndarray, " n"]  # index in the observation's labels
    position: Float[np.ndarray, "n 3"]  # [m] median of the visible points
    box: Float[np.ndarray, "n 2 3"]  # [m] their 5th and 95th percentile along each axis
    distance: Float[np.ndarray, " n"]  # [m] of the position from the camera
    is_cut: Bool[np.ndarray, " n"]  # touches the border of the image
    number: Int[np.ndarray, " n"]  # in the instance image; that of the connected region without one
    row_of: Int[np.ndarray, " ids"]  # index here by the ids of `image`, -1 = none
    image: Int32[np.ndarray, "h w"]  # ids of all segments of the frame

    def __len__(self) -> int:
        return len(self.label)

    def ordered(self, order: Int[np.ndarray, " n"]) -> Segments:
        """The same segments in another order."""
        place = np.empty(len(order) + 1, dtype=np.int64)
        place[order], place[-1] = np.arange(len(order)), -1
        label, position, box, distance, is_cut, number = (
            getattr(self, name)[order] for name in ("label", "position", "box", "distance", "is_cut", "number")
        )
        return Segments(label, position, box, distance, is_cut, number, place[self.row_of], self.image)


def find_segments(
    observation: Observation,
    is_wanted: Bool[np.ndarray, " labels"],
    *,
    min_pixels: int,
    max_range: float,
) -> Segments:
    """The segments of the wanted labels with at least `min_pixels` pixels of depth up to `max_range` [m].

    Without an instance image the 4-connected regions of one label are the segments. An observation without depth or
    semantic image has none.
    """
    depth, semantic = observation.depth, observation.semantic
    if depth is None or semantic is None or not is_wanted.any():
        return _no_segments()
    semantic = np.ascontiguousarray(semantic, dtype=np.int32)
    ids, names = _segment_ids(observation.instance, semantic)
    n_ids = len(names)
    depth = np.ascontiguousarray(depth, dtype=np.float32)
    label, count, is_cut = _vote(ids, semantic, depth, n_ids, is_wanted, float(max_range))
    chosen = np.flatnonzero(count >= min_pixels)
    if len(chosen) == 0:
        return _no_segments()
    row_of = np.full(n_ids, -1, dtype=np.int64)
    row_of[chosen] = np.arange(len(chosen))
    k = observation.intrinsics
    focal = (float(k.fx), float(k.fy), float(k.cx), float(k.cy))
    T = np.ascontiguousarray(observation.T_map_camera, dtype=np.float64)
    samples, n_samples = _sample(ids, semantic, depth, row_of, (label, count), focal, T, float(max_range))
    position, box = _medians(samples, n_samples)
    distance = np.linalg.norm(position - T[:3, 3], axis=1)
    return Segments(label[chosen], position, box, distance, is_cut[chosen], names[chosen], row_of, ids)


def _no_segments() -> Segments:
    nothing = np.zeros(0, dtype=np.int64)
    image = np.zeros((0, 0), dtype=np.int32)
    no_box = np.zeros((0, 2, 3))
    return Segments(nothing, no_box[:, 0], no_box, np.zeros(0), nothing.astype(np.bool_), nothing, nothing, image)


def _segment_ids(instance: np.ndarray | None, semantic: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(image of ids with 0 = none, number of each id in the instance image)."""
    if instance is None:
        ids = _regions(semantic)
    elif instance.size and instance.min() >= 0 and instance.max() < _DENSE_IDS:
        ids = np.ascontiguousarray(instance, dtype=np.int32)
    else:  # large numbers, e.g. packed from colours
        names, inverse = np.unique(np.append(instance.ravel(), 0), return_inverse=True)
        zero = int(np.searchsorted(names, 0))
        order = np.where(np.arange(len(names)) < zero, np.arange(len(names)) + 1, np.arange(len(names)))
        order[zero] = 0
        ids = order[inverse[:-1]].reshape(instance.shape).astype(np.int32)
        return ids, names[np.argsort(order)].astype(np.int64)
    return ids, np.arange(int(ids.max(initial=0)) + 1)


@no_type_check
@njit(cache=True)
def _vote(ids, semantic, depth, n_ids, is_wanted, max_range):
    """(label of the majority, its pixels with usable depth, whether it touches the border) of each segment."""
    height, width = ids.shape
    label = np.zeros(n_ids, dtype=np.int64)
    lead = np.zeros(n_ids, dtype=np.int64)
    for row in range(height):  # Boyer and Moore's majority vote
        for column in range(width):
            i = ids[row, column]
            if i > 0:
                if lead[i] == 0:
                    label[i] = semantic[row, column]
                lead[i] += 1 if label[i] == semantic[row, column] else -1
    count = np.zeros(n_ids, dtype=np.int64)
    is_cut = np.zeros(n_ids, dtype=np.bool_)
    for row in range(height):
        for column in range(width):
            i = ids[row, column]
            if i == 0 or semantic[row, column] != label[i] or not is_wanted[label[i]]:
                continue
            if row == 0 or column == 0 or row == height - 1 or column == width - 1:
                is_cut[i] = True
            if 0.0 < depth[row, column] <= max_range:
                count[i] += 1
    return label, count, is_cut


@no_type_check
@njit(cache=True)
def _sample(ids, semantic, depth, row_of, votes, focal, T, max_range):
    """((n, N_SAMPLES, 3) map points of the chosen segments, (n,) how many), evenly spread over their pixels."""
    label, count = votes
    fx, fy, cx, cy = focal
    n = row_of.max() + 1
    samples = np.empty((n, N_SAMPLES, 3))
    n_samples = np.zeros(n, dtype=np.int64)
    n_passed = np.zeros(n, dtype=np.int64)
    for row in range(ids.shape[0]):
        for column in range(ids.shape[1]):
            i = ids[row, column]
            s = row_of[i]
            if s < 0 or semantic[row, column] != label[i]:
                continue
            z = float(depth[row, column])
            if not 0.0 < z <= max_range:
                continue
            # the j-th sample is the first pixel past the j-th part of the segment
            if n_passed[s] * N_SAMPLES >= n_samples[s] * count[i] and n_samples[s] < N_SAMPLES:
                x, y = (column - cx) / fx * z, (row - cy) / fy * z
                for axis in range(3):
                    samples[s, n_samples[s], axis] = T[axis, 0] * x + T[axis, 1] * y + T[axis, 2] * z + T[axis, 3]
                n_samples[s] += 1
            n_passed[s] += 1
    return samples, n_samples


@no_type_check
@njit(cache=True)
def _medians(samples, n_samples):
    """((n, 3) medians, (n, 2, 3) 5th and 95th percentiles) of the samples."""
    n = len(samples)
    position, box = np.empty((n, 3)), np.empty((n, 2, 3))
    for s in range(n):
        m = n_samples[s]
        for axis in range(3):
            values = np.sort(samples[s, :m, axis])
            position[s, axis] = 0.5 * (values[(m - 1) // 2] + values[m // 2])
            box[s, 0, axis], box[s, 1, axis] = values[m // 20], values[m - 1 - m // 20]
    return position, box


@no_type_check
@njit(cache=True)
def _regions(semantic):
    """Numbers (from 1) of the 4-connected regions of one label; label 0 stays 0."""
    height, width = semantic.shape
    ids = np.zeros((height, width), dtype=np.int32)
    stack = np.empty(height * width, dtype=np.int64)
    n = 0
    for start in range(height * width):
        label = semantic[start // width, start % width]
        if label == 0 or ids[start // width, start % width] > 0:
            continue
        n += 1
        ids[start // width, start % width] = n
        stack[0], depth = start, 1
        while depth > 0:
            depth -= 1
            row, column = stack[depth] // width, stack[depth] % width
            for r, c in ((row, column + 1), (row + 1, column), (row, column - 1), (row - 1, column)):
                if 0 <= r < height and 0 <= c < width and ids[r, c] == 0 and semantic[r, c] == label:
                    ids[r, c] = n
                    stack[depth] = r * width + c
                    depth += 1
    return ids
