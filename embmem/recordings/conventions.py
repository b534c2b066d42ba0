"""What the numbers of a recording mean: said by its format, proposed by `embmem doctor`, overruled by the user."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

CAMERA_AXES = ("optical", "body", "opengl")
QUATERNIONS = ("xyzw", "wxyz")
DIRECTIONS = ("camera_to_world", "world_to_camera")
_CHOICES = {"camera_axes": CAMERA_AXES, "quaternion": QUATERNIONS, "pose_direction": DIRECTIONS}


@dataclass(frozen=True)
class Conventions:
    """Settings that decide how raw numbers become observations; every one can be given as `read.<name>=...`.

    Raises:
        ValueError: naming the setting that makes no sense.
    """

    depth_unit: float | None = None  # [m] of one raw unit; None: 0.001 for integers, 1 for floats (REP 118)
    depth_invalid: tuple[float, ...] = (0.0, 65535.0)  # raw values that mean "nothing measured", besides NaN and inf
    intrinsics: tuple[float, ...] | None = None  # fx fy cx cy [px] instead of what was recorded
    distortion: tuple[float, ...] | None = None  # k1 k2 p1 p2 [k3 [k4 k5 k6]] instead of what was recorded
    camera_axes: str = "optical"  # of the frame that poses move: optical z ahead, body x ahead, opengl -z ahead
    quaternion: str = "xyzw"  # the order in which recorded quaternions come
    pose_direction: str = "camera_to_world"
    pose_scale: float = 1.0  # [m] of one raw unit of positions
    time_offset: float = 0.0  # [s] added to the stamps of images before poses are looked up
    max_gap: float = 0.5  # [s] between two poses that may be interpolated between
    color_gap: float = 0.02  # [s] between depth and the colour that goes with it (TUM's associate.py: 0.02)
    depth: str | None = None  # streams, where the proposal is wrong; "none" leaves one out
    color: str | None = None
    camera: str | None = None  # of the intrinsics
    pose: str | None = None  # a stream of poses, or "tf"
    cloud: str | None = None
    detections: str | None = None  # of vision_msgs, that label the frames where no semantic images were recorded
    least_score: float = 0.0  # of detections that are believed
    map_frame: str | None = None  # of TF; None: map, odom or world, what there is
    camera_frame: str | None = None  # of the images, where their frame_id is wrong

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}")
        for name in ("depth_unit", "pose_scale", "max_gap", "color_gap"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be a finite number > 0, got {value!r}")
        if not 0.0 <= self.least_score <= 1.0:
            raise ValueError(f"least_score must lie in [0, 1], got {self.least_score!r}")
        if not math.isfinite(self.time_offset):
            raise ValueError(f"time_offset must be finite, got {self.time_offset!r}")
        k = self.intrinsics
        if k is not None and (len(k) != 4 or not all(map(math.isfinite, k)) or min(k[:2]) <= 0):
            raise ValueError(f"intrinsics must be fx, fy > 0, cx, cy, all finite, got {list(k)}")
        d = self.distortion
        if d is not None and (len(d) not in (0, 4, 5, 8) or not all(map(math.isfinite, d))):
            raise ValueError(f"distortion must be 0, 4, 5 or 8 finite numbers, got {list(d)}")

    def but(self, given: Mapping[str, Any]) -> Conventions:
        """These conventions with what was given instead; None means not given.

        Raises:
            ValueError: if a name is no setting, or a value is of the wrong kind or makes no sense.
        """
        unknown = set(given) - {f.name for f in fields(self)}
        if unknown:
            raise ValueError(f"there is no setting {sorted(unknown)[0]!r}, only {[f.name for f in fields(self)]}")
        values = {name: _of_kind(name, value) for name, value in given.items() if value is not None}
        return replace(self, **values)


_NUMBERS = ("depth_unit", "pose_scale", "time_offset", "max_gap", "color_gap", "least_score")
_LISTS = ("depth_invalid", "intrinsics", "distortion")


def _of_kind(name: str, value: Any) -> Any:
    """The value as the setting keeps it: numbers as floats, lists of numbers as tuples, words as words."""
    if name in _NUMBERS and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if name in _LISTS:
        numbers = [value] if isinstance(value, (int, float)) else list(value) if not isinstance(value, str) else None
        if numbers is not None and all(isinstance(x, (int, float)) and not isinstance(x, bool) for x in numbers):
            return tuple(map(float, numbers))
    elif name not in _NUMBERS and isinstance(value, str):
        return value
    what = "numbers" if name in _LISTS else "a number" if name in _NUMBERS else "a word"
    raise ValueError(f"{name} must be {what}, got {value!r}")
