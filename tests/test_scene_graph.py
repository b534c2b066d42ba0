"""The scene graph as a layer: built from houses, kept over time, deformed, saved."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from house_plans import house_grid
from hypothesis import given, settings
from hypothesis import strategies as st

from embmem.errors import InputError
from embmem.geometry import camera_pose
from embmem.maps.grid import OccupancyGrid
from embmem.maps.scene_graph.floors import Floor
from embmem.maps.scene_graph.graph import parent, path, room_of
from embmem.maps.scene_graph.levels import find_levels, floor_plans
from embmem.maps.scene_graph.room_identity import recognise_rooms
from embmem.maps.scene_graph.rooms import RoomMap
from embmem.maps.scene_graph.scene_graph import SceneGraph, scene_graph_of
from embmem.maps.scene_graph.things import Things
from embmem.maps.voxels import VoxelMap
from embmem.memory import Memory
from embmem.protocols import Deformation
from embmem.records import Query
from embmem.sim_envs.house import House, Room, make_house
from embmem.testing import LayerContract, wall_ahead


def things_of(house: House) -> Things:
    """All furniture and objects of a house with their true boxes."""
    pieces = {f.id: (f.category, f.boxes[:, :3].min(axis=0), f.boxes[:, 3:].max(axis=0)) for f in house.furniture}
    small = {o.id: (o.category, *house.object_aabb(o).reshape(2, 3)) for o in house.objects}
    rows = sorted({**pieces, **small}.items())
    return Things(
        np.array([i for i, _ in rows], dtype=np.int64),
        tuple(row[0] for _, row in rows),
        np.array([row[1:] for _, row in rows], dtype=np.float64),
        np.arange(len(rows), dtype=np.float64),
        np.full(len(rows), 0.9),
    )


def room_around(house: House, position: list[float]) -> Room:
    room = house.room_at(*position[:2])
    assert room is not None
    return room


@pytest.fixture(scope="module")
def house() -> House:
    return make_house(3)


@pytest.fixture
def graph(house: House) -> SceneGraph:
    graph = SceneGraph()
    for i, room in enumerate(house.rooms):
        middle = np.array([(room.x0 + room.x1) / 2, (room.y0 + room.y1) / 2, 0.9])
        graph.observe(replace(wall_ahead(10.0 * i), T_map_camera=camera_pose(middle, 0.0)))
    graph.update(house_grid(house), things_of(house))
    return graph


class TestContract(LayerContract):
    @pytest.fixture
    def layer(self) -> SceneGraph:
        return SceneGraph()


def test_everything_in_a_house_is_in_its_room_and_on_or_in_its_furniture(house: House, graph: SceneGraph) -> None:
    g = graph.networkx()
    names = {f.id: f for f in house.furniture}
    rooms = {t.id: t.room for t in house.furniture} | {t.id: t.room for t in house.objects}
    for number, true_room in rooms.items():
        room = room_of(g, f"thing:{number}")
        assert room is not None
        assert room_around(house, g.nodes[room]["position"]).id == true_room
    for thing in house.objects:
        step = parent(g, f"thing:{thing.id}")
        assert step is not None
        relation, key = step
        assert key == f"thing:{thing.furniture}"
        boxes = names[thing.furniture].boxes
        x, y, z = thing.position
        has_roof = (
            (boxes[:, 0] < x) & (boxes[:, 3] > x) & (boxes[:, 1] < y) & (boxes[:, 4] > y) & (boxes[:, 2] > z)
        ).any()
        assert relation == ("in" if has_roof else "on")
    assert [step for step, _ in path(g, f"thing:{house.objects[0].id}")][-2:] == ["part of", "part of"]


def test_rooms_know_what_they_are_and_their_neighbours(house: House, graph: SceneGraph) -> None:
    g = graph.networkx()
    rooms = {key: room_around(house, node["position"]) for key, node in g.nodes(data=True) if node["layer"] == "room"}
    right = [g.nodes[key]["name"] == room.kind for key, room in rooms.items()]
    assert np.mean(right) >= 0.8
    doors = {frozenset((rooms[a].id, rooms[b].id)) for a, b, d in g.edges(data=True) if "doors" in d}
    assert doors == {frozenset((d.room_a, d.room_b)) for d in house.doors}


def test_rooms_and_things_answer_by_name_and_place(house: House, graph: SceneGraph) -> None:
    thing = house.objects[0]
    hits = graph.query(Query(entity=thing.category, k=100))
    assert {int(hit.detail["id"]) for hit in hits} == {o.id for o in house.objects_of(thing.category)}
    kitchen = graph.query(Query(entity="Kitchen"))
    assert [hit.entity for hit in kitchen] == ["kitchen"]
    inside = graph.query(Query(place="kitchen", k=1000))
    true_kitchen = next(room.id for room in house.rooms if room.kind == "kitchen")
    expected = {t.id for t in house.objects if t.room == true_kitchen}
    expected |= {t.id for t in house.furniture if t.room == true_kitchen}
    assert {int(hit.detail["id"]) for hit in inside} == expected
    near = graph.query(Query(near=thing.position, radius=0.5, k=100))
    assert all(np.linalg.norm(hit.position - thing.position) <= 0.5 for hit in near)
    assert graph.query(Query(text="mug")) == []
    assert graph.query(Query(kind="objects")) == []


def test_numbers_of_rooms_stay_while_the_map_grows(house: House) -> None:
    full = house_grid(house)
    graph = SceneGraph()
    known: dict[int, np.ndarray] = {}
    for share in (0.4, 0.6, 0.8, 1.0):
        cells = full.cells.copy()
        cells[:, round(share * cells.shape[1]) :] = -1
        x0 = full.origin[0] if share > 0.5 else full.origin[0] + full.resolution * 3  # and the grid's frame changes
        part = OccupancyGrid(np.array([x0, full.origin[1]]), full.resolution, cells[:, 0 if share > 0.5 else 3 :])
        graph.update(part, Things.none())
        for room, middle in known.items():
            assert graph.room_at(np.append(middle, 0.0)) == room
        known = {room: graph.floors[0].rooms.middle(room) for room in graph.room_ids()}
    assert len(known) == len(house.rooms)
    before = graph.save()
    graph.update(full, Things.none())
    after = graph.save()
    assert all((before.arrays[name] == after.arrays[name]).all() for name in before.arrays)


def test_a_room_that_is_split_keeps_its_number_in_the_larger_part_and_a_merged_one_is_found_again() -> None:
    labels = np.zeros((40, 100), dtype=np.int32)
    whole = RoomMap(np.zeros(2), 0.1, labels + 7)
    halves = RoomMap(np.zeros(2), 0.1, np.where(np.arange(100) < 60, 1, 0).astype(np.int32) + labels)
    split = recognise_rooms(whole, halves, 8)
    assert split.rooms.at(np.array([[1.0, 1.0], [9.0, 1.0]])).tolist() == [7, 8]
    assert split.split == {8: 7}
    merged = recognise_rooms(split.rooms, RoomMap(np.zeros(2), 0.1, labels), 9)
    assert merged.rooms.ids().tolist() == [7]
    assert merged.merged == {8: 7}
    elsewhere = recognise_rooms(split.rooms, RoomMap(np.array([50.0, 0.0]), 0.1, labels), 9)
    assert elsewhere.rooms.ids().tolist() == [9]


@settings(max_examples=8)
@given(st.floats(-3, 3), st.floats(-2, 2), st.floats(-2, 2))
def test_one_motion_of_all_keyframes_moves_rooms_things_and_doors_rigidly(yaw: float, dx: float, dy: float) -> None:
    house = make_house(5, n_rooms=4)
    graph = SceneGraph()
    graph.observe(wall_ahead(0.0))
    graph.update(house_grid(house, 0.1), things_of(house))
    before = graph.networkx()
    T = np.eye(4)
    T[:2, :2] = [[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]]
    T[:2, 3] = dx, dy
    graph.deform(Deformation(np.array([0.0, 9.0]), np.stack([T, T])))
    after = graph.networkx()
    assert set(after) == set(before)
    for key, node in before.nodes(data=True):
        if node["layer"] in ("building", "floor"):
            continue
        expected = T[:3, :3] @ node["position"] + T[:3, 3]
        tolerance = 1e-9 if key.startswith("thing") else 0.5  # the cell that stands for a room may be another one
        np.testing.assert_allclose(after.nodes[key]["position"], expected, atol=tolerance)
    for room in graph.room_ids():
        assert graph.floors[0].rooms.area(room) == pytest.approx(before.nodes[f"room:{room}"]["area"], rel=0.05)
    door = graph.floors[0].rooms.doors.position
    was = np.array([d[:2] for *_, e in before.edges(data=True) if "doors" in e for d in e["doors"]])
    np.testing.assert_allclose(door, was @ T[:2, :2].T + T[:2, 3], atol=1e-9)


def test_a_room_moves_with_the_keyframe_that_saw_it_last(graph: SceneGraph) -> None:
    rooms = graph.floors[0].rooms
    anchors = graph.trail.anchors(rooms, 0.0)
    assert len(set(anchors.tolist())) == len(anchors)
    T = np.tile(np.eye(4), (len(anchors), 1, 1))
    order = np.argsort(anchors)
    T[:, 0, 3] = 0.1 * np.arange(len(anchors))
    middles = {int(room): rooms.middle(int(room)) for room in rooms.ids()}
    graph.deform(Deformation(anchors[order], T))
    for rank, at in enumerate(order.tolist()):
        room = int(rooms.ids()[at])
        moved = graph.floors[0].rooms.middle(room)
        np.testing.assert_allclose(moved, middles[room] + [0.1 * rank, 0.0], atol=0.35)
    assert graph.trail.anchors(graph.floors[0].rooms, 0.0).tolist() == anchors.tolist()


def test_two_levels_are_told_apart() -> None:
    rng = np.random.default_rng(0)
    noise = [rng.normal(z, 0.02, n) for z, n in ((0.0, 5000), (2.9, 4000), (0.75, 600), (3.6, 300), (1.4, 100))]
    np.testing.assert_allclose(find_levels(np.concatenate(noise)), [0.0, 2.9], atol=0.03)
    assert find_levels(np.zeros(0)).tolist() == []


def two_storeys() -> tuple[list[tuple[float, OccupancyGrid]], Things]:
    plan = house_grid(make_house(0, n_rooms=3), 0.1)
    box = np.array([[[1, 1, 0], [1.5, 1.5, 0.7]], [[1, 1, 2.9], [1.5, 1.5, 3.6]], [[1.1, 1.1, 3.6], [1.2, 1.2, 3.7]]])
    things = Things(np.arange(3), ("table", "table", "mug"), box + 0.0, np.zeros(3), np.ones(3))
    return [(0.0, plan), (2.9, plan)], things


def test_things_are_on_their_own_level() -> None:
    levels, things = two_storeys()
    graph = SceneGraph()
    graph.update(levels, things)
    g = graph.networkx()
    assert len(graph.room_ids()) == 6
    assert path(g, "thing:0")[-2][1] == "floor:0"
    assert path(g, "thing:1")[-2][1] == "floor:1"
    assert path(g, "thing:2")[0] == ("on", "thing:1")
    loaded = SceneGraph.load(graph.save())
    assert list(loaded.networkx().edges(data=True)) == list(g.edges(data=True))


def test_a_voxel_map_has_its_levels() -> None:
    voxels = VoxelMap(0.1)
    y, x = np.mgrid[0.05:4:0.1, 0.05:4:0.1]
    camera = np.array([2.0, 2.0, 1.2])
    for z in (0.0, 3.0):
        points = np.stack([x.ravel(), y.ravel(), np.full(x.size, z - 0.05)], axis=1)
        voxels.integrate(np.repeat(points, 3, axis=0), camera + np.array([0.0, 0.0, z]), every_ray=True)
    assert [height for height, _ in floor_plans(voxels)] == pytest.approx([0.0, 3.0], abs=0.06)
    assert len(scene_graph_of([voxels]).floors) == 2


def test_a_saved_graph_answers_the_same_and_goes_on_the_same(house: House, graph: SceneGraph) -> None:
    graph.merged = {90: 0}
    graph._next_room = 91
    loaded = SceneGraph.load(graph.save())
    g, h = graph.networkx(), loaded.networkx()
    assert dict(h.nodes(data=True)) == dict(g.nodes(data=True))
    assert list(h.edges(data=True)) == list(g.edges(data=True))
    assert loaded.current_room(90) == 0
    things = things_of(house)
    fewer = replace(
        things, ids=things.ids[5:], categories=things.categories[5:], box=things.box[5:], stamp=things.stamp[5:],
        confidence=things.confidence[5:],
    )  # fmt: skip
    for each in (graph, loaded):
        each.update(house_grid(house), fewer)
    assert list(loaded.networkx().edges(data=True)) == list(graph.networkx().edges(data=True))


def test_damaged_states_are_refused(graph: SceneGraph) -> None:
    state = graph.save()

    def with_array(name: str, change: float, at: int = 0) -> None:
        array = state.arrays[name].copy()
        array.reshape(-1)[at] = change
        with pytest.raises(InputError):
            SceneGraph.load(replace(state, arrays={**state.arrays, name: array}))

    for name, value in (
        ("thing_id", -1), ("thing_id", 10**9), ("thing_category", 99), ("thing_box", np.nan), ("thing_box", 1e6),
        ("thing_confidence", 2.0), ("floor_shape", 3), ("floor_shape", -5), ("floor_resolution", 0.0), ("labels", -2),
        ("labels", 99), ("door_floor", 4), ("door_rooms", 77), ("door_width", -1.0), ("trail", np.inf),
        ("trail", 1e300), ("next_room", 1), ("next_room", 2**40), ("categories", 7), ("floor_resolution", 1e-300),
        ("floor_resolution", 1e300), ("floor_origin", -1e300), ("floor_height", 1e300),
    ):  # fmt: skip
        with_array(name, value)
    for params in (
        {**state.params, "furniture": "bed"}, {**state.params, "room_rules": {"door_width": 1.0}},
        {**state.params, "furniture_size": -1.0}, {**state.params, "furniture_size": 10**400},
        {**state.params, "more": 1.0}, {},
        {**state.params, "relation_rules": {**state.params["relation_rules"], "part": 7.0}},
    ):  # fmt: skip
        with pytest.raises(InputError):
            SceneGraph.load(replace(state, params=params))


def test_rooms_with_large_numbers_cost_no_more_than_others() -> None:
    rooms = RoomMap(np.zeros(2), 0.1, np.array([[-1, 7, 2**30, 2**30]], dtype=np.int32))
    assert rooms.area(2**30) == pytest.approx(0.02)
    np.testing.assert_allclose(rooms.bounds(7), [[0.1, 0.0], [0.2, 0.1]])
    with pytest.raises(ValueError, match="no room 8"):
        rooms.area(8)


def test_levels_that_are_no_storey_apart_are_refused() -> None:
    levels, things = two_storeys()
    graph = SceneGraph()
    with pytest.raises(ValueError, match="apart"):
        graph.update([levels[0], (0.5, levels[1][1])], things)
    assert len(graph) == 0


def test_bad_things_are_refused() -> None:
    good = Things(np.arange(2), ("a", "b"), np.zeros((2, 2, 3)), np.zeros(2), np.ones(2))
    for change in (
        {"ids": np.array([1, 1])}, {"categories": ("a",)}, {"stamp": np.array([0.0, np.nan])},
        {"box": np.stack([np.ones((2, 3)), np.zeros((2, 3))], axis=1)}, {"confidence": np.array([0.0, 1.1])},
    ):  # fmt: skip
        with pytest.raises(ValueError, match="things"):
            replace(good, **change)


def test_a_thing_in_a_wall_belongs_to_the_room_beside_it() -> None:
    labels = np.full((10, 30), -1, dtype=np.int32)
    labels[:, :10] = 4
    floor = Floor(0.0, RoomMap(np.zeros(2), 0.1, labels))
    box = np.array([[[1.05, 0.2, 1], [1.1, 0.8, 2]], [[2.5, 0.2, 1], [2.6, 0.8, 2]]])
    assert floor.rooms_of(box).tolist() == [4, -1]


def test_an_empty_graph_among_the_layers_is_the_one_that_is_brought_up_to_date() -> None:
    voxels = VoxelMap(0.1)
    y, x = np.mgrid[0.05:4:0.1, 0.05:4:0.1]
    points = np.stack([x.ravel(), y.ravel(), np.full(x.size, -0.05)], axis=1)
    voxels.integrate(np.repeat(points, 3, axis=0), np.array([2.0, 2.0, 1.2]), every_ray=True)
    own, given = SceneGraph(), SceneGraph()
    assert scene_graph_of([voxels, own]) is own
    assert scene_graph_of([voxels, own], given) is given
    assert len(own.floors) == len(given.floors) == 1
    with pytest.raises(ValueError, match="voxel map"):
        scene_graph_of([own])
    own.derive([own])  # so that a memory without voxels can be saved
    assert len(own.floors) == 1


GOLDEN = Path(__file__).parent / "data" / "scene_graph_v1.embmem"


def write_golden(path: Path) -> None:
    """Wrote the file of version 1, which is never written again."""
    levels, things = two_storeys()
    graph = SceneGraph()
    for stamp in range(3):
        graph.observe(wall_ahead(float(stamp), yaw=float(stamp)))
    graph.update(levels, things)
    graph.merged = {6: 2}
    graph._next_room = 7
    Memory([graph]).save(path)


def test_a_file_of_version_1_opens_and_answers() -> None:
    graph = Memory.open(GOLDEN, (SceneGraph,)).layer(SceneGraph)
    assert len(graph.room_ids()) == 6
    assert graph.current_room(6) == 2
    g = graph.networkx()
    assert path(g, "thing:2")[0] == ("on", "thing:1")
    assert [hit.why.split(" part of")[0] for hit in graph.query(Query(entity="mug"))] == ["mug on table in room"]
    assert len(graph.floors[1].rooms.doors) == 2
