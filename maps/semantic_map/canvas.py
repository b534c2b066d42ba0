"""A picture to draw on: colours by name of a category, masks with soft edges, lines and letters."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from embmem.maps.semantic_map.lettering import letters

RGB = tuple[int, int, int]
_BITS = 4  # of fixed point in the coordinates of lines
_BLUR, _EDGE = 0.6, 0.42  # [cells], level: a single cell vanishes, a line of one cell stays
_LIGHTNESS = (0.82, 0.88, 0.76)  # of fills
_CHROMA = (0.085, 0.06, 0.10)
# OKLab to linear sRGB (Ottosson, A perceptual color space for image processing, 2020)
_LMS = np.array(
    [[1.0, 0.3963377774, 0.2158037573], [1.0, -0.1055613458, -0.0638541728], [1.0, -0.0894841775, -1.291485548]]
)
_SRGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.707614701],
    ]
)


def oklch(lightness: float, chroma: float, hue: float) -> RGB:
    """The colour of that lightness, chroma and hue [rad] in OKLab, clipped to what screens show."""
    lab = np.array([lightness, chroma * np.cos(hue), chroma * np.sin(hue)])
    linear = np.clip(_SRGB @ (_LMS @ lab) ** 3, 0.0, 1.0)
    curved = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    red, green, blue = (int(v) for v in np.rint(255 * curved))
    return red, green, blue


@lru_cache(maxsize=4096)
def category_colours(name: str) -> tuple[RGB, RGB]:
    """(fill, outline) of a category, the same on every map."""
    code = zlib.crc32(name.casefold().encode())
    hue, kind = (code % 3600) * np.pi / 1800, code // 3600 % len(_LIGHTNESS)
    return oklch(_LIGHTNESS[kind], _CHROMA[kind], hue), oklch(0.48, 0.09, hue)


class Canvas:
    """An RGB picture; positions are (column, row) in pixels and may have fractions."""

    def __init__(self, width: int, height: int, colour: RGB) -> None:
        """One colour all over."""
        self.pixels: UInt8[np.ndarray, "h w 3"] = np.empty((height, width, 3), dtype=np.uint8)
        self.pixels[:] = colour

    def blend(self, left: int, top: int, opacity: Float[np.ndarray, "h w"], colour: RGB) -> None:
        """Lay a colour over the picture with a mask in [0, 1] whose corner is at (left, top); it may stick out."""
        height, width = self.pixels.shape[:2]
        x0, y0 = max(left, 0), max(top, 0)
        x1, y1 = min(left + opacity.shape[1], width), min(top + opacity.shape[0], height)
        if x0 >= x1 or y0 >= y1:
            return
        part = self.pixels[y0:y1, x0:x1]
        share = opacity[y0 - top : y1 - top, x0 - left : x1 - left, None].astype(np.float32)
        part[:] = np.rint(part + share * (np.array(colour, dtype=np.float32) - part)).astype(np.uint8)

    def line(self, points: Float[np.ndarray, "n 2"], colour: RGB, width: int, *, closed: bool = False) -> None:
        """A smooth line through the points."""
        fixed = np.round(points * (1 << _BITS)).astype(np.int32).reshape(-1, 1, 2)
        cv2.polylines(self.pixels, [fixed], closed, colour, width, cv2.LINE_AA, _BITS)

    def fill(self, points: Float[np.ndarray, "n 2"], colour: RGB) -> None:
        """A filled polygon with smooth edges."""
        fixed = np.round(points * (1 << _BITS)).astype(np.int32).reshape(-1, 1, 2)
        cv2.fillPoly(self.pixels, [fixed], colour, cv2.LINE_AA, _BITS)

    def disc(self, centre: Sequence[float], radius: float, colour: RGB) -> None:
        """A filled circle."""
        scale = 1 << _BITS
        x, y = (round(v * scale) for v in centre)
        cv2.circle(self.pixels, (x, y), round(radius * scale), colour, -1, cv2.LINE_AA, _BITS)

    def rectangle(self, left: int, top: int, right: int, bottom: int, colour: RGB) -> None:
        """A filled rectangle, right and bottom exclusive."""
        self.pixels[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = colour

    def write(
        self, text: str, left: int, top: int, size: float, colour: RGB, *, bold: bool = False, halo: RGB | None = None
    ) -> None:
        """Letters with their line's corner at (left, top), on a soft rim of the colour `halo`."""
        mask = letters(text, size, bold=bold)
        if halo is not None:
            pad = 4
            wide = cv2.dilate(cv2.copyMakeBorder(mask, pad, pad, pad, pad, cv2.BORDER_CONSTANT), _DISC)
            soft = cv2.GaussianBlur(wide, (0, 0), 1.0).astype(np.float32) * (0.9 / 255)
            self.blend(left - pad, top - pad, soft, halo)
        self.blend(left, top, mask.astype(np.float32) / 255, colour)


_DISC = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))


def text_size(text: str, size: float, *, bold: bool = False) -> tuple[int, int]:
    """(width, height) of a line of text in pixels."""
    height, width = letters(text, size, bold=bold).shape
    return width, height


def soft_mask(cells: UInt8[np.ndarray, "h w"], width: int, height: int) -> Float[np.ndarray, "height width"]:
    """A 0-1 mask enlarged to a size in pixels, with rounded corners and edges one pixel wide.

    Single cells that stick out are smoothed away.
    """
    blurred = cv2.GaussianBlur(cells.astype(np.float32), (0, 0), _BLUR, borderType=cv2.BORDER_CONSTANT)
    smooth: np.ndarray = cv2.resize(blurred, (width, height), interpolation=cv2.INTER_CUBIC)
    steepness = 2.0 * max(width / max(cells.shape[1], 1), 1.0)
    return np.clip((smooth - _EDGE) * steepness + 0.5, 0.0, 1.0)
