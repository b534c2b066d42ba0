"""From where an object can be seen: the goals of a search for it."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from jaxtyping import Float
from numba import njit

from embmem.sim_envs.ground import Ground

LATTICE = 0.1  # [m]
REACH = 1.0  # [m] horizontally from the object's bounding box
MIN_SHARE = 0.3  # of the sampled surface must be in sight
TOUCH = 1e-6  # share of a line of sight that may lie in a box: touching hides nothing
_ACROSS = (np.arange(3) + 0.5) / 3.0  # a face is sampled on 3 x 3 points, off its edges


@njit(cache=True)
@no_type_check
def _is_hidden(boxes: np.ndarray, p: np.ndarray, q: np.ndarray) -> bool:
    """Whether a box lies between two points (slab test)."""
    for i in range(boxes.shape[0]):
        enter, leave = 0.0, 1.0
        for axis in range(3):
            d = q[axis] - p[axis]
            if d == 0.0:
                if not boxes[i, axis] < p[axis] < boxes[i, axis + 3]:
                    leave = -1.0
                continue
            a, b = (boxes[i, axis] - p[axis]) / d, (boxes[i, axis + 3] - p[axis]) / d
            enter, leave = max(enter, min(a, b)), min(leave, max(a, b))
        if leave - enter > TOUCH:
            return True
    return False


@njit(cache=True)
@no_type_check
def _shares_in_sight(boxes: np.ndarray, eyes: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Share of the samples that each eye sees."""
    shares = np.empty(eyes.shape[0])
    for i in range(eyes.shape[0]):
        n = 0
        for j in range(samples.shape[0]):
            n += not _is_hidden(boxes, eyes[i], samples[j])
        shares[i] = n / samples.shape[0]
    return shares


def surface_samples(aabb: Float[np.ndarray, "6"]) -> Float[np.ndarray, "45 3"]:
    """Nine points [m] on the top and on each side of a box."""
    u, v = (a.ravel() for a in np.meshgrid(_ACROSS, _ACROSS))
    zero, one = np.zeros(9), np.ones(9)
    faces = [(u, v, one), (zero, u, v), (one, u, v), (u, zero, v), (u, one, v)]
    unit = np.concatenate([np.stack(face, axis=1) for face in faces])
    return aabb[:3] + unit * (aabb[3:] - aabb[:3])


def view_points(
    navmesh: Ground, aabb: Float[np.ndarray, "6"], boxes: Float[np.ndarray, "b 6"], eye_height: float
) -> Float[np.ndarray, "n 2"]:
    """Places [m] on a lattice of 0.1 m from where at least 30 % of an object's surface is in sight.

    The object does not hide itself, so from any side about three faces of a free-standing one count. Only places
    on the largest island of the navmesh are returned.

    Args:
        navmesh: where the body can stand.
        aabb: bounding box of the object, x0 y0 z0 x1 y1 z1 [m].
        boxes: what hides, without the object itself, in the same form.
        eye_height: [m] above the floor.
    """
    low, high = aabb[:2] - REACH, aabb[3:5] + REACH
    axes = [
        np.arange(np.ceil(a / LATTICE), np.floor(b / LATTICE) + 1) * LATTICE for a, b in zip(low, high, strict=True)
    ]
    lattice = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    gap = np.maximum(np.maximum(aabb[:2] - lattice, lattice - aabb[3:5]), 0.0)
    lattice = lattice[np.hypot(gap[:, 0], gap[:, 1]) <= REACH]
    lattice = lattice[navmesh.island(lattice) == 1]
    near = ((boxes[:, :2] < high) & (boxes[:, 3:5] > low)).all(axis=1)
    eyes = np.column_stack([lattice, np.full(len(lattice), eye_height)])
    shares = _shares_in_sight(np.ascontiguousarray(boxes[near]), eyes, surface_samples(aabb))
    return lattice[shares >= MIN_SHARE]
