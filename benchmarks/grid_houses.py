"""Tours through embedded houses for the grid memories: what was seen truly, what the map says, and a naive map.

Depth has a Kinect's noise and the detector confuses, misses and invents labels; the truth is what perfect images of the
same poses show.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

from embmem.agent import Body
from embmem.geometry import backproject
from embmem.maps.objects import BACKGROUND
from embmem.observation import Intrinsics, Observation
from embmem.sim_envs.house import LABELS, House, make_house
from embmem.sim_envs.noise import CameraNoise, Detector
from embmem.sim_envs.tasks.tours import guided_tour, tour_stops
from embmem.sim_envs.world import World

CAMERA = Intrinsics.from_fov(192, 144, 79.0)
BODY = Body(radius=0.18, height=0.88, forward=0.25, turn=30.0, look=30.0)
RESOLUTION, MAX_RANGE, CEILING = 0.05, 5.0, 2.0  # [m]
SEEN = 150  # pixels over the tour that make a thing seen
NEAR = 0.5  # [m] from its thing within which a label counts as its label


@dataclass(eq=False)
class Truth:
    """What perfect images showed of every thing: its cells, its pixels."""

    cells: dict[int, set[tuple[int, int]]] = field(default_factory=dict)
    pixels: dict[int, int] = field(default_factory=dict)

    def add(self, observation: Observation, depth: np.ndarray, instance: np.ndarray) -> None:
        """Count one frame."""
        shown = (depth > 0) & (depth <= MAX_RANGE) & (instance > 0)
        points = _in_map(observation, depth)[shown]
        ids = instance[shown]
        is_low = points[:, 2] < CEILING
        points, ids = points[is_low], ids[is_low]
        cells = np.floor(points[:, :2] / RESOLUTION).astype(int)
        for row in np.unique(np.column_stack([ids, cells]), axis=0).tolist():
            self.cells.setdefault(row[0], set()).add((row[1], row[2]))
        for number, n in enumerate(np.bincount(ids)):
            if n:
                self.pixels[number] = self.pixels.get(number, 0) + int(n)


@dataclass(frozen=True, eq=False)
class Seen:
    """A thing that was to be seen."""

    category: str
    centroid: np.ndarray  # (2,) [m] of the cells that were to be seen
    box: np.ndarray  # (2, 3) [m] all of it

    def gap(self, other: Seen) -> float:
        """[m] between the two rectangles."""
        gaps = np.maximum(self.box[0] - other.box[1], other.box[0] - self.box[1])[:2]
        return float(np.hypot(*np.maximum(gaps, 0.0)))


@dataclass(eq=False)
class NaiveMap:
    """A dense count of labelled points for each category and cell, without free space or votes."""

    side: int = 600
    counts: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.counts = np.zeros((len(LABELS), self.side, self.side), dtype=np.uint16)

    def observe(self, observation: Observation) -> None:
        """Count the points of one frame."""
        depth, semantic = observation.depth, observation.semantic
        if depth is None or semantic is None:
            return
        with np.errstate(invalid="ignore"):
            shown = (depth > 0) & (depth <= MAX_RANGE)
        points = _in_map(observation, depth)[shown]
        is_low = points[:, 2] < CEILING
        cells = np.floor(points[is_low, :2] / RESOLUTION).astype(int) + 40
        is_in = ((cells >= 0) & (cells < self.side)).all(axis=1)
        np.add.at(self.counts, (semantic[shown][is_low][is_in], cells[is_in, 1], cells[is_in, 0]), 1)

    def labels(self, least: int = 3) -> list[tuple[str, np.ndarray]]:
        """(category, centroid [m]) of every component of at least two cells."""
        found = []
        for number, name in enumerate(LABELS):
            if name in BACKGROUND:
                continue
            components, _ = ndimage.label(self.counts[number] >= least, structure=np.ones((3, 3)))
            for i, where in enumerate(ndimage.find_objects(components), start=1):
                at = np.argwhere(components[where] == i) + np.array([where[0].start, where[1].start])
                if len(at) >= 2:
                    found.append((name, (at.mean(axis=0)[::-1] - 40 + 0.5) * RESOLUTION))
        return found


def toured(seed: int, n_rooms: int, steps: int, *, noisy: bool = True) -> tuple[House, World, Iterator[Observation]]:
    """A house, its world, and the frames of a guided tour through it; each is to be taken before the next."""
    house = make_house(seed, n_rooms)
    noise, detector = (CameraNoise(), Detector()) if noisy else (None, None)
    rng = np.random.default_rng(seed)
    world = World(house, intrinsics=CAMERA, body=BODY, noise=noise, detector=detector, rng=rng, rgb=False)
    return house, world, _frames(world, house, steps)


def _frames(world: World, house: House, steps: int) -> Iterator[Observation]:
    stops = tour_stops(world, house)
    world.place(stops[0], 0.0)
    for action in guided_tour(world, stops, steps):
        yield world.observe()
        world.apply(action)


def things_seen(house: House, truth: Truth, *, joined: bool = True) -> list[Seen]:
    """The things with enough pixels; if `joined`, those of one category whose cells touch are one, as on a map."""
    boxes = {piece.id: (piece.category, piece.boxes) for piece in house.furniture}
    boxes |= {thing.id: (thing.category, house.object_aabb(thing)[None]) for thing in house.objects}
    numbers = [n for n in sorted(truth.cells) if truth.pixels[n] >= SEEN and boxes[n][0] not in BACKGROUND]
    group = {n: n for n in numbers}
    for i, a in enumerate(numbers):
        around = {(x + dx, y + dy) for x, y in truth.cells[a] for dx in (-1, 0, 1) for dy in (-1, 0, 1)}
        for b in numbers[:i] if joined else []:
            if boxes[a][0] == boxes[b][0] and around & truth.cells[b]:
                old, new = group[a], group[b]
                group = {n: new if of == old else of for n, of in group.items()}
    seen = []
    for leader in sorted(set(group.values())):
        members = [n for n in numbers if group[n] == leader]
        cells = np.array(sorted(set().union(*(truth.cells[n] for n in members))))
        parts = np.concatenate([boxes[n][1] for n in members])
        box = np.stack([parts[:, :3].min(axis=0), parts[:, 3:].max(axis=0)])
        seen.append(Seen(boxes[leader][0], (cells.mean(axis=0) + 0.5) * RESOLUTION, box))
    return seen


def match(seen: list[Seen], labels: list[tuple[str, np.ndarray]]) -> list[tuple[Seen, np.ndarray]]:
    """(thing, centroid of its label) one to one, of one category and within `NEAR`, nearest pairs first."""
    far = 1e3
    costs = np.full((len(seen), len(labels)), far)
    for i, thing in enumerate(seen):
        for j, (category, centroid) in enumerate(labels):
            distance = float(np.linalg.norm(thing.centroid - centroid))
            if category == thing.category and distance <= NEAR:
                costs[i, j] = distance
    rows, columns = linear_sum_assignment(costs)
    return [(seen[i], labels[j][1]) for i, j in zip(rows, columns, strict=True) if costs[i, j] < far]


def _in_map(observation: Observation, depth: np.ndarray) -> np.ndarray:
    """(h, w, 3) points [m]."""
    T = observation.T_map_camera
    points: np.ndarray = backproject(depth, observation.intrinsics).astype(np.float64) @ T[:3, :3].T + T[:3, 3]
    return points
