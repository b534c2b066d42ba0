"""The embedded world as a gymnasium environment: one PointNav or ObjectNav episode a reset.

Importing this module registers it, so `gymnasium.make("embmem.sim_envs.env:embmem/Embedded-v0")` is all one needs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from embmem.agent import Action, Body
from embmem.observation import Intrinsics
from embmem.sim_envs.house import LABEL_IDS, LABELS, make_house
from embmem.sim_envs.metrics.continuous import score
from embmem.sim_envs.noise import CameraNoise, Detector
from embmem.sim_envs.tasks.objectnav import ObjectNav
from embmem.sim_envs.tasks.pointnav import PointNav
from embmem.sim_envs.tasks.task import Task
from embmem.sim_envs.world import World

MAX_DEPTH = 100.0  # [m]
EXTENT = 1000.0  # [m], no house is larger
STEP_REWARD = -0.01
SUCCESS_REWARD = 2.5

_house = lru_cache(maxsize=64)(make_house)  # a House never changes, and training comes back to it


class EmbeddedEnv(gymnasium.Env[dict[str, Any], np.int64]):
    """PointNav or ObjectNav in procedural houses; actions are numbered as in `embmem.agent.Action`.

    Observation: `rgb`, `depth` [m] (0 = invalid, since a Box holds no NaN), `semantic` (index into `LABELS`), `pose`
    (x ahead, y left [m], yaw, pitch [rad]; relative to the start) and `goal`: distance [m] and bearing [rad, positive
    left] for PointNav, the index of the category for ObjectNav.
    Reward: the geodesic distance to the goal gained [m] - 0.01 a step + 2.5 for success.
    `info` holds `distance_to_goal`, and the scores of the episode when it ends.

    Args:
        task: "pointnav" or "objectnav".
        n_rooms: of every house.
        n_houses: houses 0, 1, .. are drawn from evenly; those of `embmem eval` start at 10,000.
        width: of the images [px].
        height: of the images [px].
        hfov_deg: horizontal field of view [degrees].
        body: shape and stride; by default Habitat's, turning by 30 degrees in ObjectNav and 10 in PointNav.
        max_steps: an episode is truncated here.
        noise: of depth.
        detector: of semantic images.
        render_mode: "rgb_array" or None.
        make_world: `World`, or `habitat.world.habitat_world(..)` for the same houses in habitat-sim.

    Raises:
        ValueError: if an argument is out of range.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 - gymnasium declares it so

    def __init__(
        self,
        task: str = "objectnav",
        *,
        n_rooms: int = 6,
        n_houses: int = 100,
        width: int = 256,
        height: int = 192,
        hfov_deg: float = 79.0,
        body: Body | None = None,
        max_steps: int = 500,
        noise: CameraNoise | None = None,
        detector: Detector | None = None,
        render_mode: str | None = None,
        make_world: Callable[..., World] = World,
    ) -> None:
        if task not in ("pointnav", "objectnav") or render_mode not in (None, "rgb_array") or n_houses < 1:
            raise ValueError(f"need a known task, render_mode and n_houses >= 1, got {task}, {render_mode}, {n_houses}")
        rules = PointNav if task == "pointnav" else ObjectNav
        self.task: Task = rules(n_rooms=n_rooms, max_steps=max_steps, per_session=1)
        self.render_mode = render_mode
        self.action_space = spaces.Discrete(len(Action))
        self.observation_space = _observation_space(width, height, is_point=task == "pointnav")
        self._n_houses = n_houses
        self.world = make_world(
            _house(0, n_rooms),
            intrinsics=Intrinsics.from_fov(width, height, hfov_deg),
            body=body or Body(turn=10.0 if task == "pointnav" else 30.0),
            noise=noise,
            detector=detector,
            rng=np.random.default_rng(0),
        )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """A new episode in one of the houses; `options={"house": 3}` chooses which.

        Raises:
            EmbmemError: if that house has no episode to offer.
        """
        super().reset(seed=seed)
        drawn = int(self.np_random.integers(self._n_houses))
        number = int((options or {}).get("house", drawn))
        self.world.set_house(_house(number, self.task.n_rooms))
        session = self.task.plan(self.world, self.world.house, 0, 1, self.np_random)
        self.episode = session.episodes[0]
        target = self.episode.targets[0]
        self._goals = np.ascontiguousarray(target.view_points()[:, :2])
        self.world.stamp = 0.0
        self.world.rng = self.np_random
        self.world.place(self.episode.start[:2], self.episode.yaw)
        self._path = [self.world.position]
        self._left = [self._distance()]
        return self._observe(), {"distance_to_goal": self._left[0], "goal": str(target.goal)}

    def step(self, action: int | np.integer) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Act; STOP terminates, with success if the goal is near enough.

        Raises:
            ValueError: if `action` is not the number of an `Action`.
        """
        chosen = Action(int(action))
        collided = self.world.apply(chosen)
        self._path.append(self.world.position)
        self._left.append(self._distance())
        terminated = chosen is Action.STOP
        truncated = not terminated and len(self._path) > self.task.max_steps
        info: dict[str, Any] = {"distance_to_goal": self._left[-1], "collided": bool(collided)}
        reward = self._left[-2] - self._left[-1] + STEP_REWARD
        if terminated or truncated:
            info |= self._scores(terminated)
            reward += SUCCESS_REWARD * info["success"]
        return self._observe(), float(reward), terminated, truncated, info

    def render(self) -> np.ndarray | None:
        """The colour image of the last observation, (height, width, 3)."""
        return None if self.render_mode is None else self.world.truth().rgb

    def close(self) -> None:
        """Give back what the world holds."""
        self.world.close()

    def _scores(self, stop_called: bool) -> dict[str, float]:
        return score(
            np.stack(self._path),
            stop_called=stop_called,
            distance_to_goal=self._left[-1],
            distance_min=min(self._left),
            shortest=self.episode.shortest_path,
            threshold=self.task.success_distance,
        )

    def _distance(self) -> float:
        return float(self.world.navmesh.distances(self.world.position[None], self._goals)[0])

    def _observe(self) -> dict[str, Any]:
        seen = self.world.observe()
        depth = np.clip(np.nan_to_num(np.asarray(seen.depth), nan=0.0), 0.0, MAX_DEPTH)
        x, y, yaw = _relative(self.world.position, self.world.yaw, self.episode.start[:2], self.episode.yaw)
        return {
            "rgb": seen.rgb,
            "depth": depth,
            "semantic": seen.semantic,
            "pose": np.array([x, y, yaw, self.world.pitch], dtype=np.float32),
            "goal": self._goal(),
        }

    def _goal(self) -> np.ndarray | np.int64:
        goal = self.episode.targets[0].goal
        if goal.category is not None:
            return np.int64(LABEL_IDS[goal.category])
        x, y, _ = _relative(self._goals[0], 0.0, self.world.position, self.world.yaw)
        return np.array([math.hypot(x, y), math.atan2(y, x)], dtype=np.float32)


def _relative(point: np.ndarray, yaw: float, origin: np.ndarray, origin_yaw: float) -> tuple[float, float, float]:
    """(x ahead, y left, yaw) of a pose as seen from another."""
    dx, dy = point - origin
    c, s = math.cos(origin_yaw), math.sin(origin_yaw)
    return c * dx + s * dy, c * dy - s * dx, math.remainder(yaw - origin_yaw, math.tau)


def _observation_space(width: int, height: int, *, is_point: bool) -> spaces.Dict:
    pose = np.array([EXTENT, EXTENT, math.pi, math.pi], dtype=np.float32)
    polar = np.array([[0.0, -math.pi], [2 * EXTENT, math.pi]], dtype=np.float32)
    return spaces.Dict(
        {
            "rgb": spaces.Box(0, 255, (height, width, 3), np.uint8),
            "depth": spaces.Box(0.0, MAX_DEPTH, (height, width), np.float32),
            "semantic": spaces.Box(0, len(LABELS) - 1, (height, width), np.int32),
            "pose": spaces.Box(-pose, pose, dtype=np.float32),
            "goal": spaces.Box(*polar, dtype=np.float32) if is_point else spaces.Discrete(len(LABELS)),
        }
    )


gymnasium.register("embmem/Embedded-v0", entry_point="embmem.sim_envs.env:EmbeddedEnv")
