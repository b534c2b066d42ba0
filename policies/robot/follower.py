"""A follower for a robot that turns on the spot and drives ahead: a path and a pose in, speeds out, never over a limit.

Pure pursuit (Coulter, CMU-RI-TR-92-01), slower in curves and towards the end, with a turn on the spot where the path
leaves sideways (after Macenski et al., Regulated pure pursuit, Autonomous Robots 47, 2023).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int8

from embmem.policies.motion import wrap_angle
from embmem.policies.robot.grid_path import OCCUPIED_FROM

_TURN_FROM, _TURN_TO = 0.9, 0.15  # [rad] off the path: from where the robot stops to turn, and how far it turns then
_ARC_STEP = 0.02  # [m]


@dataclass(frozen=True)
class Limits:
    """What the robot may do."""

    speed: float = 0.3  # [m/s]
    turn: float = 1.0  # [rad/s]
    acceleration: float = 0.5  # [m/s^2], of braking too
    turn_acceleration: float = 2.0  # [rad/s^2]
    look_ahead: float = 0.4  # [m] along the path that is steered for

    def __post_init__(self) -> None:
        if not all(math.isfinite(x) and x > 0 for x in vars(self).values()):
            raise ValueError(f"limits must be finite and > 0, got {self}")


@dataclass(frozen=True)
class Command:
    """What the wheels are told."""

    speed: float = 0.0  # [m/s] ahead
    turn: float = 0.0  # [rad/s] to the left


STOP = Command()


class Follower:
    """Drives along one path, then turns to a heading. It never drives backwards.

    Args:
        path: points [m], the robot near the first.
        limits: of the robot.
        heading: [rad] at the end; None leaves it as it is.
        tolerance: [m] from the end that is near enough.
        heading_tolerance: [rad], likewise.
    """

    def __init__(
        self,
        path: Float[np.ndarray, "k 2"],
        limits: Limits,
        *,
        heading: float | None = None,
        tolerance: float = 0.1,
        heading_tolerance: float = 0.1,
    ) -> None:
        if len(path) < 1 or not np.isfinite(path).all():
            raise ValueError(f"a path needs finite points, got {path.tolist()}")
        self.path, self.limits, self.heading = path, limits, heading
        self._tolerance, self._heading_tolerance = tolerance, heading_tolerance
        steps = np.hypot(*np.diff(path, axis=0).T) if len(path) > 1 else np.empty(0)
        self._along = np.concatenate([[0.0], np.cumsum(steps)])  # [m] of each point
        self._done = 0.0  # [m] along the path
        self._is_turning = self._is_there = False

    @property
    def remaining(self) -> float:
        """[m] of the path that are left."""
        return float(self._along[-1] - self._done)

    def has_arrived(self, position: Float[np.ndarray, "2"], yaw: float) -> bool:
        """Whether the robot stands at the end, as it should."""
        self._is_there |= float(np.hypot(*(self.path[-1] - position))) <= self._tolerance
        if not self._is_there:
            return False
        return self.heading is None or abs(wrap_angle(self.heading - yaw)) <= self._heading_tolerance

    def command(self, position: Float[np.ndarray, "2"], yaw: float, last: Command, dt: float) -> Command:
        """What to do for the next `dt` [s] where `last` was done before."""
        if self.has_arrived(position, yaw):
            return _eased(STOP, last, self.limits, dt)
        if self._is_there and self.heading is not None:
            return self._turn(wrap_angle(self.heading - yaw), last, dt)
        self._done = max(self._done, self._nearest(position))
        target = self._point(self._done + self.limits.look_ahead)
        offset = target - position
        distance = float(np.hypot(*offset))
        error = wrap_angle(float(np.arctan2(offset[1], offset[0])) - yaw)
        self._is_turning = abs(error) > (_TURN_TO if self._is_turning else _TURN_FROM)
        if self._is_turning:
            return self._turn(error, last, dt)
        curvature = 2.0 * math.sin(error) / max(distance, 1e-6)
        to_end = max(self.remaining, float(np.hypot(*(self.path[-1] - position))))
        speed = min(self.limits.speed, math.sqrt(2.0 * self.limits.acceleration * to_end))
        if abs(curvature) * speed > self.limits.turn:
            speed = self.limits.turn / abs(curvature)
        eased = _eased(Command(speed, 0.0), last, self.limits, dt).speed
        return _eased(Command(eased, eased * curvature), last, self.limits, dt)

    def _turn(self, error: float, last: Command, dt: float) -> Command:
        """On the spot, so fast that it can stop in time."""
        fastest = min(self.limits.turn, math.sqrt(2.0 * self.limits.turn_acceleration * abs(error)))
        return _eased(Command(0.0, math.copysign(fastest, error)), last, self.limits, dt)

    def _nearest(self, position: np.ndarray) -> float:
        """[m] along the path of its point nearest to the robot; not far ahead of what is done, as paths may cross."""
        a, b = self.path[:-1], self.path[1:]
        if not len(a):
            return 0.0
        step = b - a
        squares = np.maximum((step**2).sum(axis=1), 1e-12)
        share = np.clip(((position - a) * step).sum(axis=1) / squares, 0.0, 1.0)
        along = self._along[:-1] + share * np.sqrt(squares)
        distance = np.hypot(*(a + share[:, None] * step - position).T)
        is_ahead = (along >= self._done - 1e-9) & (self._along[:-1] <= self._done + 2.0 * self.limits.look_ahead)
        return float(along[np.argmin(np.where(is_ahead, distance, np.inf))]) if is_ahead.any() else self._done

    def _point(self, along: float) -> Float[np.ndarray, "2"]:
        """The point of the path that many metres along it."""
        at = min(along, float(self._along[-1]))
        return np.array([np.interp(at, self._along, self.path[:, i]) for i in range(2)])


def stopping_distance(command: Command, limits: Limits, delay: float) -> float:
    """[m] that the robot still drives if it begins to brake after `delay` [s]."""
    return command.speed * delay + command.speed**2 / (2.0 * limits.acceleration)


def is_free_ahead(
    cells: Int8[np.ndarray, "h w"],
    origin: Float[np.ndarray, "2"],
    resolution: float,
    pose: tuple[float, float, float],
    command: Command,
    *,
    reach: float,
    radius: float,
) -> bool:
    """Whether a round robot that goes on like this for `reach` [m] touches nothing that the grid knows.

    To what it touches where it stands it may not come nearer, but it can drive away.

    Args:
        cells: -1 unknown, else 0 free to 100 occupied; row 0 is the lowest y.
        origin: x, y [m] of the corner of cell (0, 0).
        resolution: edge of a cell [m].
        pose: x, y [m], yaw [rad].
        command: what it is about to do.
        reach: [m] of the arc.
        radius: [m] of the robot.
    """
    x, y, yaw = pose
    if command.speed <= 0.0 or reach <= 0.0:
        return True
    s = np.arange(0.0, reach + _ARC_STEP, _ARC_STEP)
    curvature = command.turn / command.speed
    angle = yaw + curvature * s
    dx, dy = np.cos(angle) * _ARC_STEP, np.sin(angle) * _ARC_STEP
    arc = np.stack([x + np.cumsum(dx) - dx[0], y + np.cumsum(dy) - dy[0]], axis=1)
    low = np.floor((arc.min(axis=0) - radius - origin) / resolution).astype(int)
    high = np.ceil((arc.max(axis=0) + radius - origin) / resolution).astype(int) + 1
    (left, bottom), (right, top) = np.maximum(low, 0), np.minimum(high, np.array(cells.shape)[::-1])
    if left >= right or bottom >= top:
        return True
    rows, columns = np.nonzero(cells[bottom:top, left:right] >= OCCUPIED_FROM)
    centres = origin + (np.stack([columns + left, rows + bottom], axis=1) + 0.5) * resolution
    if not len(centres):
        return True
    distances = np.hypot(centres[:, None, 0] - arc[None, :, 0], centres[:, None, 1] - arc[None, :, 1])
    return bool((distances.min(axis=1) >= np.minimum(distances[:, 0], radius) - 1e-6).all())


def _eased(wanted: Command, last: Command, limits: Limits, dt: float) -> Command:
    """The command nearest to what is wanted that the robot can reach in `dt` [s]."""
    return Command(
        _towards(wanted.speed, last.speed, limits.acceleration * dt, limits.speed),
        _towards(wanted.turn, last.turn, limits.turn_acceleration * dt, limits.turn),
    )


def _towards(wanted: float, last: float, change: float, most: float) -> float:
    eased = min(max(wanted, last - change), last + change)
    return min(max(eased, -most), most)
