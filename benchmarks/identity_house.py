"""A month in an embedded house: visits of a robot, what its detector reports, whose each segment truly is.

Habits move things between any two visits (`sim_envs.house.habits`), some things leave the house for a while, others are
bought. The looks stand in for an image encoder: the prototype of the true category, plus a vector of the instance, plus
noise anew for every view. Real encoders err by view point, so figures with looks say what the memory makes of
embeddings as good as these, not how good an encoder is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from embmem.agent import Body
from embmem.observation import Intrinsics, Observation
from embmem.sim_envs.house import House, make_house
from embmem.sim_envs.house.habits import night
from embmem.sim_envs.noise import CameraNoise, Detector
from embmem.sim_envs.tasks.tours import guided_tour, tour_stops
from embmem.sim_envs.world import World

CAMERA = Intrinsics.from_fov(160, 120, 79.0)
DAY = 86400.0  # [s]
TOURS = (8.0, 14.0, 20.0)  # [h] of the day
DIM = 64
INSTANCE, VIEW = 0.5, 0.6  # lengths of an instance's vector and of a view's noise, the prototype's is 1
LEAVES, RETURNS, NOT_YET = 0.01, 0.05, 0.15  # shares of things: per visit, per visit, at the beginning
SAME = 0.5  # intersection over union with its true pixels from which a segment is that thing
NOISES = {
    "mild": (
        CameraNoise(0.0005, 0.0, hole_rate=0.002, edge_hole_rate=0.1, near=0.1, far=8.0),
        Detector(0.05, 0.01, 0.02, min_pixels=12),
    ),
    "kinect": (
        CameraNoise(0.001425, 0.00285, hole_rate=0.01, edge_hole_rate=0.5, near=0.4, far=5.0),
        Detector(0.15, 0.05, 0.05, min_pixels=30),
    ),
}  # as in configs/noise


@dataclass(frozen=True, eq=False)
class Sight:
    """One frame and the truth about it."""

    observation: Observation
    true_of: dict[int, int]  # true id by number of the segment; 0 for what is not there
    depth: np.ndarray  # (h, w) [m] without noise
    pixels: dict[int, int]  # true pixels by true id


@dataclass(frozen=True, eq=False)
class Visit:
    """One tour."""

    number: int
    house: House  # as it is during the tour
    sights: Iterator[Sight]  # to be taken before the next visit


def month(seed: int, n_days: int, *, noise: str = "mild", n_rooms: int = 6, looks: bool = True) -> Iterator[Visit]:
    """The visits of `n_days`, three a day; without `looks` the frames bring no embeddings."""
    rng = np.random.default_rng([seed, 5])
    house = make_house(seed, n_rooms)
    camera, detector = NOISES[noise]
    is_out = {o.id: rng.random() < NOT_YET for o in house.objects}
    world = World(
        house, intrinsics=CAMERA, body=Body(), noise=camera, detector=detector, rng=np.random.default_rng([seed, 6]),
        rgb=False,
    )  # fmt: skip
    look_of = Looks(house, seed) if looks else None
    stops = tour_stops(world, house)
    for number in range(n_days * len(TOURS)):
        if number:
            house, _ = night(house, rng)
            is_out = {i: rng.random() >= RETURNS if out else rng.random() < LEAVES for i, out in is_out.items()}
        now = house.with_objects(tuple(o for o in house.objects if not is_out[o.id]))
        world.set_house(now)
        world.place(stops[0], 0.0)
        start = number // len(TOURS) * DAY + TOURS[number % len(TOURS)] * 3600.0
        world.advance(max(0.0, start - world.stamp))
        yield Visit(number, now, _tour(world, stops, look_of))


def _tour(world: World, stops: np.ndarray, looks: Looks | None) -> Iterator[Sight]:
    for action in guided_tour(world, stops, 1000):
        world.apply(action)
        observation = world.observe()
        truth = world.truth()
        assert observation.instance is not None
        true_of = truth_of_segments(observation.instance, truth.instance)
        if looks is not None:
            observation = replace(observation, embeddings={n: looks.see(i) for n, i in true_of.items()})
        ids, counts = np.unique(truth.instance[truth.instance > 0], return_counts=True)
        yield Sight(observation, true_of, truth.depth, dict(zip(ids.tolist(), counts.tolist(), strict=True)))


def truth_of_segments(found: np.ndarray, true: np.ndarray) -> dict[int, int]:
    """The true id of each segment that covers much the same pixels, 0 of the others."""
    width = int(true.max(initial=0)) + 1
    codes, common = np.unique(found.ravel().astype(np.int64) * width + true.ravel(), return_counts=True)
    of_found = np.bincount(found.ravel())
    of_true = np.bincount(true.ravel(), minlength=width)
    result: dict[int, int] = {}
    for code, n in zip(codes.tolist(), common.tolist(), strict=True):
        number, true_id = divmod(code, width)
        if number > 0:
            is_it = true_id > 0 and n >= SAME * (of_found[number] + of_true[true_id] - n)
            result[number] = true_id if is_it else result.get(number, 0)
    return result


class Looks:
    """Unit embeddings of what is in a house; the seed draws prototypes, instances and the noise of each view."""

    def __init__(self, house: House, seed: int) -> None:
        shared, own = np.random.default_rng(7), np.random.default_rng([seed, 8])
        names = {o.id: o.category for o in house.objects} | {f.id: f.category for f in house.furniture}
        prototypes = {name: _unit(shared.normal(size=DIM)) for name in sorted(set(names.values()))}
        self._of = {i: prototypes[names[i]] + INSTANCE * _unit(own.normal(size=DIM)) for i in sorted(names)}
        self._rng = own

    def see(self, true_id: int) -> np.ndarray:
        """What the encoder says about one view; of what is not there, anything."""
        seen = self._of.get(true_id)
        noise = _unit(self._rng.normal(size=DIM))
        return (noise if seen is None else _unit(seen + VIEW * noise)).astype(np.float32)


def _unit(vector: np.ndarray) -> np.ndarray:
    unit: np.ndarray = vector / np.linalg.norm(vector)
    return unit
