"""Point clouds as depth images: six square pinhole cameras that look along the axes of the sensor see all directions.

Every layer takes depth images, so a LiDAR needs no second way into the memory. The price is rounding: a point moves to
the middle of its pixel, by less than half of 1 / (size / 2) of its distance.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from embmem.observation import Intrinsics

FACE = 512  # pixels along the edge of a face: 0.2 degrees
# Rotations that take points of an optical camera to the sensor: ahead, left, back, right, up, down (REP 103).
_AHEAD = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])
_TURNS = (0.0, np.pi / 2, np.pi, -np.pi / 2)


def _faces() -> tuple[np.ndarray, ...]:
    sides = [np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]]) @ _AHEAD for a in _TURNS]
    up = np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])
    down = np.array([[0.0, -1, 0], [-1, 0, 0], [0, 0, -1]])
    return tuple(np.rint(R) for R in (*sides, up, down))


FACES = _faces()


def face_camera(size: int = FACE) -> Intrinsics:
    """The camera of each face: 90 degrees, square."""
    return Intrinsics.from_fov(size, size, 90.0)


def depth_faces(
    points: Float[np.ndarray, "n 3"], *, size: int = FACE
) -> Iterator[tuple[Float[np.ndarray, "4 4"], Float[np.ndarray, "h w"]]]:
    """(`T_sensor_camera`, depth [m]) of the faces that see a point; of several in a pixel the nearest counts."""
    camera = face_camera(size)
    for R in FACES:
        xyz = points.astype(np.float64) @ R  # R^T p
        z = xyz[:, 2]
        inside = (z > 0) & (np.abs(xyz[:, 0]) <= z) & (np.abs(xyz[:, 1]) <= z)
        if not inside.any():
            continue
        x, y, z = xyz[inside].T
        u = np.clip(np.rint(camera.fx * x / z + camera.cx).astype(np.int64), 0, size - 1)
        v = np.clip(np.rint(camera.fy * y / z + camera.cy).astype(np.int64), 0, size - 1)
        depth = np.full(size * size, np.inf)
        np.minimum.at(depth, v * size + u, z)
        depth[np.isinf(depth)] = np.nan
        T = np.eye(4)
        T[:3, :3] = R
        yield T, depth.reshape(size, size).astype(np.float32)
