"""Colour as the depth camera would see it."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8

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

    rays = pixel_rays(camera)
    far = np.full(rays.shape[:2], 1e3) if depth is None else np.where(np.isfinite(depth), depth, 1e3)
    points = transform_points(T_color_depth, (rays * far[..., None]).reshape(-1, 3).astype(np.float64))
    uv = project(points, color).reshape(*rays.shape[:2], 2)
    # OpenCV 5.0 reads garbage where both coordinates lie in one array.
    u, v = (
        np.ascontiguousarray(np.where(np.isfinite(c), np.clip(c, -1e4, 1e5), -1e4)) for c in (uv[..., 0], uv[..., 1])
    )
    seen = cv2.remap(rgb, u.astype(np.float32), v.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return np.asarray(seen, dtype=np.uint8)
