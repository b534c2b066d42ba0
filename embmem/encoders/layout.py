"""What a whole image looks like: where its edges run and where its colours lie. No training, no download."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8
from numpy.lib.stride_tricks import sliding_window_view

_SIDE, _CELLS, _BINS = 64, 4, 9  # [px] of a square, cells along a side, directions of half a turn
_CELL = _SIDE // _CELLS  # [px]
_LEAST = 1e-3  # length of what is nothing
_CLIP = 0.4  # of a normalised histogram, so that one strong edge is not everything


class LayoutEncoder:
    """A global descriptor of images, for finding the view that an image is like.

    Histograms of oriented gradients in 4 x 4 cells of a small grey image, each normalised with its neighbours (Dalal
    and Triggs, CVPR 2005), beside the mean of CIE Lab in the same cells: the spatial layout of a scene says where it
    was seen from, without any object being named (Oliva and Torralba, IJCV 2001). Both halves weigh the same, and are
    without their means over the cells, so that images with nothing in common are about at right angles.
    """

    dim = _CELLS * _CELLS * (_BINS + 3) + 1

    def encode_images(self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> Float[np.ndarray, "n d"]:
        """One unit vector an RGB image of any size, float32; of one colour all over, the last axis.

        Raises:
            ValueError: if an image has no pixels.
        """
        if any(image.size == 0 for image in images):
            raise ValueError("an image has no pixels")
        return np.array([_described(image) for image in images], np.float32).reshape(len(images), self.dim)


def _described(image: np.ndarray) -> np.ndarray:
    import cv2

    small = cv2.resize(np.ascontiguousarray(image), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(small.astype(np.float32) / 255.0, cv2.COLOR_RGB2LAB)
    colours = cv2.resize(lab, (_CELLS, _CELLS), interpolation=cv2.INTER_AREA).reshape(-1, 3)
    parts = [_centred(_gradients(lab[..., 0])), _centred(colours), np.array([_LEAST])]
    vector = np.concatenate(parts)
    return np.asarray(vector / np.linalg.norm(vector))


def _centred(part: np.ndarray) -> np.ndarray:
    """Flat, without the mean of each column, of unit length unless there is nothing."""
    flat = (part - part.mean(axis=0)).ravel()
    return np.asarray(flat / max(float(np.linalg.norm(flat)), _LEAST))


def _gradients(grey: np.ndarray) -> np.ndarray:
    """(cells, bins) of edges by place and direction."""
    dy, dx = np.gradient(grey.astype(np.float64))
    size, where = np.hypot(dx, dy), np.arctan2(dy, dx) % np.pi * (_BINS / np.pi)
    low = np.floor(where).astype(np.int64)
    rows, columns = np.divmod(np.arange(grey.size), grey.shape[1])
    cell = (rows // _CELL * _CELLS + columns // _CELL) * _BINS
    share, bins = (where - low).ravel(), low.ravel()
    n = _CELLS * _CELLS * _BINS
    found = np.bincount(cell + bins % _BINS, size.ravel() * (1.0 - share), n)
    found += np.bincount(cell + (bins + 1) % _BINS, size.ravel() * share, n)
    found = found.reshape(_CELLS, _CELLS, _BINS)
    energy = np.pad((found**2).sum(axis=2), 1)
    near = sliding_window_view(energy, (3, 3)).sum(axis=(2, 3))
    return np.minimum(found / np.sqrt(near + 1.0)[..., None], _CLIP).reshape(-1, _BINS)
