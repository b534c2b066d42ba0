"""How well the depth of a session agrees with a map at a pose, frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

from embmem.geometry import backproject, transform_points
from embmem.maps.relocalise.slices import HeightWeights, cells_of
from embmem.maps.voxels import VoxelMap
from embmem.observation import Observation

MEETS = 0.1  # [m] from a measured point to the surface of the map, at most
IN_EMPTY = 0.2  # [m] from it where the map is empty, at least
THROUGH = 0.3  # [m] that a ray goes on behind a surface of the map, at least
UNSEEN = 0.2  # [m] from that surface to the nearest one of the session, at least
RAYS = 400  # of a frame, about
PATCH = 0.2  # [m] of surface that counts once, however many rays hit it


@dataclass(frozen=True, eq=False)
class Rays:
    """What a session measured, in its frame."""

    ends: Float[np.ndarray, "n 3"]  # [m]
    origins: Float[np.ndarray, "n 3"]  # [m]
    frame: Int[np.ndarray, " n"]
    label: Int[np.ndarray, " n"]  # see `Surface.numbers_of`, -1 = none
    weight: Float[np.ndarray, " n"]  # 1 for all that hit one patch of surface: a near wall has many, and says little
    n_frames: int


@dataclass(frozen=True, eq=False)
class Agreement:
    """Shares of what a frame measured, weighted by what it says of where one is; one row a frame."""

    weight: Float[np.ndarray, " f"]  # how much it says
    met: Float[np.ndarray, " f"]  # lies on the map's surface
    against: Float[np.ndarray, " f"]  # lies in empty space, or behind a surface that the session does not see
    unknown: Float[np.ndarray, " f"]  # lies where the map knows nothing
    misnamed: Float[np.ndarray, " f"]  # lies on the surface of something else
    is_named: bool  # whether names could be compared on half of what is met at least

    def total(self, name: str) -> float:
        """One share over all frames."""
        return float(np.average(getattr(self, name), weights=self.weight)) if self.weight.sum() > 0 else 0.0

    @property
    def score(self) -> float:
        """What is met less what speaks against it or has another name, in [-1, 1]."""
        return self.total("met") - self.total("against") - self.total("misnamed")


class Surface:
    """What is occupied in a map, with the names of things if the map keeps them."""

    def __init__(self, voxels: VoxelMap, solid: Float[np.ndarray, "n 3"]) -> None:
        """The surface through these occupied voxels."""
        self.tree = cKDTree(solid)
        self._label = np.full(len(solid), -1, dtype=np.int64)
        self._number_of: dict[str, int] = {}
        if voxels.payload is not None and "labels" in voxels.payload.channels:
            self._label = voxels.read(solid).top_label()
            self._number_of = {name: i for i, name in enumerate(voxels.payload.names)}

    def numbers_of(self, frame: Observation) -> Int[np.ndarray, "h w"] | None:
        """The map's numbers of what the pixels of a frame show, -1 where either has no name for it."""
        if frame.semantic is None or not self._number_of:
            return None
        table = np.array([self._number_of.get(name, -1) for name in frame.labels] or [-1], dtype=np.int64)
        table[0] = -1  # 0 is "unlabelled" whatever its name
        return table[np.clip(np.asarray(frame.semantic), 0, len(table) - 1)]

    def at(
        self, points: Float[np.ndarray, "n 3"], reach: float
    ) -> tuple[Float[np.ndarray, " n"], Int[np.ndarray, " n"]]:
        """(distance [m] to the nearest voxel, its label); inf and -1 if none is within `reach` [m]."""
        distance, index = self.tree.query(points, distance_upper_bound=reach)
        label = self._label[np.minimum(index, len(self._label) - 1)]
        return distance, np.where(np.isfinite(distance), label, -1)


def sampled_rays(frames: Sequence[Observation], max_range: float, surface: Surface) -> Rays:
    """Some 400 rays of each frame, evenly over the image; what is farther than `max_range` [m] is left out."""
    ends, origins, numbers, labels = [np.zeros((0, 3))], [np.zeros((0, 3))], [np.zeros(0, int)], [np.zeros(0, int)]
    for number, frame in enumerate(frames):
        if frame.depth is None:
            continue
        step = max(1, int(np.sqrt(frame.depth.size / RAYS)))
        some = (slice(step // 2, None, step), slice(step // 2, None, step))
        points = backproject(np.asarray(frame.depth, dtype=np.float32), frame.intrinsics)[some]
        points = points.reshape(-1, 3).astype(np.float64)
        named = surface.numbers_of(frame)
        label = np.full(len(points), -1) if named is None else named[some].ravel()
        is_near = np.isfinite(points).all(axis=1) & (np.nan_to_num(points[:, 2], nan=np.inf) <= max_range)
        ends.append(transform_points(frame.T_map_camera, points[is_near]))
        origins.append(np.broadcast_to(frame.T_map_camera[:3, 3], ends[-1].shape))
        numbers.append(np.full(len(ends[-1]), number))
        labels.append(label[is_near])
    all_ends, all_origins, frame_of, label_of = (np.concatenate(part) for part in (ends, origins, numbers, labels))
    patch, n_hits = np.unique(cells_of(all_ends, PATCH), return_inverse=True, return_counts=True)[1:]
    return Rays(all_ends, all_origins, frame_of, label_of, 1.0 / n_hits[patch], len(frames))


def agreement(
    voxels: VoxelMap,
    surface: Surface,
    weights: HeightWeights,
    rays: Rays,
    own_surface: cKDTree,
    T_map_session: Float[np.ndarray, "4 4"],
) -> Agreement:
    """What the rays say of a pose.

    Args:
        voxels: the map.
        surface: what is occupied in it.
        weights: of heights in it.
        rays: of the session.
        own_surface: the occupied voxels of the session, in its frame.
        T_map_session: the pose.
    """
    ends, origins = (transform_points(T_map_session, points) for points in (rays.ends, rays.origins))
    distance, label = surface.at(ends, 2.0 * IN_EMPTY)
    ways = ends - origins
    lengths = np.linalg.norm(ways, axis=1)
    directions = ways / np.maximum(lengths, 1e-9)[:, None]
    stops = voxels.cast(origins, directions, float(lengths.max(initial=0.0)) + 1.0)
    is_through = stops < lengths - THROUGH
    way_to_stop = np.where(is_through, stops / np.maximum(lengths, 1e-9), 0.0)[:, None]
    hits = rays.origins + (rays.ends - rays.origins) * way_to_stop
    is_through[is_through] = own_surface.query(hits[is_through])[0] > UNSEEN
    with np.errstate(invalid="ignore"):
        is_in_empty = (distance > IN_EMPTY) & (voxels.log_odds(ends) < 0)
    is_against = is_through | is_in_empty
    is_met = (distance <= MEETS) & ~is_against
    is_comparable = is_met & (label >= 0) & (rays.label >= 0)
    is_misnamed = is_comparable & (label != rays.label)
    is_named = bool(2 * np.count_nonzero(is_comparable) >= max(np.count_nonzero(is_met), 1))
    weight = rays.weight * weights.of(ends[:, 2])
    total = np.bincount(rays.frame, weight, rays.n_frames)

    def share(is_so: np.ndarray) -> Float[np.ndarray, " f"]:
        return np.bincount(rays.frame, weight * is_so, rays.n_frames) / np.maximum(total, 1e-9)

    return Agreement(
        total, share(is_met), share(is_against), share(~is_met & ~is_against), share(is_misnamed), is_named
    )
