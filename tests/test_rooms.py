"""Rooms and doors found in floor plans."""

from __future__ import annotations

import numpy as np
import pytest
from house_plans import house_grid, room_ious, true_rooms
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from embmem.maps.grid import FREE, OCCUPIED, UNSEEN, OccupancyGrid
from embmem.maps.scene_graph.rooms import RoomRules, segment_rooms, without_clutter
from embmem.sim_envs.house import make_house


def two_rooms(door: float = 0.9, resolution: float = 0.05) -> OccupancyGrid:
    """Rooms of 3 x 4 m and 4 x 4 m beside each other, a door of that width in the middle of the wall between them."""
    cells = np.full((round(4.4 / resolution), round(7.5 / resolution)), UNSEEN, dtype=np.int8)
    grid = OccupancyGrid(np.array([-0.2, -0.2]), resolution, cells)
    for x0, x1, y0, y1, value in (
        (-0.2, 7.3, -0.2, 4.2, OCCUPIED), (0, 3, 0, 4, FREE), (3.1, 7.1, 0, 4, FREE),
        (3, 3.1, 2 - door / 2, 2 + door / 2, FREE),
    ):  # fmt: skip
        a, b, c, d = (round((v + 0.2) / resolution) for v in (y0, y1, x0, x1))
        cells[a:b, c:d] = value
    return grid


def test_a_door_parts_two_rooms_and_is_where_it_is() -> None:
    rooms = segment_rooms(two_rooms())
    assert rooms.ids().tolist() == [0, 1]
    assert rooms.at(
        np.array(
            [
                [1.5, 2.0],
                [
                    5.0,
                    1.0,
                ],
                [-5.0, 0.0],
                [3.05, 0.5],
            ]
        )
    ).tolist() == [0, 1, -1, -1]
    assert rooms.doors.rooms.tolist() == [[0, 1]]
    np.testing.assert_allclose(rooms.doors.position, [[3.05, 2.0]], atol=0.1)
    np.testing.assert_allclose(rooms.doors.width, 0.9, atol=0.1)


@pytest.mark.parametrize(("door", "n"), [(0.7, 2), (1.1, 2), (1.5, 1), (3.0, 1)])
def test_what_is_wider_than_a_door_parts_nothing(door: float, n: int) -> None:
    assert len(segment_rooms(two_rooms(door)).ids()) == n


@pytest.mark.parametrize("seed", range(8))
def test_rooms_and_doors_of_houses_are_all_found(seed: int) -> None:
    house = make_house(seed, n_rooms=3 + seed)
    rooms = segment_rooms(house_grid(house))
    assert len(rooms.ids()) == len(house.rooms)
    assert len(rooms.doors) == len(house.doors)
    ious = room_ious(true_rooms(house, rooms), rooms.labels)
    assert min(ious.values()) > 0.85
    assert np.mean(list(ious.values())) > 0.95
    true_doors = np.array([[(d.x0 + d.x1) / 2, (d.y0 + d.y1) / 2] for d in house.doors])
    gaps = np.linalg.norm(true_doors[:, None] - rooms.doors.position, axis=-1)
    assert gaps.min(axis=1).max() < 0.15
    assert gaps.min(axis=0).max() < 0.15


@settings(max_examples=10)
@given(st.integers(0, 50), st.integers(0, 3), st.booleans())
def test_rooms_do_not_depend_on_how_the_plan_lies(seed: int, turns: int, mirrored: bool) -> None:
    grid = house_grid(make_house(seed, n_rooms=4), resolution=0.1)
    cells = np.rot90(grid.cells, turns)
    cells = cells[::-1] if mirrored else cells
    there = segment_rooms(grid).labels
    turned = segment_rooms(OccupancyGrid(grid.origin, grid.resolution, np.ascontiguousarray(cells))).labels
    turned = np.rot90(turned[::-1] if mirrored else turned, -turns)
    assert set(np.unique(there)) == set(np.unique(turned))
    for room in np.unique(there[there >= 0]):
        other, counts = np.unique(turned[there == room], return_counts=True)
        assert counts.max() / counts.sum() > 0.95  # cells in a doorway may fall to either side
        assert other[np.argmax(counts)] >= 0


@given(st.integers(0, 2**32 - 1))
def test_every_room_is_connected_and_large_enough(seed: int) -> None:
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.normal(size=(60, 80)), 2.0)
    grid = OccupancyGrid(np.zeros(2), 0.1, np.where(noise > 0.05, OCCUPIED, FREE).astype(np.int8))
    rules = RoomRules(least_area=0.5, clutter=0.0)
    rooms = segment_rooms(grid, rules)
    assert (grid.cells[rooms.labels >= 0] == FREE).all()
    assert rooms.ids().tolist() == list(range(len(rooms.ids())))
    for room in rooms.ids():
        own = rooms.labels == room
        assert ndimage.label(own)[1] == 1
        assert own.sum() * 0.01 >= rules.least_area
    left_out, n = ndimage.label((grid.cells == FREE) & (rooms.labels < 0))
    assert all((left_out == i).sum() * 0.01 < rules.least_area for i in range(1, n + 1))
    assert (rooms.doors.rooms[:, 0] < rooms.doors.rooms[:, 1]).all()


def test_a_table_in_the_middle_is_no_wall_and_a_wall_between_doors_is() -> None:
    grid = two_rooms(door=0.9)
    grid.cells[30:47, 20:48] = OCCUPIED  # 0.85 x 1.4 m
    assert len(segment_rooms(grid).ids()) == 2
    assert segment_rooms(grid).at(np.array([[1.3, 1.7]])).tolist() == [0]
    free = np.ones((80, 80), dtype=np.bool_)
    free[20:60, 40:42] = False  # 2 m of wall
    free[10:12, 10:11] = False  # a speck
    filled = without_clutter(free, 0.05, 1.5)
    assert not filled[20:60, 40:42].any()
    assert filled[10:12, 10:11].all()


def test_an_empty_plan_has_no_rooms() -> None:
    for cells in (np.empty((0, 0), dtype=np.int8), np.full((5, 7), UNSEEN, dtype=np.int8)):
        rooms = segment_rooms(OccupancyGrid(np.zeros(2), 0.05, cells))
        assert len(rooms.ids()) == 0
        assert len(rooms.doors) == 0
        assert rooms.at(np.zeros((2, 3))).tolist() == [-1, -1]


def test_rules_that_make_no_sense_are_refused() -> None:
    for rules in ({"door_width": 0.0}, {"narrowing": 1.5}, {"least_area": -1.0}):
        with pytest.raises(ValueError, match="door_width"):
            RoomRules(**rules)
