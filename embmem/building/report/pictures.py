"""Pictures of a build: a strip of what the camera saw, and each thing as it was seen best.

They are read from the recording once more when the map is there: so they cost no memory while it is built, and show
things that many frames made.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from embmem.building.report.best_views import View
from embmem.errors import EmbmemError
from embmem.observation import Observation
from embmem.recordings.frames import RawFrame
from embmem.recordings.reading import Reading

STRIP_WIDTH, THING_SIDE = 240, 112  # [px]
_QUALITY = 72  # of JPEG
_FARTHEST = 5.0  # [m] of the darkest depth


@dataclass(frozen=True)
class Shot:
    """One picture of the strip."""

    stamp: float  # [s]
    picture: str  # data URI


@dataclass(frozen=True)
class Pictures:
    """What a page shows of a recording."""

    strip: tuple[Shot, ...] = ()
    things: Mapping[int, str] = field(default_factory=dict)  # data URI by the number of the view
    note: str = ""  # why there are none, or fewer


def take_pictures(
    reading: Reading, stamps: Float[np.ndarray, " n"], views: Sequence[View | None], *, n_strip: int
) -> Pictures:
    """One pass over the recording that decodes nothing but the frames that are shown.

    Args:
        reading: of the recording that the map was built from; its poses are not looked at.
        stamps: [s] of the frames that were built from.
        views: of the things, by number of these frames.
        n_strip: pictures of the strip at most, evenly chosen.
    """
    last = max(len(stamps) - 1, 0)
    shown = np.linspace(0, last, min(n_strip, len(stamps))).astype(np.int64).tolist()
    of_strip = {float(stamps[i]) for i in shown}
    of_things: dict[float, list[int]] = {}
    for number, view in enumerate(views):
        if view is not None:
            of_things.setdefault(float(stamps[view.frame]), []).append(number)
    strip: dict[float, Shot] = {}
    things: dict[int, str] = {}
    note = ""
    try:
        for stamp, image in _images(reading, of_strip | set(of_things)):
            if stamp in of_strip and stamp not in strip:
                strip[stamp] = Shot(stamp, _uri(_fitted(image, STRIP_WIDTH)))
            for number in of_things.pop(stamp, ()):
                view = views[number]
                if view is not None and (crop := _crop(image, view)) is not None:
                    things[number] = _uri(_fitted(crop, THING_SIDE))
    except EmbmemError as error:
        note = f"The recording could not be read once more for pictures: {error}"
    return Pictures(tuple(strip[stamp] for stamp in sorted(strip)), things, note)


def _images(reading: Reading, wanted: set[float]) -> Iterator[tuple[float, UInt8[np.ndarray, "h w 3"]]]:
    """Stamp [s] and picture of each frame that is wanted; what cannot be read has none."""
    left = set(wanted)
    for frame in reading.frames():
        if not left:
            return
        if frame.stamp not in left:
            continue
        left.discard(frame.stamp)
        image = _image(reading, frame)
        if image is not None:
            yield frame.stamp, image


def _image(reading: Reading, frame: RawFrame) -> np.ndarray | None:
    """Colour as the depth camera would see it, or depth from light to dark; None where there is neither."""
    try:
        seen: list[Observation] = reading.observer.observe(frame, np.eye(4))
    except EmbmemError:
        return None
    if len(seen) != 1:
        return None  # the faces of a point cloud
    if seen[0].rgb is not None:
        return np.asarray(seen[0].rgb)
    if seen[0].depth is None:
        return None
    near = 1.0 - np.clip(np.nan_to_num(seen[0].depth, nan=np.inf) / _FARTHEST, 0.0, 1.0)
    return np.asarray(cv2.applyColorMap((near * 255).astype(np.uint8), cv2.COLORMAP_BONE)[..., ::-1])


def _crop(image: UInt8[np.ndarray, "h w 3"], view: View) -> np.ndarray | None:
    """A square around the thing as far as the image goes."""
    height, width = image.shape[:2]
    left, top, right, bottom = view.box
    half = max(right - left, bottom - top, 24.0) / 2
    x, y = (left + right) / 2, (top + bottom) / 2
    left, right = (int(np.clip(v, 0, width)) for v in (x - half, x + half))
    top, bottom = (int(np.clip(v, 0, height)) for v in (y - half, y + half))
    return image[top:bottom, left:right] if right - left > 3 and bottom - top > 3 else None


def _fitted(image: UInt8[np.ndarray, "h w 3"], side: int) -> np.ndarray:
    """The picture with a longer edge of `side` pixels at most."""
    factor = side / max(image.shape[:2])
    if factor >= 1.0:
        return image
    size = max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def _uri(rgb: UInt8[np.ndarray, "h w 3"]) -> str:
    bgr = np.ascontiguousarray(rgb[..., ::-1])
    encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()
