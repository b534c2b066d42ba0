"""Negative evidence: which remembered things should be in view, unoccluded, and were not detected."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

_SIDE = 5  # samples along each side of a thing's window in the image
_CLEAR = 0.6  # the share of the samples that must be in the image and unoccluded


@no_type_check
@njit(cache=True)
def missing(boxes, labels, images, focal, T_camera_map, limits):
    """(n,) True for what is missing: it would fill enough pixels, little hides it, and no pixel bears its label.

    Args:
        boxes: (n, 2, 3) [m] lowest and highest corner in the map.
        labels: (n,) ids in the semantic image; below 0 if the detector does not know the category.
        images: (depth (h, w) [m], semantic (h, w)).
        focal: (fx, fy, cx, cy) [px].
        T_camera_map: (4, 4).
        limits: (min_pixels, max_range [m], margin [m]); depth nearer than its middle by more than the margin hides it.
    """
    result = np.zeros(len(boxes), dtype=np.bool_)
    R, t = np.ascontiguousarray(T_camera_map[:3, :3]), T_camera_map[:3, 3]
    for i in range(len(boxes)):
        if labels[i] < 0:
            continue
        p = R @ (0.5 * (boxes[i, 0] + boxes[i, 1])) + t
        if p[2] > 0.1 and p[0] * p[0] + p[1] * p[1] + p[2] * p[2] <= limits[1] * limits[1]:
            result[i] = _is_missing(p, boxes[i, 1] - boxes[i, 0], labels[i], images, focal, limits)
    return result


@no_type_check
@njit(cache=True)
def _is_missing(p, size, label, images, focal, limits):
    depth, semantic = images
    fx, fy, cx, cy = focal
    height, width = depth.shape
    across = max(size[0], size[1]) / 2.0
    half_u, half_v = fx * across / p[2], fy * size[2] / 2.0 / p[2]
    if 4.0 * half_u * half_v < limits[0]:
        return False
    u0, v0 = fx * p[0] / p[2] + cx, fy * p[1] / p[2] + cy
    hidden_before = p[2] - limits[2]  # the front of a large thing that stands there hides its own middle
    n_clear = 0
    for i in range(_SIDE):
        for j in range(_SIDE):
            u = u0 + half_u * (2.0 * i / (_SIDE - 1) - 1.0) * 0.8
            v = v0 + half_v * (2.0 * j / (_SIDE - 1) - 1.0) * 0.8
            if not (-0.5 < u < width - 0.5 and -0.5 < v < height - 0.5):
                continue
            column, row = int(u + 0.5), int(v + 0.5)
            if semantic[row, column] == label:
                return False
            if depth[row, column] >= hidden_before:  # NaN is not clear
                n_clear += 1
    return n_clear >= _CLEAR * _SIDE * _SIDE
