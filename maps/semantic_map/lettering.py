"""Names on a map: smooth letters of any alphabet as masks, and places for them that do not overlap.

OpenCV's own letters are strokes of ASCII; these are filled outlines from matplotlib's fonts.
"""

from __future__ import annotations

import unicodedata
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import Float, UInt8

_FINER = 4  # parts of a pixel along an axis that outlines are filled in
_BITS = 4  # of fixed point
MAX_CHARACTERS = 100
_RINGS = (0.0, 0.6, 1.2, 2.0, 3.0, 4.5, 6.5, 9.0, 12.0, 16.0)  # heights of a line from the anchor
_DIRECTIONS = 16


@dataclass(frozen=True)
class Box:
    """A rectangle of pixels, right and bottom exclusive."""

    left: int
    top: int
    right: int
    bottom: int

    def overlaps(self, other: Box) -> bool:
        """Whether they share a pixel."""
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )

    def grown(self, by: int) -> Box:
        """The same with a margin."""
        return Box(self.left - by, self.top - by, self.right + by, self.bottom + by)


@lru_cache(maxsize=2048)
def letters(text: str, size: float, *, bold: bool = False) -> UInt8[np.ndarray, "h w"]:
    """Opacity of a line of text of `size` pixels, as high as the font's lines, no wider than the text.

    What cannot be printed becomes a blank, and what is longer than `MAX_CHARACTERS` is cut.
    """
    from matplotlib.font_manager import FontProperties
    from matplotlib.path import Path
    from matplotlib.textpath import TextToPath

    shown = "".join(c if c.isprintable() else " " for c in unicodedata.normalize("NFC", text))
    if len(shown) > MAX_CHARACTERS:
        shown = shown[: MAX_CHARACTERS - 1] + "…"
    font = FontProperties(family="DejaVu Sans", weight="bold" if bold else "normal")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a letter that the font lacks is drawn as a box
        vertices, codes = TextToPath().get_text_path(font, shown)
    height, baseline = round(1.3 * size), 0.98 * size
    if len(vertices) == 0:
        return np.zeros((height, 1), dtype=np.uint8)
    outlines = Path(np.asarray(vertices) * (size / TextToPath.FONT_SCALE), codes).to_polygons()
    width = round(max(float(np.asarray(each)[:, 0].max()) for each in outlines)) + 2
    canvas = np.zeros((height * _FINER, width * _FINER), dtype=np.uint8)
    flipped = [np.asarray(each) * [1.0, -1.0] + [1.0, baseline] for each in outlines]
    fixed = [np.round((each * _FINER - 0.5) * (1 << _BITS)).astype(np.int32) for each in flipped]
    cv2.fillPoly(canvas, fixed, 255, lineType=cv2.LINE_8, shift=_BITS)
    mask: np.ndarray = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
    mask.setflags(write=False)  # it is shared by all who ask for it again
    return mask


def place_labels(
    anchors: Float[np.ndarray, "n 2"], sizes: Sequence[tuple[int, int]], taken: Sequence[Box], frame: Box
) -> list[Box | None]:
    """A rectangle for each label that overlaps no other, in order of importance; None where there is no room.

    Each takes the first free place around its anchor: on it, then on rings farther and farther out, on each ring to
    the right first.

    Args:
        anchors: (column, row) that the labels belong to.
        sizes: (width, height) of the labels.
        taken: where nothing may be written.
        frame: what all must lie in.
    """
    boxes: list[Box] = list(taken)
    placed: list[Box | None] = []
    angles = np.arange(_DIRECTIONS) * (2.0 * np.pi / _DIRECTIONS)
    for (x, y), (width, height) in zip(anchors.tolist(), sizes, strict=True):
        found = None
        for ring in _RINGS:
            reach = ring * height
            for angle in angles[: _DIRECTIONS if ring else 1].tolist():
                # the middle of the label on an ellipse that is wider by half its width
                cx = x + (reach + 0.5 * width * (ring > 0)) * np.cos(angle)
                cy = y - (reach + 0.5 * height * (ring > 0)) * np.sin(angle)
                left, top = round(cx - width / 2), round(cy - height / 2)
                box = Box(left, top, left + width, top + height)
                if _is_inside(box, frame) and not any(box.overlaps(other) for other in boxes):
                    found = box
                    break
            if found is not None:
                boxes.append(found)
                break
        placed.append(found)
    return placed


def _is_inside(box: Box, frame: Box) -> bool:
    return box.left >= frame.left and box.top >= frame.top and box.right <= frame.right and box.bottom <= frame.bottom
