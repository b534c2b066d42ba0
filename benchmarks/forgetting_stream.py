"""Thirty days of a robot in the embedded house: what it sees, what it is asked on the way, and what is true."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from embmem.agent import Body
from embmem.geometry import backproject, transform_points
from embmem.observation import Intrinsics, Observation
from embmem.records import Record
from embmem.sim_envs.house import House, make_house
from embmem.sim_envs.house.habits import night
from embmem.sim_envs.noise import CameraNoise
from embmem.sim_envs.tasks.tours import guided_tour, tour_stops
from embmem.sim_envs.world import World

DAY = 86400.0  # [s]
CAMERA = Intrinsics.from_fov(160, 120, 79.0)
SEEN_PIXELS = 25  # that an object must show to be noticed
DIM = 64
LOOK_NOISE = 0.25  # of a unit embedding, norm
TOURS = (8.0, 14.0, 20.0)  # [h] of the day; the household's habits move things between two of them


@dataclass(frozen=True, eq=False)
class Stream:
    """What happened."""

    sightings: list[Record]  # in order of time; the entity is the thing, the place its room
    tour_of: np.ndarray  # (n,) number of the tour of each sighting
    houses: list[House]  # as it was during each tour
    ends: np.ndarray  # (tours,) [s] end of each tour
    asked: list[list[str]]  # things that people asked for after each tour


def live(n_days: int, seed: int) -> Stream:
    """Every frame of every tour is rendered with noise; what shows enough pixels is a sighting.

    The things' identity is taken from the renderer (a perfect re-identification), their place is the median of the
    noisy depth, their look a fixed random direction a thing plus noise (synthetic embeddings).
    """
    rng = np.random.default_rng(seed)
    house = make_house(11 + seed)
    world = World(house, intrinsics=CAMERA, body=Body(), noise=CameraNoise(), rng=rng, rgb=False)
    stops = tour_stops(world, house)
    looks = {o.id: _unit(rng.normal(size=DIM)) for o in house.objects}
    names = {o.id: f"{o.category} {o.id}" for o in house.objects}
    fame = rng.permutation(sorted(names.values()))  # some things are asked for all the time, most hardly ever
    share = 1.0 / np.arange(1, len(fame) + 1)
    sightings: list[Record] = []
    tour_of: list[int] = []
    houses, ends, asked = [], [], []
    for tour in range(n_days * len(TOURS)):
        house, _ = night(house, rng) if tour else (house, [])
        world.set_house(house)
        world.place(stops[0], 0.0)
        start = tour // len(TOURS) * DAY + TOURS[tour % len(TOURS)] * 3600.0
        world.advance(max(0.0, start - world.stamp))
        for action in guided_tour(world, stops, 1000):
            world.apply(action)
            found = _sightings(world.observe(), world, names, looks, rng)
            sightings += found
            tour_of += [tour] * len(found)
        houses.append(house)
        ends.append(world.stamp)
        asked.append([str(name) for name in rng.choice(fame, size=20, p=share / share.sum())])
    return Stream(sightings, np.array(tour_of), houses, np.array(ends), asked)


def _sightings(
    frame: Observation, world: World, names: dict[int, str], looks: dict[int, np.ndarray], rng: np.random.Generator
) -> list[Record]:
    assert frame.instance is not None
    assert frame.depth is not None
    found, all_points = [], backproject(frame.depth, frame.intrinsics)
    for number, count in zip(*np.unique(frame.instance, return_counts=True), strict=True):
        if number not in names or count < SEEN_PIXELS:
            continue
        points = all_points[frame.instance == number]
        points = points[np.isfinite(points[:, 2])]
        if not len(points):
            continue
        position = transform_points(frame.T_map_camera, np.median(points.astype(np.float64), axis=0)[None])[0]
        room = world.house.room_at(float(position[0]), float(position[1]))
        look = _unit(looks[int(number)] + LOOK_NOISE * _unit(rng.normal(size=DIM)))
        found.append(
            Record(
                kind="sighting", t_event=frame.stamp, source="camera", T_map_obs=frame.T_map_camera, position=position,
                entities=(names[int(number)],), place=None if room is None else f"{room.kind} {room.id}",
                embedding=look.astype(np.float16),
            )
        )  # fmt: skip
    return found


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)
