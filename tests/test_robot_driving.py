"""A way over a grid is the cheapest there is; a follower keeps to it and to its limits, and stops before obstacles."""

from __future__ import annotations

import math
from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from embmem.policies.cost_map import PRICE_MAX, CostMap
from embmem.policies.robot.follower import (
    STOP,
    Command,
    Follower,
    Limits,
    is_free_ahead,
    stopping_distance,
)
from embmem.policies.robot.grid_path import GridPath

RESOLUTION = 0.05
PLANNER = GridPath()


def room(height: int = 80, width: int = 100) -> np.ndarray:
    """A free room with walls around."""
    cells = np.zeros((height, width), dtype=np.int8)
    cells[[0, -1]] = cells[:, [0, -1]] = 100
    return cells


def two_rooms() -> np.ndarray:
    cells = room()
    cells[:, 50] = 100
    cells[30:50, 50] = 0  # a door of one metre
    return cells


def cheapest(costs: CostMap, start: np.ndarray, goal: np.ndarray) -> float:
    """By networkx over the same cells; inf without a way."""
    price, graph = costs.price, nx.Graph()
    for r, c in np.argwhere(np.isfinite(price)).tolist():
        for dr, dc in ((0, 1), (1, 0), (1, 1), (1, -1)):
            other = r + dr, c + dc
            inside = 0 <= other[0] < price.shape[0] and 0 <= other[1] < price.shape[1]
            if not inside or not np.isfinite(price[other]):
                continue
            if dr and dc and not (np.isfinite(price[r, c + dc]) and np.isfinite(price[r + dr, c])):
                continue
            length = math.hypot(dr, dc) * costs.resolution
            graph.add_edge((r, c), other, weight=length * float(price[r, c] + price[other]) / 2)
    ends = [tuple(cell) for cell in costs.cells(np.stack([start, goal])).tolist()]
    try:
        return float(nx.dijkstra_path_length(graph, *ends))
    except (nx.NetworkXNoPath, nx.NodeNotFound):
        return math.inf


def line_cost(costs: CostMap, path: np.ndarray) -> float:
    total = 0.0
    for a, b in pairwise(path):
        at = costs.cells(a + np.linspace(0, 1, 200)[:, None] * (b - a))
        price = np.minimum(costs.price[at[:, 0], at[:, 1]], PRICE_MAX)  # a line may clip the corner of a cell
        total += float(price.mean() * np.hypot(*(b - a)))
    return total


@given(st.integers(0, 10_000))
def test_a_way_is_there_where_there_is_one_and_costs_what_dijkstra_finds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cells = room(40, 40)
    cells[rng.random(cells.shape) < 0.02] = 100
    origin = rng.normal(size=2)
    start, goal = origin + rng.uniform(0.3, 1.7, (2, 2))
    costs = PLANNER.costs(cells, origin, RESOLUTION, start)
    best = cheapest(costs, start, goal)
    path = PLANNER.plan(costs, start, goal[None])
    if not math.isfinite(best):
        assert len(path) == 0 or np.hypot(*(start - goal)) < 0.1
        return
    np.testing.assert_array_equal(path[[0, -1]], [start, goal])
    assert line_cost(costs, path) <= 1.12 * best + 6.0 * RESOLUTION
    assert float(np.hypot(*np.diff(path, axis=0).T).sum()) >= np.hypot(*(goal - start)) - 1e-9


def test_the_way_leads_through_the_door_and_keeps_off_the_walls() -> None:
    cells, start, goal = two_rooms(), np.array([1.0, 1.0]), np.array([4.0, 3.0])
    costs = PLANNER.costs(cells, np.zeros(2), RESOLUTION, start)
    path = PLANNER.plan(costs, start, goal[None])
    at_door = np.interp(2.525, path[:, 0], path[:, 1])
    assert 1.75 < at_door < 2.25
    clearance = ndimage.distance_transform_edt(cells < 65) * RESOLUTION
    dense = np.vstack([a + np.linspace(0, 1, 50)[:, None] * (b - a) for a, b in pairwise(path)])
    at = costs.cells(dense)
    assert clearance[at[:, 0], at[:, 1]].min() >= PLANNER.radius - PLANNER.slack
    cells[30:50, 50] = 100
    costs = PLANNER.costs(cells, np.zeros(2), RESOLUTION, start)
    assert len(PLANNER.plan(costs, start, goal[None])) == 0
    assert len(PLANNER.plan(costs, start, np.array([[99.0, 0.0]]))) == 0


def test_unknown_cells_are_crossed_on_request_and_under_the_camera_only() -> None:
    cells, start, goal = room(), np.array([1.0, 2.0]), np.array([4.0, 2.0])
    cells[1:-1, 15:35] = -1  # the robot stands in what it cannot see
    blind = GridPath(blind=1.0)
    assert len(blind.plan(blind.costs(cells, np.zeros(2), RESOLUTION, start), start, goal[None]))
    assert not len(PLANNER.plan(PLANNER.costs(cells, np.zeros(2), RESOLUTION, start), start, goal[None]))
    bold = GridPath(crosses_unknown=True)
    assert len(bold.plan(bold.costs(cells, np.zeros(2), RESOLUTION, start), start, goal[None]))


def test_one_stands_before_a_thing_and_on_the_side_that_sees_it() -> None:
    cells = two_rooms()
    cells[36:44, 60:68] = 100  # a table of 40 cm behind the door
    target, robot = np.array([3.2, 2.0]), np.array([4.5, 3.0])
    costs = PLANNER.costs(cells, np.zeros(2), RESOLUTION, robot)
    stands = PLANNER.stands(costs, cells, target, size=0.4)
    assert len(stands)
    assert (np.hypot(*(stands - target).T) < 0.2 + PLANNER.radius + 0.35).all()
    behind_wall = PLANNER.stands(costs, cells, np.array([2.35, 0.5]), far=1.0)
    assert len(behind_wall)
    assert (behind_wall[:, 0] < 2.5).all()
    assert len(PLANNER.stands(costs, cells, np.array([9.0, 9.0]))) == 0


def drive(follower: Follower, pose: tuple[float, float, float], seconds: float = 120.0) -> np.ndarray:
    """(n, 5) x, y, yaw, speed and turn of a body that does what it is told, 20 times a second."""
    (x, y, yaw), last, dt, trace = pose, STOP, 0.05, []
    for _ in range(int(seconds / dt)):
        last = follower.command(np.array([x, y]), yaw, last, dt)
        trace.append((x, y, yaw, last.speed, last.turn))
        if last == STOP and follower.has_arrived(np.array([x, y]), yaw):
            break
        yaw += last.turn * dt
        x, y = x + last.speed * dt * math.cos(yaw), y + last.speed * dt * math.sin(yaw)
    return np.array(trace)


@given(
    st.lists(st.tuples(st.floats(-3, 3), st.floats(-3, 3)), min_size=1, max_size=6),
    st.floats(-3.1, 3.1),
    st.one_of(st.none(), st.floats(-3.1, 3.1)),
)
def test_a_follower_arrives_within_its_limits_and_near_the_path(
    points: list[tuple[float, float]], yaw: float, heading: float | None
) -> None:
    path, limits = np.array([(0.0, 0.0), *points]), Limits()
    follower = Follower(path, limits, heading=heading)
    trace = drive(follower, (0.0, 0.0, yaw))
    end = trace[-1]
    assert np.hypot(*(end[:2] - path[-1])) <= 0.1
    assert end[3] == end[4] == 0.0
    if heading is not None:
        assert abs((end[2] - heading + math.pi) % (2 * math.pi) - math.pi) <= 0.1
    assert trace[:, 3].min() >= 0.0
    assert trace[:, 3].max() <= limits.speed + 1e-9
    assert np.abs(trace[:, 4]).max() <= limits.turn + 1e-9
    changes = np.abs(np.diff(trace[:, 3:], axis=0))
    assert (changes <= np.array([limits.acceleration, limits.turn_acceleration]) * 0.05 + 1e-9).all()
    a, step = path[:-1], np.diff(path, axis=0)
    squares = np.maximum((step**2).sum(axis=1), 1e-12)
    share = np.clip(((trace[:, None, :2] - a) * step).sum(axis=2) / squares, 0.0, 1.0)
    off = np.linalg.norm(a + share[..., None] * step - trace[:, None, :2], axis=2).min(axis=1)
    assert off.max() <= limits.look_ahead + 0.1


@given(st.floats(0.02, 0.3), st.floats(-1.0, 1.0), st.integers(0, 10_000))
def test_what_is_ahead_is_what_a_disc_touches_on_its_way(speed: float, turn: float, seed: int) -> None:
    rng, radius, reach = np.random.default_rng(seed), 0.2, 0.6
    cells = np.where(rng.random((60, 60)) < 0.01, 100, 0).astype(np.int8)
    pose, command = (1.5, 1.5, float(rng.uniform(-3, 3))), Command(speed, turn)
    free = is_free_ahead(cells, np.zeros(2), RESOLUTION, pose, command, reach=reach, radius=radius)
    centres = (np.argwhere(cells == 100)[:, ::-1] + 0.5) * RESOLUTION
    x, y, yaw, nearest, first = *pose, np.full(len(centres), np.inf), None
    for _ in range(int(reach / 0.002)):
        distance = np.hypot(*(centres - [x, y]).T)
        first, nearest = distance if first is None else first, np.minimum(nearest, distance)
        x, y = x + 0.002 * math.cos(yaw), y + 0.002 * math.sin(yaw)
        yaw += 0.002 * turn / speed
    assert first is not None
    margin = nearest - np.minimum(first, radius)
    if (margin < -0.03).any():
        assert not free
    if (margin > 0.03).all():
        assert free


def test_a_robot_can_leave_what_it_touches_but_come_no_nearer() -> None:
    cells = np.zeros((40, 40), dtype=np.int8)
    cells[20, 23] = 100  # 15 cm ahead
    pose, ahead = (1.0, 1.025, 0.0), Command(0.2, 0.0)
    assert not is_free_ahead(cells, np.zeros(2), RESOLUTION, pose, ahead, reach=0.3, radius=0.2)
    away = (1.0, 1.025, math.pi)
    assert is_free_ahead(cells, np.zeros(2), RESOLUTION, away, ahead, reach=0.3, radius=0.2)
    assert is_free_ahead(cells, np.zeros(2), RESOLUTION, pose, Command(0.0, 1.0), reach=0.3, radius=0.2)


def test_braking_takes_what_physics_says() -> None:
    assert stopping_distance(Command(0.5, 0.0), Limits(acceleration=0.5), 0.2) == pytest.approx(0.35)


@pytest.mark.parametrize("settings", [{"radius": 0.0}, {"comfort": 0.1}, {"slack": 0.3}, {"blind": -1.0}])
def test_a_body_that_makes_no_sense_is_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="radius"):
        GridPath(**settings)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="limits"):
        Limits(speed=math.nan)
    with pytest.raises(ValueError, match="finite"):
        Follower(np.array([[np.nan, 0.0]]), Limits())
