"""Scores of an episode in continuous space (Habitat, VLN-CE): metres, positions of any dimension.

Success needs STOP and a distance *strictly* below the threshold. The references divide by zero when the shortest
path is 0 and give NaN when the goal is unreachable; here these cases are defined (see `score`).
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float

from embmem.sim_envs.metrics.sequences import dtw_points

NDTW_THRESHOLD = 3.0  # [m], VLN-CE: a constant of the measure, not the threshold of the task


def path_length(path: Float[np.ndarray, "n d"]) -> float:
    """The length of a polyline [m]."""
    return float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum())


def score(
    path: Float[np.ndarray, "n d"],
    *,
    stop_called: bool,
    distance_to_goal: float,
    distance_min: float,
    shortest: float,
    threshold: float,
) -> dict[str, float]:
    """The measures of one episode.

    Two cases that the references leave undefined: with `shortest` = 0 nothing can be saved, so SPL is the success
    itself and SoftSPL is 1 within the threshold, else 0; with `shortest` = inf every score is 0 and `unreachable`
    is 1, so that the episode can be counted apart.

    Args:
        path: where the body was, start first [m].
        stop_called: whether the agent claimed to be there; running out of steps is no claim.
        distance_to_goal: geodesic from the last position to the nearest goal [m].
        distance_min: the least such distance over the whole path [m].
        shortest: geodesic from the start to the nearest goal [m].
        threshold: success is strictly below this distance [m].

    Returns:
        success, oracle_success, spl (Anderson et al., arXiv:1807.06757), soft_spl (Datta et al., CoRL 2020),
        distance_to_goal, oracle_navigation_error, path_length, unreachable.

    Raises:
        ValueError: if `path` is empty, `threshold` not positive, or a distance negative or NaN.
    """
    if len(path) == 0:
        raise ValueError("a path needs at least its start")
    if not threshold > 0 or not all(d >= 0 for d in (distance_to_goal, distance_min, shortest)):
        raise ValueError(
            f"need threshold > 0 and distances >= 0, got {threshold}, {distance_to_goal}, {distance_min}, {shortest}"
        )
    length = path_length(path)
    reachable = math.isfinite(shortest)
    success = float(stop_called and distance_to_goal < threshold and reachable)
    progress, saved = 0.0, 0.0
    if shortest == 0:
        progress, saved = float(distance_to_goal < threshold), 1.0
    elif reachable:
        progress = max(0.0, 1.0 - distance_to_goal / shortest)
        saved = shortest / max(shortest, length)
    return {
        "success": success,
        "oracle_success": float(distance_min < threshold),
        "spl": success * saved,
        "soft_spl": progress * saved,
        "distance_to_goal": distance_to_goal,
        "oracle_navigation_error": distance_min,
        "path_length": length,
        "unreachable": float(not reachable),
    }


def ndtw(
    path: Float[np.ndarray, "n d"],
    gold: Float[np.ndarray, "m d"],
    *,
    threshold: float = NDTW_THRESHOLD,
    radius: int | None = None,
) -> float:
    """exp(-DTW / (threshold m)) of the path without its standstills, in (0, 1] (Ilharco et al. 2019).

    `radius` selects the FastDTW approximation, VLN-CE's default (radius 1); by default DTW is exact.
    """
    cost = dtw_points(path[_moved(path)], gold, radius=radius)
    return math.exp(-cost / (threshold * len(gold)))


def vlnce_habitat(
    path: Float[np.ndarray, "n d"],
    gold: Float[np.ndarray, "m d"],
    goal: Float[np.ndarray, " d"],
    *,
    stop_called: bool,
    threshold: float = 3.0,
) -> dict[str, float]:
    """The measures of VLN-CE in a world without obstacles, where the geodesic is the straight line."""
    to_goal = np.linalg.norm(path - goal, axis=1)
    scores = score(
        path,
        stop_called=stop_called,
        distance_to_goal=float(to_goal[-1]),
        distance_min=float(to_goal.min()),
        shortest=float(to_goal[0]),
        threshold=threshold,
    )
    exact = ndtw(path, gold)
    return {
        **scores,
        "ndtw_exact": exact,
        "ndtw_fastdtw": ndtw(path, gold, radius=1),
        "sdtw_exact": scores["success"] * exact,
    }


def _moved(path: Float[np.ndarray, "n d"]) -> Bool[np.ndarray, " n"]:
    """False where a position equals the one before."""
    return np.append(True, (path[1:] != path[:-1]).any(axis=1))
