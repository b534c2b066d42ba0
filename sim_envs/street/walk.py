"""One episode on the streets: the agent walks, the referee measures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from embmem.maps.streets import Pose, StreetAction, StreetMap, move, validated
from embmem.maps.streets.graph import JUNCTION
from embmem.policies.street.agent import Sighting, StreetAgent, StreetInstruction, StreetView
from embmem.sim_envs.metrics.street import orar, velma
from embmem.sim_envs.rollout import Clock
from embmem.sim_envs.street.episodes import StreetEpisode
from embmem.sim_envs.street.places import street_places

Sense = Callable[[Pose], tuple[Sighting, ...]]


@dataclass(frozen=True)
class Rules:
    """What ends an episode."""

    max_steps: int = 55  # free steps included
    n_shoves: int = 0  # junctions at which somebody is pushed into another street


def walk(
    streets: StreetMap,
    episode: StreetEpisode,
    agent: StreetAgent,
    rules: Rules,
    *,
    sense: Sense | None = None,
    landmarks: tuple[tuple[str, Any], ...] = (),
    shoves: np.random.Generator | None = None,
) -> dict[str, Any]:
    """The row of an episode, without the names of agent and session.

    Args:
        streets: the map.
        episode: what is to be done.
        agent: who does it.
        rules: what ends it.
        sense: what is seen from a pose; nothing by default.
        landmarks: phrases of the instruction with their embeddings, for agents that can see.
        shoves: draws where one is pushed; needed if the rules push.

    Raises:
        ValueError: if the rules push and there is nothing to draw from.
    """
    if rules.n_shoves and shoves is None:
        raise ValueError(f"{rules.n_shoves} pushes need a generator to draw them from")
    clock = Clock()
    pose, steps = episode.start(streets), 0
    path = [pose.place]
    if episode.is_map2seq:
        pose, steps = move(streets, pose, StreetAction.FORWARD), 1
        path += [pose.place] * (pose.place != path[-1])
    with clock.time("plan"):
        task = StreetInstruction(episode.text, streets, pose, landmarks)
        agent.begin(task, episode.route if getattr(agent, "is_privileged", False) else None)
    has_stopped, n_shoves = False, 0
    while steps < rules.max_steps and not has_stopped:
        with clock.time("observe"):
            view = StreetView(pose, steps, () if sense is None else sense(pose))
        with clock.time("act"):
            action = validated(streets, pose.place, agent.act(view))
        has_stopped = action is StreetAction.STOP
        steps += 1
        before, pose = pose, move(streets, pose, action)
        if shoves is not None and n_shoves < rules.n_shoves and pose.place != before.place:
            pushed = _shoved(streets, before, pose, shoves)
            n_shoves, pose = n_shoves + (pushed != pose), pushed
        path += [pose.place] * (pose.place != path[-1])
    with clock.time("referee"):
        scores = measure(streets, path, episode)
    return {
        "scene": episode.split,
        "goal": episode.text,
        "id": episode.id,
        "steps": steps,
        "stopped": has_stopped,
        "shoves": n_shoves,
        **scores,
        "trajectory": _points(streets, path),
        "gold": _points(streets, episode.route),
        "seconds": clock.seconds,
    }


def _shoved(streets: StreetMap, before: Pose, pose: Pose, rng: np.random.Generator) -> Pose:
    """Where one ends that leaves a junction and is pushed into a street that it neither wants nor came by."""
    exits = [(h, end) for h, end in streets.exits(before.place) if end not in (pose.place, before.previous)]
    if streets.n_exits[before.place] < JUNCTION or not exits:
        return pose
    heading, end = exits[int(rng.integers(len(exits)))]
    return Pose(end, heading, before.place)


def measure(streets: StreetMap, path: list[int], episode: StreetEpisode) -> dict[str, Any]:
    """The published measures of a walk; `success` is task completion."""
    places = street_places(streets)
    walked, gold = ([streets.names[i] for i in way] for way in (path, episode.route))
    one, other = velma(places, walked, gold), orar(places, walked, gold)
    return {
        "success": bool(one["tc"]),
        "velma/spd_hops": one["spd_hops"],
        "velma/kpa": one["kpa"],
        **{f"orar/{key}": other[key] for key in ("sed", "ndtw", "sdtw", "cls")},
        "spd_m": float(places.metres(walked[-1:], gold[-1:])[0, 0]),
    }


def _points(streets: StreetMap, path: list[int] | tuple[int, ...]) -> list[list[float]]:
    """Positions [m], to the decimetre."""
    return [[round(x, 1), round(y, 1)] for x, y in streets.xy[list(path)].tolist()]
