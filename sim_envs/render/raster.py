"""The visibility buffer: inverse depth and triangle id of every pixel.

Triangles are drawn in 2-D homogeneous coordinates (Olano and Greer, Triangle scan conversion using 2D homogeneous
coordinates, Graphics Hardware 1997): an edge function is the triple product of two corners and the pixel's ray, so
a triangle that reaches behind the camera needs no clipping. Two triangles that share an edge compute exactly
opposite edge functions; with the top-left rule every pixel of a closed surface is drawn once, without cracks.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

from embmem.sim_envs.render.scene import NEAR


@njit(cache=True, error_model="numpy")
@no_type_check
def _to_camera(x, y, z, camera):
    x, y, z = x - camera.x, y - camera.y, z - camera.z
    r, d, f = camera.right, camera.down, camera.forward
    return (
        r[0] * x + r[1] * y + r[2] * z,
        d[0] * x + d[1] * y + d[2] * z,
        f[0] * x + f[1] * y + f[2] * z,
    )


@njit(cache=True, error_model="numpy")
@no_type_check
def _edge(p, q, camera):
    """Edge function a u + b v + c of the line through p and q; swapping them flips every sign exactly."""
    a = (p[1] * q[2] - p[2] * q[1]) / camera.fx
    b = (p[2] * q[0] - p[0] * q[2]) / camera.fy
    c = (p[0] * q[1] - p[1] * q[0]) - a * camera.cx - b * camera.cy
    return a, b, c


@njit(cache=True, error_model="numpy")
@no_type_check
def _inverse_depth(p, q, r, camera):
    """1/z of the triangle's plane as a u + b v + c; exact, because 1/z is affine on the image."""
    e = (q[0] - p[0], q[1] - p[1], q[2] - p[2])
    f = (r[0] - p[0], r[1] - p[1], r[2] - p[2])
    n = (e[1] * f[2] - e[2] * f[1], e[2] * f[0] - e[0] * f[2], e[0] * f[1] - e[1] * f[0])
    det = n[0] * p[0] + n[1] * p[1] + n[2] * p[2]
    if det >= 0.0:  # seen from behind or edge-on
        return 0.0, 0.0, 0.0
    a, b = n[0] / det / camera.fx, n[1] / det / camera.fy
    return a, b, n[2] / det - a * camera.cx - b * camera.cy


@njit(cache=True, error_model="numpy")
@no_type_check
def _row_range(p, q, r, camera):
    """First and last image row that the triangle may touch in front of the near plane (first > last if none)."""
    u0, v0, u1, v1 = np.inf, np.inf, -np.inf, -np.inf
    for a, b in ((p, q), (q, r), (r, p)):
        if a[2] >= NEAR:
            u, v = a[0] / a[2], a[1] / a[2]
            u0, v0, u1, v1 = min(u0, u), min(v0, v), max(u1, u), max(v1, v)
        if (a[2] >= NEAR) != (b[2] >= NEAR):
            s = (NEAR - a[2]) / (b[2] - a[2])
            u, v = (a[0] + s * (b[0] - a[0])) / NEAR, (a[1] + s * (b[1] - a[1])) / NEAR
            u0, v0, u1, v1 = min(u0, u), min(v0, v), max(u1, u), max(v1, v)
    if u1 * camera.fx + camera.cx < -0.01 or u0 * camera.fx + camera.cx > camera.width - 0.99:
        return 0, -1
    first = np.ceil(v0 * camera.fy + camera.cy - 0.01)
    last = np.floor(v1 * camera.fy + camera.cy + 0.01)
    return int(min(max(first, 0.0), camera.height)), int(max(min(last, camera.height - 1.0), -1.0))


@njit(cache=True, error_model="numpy")
@no_type_check
def _horizontal(edge, first, last):
    """The row range cut to the inner side of an edge that is exactly horizontal; others leave it as it is."""
    a, b, c = edge
    if a == 0.0 and b > 0.0:
        first = int(min(max(np.ceil(-c / b), first), last + 1.0))
    elif a == 0.0 and b < 0.0:
        last = int(max(min(np.ceil(-c / b) - 1.0, last), first - 1.0))
    return first, last


@njit(cache=True, error_model="numpy")
@no_type_check
def _crossing(edge, width):
    """Where an edge crosses row v: (is_left, p, q), the column being p + q v."""
    a, b, c = edge
    if a == 0.0:
        return False, width, 0.0
    return a > 0.0, -c / a, -b / a


@njit(cache=True, error_model="numpy")
@no_type_check
def _narrow(crossing, row, low, end):
    """The columns [low, end) cut at an edge: a left edge keeps a pixel centre that lies on it, a right one not."""
    is_left, p, q = crossing
    u = np.ceil(p + q * row)
    if is_left:
        return max(low, u), end
    return low, min(end, u)


@njit(cache=True, error_model="numpy")
@no_type_check
def _fill(inverse, ids, first, step, triangle):
    """Depth-test one row of pixels.

    No branches and a 32-bit counter: this loop becomes vector code, and most of the time is spent here.
    """
    nearest = np.float32(1.0 / NEAR)
    for i in range(inverse.size):
        w = first + step * np.float32(np.int32(i))
        old_w, old_id = inverse[i], ids[i]
        is_nearer = (w > old_w) & (w <= nearest)
        inverse[i] = w if is_nearer else old_w
        ids[i] = triangle if is_nearer else old_id


@njit(cache=True, error_model="numpy")
@no_type_check
def _draw(corners, triangle, camera, inverse, ids):
    p = _to_camera(corners[0, 0], corners[0, 1], corners[0, 2], camera)
    q = _to_camera(corners[1, 0], corners[1, 1], corners[1, 2], camera)
    r = _to_camera(corners[2, 0], corners[2, 1], corners[2, 2], camera)
    first, last = _row_range(p, q, r, camera)
    if first > last:
        return
    a, b, c = _inverse_depth(p, q, r, camera)
    if a == 0.0 and b == 0.0 and c == 0.0:
        return
    # Inside is where all three are positive: what is CCW in space turns clockwise on an image whose v points down.
    e0, e1, e2 = _edge(r, q, camera), _edge(p, r, camera), _edge(q, p, camera)
    first, last = _horizontal(e0, first, last)
    first, last = _horizontal(e1, first, last)
    first, last = _horizontal(e2, first, last)
    width = float(camera.width)
    c0, c1, c2 = _crossing(e0, width), _crossing(e1, width), _crossing(e2, width)
    for row in range(first, last + 1):
        low, end = _narrow(c0, row, 0.0, width)
        low, end = _narrow(c1, row, low, end)
        low, end = _narrow(c2, row, low, end)
        if low < end:
            u0, u1 = int(low), int(end)
            start = np.float32(a * u0 + b * row + c)
            _fill(inverse[row, u0:u1], ids[row, u0:u1], start, np.float32(a), triangle)


@njit(cache=True, error_model="numpy")
@no_type_check
def rasterise(scene, parts, camera, inverse, ids):
    """Fill `inverse` (1/z [1/m], 0 = nothing) and `ids` (triangle, -1 = nothing) with the visible surfaces."""
    inverse[:] = 0.0
    ids[:] = -1
    for part in parts:
        for t in range(scene.part_start[part], scene.part_start[part + 1]):
            plane = scene.planes[t]
            if plane[0] * camera.x + plane[1] * camera.y + plane[2] * camera.z + plane[3] > 0.0:
                _draw(scene.corners[t], np.int32(t), camera, inverse, ids)
