"""The planner on mazes that nobody chose, walked by a body that obeys the grid exactly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_dilation, label
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra

from embmem.agent import Action, Body
from embmem.maps.grid import OccupancyGrid
from embmem.policies.cost_map import UNIT, CostMap, clearance_price
from embmem.policies.planner import GridPlanner

RESOLUTION = 0.05


def grid_of(occupied: np.ndarray, *, known: bool = True) -> OccupancyGrid:
    cells = np.where(occupied, 100, 0) if known else np.full(occupied.shape, -1)
    return OccupancyGrid(np.zeros(2), RESOLUTION, cells.astype(np.int8))


def random_rooms(seed: int, h: int = 120, w: int = 150) -> np.ndarray:
    """A walled rectangle cut by random walls with one wide door each, and a few pieces of furniture."""
    rng = np.random.default_rng(seed)
    occupied = np.zeros((h, w), bool)
    occupied[[0, -1], :] = occupied[:, [0, -1]] = True
    for column in (w // 3, 2 * w // 3):
        occupied[:, column : column + 2] = True
        door = int(rng.integers(5, h - 25))
        occupied[door : door + 18, column : column + 2] = False
    for _ in range(6):
        r, c = int(rng.integers(1, h - 20)), int(rng.integers(1, w - 20))
        if rng.random() < 0.5:
            occupied[r : r + int(rng.integers(4, 15)), c : c + int(rng.integers(4, 15))] = True
    return occupied


@dataclass
class Walker:
    """A disc of the body's radius (less one cell: the map rounds) on the grid; a step ends where it hits."""

    occupied: np.ndarray
    position: np.ndarray
    yaw: float
    body: Body

    def __post_init__(self) -> None:
        n = int(self.body.radius / RESOLUTION) - 1
        y, x = np.mgrid[-n : n + 1, -n : n + 1]
        self.solid = binary_dilation(self.occupied, x**2 + y**2 <= n**2)

    def apply(self, action: Action) -> bool:
        if action is Action.FORWARD:
            step = self.body.forward * np.array([np.cos(self.yaw), np.sin(self.yaw)])
            for _ in range(25):
                column, row = np.floor((self.position + step / 25) / RESOLUTION).astype(int)
                if self.solid[row, column]:
                    return True
                self.position = self.position + step / 25
        else:
            self.yaw += np.radians(self.body.turn) * (1 if action is Action.LEFT else -1)
        return False


def two_free_points(occupied: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Start and goal in the largest connected part of the configuration space."""
    price = clearance_price(occupied, RESOLUTION, radius=0.18, comfort=0.35, slack=0.0)
    parts, _ = label(np.isfinite(price))
    largest = 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
    cells = np.argwhere(parts == largest)
    start, goal = cells[rng.integers(len(cells), size=2)]
    return (start[::-1] + 0.5) * RESOLUTION, (goal[::-1] + 0.5) * RESOLUTION


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.sampled_from([10.0, 30.0]))
def test_reaches_its_goal_in_known_rooms_without_touching_anything(seed: int, turn: float) -> None:
    rng = np.random.default_rng(seed)
    occupied = random_rooms(seed)
    start, goal = two_free_points(occupied, rng)
    body = Body(turn=turn)
    walker = Walker(occupied, start, float(rng.uniform(-np.pi, np.pi)), body)
    planner = GridPlanner(body)
    planner.set_goal(goal[None], 0.15)
    planner.update(grid_of(occupied), start)
    length = planner.distance(start)
    for _ in range(int(60 + 8 * length / body.forward)):
        action = planner.next_action(walker.position, walker.yaw)
        if action is None:
            break
        assert not walker.apply(action)
    assert np.hypot(*(walker.position - goal)) <= 0.15


@settings(max_examples=20)
@given(st.integers(0, 10_000))
def test_bumps_into_what_the_map_does_not_know_and_finds_a_way_around(seed: int) -> None:
    rng = np.random.default_rng(seed)
    occupied = random_rooms(seed)
    start, goal = two_free_points(occupied, rng)
    walker = Walker(occupied, start, 0.0, Body())
    planner = GridPlanner()
    planner.set_goal(goal[None], 0.15)
    planner.update(grid_of(occupied, known=False), start)
    for _ in range(4000):
        action = planner.next_action(walker.position, walker.yaw)
        if action is None:
            break
        walker.apply(action)
    assert np.hypot(*(walker.position - goal)) <= 0.15


@given(st.integers(0, 10_000))
def test_field_equals_dijkstra_on_the_graph_of_cells(seed: int) -> None:
    rng = np.random.default_rng(seed)
    price = (rng.integers(UNIT, 5 * UNIT, (9, 11)) / UNIT).astype(np.float32)
    price[rng.random(price.shape) < 0.3] = np.inf
    costs = CostMap(price, np.array([-1.0, 2.0]), RESOLUTION)
    source = costs.centres(rng.integers(0, [9, 11], (2, 2)))
    number = np.arange(price.size).reshape(price.shape)
    rows, columns, lengths = [], [], []
    for (r, c), here in np.ndenumerate(price):
        for dr, dc in ((0, 1), (1, 0), (1, 1), (1, -1)):
            if not (r + dr < 9 and 0 <= c + dc < 11):
                continue
            if not np.isfinite([here, price[r + dr, c + dc], price[r, c + dc], price[r + dr, c]]).all():
                continue
            rows.append(number[r, c])
            columns.append(number[r + dr, c + dc])
            lengths.append((1.4 if dr and dc else 1.0) * RESOLUTION * (here + price[r + dr, c + dc]) / 2)
    graph = coo_matrix((lengths, (rows, columns)), (price.size, price.size))
    cells = costs.cells(source)
    sources = [number[r, c] for r, c in cells if np.isfinite(price[r, c])]
    expected = np.full(price.size, np.inf)
    if sources:
        expected = dijkstra(graph, directed=False, indices=sources, min_only=True)
    np.testing.assert_allclose(costs.field(source).ravel(), expected, rtol=1e-5)


def test_the_way_keeps_off_walls_where_there_is_room() -> None:
    occupied = np.zeros((40, 200), bool)
    occupied[[0, -1], :] = True
    start, goal = np.array([0.5, 0.22]), np.array([9.5, 0.22])
    walker = Walker(occupied, start, 0.0, Body())
    planner = GridPlanner()
    planner.set_goal(goal[None], 0.15)
    planner.update(grid_of(occupied), start)
    track = []
    while (action := planner.next_action(walker.position, walker.yaw)) is not None:
        walker.apply(action)
        track.append(walker.position[1])
    assert np.median(track) > 0.3


def test_says_so_where_there_is_no_way() -> None:
    occupied = np.zeros((60, 60), bool)
    occupied[:, 30] = True
    planner = GridPlanner(margin=0.0)
    planner.set_goal(np.array([[2.5, 1.0]]))
    here = np.array([0.5, 1.0])
    planner.update(grid_of(occupied), here)
    assert planner.next_action(here, 0.0) is None
    assert not planner.has_arrived(here)
    assert planner.distance(here) == np.inf


def test_refuses_a_comfort_below_the_radius() -> None:
    with pytest.raises(ValueError, match="comfort"):
        GridPlanner(comfort=0.1)
