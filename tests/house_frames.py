"""Rendered frames of a robot's way through a furnished house, with labels, instances and an embedding a label."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import numpy as np

from embmem.agent import Body
from embmem.observation import Intrinsics, Observation
from embmem.sim_envs.house import make_house
from embmem.sim_envs.noise import CameraNoise
from embmem.sim_envs.tasks.tours import guided_tour, tour_stops
from embmem.sim_envs.world import World

DIM = 16


@cache
def house_frames(n: int, *, every: int = 3, noisy: bool = True) -> tuple[Observation, ...]:
    """Every so many frames of a guided tour, 96 x 72 pixels."""
    return tuple(_walk(n, every, noisy))


def _walk(n: int, every: int, noisy: bool) -> Iterator[Observation]:
    house = make_house(11, n_rooms=3)
    noise = CameraNoise() if noisy else None
    camera = Intrinsics.from_fov(96, 72, 79.0)
    world = World(house, intrinsics=camera, body=Body(), noise=noise, rng=np.random.default_rng(0))
    stops = tour_stops(world, house)
    world.place(stops[0], 0.0)
    meaning = np.random.default_rng(1).normal(size=(200, DIM)).astype(np.float32)
    for i, action in enumerate(guided_tour(world, stops, n * every)):
        world.apply(action)
        if i % every == 0:
            yield _with_meaning(world.observe(), meaning)


def _with_meaning(frame: Observation, meaning: np.ndarray) -> Observation:
    assert frame.instance is not None
    assert frame.semantic is not None
    numbers = [int(i) for i in np.unique(frame.instance) if i > 0]
    labels = {i: int(frame.semantic[frame.instance == i][0]) for i in numbers}
    return replace(frame, embeddings={i: meaning[labels[i]] for i in numbers} or None)
