"""Which of several candidates to drive to, and where to stand there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from embmem.driving import Driver, Grid, Target, Way
from embmem.ros.nodes.planner.goals import Candidate

_DOUBT = 2.0  # [m] of travel that full certainty is worth


@dataclass(frozen=True, eq=False)
class Choice:
    """The candidates, best first, and the way to the first that one leads to."""

    ordered: list[Candidate]
    i: int
    way: Way | None  # None: to none of them


def choose(
    driver: Driver,
    grid: Grid,
    robot: Float[np.ndarray, "2"],
    candidates: Sequence[Candidate],
    *,
    is_ranked: bool,
    is_urgent: bool,
) -> Choice:
    """The first candidate that a way leads to.

    Args:
        driver: that plans.
        grid: to plan on.
        robot: where it stands [m].
        candidates: in the order of the memory.
        is_ranked: whether that which promises the least travel comes first; doubt counts as travel.
        is_urgent: whether, without any way, the first is driven to straight, as somebody else knows a way.
    """
    ordered = list(candidates)
    if is_ranked:
        travel = driver.travel(grid, robot, [candidate.target for candidate in candidates])
        doubt = [_DOUBT * (1.0 - candidate.confidence) for candidate in candidates]
        best = np.argsort(np.array(travel) + np.array(doubt), kind="stable")
        ordered = [candidates[i] for i in best.tolist()]
    for i, candidate in enumerate(ordered):
        way = driver.way(grid, robot, candidate.target)
        if way is not None:
            return Choice(ordered, i, way)
    return Choice(ordered, 0, straight(ordered[0].target, robot) if is_urgent else None)


def straight(target: Target, robot: np.ndarray) -> Way:
    """Where to stand when no grid says what is free: at the place, or before the thing on this side of it."""
    offset = robot - target.position
    distance, heading = float(np.hypot(*offset)), target.heading
    end = target.position
    if target.is_thing:
        stand = min(target.size / 2.0 + target.tolerance, distance)
        end = target.position + offset * (stand / max(distance, 1e-9))
        heading = float(np.arctan2(-offset[1], -offset[0]))
    return Way(np.stack([robot, end]), heading)


def last_heading(way: Way) -> float:
    """[rad] in which the robot stands at the end of a way."""
    if way.heading is not None:
        return way.heading
    if len(way.path) < 2:
        return 0.0
    step = way.path[-1] - way.path[-2]
    return float(np.arctan2(step[1], step[0]))
