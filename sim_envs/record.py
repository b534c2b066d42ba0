"""A guided tour of a procedural house as a recording, like one that a robot brings home."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from embmem.observation import Observation
from embmem.recordings.writing import write_recording
from embmem.sim_envs.house import House, make_house
from embmem.sim_envs.noise import CameraNoise, Detector
from embmem.sim_envs.tasks.tours import guided_tour, tour_stops
from embmem.sim_envs.world import World


def record_tour(
    seed: int,
    n_rooms: int,
    out: str | Path,
    *,
    world: Callable[..., World],
    camera: CameraNoise | None = None,
    detector: Detector | None = None,
    max_steps: int = 600,
    layout: str = "auto",
    on_frame: Callable[[], None] = lambda: None,
) -> tuple[House, int]:
    """The house and the number of frames; `out` becomes a recording with semantic images and their labels.

    Args:
        seed: decides the house and the sensors' mistakes.
        n_rooms: of the house.
        out: file or folder to create.
        world: makes a `World` of a house.
        camera: the mistakes of its depth images; none if not given.
        detector: the mistakes of its semantic and instance images; none if not given.
        max_steps: the tour ends there, finished or not.
        layout: of what is written: `rgbd`, `mcap`, `lerobot`, or `auto` by the name (`write_recording`).
        on_frame: called after each frame.

    Raises:
        OutputExistsError: if `out` is taken.
    """
    house = make_house(seed, n_rooms)
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    scene = world(house, noise=camera, detector=detector, rng=rng)
    n_frames = write_recording(_seen(scene, house, max_steps, on_frame), out, layout=layout, color="jpg")
    return house, n_frames


def _seen(world: World, house: House, max_steps: int, on_frame: Callable[[], None]) -> Iterator[Observation]:
    stops = tour_stops(world, house)
    world.place(stops[0], 0.0)
    for action in guided_tour(world, stops, max_steps):
        yield world.observe()
        on_frame()
        world.apply(action)
    yield world.observe()
    on_frame()
