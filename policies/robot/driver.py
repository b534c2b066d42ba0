"""Drives on a memory's grid without anybody else's planner: a way, a follower, and a look ahead before every move."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from embmem.driving import Grid, Move, Target, Way
from embmem.policies.cost_map import CostMap
from embmem.policies.robot.follower import STOP, Follower, Limits, is_free_ahead, stopping_distance
from embmem.policies.robot.grid_path import GridPath, contains

_MARGIN = 0.05  # [m] that is looked at beyond the stopping distance
_SPOTS = 5  # points across the tolerance of a place whose middle cannot be stood on


class GridDriver:
    """For a round robot that turns on the spot. It never drives backwards and stops before whatever the grid knows.

    Args:
        paths: plans ways.
        limits: of the robot.
        heading_tolerance: [rad] at the end of a way.
        delay: [s] until the robot does what it is told.
    """

    def __init__(self, paths: GridPath, limits: Limits, *, heading_tolerance: float = 0.15, delay: float = 0.2) -> None:
        if not (heading_tolerance > 0 and delay >= 0):
            raise ValueError(f"need heading_tolerance > 0 and delay >= 0, got {heading_tolerance}, {delay}")
        self._paths, self._limits = paths, limits
        self._heading_tolerance, self._delay = heading_tolerance, delay
        self._follower: Follower | None = None
        self._last = STOP

    def travel(self, grid: Grid, robot: Float[np.ndarray, "2"], targets: Sequence[Target]) -> list[float]:
        """Of each target the price [m] of the way to it, as `GridPath` weighs; inf where no way leads."""
        costs = self._paths.costs(grid.cells, grid.origin, grid.resolution, robot)
        field = costs.field(robot[None])
        spots = [self._spots(grid, costs, target) for target in targets]
        return [float(costs.at(field, at).min()) if len(at) else float(np.inf) for at in spots]

    def way(self, grid: Grid, robot: Float[np.ndarray, "2"], target: Target) -> Way | None:
        """The cheapest way to where the target asks for; None if there is none."""
        costs = self._paths.costs(grid.cells, grid.origin, grid.resolution, robot)
        path = self._paths.plan(costs, robot, self._spots(grid, costs, target))
        if not len(path):
            return None
        heading = target.heading
        if target.is_thing:
            offset = target.position - path[-1]
            heading = float(np.arctan2(offset[1], offset[0]))
        return Way(path, heading)

    def _spots(self, grid: Grid, costs: CostMap, target: Target) -> Float[np.ndarray, "n 2"]:
        """Where the robot may stand in the end: the place, or what is near enough to it if nobody can stand there."""
        if target.is_thing:
            return self._paths.stands(costs, grid.cells, target.position, size=target.size, far=target.tolerance)
        across = np.linspace(-target.tolerance, target.tolerance, _SPOTS)
        around = np.stack(np.meshgrid(across, across), axis=-1).reshape(-1, 2)
        around = around[np.hypot(*around.T) <= target.tolerance + 1e-9]
        for spots in (target.position[None], target.position + around):
            is_open = np.isfinite(costs.at(costs.price, spots)) & contains(costs, spots)
            if is_open.any():
                return np.asarray(spots[is_open])
        return np.empty((0, 2))

    def follow(self, way: Way | None) -> None:
        """Take this way; the speed is kept where it goes on as before."""
        self._follower = None
        if way is not None:
            self._follower = Follower(
                way.path, self._limits, heading=way.heading, heading_tolerance=self._heading_tolerance
            )

    def move(self, grid: Grid, pose: tuple[float, float, float], dt: float) -> Move:
        """The next move; the robot stands if there is no way, or the grid has something in it."""
        follower = self._follower
        if follower is None:
            self._last = STOP
            return Move(0.0, 0.0, float("nan"))
        position = np.array(pose[:2])
        command = follower.command(position, pose[2], self._last, dt)
        reach = stopping_distance(command, self._limits, self._delay) + _MARGIN
        is_free = is_free_ahead(
            grid.cells, grid.origin, grid.resolution, pose, command, reach=reach, radius=self._paths.radius
        )
        self._last = command if is_free else STOP
        has_arrived = command == STOP and follower.has_arrived(position, pose[2])
        return Move(self._last.speed, self._last.turn, follower.remaining, has_arrived, not is_free)
