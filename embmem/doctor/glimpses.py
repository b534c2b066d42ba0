"""Small pictures of many frames: enough to see what repeats, what moves, how bright it is; a few kilobytes each."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from embmem.doctor.views import raw_frames
from embmem.errors import InputError
from embmem.recordings.choice import Choice
from embmem.recordings.conventions import Conventions
from embmem.recordings.interpret import rgb_of
from embmem.recordings.raw import RawImage, Sample
from embmem.recordings.recording import Recording

MAX_FRAMES = 400  # frames that are decoded; of more, blocks of consecutive ones
_BLOCK = 40
_SMALL = 40  # pixels along the width of a small picture
_EDGES = 160  # of a picture in which edges are compared
_N_EDGES, _N_VALUES = 40, 60  # frames whose edges and whose raw values are kept
_CHANGED = 0.05  # of a depth: it shows something else


@dataclass(frozen=True, eq=False)
class Picture:
    """One image, made small."""

    checksum: int
    small: Float[np.ndarray, "h w"]  # raw depth, or brightness in [0, 255]
    edges: np.ndarray | None = None  # (h, w) raw depth or brightness at `_EDGES` pixels
    values: np.ndarray | None = None  # (n,) raw values of depth as they are


@dataclass(frozen=True, eq=False)
class Glimpse:
    """What one frame shows."""

    number: int
    stamp: float
    depth: Picture | None
    color: Picture | None


@dataclass(eq=False)
class Glimpses:
    """Glimpses in the order of the recording, and what could not be decoded."""

    frames: list[Glimpse]
    faults: dict[str, list[str]]  # by stream
    depth_invalid: tuple[float, ...]

    def is_valid(self, raw: np.ndarray) -> np.ndarray:
        """Where raw depth is a measurement."""
        return np.isfinite(raw) & ~np.isin(raw, self.depth_invalid) & (raw > 0)

    def change(self, a: Glimpse, b: Glimpse) -> float | None:
        """Share of the pixels of two depth images that show something else; None where they cannot be compared."""
        if a.depth is None or b.depth is None or a.depth.small.shape != b.depth.small.shape:
            return None
        x, y = a.depth.small, b.depth.small
        both = self.is_valid(x) & self.is_valid(y)
        if both.sum() < 0.1 * both.size:
            return None
        return float((np.abs(x - y)[both] > _CHANGED * y[both]).mean())

    def neighbours(self) -> list[tuple[Glimpse, Glimpse]]:
        """Pairs of consecutive frames."""
        return [(a, b) for a, b in zip(self.frames, self.frames[1:], strict=False) if b.number == a.number + 1]


def chosen(n: int) -> set[int]:
    """Numbers of the frames to look at: all, or blocks spread over the recording."""
    if n <= MAX_FRAMES:
        return set(range(n))
    starts = np.linspace(0, n - _BLOCK, MAX_FRAMES // _BLOCK).astype(int)
    return {int(start) + k for start in starts for k in range(_BLOCK)}


def take_glimpses(
    recording: Recording,
    choice: Choice,
    conventions: Conventions,
    bad: Collection[str] = (),
    on_progress: Callable[[int, int], None] | None = None,
) -> Glimpses:
    """Decode the chosen frames one by one and keep little of each; `bad` names samples that cannot be read."""
    wanted = chosen(choice.main.n_samples)
    spread = _spread(wanted, _N_EDGES) | _spread(wanted, _N_VALUES)
    found = Glimpses([], {}, conventions.depth_invalid)
    for number, frame in enumerate(raw_frames(recording, choice, conventions, color=True)):
        if number not in wanted:
            continue
        pictures: dict[str, Picture] = {}
        for kind in ("depth", "color"):
            sample = frame.parts.get(kind)
            if sample is not None and sample.source not in bad:
                picture = _picture(sample, found.faults, kind == "depth", is_kept=number in spread)
                pictures |= {} if picture is None else {kind: picture}
        found.frames.append(Glimpse(number, frame.stamp, pictures.get("depth"), pictures.get("color")))
        if on_progress is not None:
            on_progress(len(found.frames), len(wanted))
    return found


def _spread(wanted: set[int], n: int) -> set[int]:
    ordered = sorted(wanted)
    return (
        {ordered[k] for k in np.linspace(0, len(ordered) - 1, min(n, len(ordered))).astype(int)} if ordered else set()
    )


def _picture(sample: Sample, faults: dict[str, list[str]], is_depth: bool, *, is_kept: bool) -> Picture | None:
    try:
        image = sample.read()
        if not isinstance(image, RawImage):
            return None
        pixels = image.pixels if is_depth else rgb_of(image)
    except InputError as error:
        faults.setdefault(sample.stream, []).append(str(error))
        return None
    if is_depth and (pixels.ndim != 2 or pixels.dtype.kind not in "uif"):
        return None
    checksum = zlib.crc32(np.ascontiguousarray(pixels).tobytes())
    small, edges = _small(pixels, _SMALL), _small(pixels, _EDGES) if is_kept else None
    values = pixels[::4, ::4].ravel().copy() if is_kept and is_depth else None
    return Picture(checksum, small, edges, values)


def _small(pixels: np.ndarray, width: int) -> Float[np.ndarray, "h w"]:
    """Depth thinned out, or the mean brightness of blocks."""
    step = max(1, pixels.shape[1] // width)
    if pixels.ndim == 2:
        return pixels[step // 2 :: step, step // 2 :: step].astype(np.float32)
    h, w = pixels.shape[0] // step, pixels.shape[1] // step
    grey = pixels[: h * step, : w * step, 1]  # green carries most of the brightness
    return grey.reshape(h, step, w, step).mean(axis=(1, 3), dtype=np.float32)
