"""Depth images laid one after another on a model of what the earlier ones showed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from embmem.errors import import_extra
from embmem.geometry import backproject, invert_pose, rotation_angle
from embmem.maps.pose_graph.se3 import rigid
from embmem.observation import Observation

_LEAST_POINTS = 100
_COARSE = 4.0  # voxels of the model that finds the way back, in those of the fine one
_SURE = 0.8  # fitness at which no other guess is tried
_REACH = 2.0  # voxels between a point and what it may lie on
_STILL = 1e-4  # [m], [rad] of a step that ends the iteration


class DepthOdometry:
    """The camera's way from depth images: each is registered to a voxel model of the frames before.

    The model keeps one Gaussian a voxel (voxelized GICP, Koide et al., ICRA 2021, in their small_gicp, on one thread,
    so that the same frames give the same bits). Points are taken evenly over the image, not over space: what is near is
    seen by more of them, as its depth is known better. Frames enter the model when the camera has moved on. The motion
    before is the guess; where that fails, the pose before and a coarse model are tried, and where they fail, too, the
    frame is lost and the next one is tried from the same place.
    """

    def __init__(
        self,
        *,
        max_range: float = 2.5,
        voxel: float = 0.06,
        n_points: int = 8000,
        n_neighbours: int = 30,
        distance: float = 0.05,
        angle: float = 0.07,
        min_fitness: float = 0.5,
        max_jump: float = 0.5,
        horizon: int = 2000,
    ) -> None:
        """An empty model.

        Args:
            max_range: [m] of depth that is used; more in frames of which less than half is so near. Structured light is
                off by centimetres beyond 2.5 m.
            voxel: [m] of the model.
            n_points: of an image, about.
            n_neighbours: points from which the shape of the surface at one is estimated.
            distance: a frame enters the model when the camera has moved this far [m] ...
            angle: ... or turned this much [rad].
            min_fitness: share of the points that must lie in known voxels.
            max_jump: [m] and [rad] between two frames at most, else the frame is lost.
            horizon: frames of the model after which voxels that were not seen again go.

        Raises:
            MissingExtraError: if small_gicp is not installed.
        """
        if not (min(max_range, voxel, distance, angle, max_jump) > 0 and 0 < min_fitness <= 1):
            raise ValueError("odometry needs lengths and angles > 0 and min_fitness in (0, 1]")
        if n_points < _LEAST_POINTS or n_neighbours < 4 or horizon < 1:
            raise ValueError(f"odometry needs n_points >= {_LEAST_POINTS}, n_neighbours >= 4 and horizon >= 1")
        self._gicp: Any = import_extra("small_gicp", "recon")
        self.max_range, self.voxel, self.n_points, self.n_neighbours = max_range, voxel, n_points, n_neighbours
        self.distance, self.angle, self.min_fitness, self.max_jump = distance, angle, min_fitness, max_jump
        self._models = [self._model(voxel, horizon), self._model(_COARSE * voxel, horizon)]
        self._last = np.eye(4)
        self._motion = np.eye(4)
        self._kept: np.ndarray | None = None  # pose of the newest frame in the model
        self.fitness = 0.0  # of the newest frame
        self.is_kept = False  # whether it is in the model

    def track(self, observation: Observation) -> Float[np.ndarray, "4 4"] | None:
        """`T_world_camera`, the world being the first camera; None where the frame does not fit.

        The pose of the observation is not looked at.
        """
        cloud = self._cloud(observation)
        self.is_kept, self.fitness = False, 0.0
        if cloud is None:
            return None
        if self._kept is None:
            self._keep(cloud, np.eye(4))
            self.fitness = 1.0
            return np.eye(4)
        T = self._register(cloud)
        if T is None:
            self._motion = np.eye(4)
            return None
        self._motion, self._last = rigid(invert_pose(self._last) @ T), T
        step = invert_pose(self._kept) @ T
        if np.linalg.norm(step[:3, 3]) >= self.distance or rotation_angle(step[:3, :3]) >= self.angle:
            self._keep(cloud, T)
        return T.copy()

    def go_on(
        self, kept: Iterable[tuple[Observation, np.ndarray]], poses: Sequence[Float[np.ndarray, "4 4"] | None]
    ) -> None:
        """Be as after tracking frames that were tracked before.

        Args:
            kept: the frames that entered the model, with their poses, in their order.
            poses: what `track` said of all frames.
        """
        for observation, T in kept:
            cloud = self._cloud(observation)
            if cloud is not None:
                self._keep(cloud, T)
        found = [T for T in poses if T is not None]
        self._last = found[-1] if found else np.eye(4)
        is_moving = len(poses) > 1 and poses[-1] is not None and len(found) > 1
        self._motion = rigid(invert_pose(found[-2]) @ found[-1]) if is_moving else np.eye(4)

    def _model(self, voxel: float, horizon: int) -> Any:
        model = self._gicp.GaussianVoxelMap(voxel)
        model.set_lru(horizon, 10)
        return model

    def _cloud(self, observation: Observation) -> Any:
        """Points of the camera frame with the shape of the surface around each; None where there are too few."""
        if observation.depth is None:
            return None
        depth = np.asarray(observation.depth, dtype=np.float32)
        step = max(1, round(float(np.sqrt(depth.size / self.n_points))))
        points = backproject(depth, observation.intrinsics)[step // 2 :: step, step // 2 :: step].reshape(-1, 3)
        points = points[np.isfinite(points).all(axis=1)].astype(np.float64)
        if len(points) < _LEAST_POINTS:
            return None
        points = points[points[:, 2] <= max(self.max_range, float(np.median(points[:, 2])))]
        cloud = self._gicp.PointCloud(points)
        tree = self._gicp.KdTree(cloud, num_threads=1)
        self._gicp.estimate_covariances(cloud, tree, num_neighbors=self.n_neighbours, num_threads=1)
        return cloud

    def _keep(self, cloud: Any, T: np.ndarray) -> None:
        for model in self._models:
            model.insert(cloud, T)
        self._kept, self.is_kept = T.copy(), True

    def _register(self, cloud: Any) -> np.ndarray | None:
        """The pose that fits best of those that guesses lead to; rough ones where the fine one is doubtful."""
        fine, coarse = self._models
        best, self.fitness = None, 0.0
        for guess, is_rough in (
            (self._last @ self._motion, False),
            (self._last @ self._motion, True),
            (self._last, True),
        ):
            start = self._aligned(coarse, cloud, guess, _COARSE)[0] if is_rough else guess
            T, fitness = self._aligned(fine, cloud, start, 1.0)
            step = invert_pose(self._last) @ T
            is_near = np.linalg.norm(step[:3, 3]) <= self.max_jump and rotation_angle(step[:3, :3]) <= self.max_jump
            if is_near and fitness > max(self.fitness, self.min_fitness):
                best, self.fitness = T, fitness
            if self.fitness >= _SURE:
                break
        return best

    def _aligned(self, model: Any, cloud: Any, guess: np.ndarray, scale: float) -> tuple[np.ndarray, float]:
        """(pose, share of the points in known voxels)."""
        found = self._gicp.align(
            model,
            cloud,
            np.ascontiguousarray(guess),
            max_correspondence_distance=_REACH * scale * self.voxel,
            num_threads=1,
            max_iterations=30,
            rotation_epsilon=_STILL,
            translation_epsilon=_STILL,
        )
        T = np.array(found.T_target_source, dtype=np.float64)
        if not np.isfinite(T).all():
            return np.array(guess), 0.0
        return rigid(T), found.num_inliers / cloud.size()
