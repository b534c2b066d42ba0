"""What a place looks like, in a vector that does not change when the camera's heading does; no model is needed.

Four parts, each of unit length or absent (zeros):
- shape: how much surface there is by distance and height, after scan contexts (Kim and Kim, IROS 2018), of which the
  histogram over headings is left out, for a camera sees a part of the circle;
- labels: how much surface is a table, a bed, ..., by a hash of the names;
- colour: hue by saturation, and brightness of what has no hue;
- meaning: the mean of `Observation.embeddings`, projected at random where they are long (Johnson and Lindenstrauss).
"""

from __future__ import annotations

import zlib
from functools import cache

import cv2
import numpy as np
from jaxtyping import Float, Int

from embmem.geometry import transform_points
from embmem.maps.pose_graph.clouds import upright
from embmem.observation import Observation

_REACH, _RINGS = 6.0, 8  # [m]
_HEIGHT, _BANDS = 1.6, 6  # [m] above and below the camera
_LABELS, _HUES, _SATURATIONS, _GREYS = 48, 8, 2, 4
_MEANING = 64
PARTS = (_RINGS * _BANDS, _LABELS, _HUES * _SATURATIONS + _GREYS, _MEANING)
SIZE = sum(PARTS)
_WEIGHTS = (1.0, 2.0, 1.0, 2.0)  # of the parts, where both views have them
_GREY = 40  # of 255; less saturation has no hue


def describe(
    observation: Observation, points: Float[np.ndarray, "n 3"], pixels: Int[np.ndarray, " n"]
) -> Float[np.ndarray, " d"]:
    """The descriptor, float32, of an observation with the points [m, camera frame] that its pixels saw."""
    level = transform_points(upright(observation.T_map_camera), points)
    parts = [_shape(level), _labels(observation, level, pixels), _colours(observation), _meaning(observation)]
    return np.concatenate([part / max(float(np.linalg.norm(part)), 1e-9) for part in parts]).astype(np.float32)


def similarity(one: Float[np.ndarray, " d"], many: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
    """Weighted mean of the cosines of the parts that both have, in [-1, 1]; 0 where they have none in common."""
    cosines, weights = np.zeros(len(many)), np.zeros(len(many))
    start = 0
    for size, weight in zip(PARTS, _WEIGHTS, strict=True):
        a, b = one[start : start + size].astype(np.float64), many[:, start : start + size].astype(np.float64)
        has = float(a.any()) * b.any(axis=1) * weight
        cosines += has * (b @ a)
        weights += has
        start += size
    return cosines / np.maximum(weights, 1e-9)


def _weights(level: np.ndarray) -> np.ndarray:
    """[m^2] of surface that a pixel stands for, but for a constant: what is near fills more of the image."""
    return np.sum(level**2, axis=1)


def _shape(level: np.ndarray) -> np.ndarray:
    ring = np.hypot(level[:, 0], level[:, 1]) / _REACH * _RINGS
    band = (level[:, 2] + _HEIGHT) / (2.0 * _HEIGHT) * _BANDS
    ring, band = np.clip(ring, 0, _RINGS - 1).astype(int), np.clip(band, 0, _BANDS - 1).astype(int)
    surface = np.bincount(ring * _BANDS + band, weights=_weights(level), minlength=PARTS[0])
    return np.sqrt(surface)


def _labels(observation: Observation, level: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    result = np.zeros(_LABELS)
    if observation.semantic is None or len(pixels) == 0:
        return result
    seen = np.asarray(observation.semantic).ravel()[pixels]
    surface = np.bincount(seen, weights=_weights(level))
    for label in np.flatnonzero(surface):
        if label > 0:
            result[zlib.crc32(observation.labels[label].encode()) % _LABELS] += surface[label]
    return np.sqrt(result)


def _colours(observation: Observation) -> np.ndarray:
    if observation.rgb is None:
        return np.zeros(PARTS[2])
    small = cv2.resize(np.ascontiguousarray(observation.rgb), (64, 48), interpolation=cv2.INTER_AREA)
    hue, saturation, value = (cv2.cvtColor(small, cv2.COLOR_RGB2HSV).reshape(-1, 3).T).astype(np.int64)
    is_grey = saturation < _GREY
    hued = (hue * _HUES // 180) * _SATURATIONS + (saturation >= 110)
    bins = np.where(is_grey, _HUES * _SATURATIONS + value * _GREYS // 256, hued)
    return np.sqrt(np.bincount(bins, minlength=PARTS[2]).astype(np.float64))


def _meaning(observation: Observation) -> np.ndarray:
    result = np.zeros(_MEANING)
    if not observation.embeddings or observation.instance is None:
        return result
    n_pixels = np.bincount(np.asarray(observation.instance).ravel().astype(np.int64))
    for number in sorted(observation.embeddings):
        wide = np.asarray(observation.embeddings[number], dtype=np.float64)
        wide = wide / np.linalg.norm(wide) * np.sqrt(n_pixels[number])
        if len(wide) > _MEANING:
            result += _projection(len(wide)) @ wide
        else:
            result[: len(wide)] += wide
    return result


@cache
def _projection(length: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(_MEANING, length)) / np.sqrt(_MEANING)
