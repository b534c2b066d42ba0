"""Sensors whose images are not those of an ideal pinhole: where a pixel looks and which pixel sees a point.

A model is (kind, numbers, borders): what `pixel_of_point` needs, in a form that compiled code can take.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import atan2, floor, hypot, pi
from typing import TypeGuard, no_type_check

import numpy as np
from jaxtyping import Float, Int32
from numba import njit

from embmem.geometry import pixel_rays
from embmem.observation import Intrinsics

PINHOLE, EQUIRECTANGULAR, SPINNING = 0, 1, 2
NEAR = 1e-3  # [m] nothing nearer is seen
N_ELEVATION, N_AZIMUTH = 90, 180  # cells of 2 degrees of the sphere of directions around the sensor's z axis


@dataclass(frozen=True)
class Equirectangular:
    """A full-sphere panorama in its optical frame (x right, y down, z forward: the middle of the image).

    Columns are even in azimuth, rows even in elevation from straight up to straight down; images hold ranges [m].
    """

    width: int
    height: int

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"need a size >= 1, got {self}")

    def directions(self) -> Float[np.ndarray, "h w 3"]:
        """Unit vector of each pixel's ray."""
        azimuth = (np.arange(self.width) + 0.5) * (2.0 * pi / self.width) - pi
        elevation = pi / 2.0 - (np.arange(self.height)[:, None] + 0.5) * (pi / self.height)
        level = np.cos(elevation)
        rays = (level * np.sin(azimuth), -np.sin(elevation) + 0.0 * azimuth, level * np.cos(azimuth))
        return np.stack(rays, axis=-1)

    def model(self) -> tuple[int, np.ndarray, np.ndarray]:
        """(kind, numbers, borders) for `pixel_of_point`."""
        return EQUIRECTANGULAR, np.array([self.width, self.height], dtype=np.float64), np.empty(0)

    def pixel_angle(self) -> float:
        """The largest angle [rad] between neighbours."""
        return 2.0 * pi / min(self.width, 2 * self.height)


@dataclass(frozen=True)
class SpinningLidar:
    """A spinning LiDAR in its own frame (x forward, y left, z up): one row a ring, one column an azimuth.

    Azimuth is counter-clockwise from x; column c looks to `first_azimuth` + c / `width` turns. A point between two
    rings counts to the nearer one, and no farther beyond the outer ones than half the gap next to them.
    """

    elevations: tuple[float, ...]  # [rad] of the rows, strictly ascending or descending
    width: int
    first_azimuth: float = -pi  # [rad]
    clockwise: bool = False  # the columns

    def __post_init__(self) -> None:
        gaps = np.diff(self.elevations)
        if len(gaps) < 1 or not ((gaps > 0).all() or (gaps < 0).all()) or np.abs(self.elevations).max() >= pi / 2:
            raise ValueError(f"need two or more elevations in order, within a quarter turn, got {self.elevations}")
        if self.width < 1 or not np.isfinite(self.first_azimuth):
            raise ValueError(f"need width >= 1 and a finite first_azimuth, got {self.width}, {self.first_azimuth}")

    def directions(self) -> Float[np.ndarray, "h w 3"]:
        """Unit vector of each pixel's ray."""
        turn = -2.0 * pi if self.clockwise else 2.0 * pi
        azimuth = self.first_azimuth + np.arange(self.width) * (turn / self.width)
        elevation = np.array(self.elevations)[:, None]
        level = np.cos(elevation)
        return np.stack((level * np.cos(azimuth), level * np.sin(azimuth), np.sin(elevation) + 0.0 * azimuth), axis=-1)

    def model(self) -> tuple[int, np.ndarray, np.ndarray]:
        """(kind, numbers, borders) for `pixel_of_point`; borders are those between the rings, from below."""
        rings = np.sort(np.array(self.elevations, dtype=np.float64))
        middles = (rings[1:] + rings[:-1]) / 2.0
        borders = np.concatenate([[2.0 * rings[0] - middles[0]], middles, [2.0 * rings[-1] - middles[-1]]])
        is_falling = self.elevations[0] > self.elevations[-1]
        numbers = [self.width, len(rings), self.first_azimuth, -1.0 if self.clockwise else 1.0, is_falling]
        return SPINNING, np.array(numbers, dtype=np.float64), borders

    def pixel_angle(self) -> float:
        """The largest angle [rad] between neighbours."""
        return float(max(2.0 * pi / self.width, np.abs(np.diff(self.elevations)).max()))


Sensor = Intrinsics | Equirectangular | SpinningLidar


@lru_cache(maxsize=4)
def sensor_rays(sensor: Sensor) -> Float[np.ndarray, "h w 3"]:
    """Where each pixel looks: at range 1, for a pinhole at planar depth 1. Computed once a sensor."""
    rays = pixel_rays(sensor) if isinstance(sensor, Intrinsics) else sensor.directions()
    rays.setflags(write=False)
    return rays


@lru_cache(maxsize=4)
def sensor_cells(sensor: Sensor) -> Int32[np.ndarray, "h w"]:
    """The cell of the sphere of directions that each pixel's ray lies in, row by row; -1 if it has no ray."""
    rays = sensor_rays(sensor)
    azimuth = np.arctan2(rays[..., 1], rays[..., 0])
    elevation = np.arctan2(rays[..., 2], np.hypot(rays[..., 0], rays[..., 1]))
    row = np.minimum((elevation + pi / 2.0) * (N_ELEVATION / pi), N_ELEVATION - 1)
    column = np.minimum((azimuth + pi) * (N_AZIMUTH / (2.0 * pi)), N_AZIMUTH - 1)
    is_ray = np.isfinite(row + column)
    cells = np.where(is_ray, np.floor(row), 0) * N_AZIMUTH + np.where(is_ray, np.floor(column), 0)
    return np.where(is_ray, cells, -1).astype(np.int32)


@lru_cache(maxsize=4)
def sensor_model(sensor: Sensor) -> tuple[int, np.ndarray, np.ndarray]:
    """(kind, numbers, borders) for `pixel_of_point`."""
    if not isinstance(sensor, Intrinsics):
        return sensor.model()
    rays = sensor_rays(sensor)
    # outside of what the image sees the polynomial may fold back into it
    widest = float((rays[..., 0] ** 2 + rays[..., 1] ** 2).max()) * 1.01 + 1e-9
    coefficients = np.zeros(8)
    coefficients[: len(sensor.distortion)] = sensor.distortion
    focal = [sensor.fx, sensor.fy, sensor.cx, sensor.cy, sensor.width, sensor.height, widest]
    return PINHOLE, np.array([*focal, *coefficients], dtype=np.float64), np.empty(0)


def is_plain(sensor: Sensor) -> TypeGuard[Intrinsics]:
    """Whether it is a pinhole without distortion."""
    return isinstance(sensor, Intrinsics) and not sensor.distortion


def pixel_angle(sensor: Sensor) -> float:
    """The largest angle [rad] between neighbouring pixels."""
    if isinstance(sensor, Intrinsics):
        return 1.0 / min(sensor.fx, sensor.fy)
    return sensor.pixel_angle()


@no_type_check
@njit(error_model="numpy")
def pixel_of_point(x, y, z, kind, numbers, borders):
    """(row, column, distance) of the pixel that sees a point of the sensor's frame [m]; row -1 if none does.

    The distance is what the image holds: planar depth for a pinhole, range for the others.
    """
    if kind == PINHOLE:
        return _pinhole_pixel(x, y, z, numbers)
    if kind == EQUIRECTANGULAR:
        level = hypot(x, z)
        distance = hypot(level, y)
        column = floor((atan2(x, z) + pi) * (numbers[0] / (2.0 * pi)))
        row = floor((pi / 2.0 - atan2(-y, level)) * (numbers[1] / pi))
        inside = distance > NEAR
        # exactly on the border between the last pixel and the first, or straight down
        return int(min(row, numbers[1] - 1.0)) if inside else -1, int(min(column, numbers[0] - 1.0)), distance
    return _lidar_pixel(x, y, z, numbers, borders)


@no_type_check
@njit(error_model="numpy")
def _pinhole_pixel(x, y, z, numbers):
    fx, fy, cx, cy, width, height, widest = numbers[:7]
    k1, k2, p1, p2, k3, k4, k5, k6 = numbers[7:]
    if z < NEAR:
        return -1, 0, z
    x, y = x / z, y / z
    square = x * x + y * y
    if square > widest:
        return -1, 0, z
    radial = 1.0 + square * (k1 + square * (k2 + square * k3))
    radial /= 1.0 + square * (k4 + square * (k5 + square * k6))
    u = fx * (x * radial + 2.0 * p1 * x * y + p2 * (square + 2.0 * x * x)) + cx
    v = fy * (y * radial + p1 * (square + 2.0 * y * y) + 2.0 * p2 * x * y) + cy
    if not (-0.5 <= u < width - 0.5 and -0.5 <= v < height - 0.5):
        return -1, 0, z
    return floor(v + 0.5), floor(u + 0.5), z


@no_type_check
@njit(error_model="numpy")
def _lidar_pixel(x, y, z, numbers, borders):
    width, n_rings, first, direction, is_falling = numbers
    level = hypot(x, y)
    distance, elevation = hypot(level, z), atan2(z, level)
    if distance < NEAR or elevation < borders[0] or elevation >= borders[-1]:
        return -1, 0, distance
    low, high = 0, int(n_rings)  # borders[low] <= elevation < borders[high]
    while high - low > 1:
        middle = (low + high) // 2
        if borders[middle] <= elevation:
            low = middle
        else:
            high = middle
    turns = direction * (atan2(y, x) - first) / (2.0 * pi)
    column = floor((turns - floor(turns)) * width + 0.5)
    row = int(n_rings) - 1 - low if is_falling != 0.0 else low
    return row, column if column < width else 0, distance
