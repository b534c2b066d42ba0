"""What a recording holds, as it was recorded: numbers without a decision about units, axes, order or direction.

`embmem.recordings.interpret` turns them into observations by `Conventions`; `embmem doctor` looks at them as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from jaxtyping import Float

from embmem.errors import InputError, RefusedObservation

T = TypeVar("T")
MAX_STAMP = 9e9  # [s], of 63 bits of nanoseconds: the year 2255


@dataclass(frozen=True, eq=False)
class RawImage:
    """Pixels as recorded; colour is (h, w, 3) uint8, red first, whatever `encoding` it had.

    Depth is (h, w), integers or floats in the unit of the recording; ids are (h, w) integers.
    """

    pixels: np.ndarray
    encoding: str  # 16UC1, 32FC1, rgb8, jpeg, 16UC1; compressedDepth png, ...


@dataclass(frozen=True)
class RawCamera:
    """Intrinsics as recorded; integer pixel coordinates lie at pixel centres."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    model: str = ""  # plumb_bob, rational_polynomial, equidistant, ...; empty = a pinhole without distortion
    distortion: tuple[float, ...] = ()
    rectified: tuple[float, float, float, float] | None = None  # fx fy cx cy of the rectified image, where known


@dataclass(frozen=True, eq=False)
class RawPose:
    """A pose as recorded: a matrix, or a position and the four numbers of a quaternion in the order of the file.

    `parent` and `child` name the frames where the recording does; whether the pose takes child to parent or the other
    way is a convention.
    """

    position: np.ndarray | None = None  # (3,)
    quaternion: np.ndarray | None = None  # (4,)
    matrix: np.ndarray | None = None  # (4, 4)
    parent: str = ""
    child: str = ""


@dataclass(frozen=True, eq=False)
class RawTransforms:
    """The transforms of one message of TF, each with its own stamp."""

    stamps_ns: tuple[int, ...]
    poses: tuple[RawPose, ...]
    is_static: bool


@dataclass(frozen=True, eq=False)
class RawCloud:
    """Points in the frame of the sensor [m]; those without a return are left out."""

    points: np.ndarray  # (n, 3) float32 or float64
    fields: dict[str, np.ndarray] = field(default_factory=dict)  # (n,) each: intensity, ring, time, ...


@dataclass(frozen=True, eq=False)
class RawImu:
    """One reading of an inertial sensor in its own frame."""

    angular_velocity: Float[np.ndarray, "3"]  # [rad/s]
    linear_acceleration: Float[np.ndarray, "3"]  # [m/s^2], gravity included
    quaternion: np.ndarray | None = None  # (4,) as recorded, None where the sensor estimates none


@dataclass(frozen=True, eq=False)
class RawDetection:
    """One thing that a detector saw: a box in the image [px], or a box in space in the frame of the sample."""

    label: str  # empty where the detector named nothing
    score: float
    id: str  # of a tracker; empty where there is none
    box: tuple[float, float, float, float] | None = None  # u and v of the least corner, of the greatest
    pose: RawPose | None = None  # of the middle
    size: np.ndarray | None = None  # (3,) [m]


@dataclass(frozen=True, eq=False)
class RawDetections:
    """What a detector saw in one image or scan."""

    items: tuple[RawDetection, ...]


@dataclass(frozen=True, eq=False)
class RawMessage:
    """Anything else, as the format's own library decoded it."""

    value: object


RawData = RawImage | RawCamera | RawPose | RawTransforms | RawCloud | RawImu | RawDetections | RawMessage


def nothing_to_check() -> tuple[int, int] | None:
    """The check of samples that can only be checked by reading them."""
    return None


@dataclass(frozen=True, eq=False)
class Sample:
    """One thing of a recording with where it came from; what it holds is read when it is asked for.

    `stamp` is the sensor's, `received` the recorder's where it kept one [s]. Samples of one `group` belong together
    because the recording says so (the files of one frame); otherwise stamps decide.
    """

    stream: str
    kind: str  # one of `recording.KINDS`
    stamp: float
    source: str  # names it in a message: a file, or a topic and the number of the message
    read: Callable[[], RawData]  # raises InputError
    received: float = float("nan")
    frame_id: str = ""
    group: int = -1
    # cheap, without decoding: the size of an image where it knows it; raises InputError
    check: Callable[[], tuple[int, int] | None] = nothing_to_check
    stamp_ns: int | None = None  # where the recording keeps whole nanoseconds; a float64 is too coarse by some 100

    @property
    def nanoseconds(self) -> int:
        """The stamp [ns].

        Raises:
            InputError: if it is not finite.
        """
        if self.stamp_ns is not None:
            return self.stamp_ns
        if not abs(self.stamp) < MAX_STAMP:
            raise InputError(f"{self.source}: stamp is {self.stamp}")
        return round(self.stamp * 1e9)


def named(sample: Sample, read: Callable[[], T]) -> T:
    """What `read` gives; its errors name where the sample came from."""
    try:
        return read()
    except InputError as error:
        if sample.source in str(error):
            raise
        if isinstance(error, RefusedObservation):
            detail = str(error).removeprefix(f"{error.fault}: ")
            raise RefusedObservation(error.fault, f"{sample.source}: {detail}") from None
        raise InputError(f"{sample.source}: {error}") from None
