"""Gives the segments of a frame their vectors, by label or by what is seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Int

from embmem.encoders.protocols import ImageEncoder, TextEncoder
from embmem.observation import Observation


class LabelEmbeddings:
    """Gives each segment of a frame the vector of its label, where no image encoder gave it one.

    So a memory of labelled frames can be asked in other words than the detector's.
    """

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder = encoder
        self._vectors: dict[str, np.ndarray] = {}

    def __call__(self, observation: Observation) -> Observation:
        """The frame with `embeddings`; as it is if it has them already, or no segments and labels."""
        semantic, instance = observation.semantic, observation.instance
        if observation.embeddings is not None or semantic is None or instance is None:
            return observation
        is_named = (instance > 0) & (semantic > 0)
        pairs, votes = np.unique(np.stack([instance[is_named], semantic[is_named]]), axis=1, return_counts=True)
        named = {int(i): int(label) for i, label in pairs[:, np.argsort(votes, kind="stable")].T}  # most votes last
        new = [observation.labels[label] for label in named.values() if observation.labels[label] not in self._vectors]
        if new:
            distinct = sorted(set(new))
            self._vectors |= dict(zip(distinct, self._encoder(distinct), strict=True))
        vectors = {i: self._vectors[observation.labels[label]] for i, label in named.items()}
        return replace(observation, embeddings=vectors)


class SegmentEmbeddings:
    """Gives each segment of a frame the vector of its crop of the colour image.

    Args:
        encoder: of images, e.g. `ImageTextEncoder`; queries in words are then asked through the same one.
        min_pixels: segments with fewer pixels get no vector: there is little to see.
        margin: share of a crop's width and height that is added on each side, for the surroundings.
    """

    def __init__(self, encoder: ImageEncoder, *, min_pixels: int = 64, margin: float = 0.1) -> None:
        if min_pixels < 1 or not 0.0 <= margin < np.inf:
            raise ValueError(f"need min_pixels >= 1 and a finite margin >= 0, got {min_pixels} and {margin}")
        self._encoder = encoder
        self._min_pixels = min_pixels
        self._margin = margin

    def __call__(self, observation: Observation) -> Observation:
        """The frame with `embeddings`; as it is if it has them already, or no segments and colours."""
        rgb, instance = observation.rgb, observation.instance
        if observation.embeddings is not None or rgb is None or instance is None:
            return observation
        numbers, boxes = _boxes(np.asarray(instance), self._min_pixels, self._margin)
        crops = [np.ascontiguousarray(rgb[top:bottom, left:right]) for top, bottom, left, right in boxes.tolist()]
        vectors = self._encoder.encode_images(crops) if crops else ()
        return replace(observation, embeddings=dict(zip(numbers.tolist(), vectors, strict=True)))


def _boxes(
    instance: Int[np.ndarray, "h w"], min_pixels: int, margin: float
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, "n 4"]]:
    """The segments that are large enough, and the rows [top, bottom) and columns [left, right) of their crops."""
    rows, columns = np.nonzero(instance > 0)
    numbers, which, n_pixels = np.unique(instance[rows, columns], return_inverse=True, return_counts=True)
    low, high = np.full((2, len(numbers)), max(instance.shape)), np.zeros((2, len(numbers)), np.int64)
    for axis, pixels in enumerate((rows, columns)):
        np.minimum.at(low[axis], which, pixels)
        np.maximum.at(high[axis], which, pixels + 1)
    border = np.ceil(margin * (high - low)).astype(np.int64)
    low = np.maximum(low - border, 0)
    high = np.minimum(high + border, np.array(instance.shape)[:, None])
    is_large = n_pixels >= min_pixels
    return numbers[is_large], np.stack([low[0], high[0], low[1], high[1]], axis=1)[is_large]
