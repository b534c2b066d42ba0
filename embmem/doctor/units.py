"""Whether poses or depth are of another unit: geometry gives their ratio, what is plausible the rest."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from embmem.doctor.finding import Finding, Number

# Units that people use: of raw depth [m], and of positions.
DEPTH_UNITS = (1.0, 0.01, 1e-3, 2e-4, 1e-4, 1 / 6553.5, 2.5e-4, 1.25e-4, 5e-4)
POSE_SCALES = (1e-3, 1e-2, 0.1, 0.0254, 0.3048, 10.0, 100.0, 1000.0)
_DEPTH, _DEPTH_SPREAD = 2.2, 0.7  # [m] median depth indoors, and the spread of its logarithm
_SPEED, _SPEED_SPREAD = 0.4, 1.5  # [m/s] of a camera
_ODD_SCALE, _ODD_UNIT = 1.5, 4.0  # how much less likely a number is that nobody uses; monocular SLAM has any scale
_SNAP = 0.02  # of a unit that is meant
_FAR, _NEAR = 60.0, 0.05  # [m] median depth that no depth camera gives


@dataclass(frozen=True)
class Believed:
    """What is believed about units so far."""

    depth: float  # median [m]
    depth_unit: float
    speed: float  # usual speed of the camera [m/s]
    pose_scale: float


def explain_scale(scale: float, believed: Believed, evidence: dict[str, Number], better: str) -> Finding:
    """The finding that translations must be multiplied by `scale`, or depth divided by it."""
    pose_scale, is_usual = _snapped(believed.pose_scale * scale, POSE_SCALES)
    unit, is_unit = _snapped(believed.depth_unit / scale, DEPTH_UNITS)
    as_poses = _unlikely(believed.depth, believed.speed * scale) + (0.0 if is_usual else _ODD_SCALE)
    as_depth = _unlikely(believed.depth / scale, believed.speed) + (0.0 if is_unit else _ODD_UNIT)
    numbers: dict[str, Number] = {"ratio": round(scale, 6), "median_depth_m": round(believed.depth, 4)}
    numbers |= {"speed_m_s": round(believed.speed, 4), **evidence}
    if as_depth < as_poses:
        message = (
            f"depth is counted in units of {unit:.6g} m, not {believed.depth_unit:.6g} m: its middle is then at "
            f"{believed.depth / scale:.3g} m instead of {believed.depth:.3g} m{better}"
        )
        return Finding("depth_unit", "error", "depth", message, numbers, {"depth_unit": unit})
    message = (
        f"one unit of the poses is {pose_scale:.4g} m: translations are "
        f"{'too short' if scale > 1 else 'too long'} for what depth shows by a factor of "
        f"{max(scale, 1 / scale):.4g}{better}"
    )
    return Finding("pose_scale", "error", "pose", message, numbers, {"pose_scale": pose_scale})


def _unlikely(depth: float, speed: float) -> float:
    """Minus the logarithm of how likely a median depth [m] and a speed [m/s] are."""
    a = (math.log(depth / _DEPTH) / _DEPTH_SPREAD) ** 2 / 2 if depth > 0 else 0.0
    b = (math.log(speed / _SPEED) / _SPEED_SPREAD) ** 2 / 2 if speed > 0 else 0.0
    return a + b


def _snapped(value: float, usual: tuple[float, ...]) -> tuple[float, bool]:
    """The unit that is meant, if one is near; whether one is."""
    nearest = min(usual, key=lambda u: abs(math.log(value / u)))
    if abs(math.log(value / nearest)) < _SNAP:
        return nearest, True
    return float(f"{value:.4g}"), False


def check_plausible(depth: np.ndarray, unit: float) -> list[Finding]:
    """Depth so far or so near that its unit must be wrong; for recordings whose poses cannot tell.

    Args:
        depth: (n,) valid depth [m].
        unit: [m] of one raw unit.
    """
    if not len(depth):
        return []
    middle = float(np.median(depth))
    if _NEAR < middle < _FAR:
        return []
    better = min(DEPTH_UNITS, key=lambda u: _unlikely(middle * u / unit, 0.0))
    message = (
        f"the middle of depth is at {middle:.4g} m, which no depth camera gives: one unit is likely {better:g} m, not "
        f"{unit:g} m"
    )
    return [Finding("depth_unit", "error", "depth", message, {"median_depth_m": middle}, {"depth_unit": better})]
