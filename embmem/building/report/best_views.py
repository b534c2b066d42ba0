"""From where each thing of a map is seen best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from embmem.geometry import project, transform_points
from embmem.observation import Intrinsics
from embmem.occupancy import Occupancy
from embmem.viewing.scene import Thing

_MAX_POSES = 2000
_N_TRIED = 12  # views of a thing that are looked at for something in between
_SIZE = 0.15  # [m] half an edge of a thing whose box is not known
_FULL = 0.5  # share of the image's height from which a larger picture of a thing is no better
_SLACK = 0.15  # [m] by which what is hit first may lie before a thing
_CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=float)
_MARGIN = 0.15  # share of its size that a picture shows around a thing


@dataclass(frozen=True)
class View:
    """The picture of a thing in a frame."""

    frame: int  # number of the pose
    box: tuple[float, float, float, float]  # left, top, right, bottom [px], inside of the image


def best_views(
    things: Sequence[Thing],
    stamps: Float[np.ndarray, " n"],
    T_map_camera: Float[np.ndarray, "n 4 4"],
    camera: Intrinsics,
    occupancy: Occupancy | None,
) -> list[View | None]:
    """For each thing the view that shows it large, whole, near the middle and with nothing before it; None without one.

    Args:
        things: whose first and last stamp limit which views show them where they are.
        stamps: [s] of the poses.
        T_map_camera: where the camera was.
        camera: its intrinsics; a distorted image is cropped as if it were straight.
        occupancy: tells what is in between; None for nothing.
    """
    n = len(stamps)
    if not n:
        return [None] * len(things)
    chosen = np.unique(np.linspace(0, n - 1, min(n, _MAX_POSES)).astype(np.int64))
    poses = T_map_camera[chosen]
    T_camera_map = np.zeros_like(poses)
    T_camera_map[:, :3, :3] = poses[:, :3, :3].transpose(0, 2, 1)
    T_camera_map[:, :3, 3] = -np.einsum("nij,nj->ni", T_camera_map[:, :3, :3], poses[:, :3, 3])
    T_camera_map[:, 3, 3] = 1.0
    return [_best(thing, chosen, stamps[chosen], poses, T_camera_map, camera, occupancy) for thing in things]


def _best(
    thing: Thing,
    numbers: np.ndarray,
    stamps: np.ndarray,
    poses: np.ndarray,
    T_camera_map: np.ndarray,
    camera: Intrinsics,
    occupancy: Occupancy | None,
) -> View | None:
    scores, boxes = _scores(_corners(thing), T_camera_map, camera)
    first = thing.first_seen if np.isfinite(thing.first_seen) else -np.inf
    last = thing.last_seen if np.isfinite(thing.last_seen) else np.inf
    is_then = (stamps >= first - 1e-3) & (stamps <= last + 1e-3)
    scores = np.where(is_then, scores, scores * 0.25)
    order = np.argsort(-scores, kind="stable")[:_N_TRIED]
    order = order[scores[order] > 0]
    if not len(order):
        return None
    best = order[0]
    if occupancy is not None:
        middle = _corners(thing).mean(axis=0)
        rays = middle - poses[order, :3, 3]
        distances = np.linalg.norm(rays, axis=1)
        reached = occupancy.cast(poses[order, :3, 3].copy(), rays, float(distances.max()) + occupancy.resolution)
        size = float(np.linalg.norm(np.ptp(_corners(thing), axis=0))) / 2
        is_clear = reached >= distances - size - _SLACK
        if is_clear.any():
            best = order[int(np.argmax(is_clear))]
    left, top, right, bottom = boxes[best].tolist()
    return View(int(numbers[best]), (left, top, right, bottom))


def _corners(thing: Thing) -> Float[np.ndarray, "8 3"]:
    if thing.box is None:
        low, high = thing.position - _SIZE, thing.position + _SIZE
    else:
        low, high = np.asarray(thing.box, dtype=np.float64)
    return np.asarray(low + _CORNERS * (high - low))


def _scores(
    corners: Float[np.ndarray, "8 3"], T_camera_map: Float[np.ndarray, "n 4 4"], camera: Intrinsics
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n 4"]]:
    """How well each view shows a box, 0 where it does not, and where in the image it is with a margin [px]."""
    points = np.concatenate([transform_points(T, corners) for T in T_camera_map])
    plain = Intrinsics(camera.width, camera.height, camera.fx, camera.fy, camera.cx, camera.cy)
    is_ahead = (points[:, 2] > 0.1).reshape(-1, 8).all(axis=1)
    uv = np.nan_to_num(project(points, plain), nan=-1e6, posinf=1e6, neginf=-1e6).reshape(-1, 8, 2)
    low, high = uv.min(axis=1), uv.max(axis=1)
    size = np.maximum(high - low, 1.0)
    limit = np.array([camera.width, camera.height], dtype=float)
    visible = np.clip(np.minimum(high, limit) - np.maximum(low, 0.0), 0.0, None)
    share = (visible / size).prod(axis=1)  # of the thing that is inside the image
    large = np.minimum(size[:, 1] / limit[1] / _FULL, 1.0) * np.minimum(size[:, 0] / limit[0] / _FULL, 1.0)
    away = np.linalg.norm(((low + high) / 2 - limit / 2) / limit, axis=1)  # of the middle of the image
    scores = np.where(is_ahead & (share > 0.3), share**2 * np.sqrt(large) * np.clip(1.2 - away, 0.05, None), 0.0)
    border = _MARGIN * size
    boxes = np.column_stack([np.maximum(low - border, 0.0), np.minimum(high + border, limit)])
    return scores, boxes
