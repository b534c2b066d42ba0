"""Colour as the depth camera would see it."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Integer, UInt8

from embmem.geometry import pixel_rays, project, transform_points
from embmem.observation import Intrinsics


def color_on_depth(
    rgb: UInt8[np.ndarray, "rows columns 3"],
    color: Intrinsics,
    depth: Float[np.ndarray, "h w"] | None,
    camera: Intrinsics,
    T_color_depth: Float[np.ndarray, "4 4"],
) -> UInt8[np.ndarray, "h w 3"]:
    """The colour of each pixel of the depth image; black where the colour camera does not see it.

    Pixels without depth are taken to be far away, where the distance between the two cameras does not matter.

    Args:
        rgb: image of the colour camera.
        color: its intrinsics.
        depth: [m], NaN invalid; may be absent where the cameras are in one place.
        camera: intrinsics of the depth image.
        T_color_depth: takes points of the depth camera to the colour camera.
    """
    import cv2

    # OpenCV 5.0 reads garbage where both coordinates lie in one array.
    u, v = (np.ascontiguousarray(c, dtype=np.float32) for c in _seen_at(color, depth, camera, T_color_depth))
    seen = cv2.remap(rgb, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return np.asarray(seen, dtype=np.uint8)


def ids_on_depth(
    ids: Integer[np.ndarray, "rows columns"],
    color: Intrinsics,
    depth: Float[np.ndarray, "h w"] | None,
    camera: Intrinsics,
    T_color_depth: Float[np.ndarray, "4 4"],
) -> Integer[np.ndarray, "h w"]:
    """The id of each pixel of the depth image where ids are of the colour image; 0 where it does not see it."""
    u, v = (np.rint(c).astype(np.int64) for c in _seen_at(color, depth, camera, T_color_depth))
    is_in = (u >= 0) & (v >= 0) & (u < ids.shape[1]) & (v < ids.shape[0])
    return np.where(is_in, ids[np.where(is_in, v, 0), np.where(is_in, u, 0)], 0)


def _seen_at(
    color: Intrinsics, depth: Float[np.ndarray, "h w"] | None, camera: Intrinsics, T_color_depth: np.ndarray
) -> tuple[Float[np.ndarray, "h w"], Float[np.ndarray, "h w"]]:
    """Column and row [px] at which the colour camera sees each pixel of the depth image; far outside for nowhere."""
    rays = pixel_rays(camera)
    far = np.full(rays.shape[:2], 1e3) if depth is None else np.where(np.isfinite(depth), depth, 1e3)
    points = transform_points(T_color_depth, (rays * far[..., None]).reshape(-1, 3).astype(np.float64))
    uv = project(points, color).reshape(*rays.shape[:2], 2)
    u, v = (np.where(np.isfinite(c), np.clip(c, -1e4, 1e5), -1e4) for c in (uv[..., 0], uv[..., 1]))
    return u, v
