"""The gymnasium environment keeps gymnasium's promises and Habitat's rules."""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from embmem.agent import Action
from embmem.sim_envs.env import EmbeddedEnv

SMALL: dict[str, Any] = {"n_rooms": 3, "n_houses": 3, "width": 32, "height": 24}


def run_oracle(env: EmbeddedEnv, seed: int) -> tuple[float, dict[str, float]]:
    """(sum of rewards, scores) of an episode."""
    env.reset(seed=seed)
    total, done = 0.0, False
    info: dict[str, float] = {}
    while not done:
        _, reward, terminated, truncated, info = env.step(env.world.next_action(env._goals))
        total, done = total + reward, terminated or truncated
    return total, info


@pytest.mark.parametrize("task", ["pointnav", "objectnav"])
def test_the_registered_environment_passes_gymnasiums_checker(task: str) -> None:
    env = gymnasium.make("embmem/Embedded-v0", task=task, render_mode="rgb_array", **SMALL)
    check_env(env.unwrapped)  # warnings are errors here


@pytest.mark.parametrize("task", ["pointnav", "objectnav"])
def test_the_oracle_succeeds_and_collects_the_distance_as_reward(task: str) -> None:
    env = EmbeddedEnv(task, **SMALL)
    for seed in range(5):
        total, info = run_oracle(env, seed)
        assert info["success"] == 1.0
        assert info["spl"] > 0.8
        steps = len(env._path) - 1
        gained = env.episode.shortest_path - info["distance_to_goal"]
        assert total == pytest.approx(gained - 0.01 * steps + 2.5, abs=1e-6)


def test_the_same_seed_gives_the_same_episode_and_another_seed_another() -> None:
    runs = []
    for seed in (4, 4, 5):
        env = EmbeddedEnv("pointnav", **SMALL)
        env.reset(seed=seed)
        runs.append([env.step(a)[0] for a in (1, 2, 1, 3, 4, 1)])
    for a, b in zip(runs[0], runs[1], strict=True):
        assert all(np.array_equal(a[key], b[key]) for key in a)
    assert not np.array_equal(runs[0][0]["depth"], runs[2][0]["depth"])


def test_pose_and_point_goal_are_told_in_the_frames_of_start_and_body() -> None:
    env = EmbeddedEnv("pointnav", **SMALL)
    first, _ = env.reset(seed=1)
    assert first["pose"] == pytest.approx([0, 0, 0, 0], abs=1e-6)
    seen = env.step(Action.LEFT)[0]
    assert seen["pose"] == pytest.approx([0, 0, math.radians(10), 0], abs=1e-6)
    turned = math.remainder(float(first["goal"][1]) - math.radians(10), math.tau)
    assert seen["goal"] == pytest.approx([first["goal"][0], turned], abs=1e-5)
    env.step(Action.LOOK_UP)
    seen = env.step(Action.FORWARD)[0]
    ahead, left, _, pitch = (float(v) for v in seen["pose"])
    assert pitch == pytest.approx(math.radians(30), abs=1e-6)
    c, s = math.cos(env.episode.yaw), math.sin(env.episode.yaw)
    expected = env.episode.start[:2] + np.array([c * ahead - s * left, s * ahead + c * left])
    assert expected == pytest.approx(env.world.position, abs=1e-5)
    bearing = env.world.yaw + float(seen["goal"][1])
    goal = env.world.position + float(seen["goal"][0]) * np.array([math.cos(bearing), math.sin(bearing)])
    assert goal == pytest.approx(env._goals[0], abs=1e-4)


def test_a_premature_stop_fails_and_the_step_limit_truncates() -> None:
    env = EmbeddedEnv("objectnav", max_steps=3, **SMALL)
    env.reset(seed=0)
    _, reward, terminated, truncated, info = env.step(Action.STOP)
    assert (terminated, truncated, info["success"]) == (True, False, 0.0)
    assert reward == pytest.approx(-0.01)
    env.reset(seed=0)
    flags = [env.step(Action.LEFT)[2:4] for _ in range(3)]
    assert flags == [(False, False), (False, False), (False, True)]


def test_a_house_can_be_chosen() -> None:
    env = EmbeddedEnv(**SMALL)
    env.reset(seed=0, options={"house": 7})
    assert env.world.house.seed == 7


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="need a known task"):
        EmbeddedEnv(n_houses=0)
    env = EmbeddedEnv(**SMALL)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="6"):
        env.step(6)
