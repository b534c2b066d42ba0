"""Rooms and floors after a loop closure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from house_plans import house_grid

from embmem.geometry import camera_pose
from embmem.maps.grid import OccupancyGrid
from embmem.maps.scene_graph.room_identity import move_rooms
from embmem.maps.scene_graph.rooms import RoomMap, segment_rooms
from embmem.maps.scene_graph.scene_graph import SceneGraph
from embmem.maps.scene_graph.things import Things
from embmem.protocols import Deformation
from embmem.records import Query
from embmem.sim_envs.house import make_house
from embmem.testing import wall_ahead


def test_rooms_that_meet_after_a_deformation_keep_the_lower_number() -> None:
    labels = np.repeat(np.array([[0, 0, 0, 1, 1, 1]], dtype=np.int32), 4, axis=0)
    T = np.tile(np.eye(4), (2, 1, 1))
    T[1, 0, 3] = -0.2
    moved = move_rooms(RoomMap(np.zeros(2), 0.1, labels), np.array([0, 1]), T)
    assert moved.labels[0].tolist() == [0, 0, 0, 1, -1, -1]
    rooms = segment_rooms(house_grid(make_house(1, n_rooms=3), 0.1))
    ids = rooms.ids()
    same = move_rooms(rooms, ids, np.tile(np.eye(4), (len(ids), 1, 1)))
    assert (same.labels == rooms.labels).all()


def two_rooms_with_a_door() -> SceneGraph:
    """Rooms of 3 x 4 m side by side; the camera was in the left one at 0 s, in the right one at 10 s."""
    cells = np.full((44, 66), 100, dtype=np.int8)
    cells[2:42, 2:32] = cells[2:42, 33:63] = 0
    cells[18:27, 32] = 0
    graph = SceneGraph()
    for stamp, x in ((0.0, 1.5), (10.0, 4.8)):
        pose = camera_pose(np.array([x, 2.0, 1.0]), 0.0)
        graph.observe(replace(wall_ahead(stamp), T_map_camera=pose))
    graph.update(OccupancyGrid(np.zeros(2), 0.1, cells), Things.none())
    assert graph.room_ids() == [0, 1]
    assert len(graph.floors[0].rooms.doors) == 1
    return graph


def test_a_room_that_a_loop_closure_lays_over_another_becomes_part_of_that() -> None:
    graph = two_rooms_with_a_door()
    T = np.tile(np.eye(4), (2, 1, 1))
    T[1, 0, 3] = -3.1  # the second room was the first one
    graph.deform(Deformation(np.array([0.0, 10.0]), T))
    assert graph.room_ids() == [0]
    assert graph.current_room(1) == 0
    assert [hit.detail["id"] for hit in graph.query(Query(k=9))] == [0.0]
    assert SceneGraph.load(graph.save()).room_ids() == [0]


def test_a_floor_keeps_its_height_where_a_tilt_turns_it_about_a_far_keyframe() -> None:
    graph = two_rooms_with_a_door()
    tilt, pivot = 0.01, np.array([43.3, 2.0, 0.0])  # [rad] about the middle of the floor, far from the origin
    graph.deform(Deformation(np.array([0.0]), move(40.0)[None]))
    T = np.eye(4)
    T[:3, :3] = [[np.cos(tilt), 0, np.sin(tilt)], [0, 1, 0], [-np.sin(tilt), 0, np.cos(tilt)]]
    T[:3, 3] = pivot - T[:3, :3] @ pivot
    graph.deform(Deformation(np.array([0.0]), T[None]))
    assert graph.floors[0].height == pytest.approx(0.0, abs=0.05)


def move(x: float) -> np.ndarray:
    T = np.eye(4)
    T[0, 3] = x
    return T
