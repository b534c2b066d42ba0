"""Procedural surface patterns as small periodic images, laid over the map along the axes.

A pattern belongs to the place, not to the camera: the same point of a wall looks the same from everywhere, which is
what visual features need.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from jaxtyping import Float, UInt8
from scipy import ndimage

PERIOD = 2.0  # [m] of map that one texture covers
SIZE = 256  # texels along it
NEUTRAL = 128  # the texel value that leaves a colour as it is
PATTERNS = ("plain", "checker", "wood", "tiles")  # index = Mesh.pattern
# Structure smaller than this [m] dominates a pattern; it fades out where a pixel covers more (cheap antialiasing).
FEATURE = np.array([0.08, 0.25, 0.06, 0.12], dtype=np.float32)


def _noise(rng: np.random.Generator, sigma: tuple[float, float]) -> Float[np.ndarray, "s s"]:
    """Periodic Gaussian noise of unit variance, smooth over `sigma` texels along both axes."""
    image = ndimage.gaussian_filter(rng.standard_normal((SIZE, SIZE)), sigma, mode="wrap")
    return image / image.std()


def _cells(shape: tuple[int, int]) -> Float[np.ndarray, "s s"]:
    """Distance [m] of each texel to the border of its cell, for `shape` cells over the texture."""
    along = [np.minimum(p := (np.arange(SIZE) + 0.5) % (SIZE / n), SIZE / n - p) for n in shape]
    return np.minimum.outer(along[0], along[1]) * PERIOD / SIZE


def _checker() -> Float[np.ndarray, "s s"]:
    """Squares of 0.5 m."""
    i = np.arange(SIZE) // (SIZE // 4)
    return np.where((i[:, None] + i[None, :]) % 2 == 0, 0.12, -0.12)


def _wood(rng: np.random.Generator) -> Float[np.ndarray, "s s"]:
    """Staggered planks of 0.125 x 1 m with grain along the first axis."""
    rows, columns = np.indices((SIZE, SIZE))
    plank = columns // 16
    shift = rng.integers(0, SIZE, 16)[plank]
    along = (rows + shift) % SIZE
    tone = rng.normal(0.0, 0.07, (16, 2))[plank, along // 128]
    grain = 0.045 * _noise(rng, (14.0, 0.7)) + 0.03 * _noise(rng, (30.0, 1.6))
    seam = (columns % 16 == 0) | (along % 128 == 0)
    return tone + grain - 0.22 * seam


def _tiles(rng: np.random.Generator) -> Float[np.ndarray, "s s"]:
    """Tiles of 0.25 m with darker joints."""
    tone = np.kron(rng.normal(0.0, 0.035, (8, 8)), np.ones((SIZE // 8, SIZE // 8)))
    return tone + 0.012 * _noise(rng, (2.0, 2.0)) - 0.28 * (_cells((8, 8)) < 0.008)


def _plain(rng: np.random.Generator) -> Float[np.ndarray, "s s"]:
    """Plaster: soft blotches and a fine grain, so weak that a plain surface still looks plain."""
    return 0.010 * _noise(rng, (12.0, 12.0)) + 0.008 * _noise(rng, (3.0, 3.0)) + 0.010 * _noise(rng, (0.8, 0.8))


@cache
def textures() -> UInt8[np.ndarray, "k s s"]:
    """One texture per name in `PATTERNS`: brightness relative to `NEUTRAL`; always the same bytes."""
    rng = np.random.default_rng(20)
    layers = [_plain(rng), _checker(), _wood(rng), _tiles(rng)]
    table = np.clip(NEUTRAL * (1.0 + np.stack(layers)), 0, 255).round().astype(np.uint8)
    table.flags.writeable = False
    return table
