"""Whether colour and depth show the same pixels: edges of both, laid over each other at every shift."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from embmem.doctor.finding import Finding, Number
from embmem.doctor.glimpses import Glimpse, Glimpses

_STEP = 0.08  # relative step of depth that is a whole edge
_CLEAR, _TIMES = 0.12, 1.4  # correlation that shows where colour belongs; times that of where it is
_NONE = 0.05  # correlation below which edges of colour have nothing to do with those of depth
_SHIFT = 0.012  # of the width
_FEWEST = 3  # frames


def check_registration(glimpses: Glimpses, name: str) -> list[Finding]:
    """The finding that colour lies beside depth, or mirrored to it; a note where edges have nothing in common."""
    spectra, flipped, n = None, dict.fromkeys(("x", "y", "xy"), 0.0), 0
    shape: tuple[int, ...] = ()
    for glimpse in glimpses.frames:
        edges = _edges(glimpse, glimpses)
        if edges is None or (shape and edges[0].shape != shape):
            continue
        depth, color = edges
        shape, n = depth.shape, n + 1
        spectrum = np.fft.rfft2(depth).conj() * np.fft.rfft2(color)
        spectra = spectrum if spectra is None else spectra + spectrum
        for flip, turned in (("x", color[:, ::-1]), ("y", color[::-1]), ("xy", color[::-1, ::-1])):
            flipped[flip] += float((depth * turned).sum())
    if spectra is None or n < _FEWEST:
        return []
    overlap = np.fft.irfft2(spectra, shape) / n
    return _judged(overlap, {flip: total / n for flip, total in flipped.items()}, name, n)


def _judged(overlap: Float[np.ndarray, "h w"], flipped: dict[str, float], name: str, n: int) -> list[Finding]:
    here = float(overlap[0, 0])
    row, column = np.unravel_index(int(overlap.argmax()), overlap.shape)
    height, width = overlap.shape
    down, right = (int(row) + height // 2) % height - height // 2, (int(column) + width // 2) % width - width // 2
    best = float(overlap.max())
    flip = max(flipped, key=flipped.__getitem__)
    evidence: dict[str, Number] = {"overlap": round(here, 4), "frames": n}
    if flipped[flip] > max(_CLEAR, _TIMES * here, best if (down, right) != (0, 0) else 0.0):
        message = f"colour is mirrored against depth ({flip}): its edges lie on those of depth only so"
        evidence |= {"flip": flip, "overlap_mended": round(flipped[flip], 4)}
        return [Finding("color_not_registered", "warning", name, message, evidence)]
    if max(abs(down), abs(right)) > _SHIFT * width and best > max(_CLEAR, _TIMES * here):
        message = (
            f"colour lies {right / width:+.1%} of the width to the right of depth and {down / height:+.1%} of the "
            "height below it: the images are not registered; record a registered depth image, or camera_info of both "
            "and the TF between them"
        )
        evidence |= {
            "right": round(right / width, 4),
            "down": round(down / height, 4),
            "overlap_mended": round(best, 4),
        }
        return [Finding("color_not_registered", "warning", name, message, evidence)]
    if here < _NONE and best < _CLEAR:
        message = (
            "edges of colour and of depth hardly coincide: the two cameras are likely not registered (as in 7-Scenes); "
            "colours of the map will be smeared at edges"
        )
        return [Finding("color_not_registered", "note", name, message, evidence)]
    return []


def _edges(glimpse: Glimpse, glimpses: Glimpses) -> tuple[np.ndarray, np.ndarray] | None:
    """Edges of depth and of colour with mean 0 and length 1."""
    if glimpse.depth is None or glimpse.color is None or glimpse.depth.edges is None or glimpse.color.edges is None:
        return None
    raw, grey = glimpse.depth.edges, glimpse.color.edges
    if raw.shape != grey.shape or min(raw.shape) < 8:
        return None
    valid = glimpses.is_valid(raw)
    inside = valid[:-1, :-1] & valid[1:, :-1] & valid[:-1, 1:]
    steps = _gradient(np.log(np.where(valid, raw, 1.0)))
    depth = _normal(np.where(inside, np.minimum(steps / _STEP, 1.0), 0.0))
    change = _gradient(grey)
    color = _normal(np.minimum(change / max(float(np.percentile(change, 95)), 1e-3), 1.0))
    return None if depth is None or color is None else (depth, color)


def _gradient(image: np.ndarray) -> np.ndarray:
    down, right = np.abs(np.diff(image, axis=0))[:, :-1], np.abs(np.diff(image, axis=1))[:-1]
    return np.asarray(down + right, dtype=np.float64)


def _normal(edges: np.ndarray) -> np.ndarray | None:
    centred = edges - edges.mean()
    length = float(np.linalg.norm(centred))
    return centred / length if length > 1e-6 else None
