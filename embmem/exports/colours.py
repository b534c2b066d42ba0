"""Colours of exported points: by height, and between the sRGB of screens and the linear light of glTF."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8


def height_colours(height: Float[np.ndarray, " n"]) -> UInt8[np.ndarray, "n 4"]:
    """RGBA of heights [m], dark at the 1st and bright at the 99th percentile."""
    import cv2

    low, high = np.percentile(height, [1, 99])
    level = np.clip((height - low) / max(high - low, 1e-9), 0.0, 1.0) * 255
    bgr = cv2.applyColorMap(level.astype(np.uint8).reshape(-1, 1), cv2.COLORMAP_VIRIDIS)[:, 0]
    return np.concatenate([bgr[:, ::-1], np.full((len(height), 1), 255, np.uint8)], axis=1)


def to_srgb(linear: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """sRGB values in [0, 1] of linear light (IEC 61966-2-1)."""
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.power(linear, 1 / 2.4) - 0.055)


def to_linear(srgb: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Linear light of sRGB values in [0, 1] (IEC 61966-2-1)."""
    return np.where(srgb <= 0.04045, srgb / 12.92, np.power((srgb + 0.055) / 1.055, 2.4))


def rgba_of(rgb: UInt8[np.ndarray, "n c"]) -> UInt8[np.ndarray, "n 4"]:
    """Opaque colours of three or four channels."""
    if rgb.shape[1] == 4:
        return rgb
    return np.concatenate([rgb, np.full((len(rgb), 1), 255, np.uint8)], axis=1)
