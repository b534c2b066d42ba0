"""Mazes in symbols, many at once: worlds small enough to train a policy on two cores in minutes."""

from embmem.sim_envs.maze.image_goal import ImageGoalWorld
from embmem.sim_envs.maze.world import MazeWorld

__all__ = ["ImageGoalWorld", "MazeWorld"]
