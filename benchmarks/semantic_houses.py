"""Tours through embedded houses whose segments bring embeddings, and what a voxel map then answers.

The embeddings stand in for an image encoder: the vector of the category that the detector sees, right or wrong, plus
noise of a fixed length in a random direction, anew for every view. Real encoders err by thing and by view point, so the
figures say how well the memory keeps what it is given, not how well a vision model sees.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from embmem.agent import Body
from embmem.maps import VoxelMap
from embmem.maps.voxels.meaning.calibration import calibrate
from embmem.maps.voxels.meaning.payload import Payload
from embmem.maps.voxels.meaning.prototypes import PrototypeTable
from embmem.maps.voxels.meaning.semantic import Answer, Search
from embmem.observation import Intrinsics, Observation
from embmem.records import Query
from embmem.sim_envs.house import LABELS, House, make_house
from embmem.sim_envs.noise import CameraNoise, Detector
from embmem.sim_envs.tasks.tours import guided_tour, tour_stops
from embmem.sim_envs.world import World

CATEGORIES = LABELS[5:]  # without the structure of the house
NOISE = 0.3  # length of the noise on a unit vector: cosine .958 with the category's, .917 between two views
SEEN = 200  # pixels over the whole tour that make a thing seen
NEAR = 0.3  # [m] around the box of a thing where its middle may be told to be
MAX_RANGE = 5.0  # [m]


@dataclass(eq=False)
class Tour:
    """A map after a tour and what there was to see."""

    house: House
    voxels: VoxelMap
    seen: dict[int, str]  # category by instance id
    boxes: dict[int, np.ndarray]  # (2, 3) [m] of everything in the house
    names: dict[int, str]


def tour(seed: int, vectors: Mapping[str, np.ndarray], *, n_rooms: int, max_steps: int) -> Tour:
    """A tour with Kinect noise and a detector that errs; `vectors` are unit, by category."""
    house = make_house(seed, n_rooms)
    rng = np.random.default_rng(seed)
    intrinsics = Intrinsics.from_fov(256, 192, 79.0)
    body = Body(radius=0.18, height=0.88, forward=0.25, turn=30.0, look=30.0)
    world = World(house, intrinsics=intrinsics, body=body, noise=CameraNoise(), detector=Detector(), rng=rng)
    dim = len(next(iter(vectors.values())))
    payload = Payload(["labels", "seen", "prototype"], prototypes=PrototypeTable(dim, merge_cosine=0.8))
    voxels = VoxelMap(0.05, max_range=MAX_RANGE, payload=payload)
    pixels: dict[int, int] = {}
    stops = tour_stops(world, house)
    world.place(stops[0], 0.0)
    for action in guided_tour(world, stops, max_steps):
        voxels.observe(_with_embeddings(world.observe(), vectors, rng))
        truth = world.truth()
        for i, n in enumerate(np.bincount(truth.instance[truth.depth <= MAX_RANGE])):
            pixels[i] = pixels.get(i, 0) + int(n)
        world.apply(action)
    names = {piece.id: piece.category for piece in house.furniture}
    names |= {thing.id: thing.category for thing in house.objects}
    boxes = {piece.id: _corners(piece.boxes) for piece in house.furniture}
    boxes |= {thing.id: _corners(house.object_aabb(thing)[None]) for thing in house.objects}
    seen = {i: names[i] for i, n in pixels.items() if i in names and n >= SEEN}
    return Tour(house, voxels, seen, boxes, names)


def _with_embeddings(frame: Observation, vectors: Mapping[str, np.ndarray], rng: np.random.Generator) -> Observation:
    semantic, instance = np.asarray(frame.semantic).ravel(), np.asarray(frame.instance).ravel()
    numbers, first = np.unique(instance, return_index=True)
    embeddings = {}
    for number, at in zip(numbers.tolist(), first.tolist(), strict=True):
        vector = vectors.get(LABELS[int(semantic[at])])
        if number > 0 and vector is not None:
            noise = rng.normal(size=len(vector))
            embeddings[number] = vector + NOISE * noise / np.linalg.norm(noise)
    return replace(frame, embeddings=embeddings)


def _corners(boxes: np.ndarray) -> np.ndarray:
    return np.stack([boxes[:, :3].min(axis=0), boxes[:, 3:].max(axis=0)])


def ask(tours: list[Tour], queries: Mapping[str, np.ndarray], means: Callable[[str], str]) -> list[dict[str, float]]:
    """One result a house and query; every house is judged by a threshold from all the others.

    Args:
        tours: at least two.
        queries: unit vectors by their text.
        means: the category that a text means.
    """
    best = [[t.voxels.find(Query(embedding=vector, k=1)).best_score for vector in queries.values()] for t in tours]
    is_there = [[means(text) in t.seen.values() for text in queries] for t in tours]
    results = []
    for house, t in enumerate(tours):
        others = [i for i in range(len(tours)) if i != house]
        scores, there = (np.concatenate([x[i] for i in others]) for x in (best, is_there))
        calibration = calibrate(scores[there.astype(bool)], scores[~there.astype(bool)])
        t.voxels.search = Search(calibration=calibration)
        for text, vector in queries.items():
            answer = t.voxels.find(Query(embedding=vector, k=1000))
            results.append({"house": float(house), **_judged(t, means(text), answer)})
    return results


def _judged(t: Tour, category: str, answer: Answer) -> dict[str, float]:
    """What of an answer is right. A category that is in the house but was not seen is neither present nor absent."""
    wanted = {i: t.boxes[i] for i, name in t.names.items() if name == category}
    in_sight = [i for i, name in t.seen.items() if name == category]
    found, errors, first_is_right = set(), [], 0.0
    for rank, each in enumerate(answer.instances):
        outside = {i: np.linalg.norm(np.maximum(np.maximum(b[0] - each.centre, each.centre - b[1]), 0.0))
                   for i, b in wanted.items()}  # fmt: skip
        right = [i for i, d in outside.items() if d <= NEAR]
        if right:
            nearest = min(right, key=lambda i: float(np.linalg.norm(t.boxes[i].mean(axis=0) - each.centre)))
            found |= {nearest}
            errors.append(float(np.linalg.norm(t.boxes[nearest].mean(axis=0) - each.centre)))
            first_is_right = max(first_is_right, float(rank == 0))
    return {
        "present": float(bool(in_sight)),
        "absent": float(not wanted),
        "abstained": float(not answer.instances),
        "answers": float(len(answer.instances)),
        "right": float(len(errors)),
        "things": float(len(in_sight)),
        "found": float(len(found & set(in_sight))),
        "first_is_right": first_is_right,
        "error": float(np.median(errors)) if errors else float("nan"),
    }
