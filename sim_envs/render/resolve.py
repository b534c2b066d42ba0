"""From the visibility buffer to the images: one pass over runs of equal triangle ids."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

from embmem.sim_envs.render.patterns import NEUTRAL, PERIOD, SIZE

_TEXELS = np.float32(SIZE / PERIOD)  # per metre
_SHIFT = np.float32(64 * SIZE)  # keeps texel coordinates positive, so that truncation is floor
_PER_NEUTRAL = np.float32(1.0 / NEUTRAL)
_DIM_PER_METRE = np.float32(0.035)  # light lost with distance
_DIM = np.float32(0.3)  # at most
_BACKGROUND = 20  # grey level where nothing was hit


@njit(cache=True, error_model="numpy")
@no_type_check
def _along(axis, row, first, camera):
    """One map coordinate of a pixel run in texels, as (start, offset, slope): start + z (offset + slope i)."""
    position = (camera.x, camera.y, camera.z)
    slope = camera.right[axis] / camera.fx
    v = (row - camera.cy) / camera.fy
    offset = (first - camera.cx) * slope + camera.down[axis] * v + camera.forward[axis]
    start = position[axis] % PERIOD
    return np.float32(start * _TEXELS + _SHIFT), np.float32(offset * _TEXELS), np.float32(slope * _TEXELS)


@njit(cache=True, error_model="numpy")
@no_type_check
def _texture_frame(nx, ny, nz, row, first, camera):
    """Both texture coordinates of a run: the map axes across the largest component of the normal."""
    x, y, z = abs(nx), abs(ny), abs(nz)
    if z >= x and z >= y:
        return _along(0, row, first, camera), _along(1, row, first, camera)
    return _along(2, row, first, camera), _along(1 if x >= y else 0, row, first, camera)


@njit(cache=True, error_model="numpy")
@no_type_check
def _texels(depth, texel, contrast, first_axis, second_axis, gain):
    """Texel number and pattern contrast of each pixel of a run."""
    s0, o0, d0 = first_axis
    s1, o1, d1 = second_axis
    one, mask = np.float32(1.0), np.int32(SIZE - 1)
    for i in range(depth.size):
        z, k = depth[i], np.float32(np.int32(i))
        t0 = np.int32(s0 + z * (o0 + d0 * k)) & mask
        t1 = np.int32(s1 + z * (o1 + d1 * k)) & mask
        texel[i] = t0 * np.int32(SIZE) + t1
        c = gain / (z * z)
        contrast[i] = (c if c < one else one) * _PER_NEUTRAL


@njit(cache=True, error_model="numpy")
@no_type_check
def _look_up(texture, texel, contrast):
    """Turn contrast into brightness: the one loop of the shading that cannot become vector code."""
    for i in range(texel.size):
        deviation = np.int32(texture[texel[i]]) - np.int32(NEUTRAL)
        contrast[i] = np.float32(1.0) + contrast[i] * np.float32(deviation)


@njit(cache=True, error_model="numpy")
@no_type_check
def _paint(rgb, depth, brightness, red, green, blue):
    """Colour times brightness times the falloff with distance, as interleaved bytes."""
    one, top = np.float32(1.0), np.float32(255.0) / max(red, green, blue, np.float32(1.0))
    for i in range(depth.size):
        dim = depth[i] * _DIM_PER_METRE
        level = brightness[i] * (one - (dim if dim < _DIM else _DIM))
        level = level if level < top else top  # saturates all three at once, which keeps the hue
        rgb[3 * i] = np.uint8(np.int32(red * level))
        rgb[3 * i + 1] = np.uint8(np.int32(green * level))
        rgb[3 * i + 2] = np.uint8(np.int32(blue * level))


@njit(cache=True, error_model="numpy")
@no_type_check
def resolve_geometry(scene, inverse, ids, depth, semantic, instance):
    """Depth [m] (NaN where nothing was hit), semantic and instance ids of the visible triangles."""
    nothing = np.float32(np.nan)
    for row in range(inverse.shape[0]):
        near, out = inverse[row], depth[row]
        for i in range(near.size):
            out[i] = np.float32(1.0) / near[i] if near[i] > np.float32(0.0) else nothing
        run = ids[row]
        last, label, owner = np.int32(-1), np.int32(0), np.int32(0)
        for i in range(run.size):
            t = run[i]
            if t != last:
                last = t
                label = scene.semantic[t] if t >= 0 else np.int32(0)
                owner = scene.instance[t] if t >= 0 else np.int32(0)
            semantic[row, i] = label
            instance[row, i] = owner


@njit(cache=True, error_model="numpy")
@no_type_check
def resolve_colour(scene, camera, textures, features, depth, ids, rgb):
    """Shaded colours of the visible triangles; `rgb` is (h, 3 w), `textures` (k, texels)."""
    width = ids.shape[1]
    texel, brightness = np.empty(width, np.int32), np.empty(width, np.float32)
    for row in range(ids.shape[0]):
        first = 0
        while first < width:
            t = ids[row, first]
            end = first + 1
            while end < width and ids[row, end] == t:
                end += 1
            out, z, n = rgb[row, 3 * first : 3 * end], depth[row, first:end], end - first
            if t < 0:
                out[:] = _BACKGROUND
            else:
                nx, ny, nz, o = scene.planes[t, 0], scene.planes[t, 1], scene.planes[t, 2], scene.planes[t, 3]
                distance = nx * camera.x + ny * camera.y + nz * camera.z + o
                kind = scene.pattern[t]
                # A pixel covers z^2 / (f distance) metres of the plane: the pattern fades where that exceeds
                # its structure.
                gain = np.float32(features[kind] * camera.fx * distance)
                frame = _texture_frame(nx, ny, nz, row, first, camera)
                _texels(z, texel[:n], brightness[:n], frame[0], frame[1], gain)
                _look_up(textures[kind], texel[:n], brightness[:n])
                _paint(out, z, brightness[:n], scene.lit[t, 0], scene.lit[t, 1], scene.lit[t, 2])
            first = end
