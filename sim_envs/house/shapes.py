"""Closed little meshes: boxes and turned (lathe) bodies, all outward-facing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float, Int

_SIDES = 8
Profile = tuple[tuple[float, float], ...]  # (radius, z), both within [0, 1], z not falling
UnitBox = tuple[float, float, float, float, float, float]


@dataclass(frozen=True, eq=False)
class Shape:
    """A mesh in the unit cube [-.5, .5]^2 x [0, 1]; `is_accent` marks triangles of the second colour."""

    vertices: np.ndarray  # (v, 3)
    triangles: np.ndarray  # (t, 3) counter-clockwise seen from outside
    is_accent: np.ndarray  # (t,) bool


# A turned body: its outline from bottom to top, and the height from which it has the second colour.
_TURNED: dict[str, tuple[Profile, float]] = {
    "tumbler": (((0.8, 0.0), (1.0, 1.0)), 0.7),
    "bottle": (((1.0, 0.0), (1.0, 0.6), (0.4, 0.78), (0.4, 1.0)), 0.75),
    "carton": (((1.0, 0.0), (1.0, 0.8), (0.3, 1.0)), 0.8),
    "jar": (((1.0, 0.0), (1.0, 0.75), (0.8, 0.78), (0.8, 1.0)), 0.76),
    "can": (((1.0, 0.0), (1.0, 0.92), (0.92, 1.0)), 0.9),
    "dish": (((0.55, 0.0), (1.0, 1.0)), 2.0),
    "goblet": (((0.8, 0.0), (0.8, 0.05), (0.15, 0.1), (0.15, 0.5), (1.0, 0.75), (0.85, 1.0)), 2.0),
    "vase": (((0.6, 0.0), (1.0, 0.4), (0.45, 0.8), (0.7, 1.0)), 0.8),
    "candle": (((1.0, 0.0), (1.0, 0.1), (0.6, 0.12), (0.6, 0.85), (0.1, 1.0)), 0.85),
    "lamp": (((0.55, 0.0), (0.55, 0.06), (0.1, 0.1), (0.1, 0.5), (1.0, 0.52), (0.6, 1.0)), 0.5),
    "plant": (((0.45, 0.0), (0.6, 0.35), (0.5, 0.36), (1.0, 0.6), (0.8, 0.85), (0.2, 1.0)), 0.36),
    "ball": (((0.4, 0.0), (0.86, 0.25), (1.0, 0.5), (0.86, 0.75), (0.4, 1.0)), 2.0),
    "globe": (((0.6, 0.0), (0.2, 0.1), (0.2, 0.2), (0.9, 0.4), (1.0, 0.6), (0.9, 0.8), (0.3, 1.0)), 0.2),
    "hat": (((1.0, 0.0), (1.0, 0.12), (0.6, 0.15), (0.5, 1.0)), 0.95),
    "roll up": (((1.0, 0.0), (1.0, 1.0)), 2.0),
    "bear": (((0.7, 0.0), (1.0, 0.3), (0.5, 0.6), (0.75, 0.8), (0.3, 1.0)), 0.6),
}
# A body of boxes in the unit cube [0, 1]^3, and the index from which they have the second colour.
_BOXES: dict[str, tuple[tuple[UnitBox, ...], int]] = {
    "box": (((0, 0, 0, 1, 1, 1),), 9),
    "low": (((0, 0, 0, 1, 1, 0.6), (0.08, 0.08, 0.6, 0.92, 0.92, 1)), 1),
    "mug": (((0, 0.1, 0, 0.75, 0.9, 1), (0.75, 0.4, 0.2, 1, 0.6, 0.85)), 1),
    "jug": (((0.1, 0.1, 0, 0.75, 0.9, 0.8), (0.75, 0.4, 0.2, 1, 0.6, 0.8), (0.25, 0.3, 0.8, 0.6, 0.7, 1)), 1),
    "pot": (((0.15, 0, 0, 0.85, 1, 0.8), (0, 0.4, 0.5, 1, 0.6, 0.65), (0.2, 0.05, 0.8, 0.8, 0.95, 1)), 1),
    "bag": (((0, 0, 0, 1, 1, 0.72), (0.3, 0.35, 0.72, 0.36, 0.65, 1), (0.64, 0.35, 0.72, 0.7, 0.65, 1)), 1),
    "machine": (((0, 0, 0, 1, 0.85, 1), (0.12, 0.85, 0.2, 0.88, 1, 0.85)), 1),
    "panel": (((0, 0.3, 0, 1, 0.7, 1), (0.1, 0.7, 0.1, 0.9, 0.8, 0.9), (0.3, 0, 0, 0.7, 1, 0.06)), 1),
    "screen": (((0, 0.35, 0.15, 1, 0.65, 1), (0.25, 0, 0, 0.75, 1, 0.05), (0.45, 0.4, 0.05, 0.55, 0.6, 0.15)), 1),
    "laptop": (((0, 0, 0, 1, 1, 0.08), (0, 0, 0.08, 1, 0.08, 1), (0.04, 0.08, 0.14, 0.96, 0.1, 0.95)), 2),
    "folded": (((0, 0, 0, 1, 1, 0.5), (0.02, 0.02, 0.5, 0.98, 0.96, 1)), 1),
    "roll": (((0, 0, 0.25, 1, 1, 0.75), (0.03, 0.15, 0, 0.97, 0.85, 0.25), (0.03, 0.15, 0.75, 0.97, 0.85, 1)), 9),
    "loaf": (((0, 0, 0, 1, 1, 0.7), (0.05, 0.1, 0.7, 0.95, 0.9, 1)), 1),
    "pair": (((0, 0, 0, 0.42, 1, 0.5), (0.58, 0, 0, 1, 1, 0.5), (0, 0, 0.5, 0.42, 0.5, 1),
              (0.58, 0, 0.5, 1, 0.5, 1)), 2),
    "arch": (((0, 0.1, 0, 0.2, 0.9, 0.6), (0.8, 0.1, 0, 1, 0.9, 0.6), (0.05, 0.4, 0.6, 0.15, 0.6, 1),
              (0.85, 0.4, 0.6, 0.95, 0.6, 1), (0.15, 0.4, 0.88, 0.85, 0.6, 1)), 2),
    "iron": (((0, 0, 0, 0.75, 1, 0.45), (0.1, 0.2, 0.45, 0.3, 0.8, 0.8), (0, 0.2, 0.8, 1, 0.8, 1)), 1),
    "car": (((0, 0, 0.2, 1, 1, 0.6), (0.1, 0.2, 0.6, 0.9, 0.75, 1), (0, 0.1, 0, 1, 0.3, 0.2),
             (0, 0.7, 0, 1, 0.9, 0.2)), 1),
    "blocks": (((0, 0, 0, 0.48, 1, 0.5), (0.52, 0, 0, 1, 1, 0.5), (0.25, 0, 0.5, 0.75, 1, 1)), 2),
}  # fmt: skip
SHAPES: frozenset[str] = frozenset({*_TURNED, *_BOXES})

_CUBE = np.array(
    [[0, 2, 1], [0, 3, 2], [4, 5, 6], [4, 6, 7], [0, 1, 5], [0, 5, 4],
     [1, 2, 6], [1, 6, 5], [2, 3, 7], [2, 7, 6], [3, 0, 4], [3, 4, 7]]
)  # fmt: skip


def box_mesh(
    boxes: Float[np.ndarray, "n 6"],
) -> tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "t 3"]]:
    """Vertices (8 a box) and outward triangles (12 a box) of boxes x0 y0 z0 x1 y1 z1."""
    x, y, z = boxes[:, [0, 3]], boxes[:, [1, 4]], boxes[:, [2, 5]]
    ring_x, ring_y = x[:, [0, 1, 1, 0]], y[:, [0, 0, 1, 1]]
    low = np.stack([ring_x, ring_y, np.repeat(z[:, :1], 4, axis=1)], axis=2)
    high = np.stack([ring_x, ring_y, np.repeat(z[:, 1:], 4, axis=1)], axis=2)
    vertices = np.concatenate([low, high], axis=1).reshape(-1, 3)
    triangles = (_CUBE[None] + 8 * np.arange(len(boxes))[:, None, None]).reshape(-1, 3)
    return vertices, triangles


def _lathe(profile: Profile, accent_from: float) -> Shape:
    """The outline turned about z; the flat ends are closed by fans."""
    angles = 2 * np.pi * (np.arange(_SIDES) + 0.5) / _SIDES
    # A polygon of circumradius .5 / cos(pi / sides) has flats that touch the unit square.
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=1) * (0.5 / np.cos(np.pi / _SIDES))
    vertices = np.concatenate([np.column_stack([ring * r, np.full(_SIDES, z)]) for r, z in profile])
    i, j = np.arange(_SIDES), (np.arange(_SIDES) + 1) % _SIDES
    bands, accents = [], []
    for level in range(len(profile) - 1):
        a, b = level * _SIDES, (level + 1) * _SIDES
        bands += [np.stack([a + i, a + j, b + j], axis=1), np.stack([a + i, b + j, b + i], axis=1)]
        accents += [profile[level][1] >= accent_from] * 2 * _SIDES
    inner = np.arange(1, _SIDES - 1)
    top = (len(profile) - 1) * _SIDES
    bands.append(np.stack([np.zeros_like(inner), inner + 1, inner], axis=1))
    bands.append(np.stack([np.full_like(inner, top), top + inner, top + inner + 1], axis=1))
    accents += [False] * len(inner) + [profile[-1][1] >= accent_from] * len(inner)
    return Shape(vertices, np.concatenate(bands), np.array(accents))


@cache
def unit_shape(name: str) -> Shape:
    """The shape of that name.

    Raises:
        ValueError: if there is none.
    """
    if name in _TURNED:
        return _lathe(*_TURNED[name])
    if name not in _BOXES:
        raise ValueError(f"no shape is called {name!r}")
    boxes, accent_from = _BOXES[name]
    vertices, triangles = box_mesh(np.array(boxes, dtype=np.float64))
    return Shape(vertices - [0.5, 0.5, 0.0], triangles, np.repeat(np.arange(len(boxes)) >= accent_from, 12))
