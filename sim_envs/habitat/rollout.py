"""One episode in a scene of Habitat, measured in three dimensions as habitat-lab measures it."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float

from embmem.agent import Action, Agent, Goal
from embmem.geometry import camera_pose
from embmem.observation import Observation
from embmem.sim_envs.episodes import Episode, GoalView
from embmem.sim_envs.habitat.images import Semantics, colours, make_semantics, metric_depth
from embmem.sim_envs.habitat.simulator import HabitatScene, hfov_deg
from embmem.sim_envs.metrics.continuous import ndtw, score
from embmem.sim_envs.rollout import TRAJECTORY_DECIMALS, Clock

log = logging.getLogger(__name__)

STEP_SECONDS = 0.1  # [s] that every action takes
STOP_SHARE = 0.9  # of the success distance, where the oracle stops
SAME_LENGTH = 0.05  # share by which a shortest path may differ from the file's before the mesh must be another


@dataclass(frozen=True, kw_only=True)
class Rules:
    """When an episode ends and what counts."""

    max_steps: int = 500
    success_distance: float = 0.2  # [m], geodesic, strictly below
    min_depth: float = 0.0  # [m]
    max_depth: float = math.inf  # [m]
    shows_image: bool = False  # a point is shown by a picture taken there, instead of being told


@dataclass(eq=False)
class Walk:
    """Where the body came, and how far it was from the goal."""

    path: list[np.ndarray]  # (3,) [m]
    yaws: list[float]  # [rad]
    left: list[float]  # [m], geodesic to the nearest goal
    collisions: int = 0
    stop_called: bool = False


def run_habitat_episode(
    scene: HabitatScene,
    agent: Agent,
    episode: Episode,
    rules: Rules,
    *,
    clock: Clock | None = None,
    stamp: float = 0.0,
) -> dict[str, Any]:
    """The row of an episode, without the names of agent and session.

    What the agent sees is raised or lowered so that the start's floor has z = 0, as its maps expect; distances, success
    and paths are those of the scene.
    """
    clock = clock or Clock()
    floor = float(episode.start[2])
    target = episode.targets[0]
    goals = scene.multi_goal_path(target.view_points()) if len(target.view_points()) else None
    goal = shown_goal(scene, episode, rules, floor)
    scene.place(episode.start, episode.yaw)
    semantics = make_semantics(scene.things()) if "semantic" in scene.settings.sensors else None
    if semantics is None and "semantic" in scene.settings.sensors:
        _say_unannotated(episode.scene)
    distance = _remaining(scene, goals)
    walk = Walk([scene.pose()[0]], [episode.yaw], [distance()])
    within = STOP_SHARE * rules.success_distance
    agent.begin(goal, None if goals is None else (lambda: scene.next_action(goals, within)))
    for step in range(rules.max_steps):
        with clock.time("observe"):
            seen = observe(scene, semantics, rules, floor=floor, stamp=stamp + step * STEP_SECONDS)
        with clock.time("act"):
            action = agent.act(seen)
        if action is Action.STOP:
            walk.stop_called = True
            break
        with clock.time("move"):
            walk.collisions += scene.apply(action)
        with clock.time("referee"):
            position, yaw = scene.pose()
            walk.path.append(position)
            walk.yaws.append(yaw)
            walk.left.append(distance())
    return _row(episode, walk, goal, rules)


def observe(
    scene: HabitatScene, semantics: Semantics | None, rules: Rules, *, floor: float, stamp: float
) -> Observation:
    """What the sensors show, with z = 0 at height `floor` [m]."""
    images, T_map_camera = scene.images()
    T_map_camera[2, 3] -= floor
    semantic, instance = None, None
    if semantics is not None:
        semantic, instance = semantics.split(images["semantic"].astype(np.int64))
    return Observation(
        stamp=stamp,
        T_map_camera=T_map_camera,
        intrinsics=scene.settings.intrinsics,
        depth=metric_depth(images["depth"], rules.min_depth, rules.max_depth) if "depth" in images else None,
        rgb=colours(images["rgb"]) if "rgb" in images else None,
        semantic=semantic,
        instance=instance,
        labels=() if semantics is None else semantics.labels,
    )


def shown_goal(scene: HabitatScene, episode: Episode, rules: Rules, floor: float) -> Goal:
    """What the agent is told: points relative to the start's floor, pictures rendered from where they were taken."""
    target = episode.targets[0]
    goal = target.goal
    if target.view is not None or (rules.shows_image and goal.position is not None):
        view = target.view or point_view(scene, episode)
        return replace(goal, position=None, image=scene.picture(view))
    if goal.position is not None:
        return replace(goal, position=np.asarray(goal.position, dtype=np.float64) - np.array([0.0, 0.0, floor]))
    return goal


def point_view(scene: HabitatScene, episode: Episode) -> GoalView:
    """ImageNav's camera over a goal point: the body's, with a heading that scene and episode decide.

    habitat-lab draws the heading with Python's salted hash, so it differs there from run to run.
    """
    text = f"{episode.scene} {episode.id}".encode()
    seed = int.from_bytes(hashlib.sha256(text).digest()[:8], "big")
    yaw = float(np.random.default_rng(seed).uniform(-math.pi, math.pi))
    eye = np.array(episode.targets[0].goal.position, dtype=np.float64)
    eye[2] += scene.settings.body.height
    k = scene.settings.intrinsics
    return GoalView(camera_pose(eye, yaw), hfov_deg(k), width=k.width, height=k.height)


def measures(
    path: Float[np.ndarray, "n 3"],
    left: Float[np.ndarray, " n"],
    *,
    stop_called: bool,
    threshold: float,
    reference: Float[np.ndarray, "m 3"] | None = None,
) -> dict[str, float]:
    """habitat-lab's measures of positions [m] and their geodesic distances to the goal [m], the start's first.

    With `reference`, the way that an instruction describes, VLN-CE's too.
    """
    scores = score(
        path,
        stop_called=stop_called,
        distance_to_goal=float(left[-1]),
        distance_min=float(left.min()),
        shortest=float(left[0]),
        threshold=threshold,
    )
    if reference is None or not len(reference):
        return scores
    similarity = ndtw(path, reference)
    return {
        **scores,
        "vlnce/sr": scores["success"],
        "vlnce/osr": scores["oracle_success"],
        "vlnce/spl": scores["spl"],
        "vlnce/ndtw": similarity,
        "vlnce/sdtw": scores["success"] * similarity,
    }


@lru_cache
def _say_unannotated(scene: str) -> None:
    """Once for each scene."""
    log.warning("%s has no semantic annotation: its semantic images are all 0 and not shown", scene)


def _remaining(scene: HabitatScene, goals: Any) -> Callable[[], float]:
    """The geodesic distance from where the body stands to the nearest goal; inf where nobody knows a goal."""
    if goals is None:
        return lambda: math.inf
    return lambda: scene.distance(scene.pose()[0], goals)


def _row(episode: Episode, walk: Walk, goal: Goal, rules: Rules) -> dict[str, Any]:
    path, left = np.array(walk.path), np.array(walk.left)
    told, measured = episode.shortest_path, float(left[0])
    if math.isfinite(told) and math.isfinite(measured) and abs(measured - told) > SAME_LENGTH * told:
        log.warning("%s, episode %s: %.2f m to the goal here, %.2f m in the file: another radius or navigation mesh?",
                    episode.scene, episode.id, measured, told)  # fmt: skip
    scores = measures(
        path, left,
        stop_called=walk.stop_called, threshold=rules.success_distance, reference=episode.reference_path,
    )  # fmt: skip
    pose = np.column_stack([path, walk.yaws])
    outcome = "found" if scores["success"] else "stopped elsewhere" if walk.stop_called else "out of steps"
    return {
        "goal": str(goal),
        **{key: _finite(value) for key, value in scores.items()},
        "progress": scores["success"],
        "shortest_path": _finite(measured),
        "shortest_path_in_file": _finite(told),
        "steps": len(walk.path) - 1 + walk.stop_called,
        "stop_called": walk.stop_called,
        "collisions": walk.collisions,
        "outcome": outcome,
        "trajectory": (np.round(pose, TRAJECTORY_DECIMALS) + 0.0).tolist(),
    }


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
