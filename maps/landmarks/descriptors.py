"""What a place looks like, as one unit vector an observation."""

from __future__ import annotations

from zlib import crc32

import numpy as np
from jaxtyping import Float

from embmem.observation import Observation

N_WORDS = 64  # bins of the semantic histogram
LAYOUT = (3, 8)  # rows and columns of the depth layout
_FAR = 5.0  # [m] at which a depth counts half


def describe(observation: Observation) -> Float[np.ndarray, " d"] | None:
    """The unit descriptor of a view; None if it shows nothing to go by.

    With `embeddings`: their mean, each normalised and weighted by the root of its share of the image, so that a
    wall does not drown the things before it. Without: two halves of equal weight, of `N_WORDS` and 24 numbers.
    The first half is the histogram of the semantic image, a label in the bin that its name hashes to (CRC-32, so
    that two detectors with the same words agree), again by roots, which makes the dot product of two histograms
    their Bhattacharyya coefficient. The second is the layout: the median nearness 5 / (5 + depth) of 3 x 8 parts of
    the depth image, less their mean, because every room is near on the whole. A half that is missing is zero, so
    views with and without it are no more alike than chance.
    """
    if observation.embeddings and observation.instance is not None:
        return _unit(_mean_embedding(observation.embeddings, observation.instance))
    parts = [_words(observation), _layout(observation)]
    return _unit(np.concatenate(parts)) if any(part.any() for part in parts) else None


def _mean_embedding(embeddings: dict[int, np.ndarray], instance: np.ndarray) -> np.ndarray:
    numbers = sorted(embeddings)
    counts = np.array([np.count_nonzero(instance == number) for number in numbers], dtype=np.float64)
    vectors = np.stack([embeddings[number].astype(np.float64) for number in numbers])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.sqrt(counts / instance.size) @ vectors


def _words(observation: Observation) -> np.ndarray:
    histogram = np.zeros(N_WORDS)
    if observation.semantic is None:
        return histogram
    counts = np.bincount(observation.semantic.ravel(), minlength=1)
    for label in np.flatnonzero(counts[1:]) + 1:
        histogram[crc32(observation.labels[label].encode()) % N_WORDS] += counts[label]
    total = histogram.sum()
    return np.sqrt(histogram / total) if total else histogram


def _layout(observation: Observation) -> np.ndarray:
    rows, columns = LAYOUT
    layout = np.zeros(LAYOUT)
    if observation.depth is None:
        return layout.ravel()
    depth, is_known = observation.depth, np.zeros(LAYOUT, dtype=np.bool_)
    for i, band in enumerate(np.array_split(depth, rows, axis=0)):
        for j, part in enumerate(np.array_split(band, columns, axis=1)):
            known = part[np.isfinite(part)]
            if known.size:
                layout[i, j], is_known[i, j] = _FAR / (_FAR + float(np.median(known))), True
    if not is_known.any():
        return layout.ravel()
    layout[is_known] -= layout[is_known].mean()
    length = float(np.linalg.norm(layout))
    return layout.ravel() / length if length > 1e-6 else layout.ravel() * 0.0


def _unit(vector: np.ndarray) -> np.ndarray | None:
    length = float(np.linalg.norm(vector))
    return vector / length if length > 1e-12 else None


def normalised(descriptors: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    """The descriptors with length 1.

    Raises:
        ValueError: if one is zero or not finite.
    """
    lengths = np.linalg.norm(descriptors.astype(np.float64), axis=1, keepdims=True)
    bad = ~(np.isfinite(lengths[:, 0]) & (lengths[:, 0] > 0))
    if bad.any() and descriptors.shape[1]:
        raise ValueError(f"a descriptor must be finite and not zero, got {descriptors[bad][0]}")
    return descriptors / lengths if descriptors.shape[1] else descriptors
