"""Rooms, relations, landmarks and keyframes are shown as their layers have them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import networkx as nx
import numpy as np
import pytest
from box_room import walk
from house_frames import house_frames
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from view_scene import flat

from embmem.facts import FactMemory
from embmem.geometry import camera_pose
from embmem.maps import ObjectMemory, OccupancyGrid, VoxelMap, spatial_memory
from embmem.maps.landmarks import LandmarkGraph
from embmem.maps.pose_graph import Edge, PoseGraph
from embmem.maps.scene_graph.scene_graph import SceneGraph
from embmem.maps.scene_graph.things import Things
from embmem.maps.semantic_map import SemanticMap
from embmem.maps.viewing import scene_of
from embmem.maps.viewing.rooms import outlines
from embmem.memory import Memory
from embmem.protocols import Deformation
from embmem.records import Record
from embmem.store import RecordStore
from embmem.testing import wall_ahead
from embmem.viewing import Graph, Plan


def two_rooms() -> SceneGraph:
    """The flat of `view_scene` with a bed, a stove, and a mug on the stove."""
    plan = flat().plan
    assert isinstance(plan, Plan)
    boxes = np.array([[[6, 0.5, 0], [7.5, 2.5, 0.5]], [[0.3, 0.3, 0], [1, 1, 0.9]], [[0.5, 0.5, 0.9], [0.6, 0.6, 1]]])
    things = Things(np.array([3, 5, 8]), ("bed", "stove", "mug"), boxes, np.full(3, 9.0), np.full(3, 0.9))
    scene = SceneGraph()
    scene.update(OccupancyGrid(plan.origin, plan.resolution, plan.cells), things)
    return scene


def graph_of(memory: Memory, name: str) -> Graph:
    (graph,) = (graph for graph in scene_of(memory).graphs if graph.name == name)
    return graph


def test_rooms_are_where_the_scene_graph_has_them() -> None:
    layer = two_rooms()
    memory = Memory([layer])
    for stamp, x in ((1.0, 1.0), (2.0, 3.0), (3.0, 6.0)):
        pose = camera_pose(np.array([x, 2.0, 1.0]), yaw=0.0)
        memory.store.write(Record(kind="view", t_event=stamp, source="camera", T_map_obs=pose))
    scene = scene_of(memory)
    assert [(room.name, room.stamp) for room in scene.rooms] == [("kitchen", 1.0), ("bedroom", 3.0)]
    rooms = layer.floors[0].rooms
    for room, number in zip(scene.rooms, rooms.ids().tolist(), strict=True):
        points = np.stack(np.meshgrid(np.arange(0.3, 8, 0.37), np.arange(0.3, 4, 0.37)), axis=-1).reshape(-1, 2)
        ring = np.round(room.outlines[0] * 1000).astype(np.int32)
        inside = [cv2.pointPolygonTest(ring, (x * 1000, y * 1000), True) for x, y in points.tolist()]
        clear = np.abs(inside) > 100  # [mm]
        np.testing.assert_array_equal((np.array(inside) > 0)[clear], (rooms.at(points) == number)[clear])


def test_relations_are_edges_between_the_nodes_of_the_scene_graph() -> None:
    layer = two_rooms()
    shown, told = graph_of(Memory([layer]), "scene_graph"), layer.networkx()
    expected = {
        (f"{told.nodes[a]['name']} ({a})", f"{told.nodes[b]['name']} ({b})", d["relation"])
        for a, b, d in told.edges(data=True)
        if {told.nodes[a]["layer"], told.nodes[b]["layer"]} <= {"room", "furniture", "object"}
    }
    edges = zip(shown.edges.tolist(), shown.edge_kinds, strict=True)
    assert {(shown.labels[a], shown.labels[b], kind) for (a, b), kind in edges} == expected
    assert ("mug (thing:8)", "stove (thing:5)", "on") in expected


def test_of_a_large_scene_graph_a_part_is_shown_and_it_is_said() -> None:
    scene = scene_of(Memory([two_rooms()]), max_nodes=3)
    (graph,) = scene.graphs
    assert [label.partition(" (")[0] for label in graph.labels] == ["kitchen", "bedroom", "bed"]
    assert (graph.edges < 3).all()
    assert scene.left_out == ("3 of 5 nodes of the scene graph are shown.",)


def test_rooms_are_no_things_and_of_many_things_it_is_said_how_many() -> None:
    scene = scene_of(Memory([two_rooms()]))
    assert [thing.name for thing in scene.things] == ["bed", "stove", "mug"]
    assert len({thing.id for thing in scene.things}) == 3
    assert scene_of(Memory([two_rooms()]), max_things=1).left_out == ("1 of 3 things are shown, the surest.",)


def test_facts_about_a_numbered_thing_are_not_told_of_things_without_numbers() -> None:
    layer, store = SemanticMap(min_votes=1), RecordStore()
    for stamp in range(4):
        layer.observe(wall_ahead(float(stamp)))
    FactMemory(store).assert_fact("thing:0", "in", "hall", valid_at=1.0).wait()
    (mug,) = scene_of(Memory([layer], store=store), find_rooms=False).things
    assert (mug.name, mug.held) == ("mug", ())


def test_things_say_which_room_they_are_in_and_what_they_are_on() -> None:
    """The numbers of the object memory are those of the scene graph."""
    objects, layer = ObjectMemory(max_range=8.0), two_rooms()
    for observation in walk():
        objects.observe(observation)
    state = objects.save()
    numbered = replace(state, arrays={**state.arrays, "id": np.array([8]), "next_id": np.array([9])})
    scene = scene_of(Memory([ObjectMemory.load(numbered), layer]))
    (mug,) = (thing for thing in scene.things if thing.layer == "objects")
    assert (mug.room, mug.facts) == ("kitchen", ("on the stove",))
    assert [thing.layer for thing in scene.things] == ["objects"]  # not once more from the scene graph
    assert scene_of(Memory([layer]), find_rooms=False).rooms == ()


def test_a_memory_without_a_scene_graph_gets_the_rooms_that_its_walls_make(small_flat: Memory) -> None:
    scene, layer = scene_of(small_flat), SceneGraph()
    layer.update_from(small_flat.layer(VoxelMap), small_flat.layer(ObjectMemory))
    assert len(scene.rooms) == len(layer.room_ids()) >= 2
    assert {room.name.rstrip(" 0123456789") for room in scene.rooms} == {
        node["name"] for _, node in layer.networkx().nodes(data=True) if node["layer"] == "room"
    }
    assert sum(thing.room != "" for thing in scene.things) > len(scene.things) / 2
    assert [each.kind for each in small_flat.layers] == ["voxels", "objects"]  # and keeps its layers


@pytest.fixture(scope="module")
def small_flat() -> Memory:
    """A tour of a house of three rooms."""
    memory = spatial_memory(0.1, 5.0)
    for frame in house_frames(80):
        memory.observe(frame)
    return memory


def test_a_semantic_map_alone_shows_its_voxels_and_things() -> None:
    layer = SemanticMap()
    for frame in house_frames(40):
        layer.observe(frame)
    scene = scene_of(Memory([layer]), find_rooms=False)
    assert scene.voxels is not None
    np.testing.assert_array_equal(scene.voxels.centres, layer.voxels.occupied())
    assert scene.plan is not None
    assert sorted(thing.name for thing in scene.things) == sorted(thing.category for thing in layer.things())


def test_landmarks_and_the_ways_between_them_are_those_of_networkx() -> None:
    layer = LandmarkGraph(near=0.5, similar=0.5)
    rng = np.random.default_rng(0)
    ids = layer.add_landmarks(rng.uniform(0, 9, (30, 3)), stamps=np.arange(30.0))
    layer.connect(ids[rng.permutation(30)[:28].reshape(-1, 2)], np.ones(14))
    layer.merge(int(ids[0]), int(ids[1]))
    shown, told = graph_of(Memory([layer]), "landmarks"), layer.to_networkx()
    assert len(shown.labels) == len(layer) == told.number_of_nodes() == 29
    at = {int(label.split()[1].rstrip(",")): i for i, label in enumerate(shown.labels)}
    assert set(at) == set(told.nodes)
    for number, node in told.nodes(data=True):
        np.testing.assert_array_equal(shown.positions[at[number]], node["position"])
    assert {tuple(edge) for edge in shown.edges.tolist()} == {(at[a], at[b]) for a, b in told.edges}
    few = scene_of(Memory([layer]), max_nodes=10)
    assert len(few.graphs[0].labels) == 10
    assert few.left_out == ("10 of 29 landmarks are shown, those seen most.",)


def test_keyframes_are_joined_by_odometry_and_loops() -> None:
    layer = PoseGraph(distance=0.1, angle=0.1)
    for observation in walk():
        layer.observe(observation)
    layer.loops = [Edge(0, 11, np.eye(4), np.eye(6), "loop"), Edge(2, 7, np.eye(4), np.eye(6), "loop", is_on=False)]
    shown = graph_of(Memory([layer]), "pose_graph")
    by_kind: dict[str, list[list[int]]] = {kind: [] for kind in shown.edge_kinds}
    for edge, kind in zip(shown.edges.tolist(), shown.edge_kinds, strict=True):
        by_kind[kind].append(edge)
    assert by_kind == {
        "odometry": [[i, i + 1] for i in range(11)], "loop": [[0, 11]], "rejected loop": [[2, 7]],
    }  # fmt: skip
    np.testing.assert_array_equal(shown.positions, layer.trajectory()[1][:, :3, 3])
    few = graph_of_at_most(layer, 4)
    assert scene_of(Memory([layer]), max_nodes=4).left_out == ("4 of 12 keyframes are shown, evenly chosen.",)
    assert few.stamps.tolist() == pytest.approx([0.0, 0.3, 0.6, 0.9])
    assert [edge for edge, kind in zip(few.edges.tolist(), few.edge_kinds, strict=True) if kind == "loop"] == [[0, 3]]


def graph_of_at_most(layer: PoseGraph, most: int) -> Graph:
    return scene_of(Memory([layer]), max_nodes=most).graphs[0]


def test_views_and_notes_move_with_the_keyframes() -> None:
    """Records keep the pose that they were made with; what is shown is where that is in the map now."""
    memory = Memory([PoseGraph(distance=0.1, angle=0.1)], view_distance=0.1)
    for observation in walk():
        memory.observe(observation)
    memory.store.write(Record(kind="note", t_event=0.5, source="user", text="here", position=np.array([1.0, 2.0, 0.5])))
    before = scene_of(memory)
    shift = np.eye(4)
    shift[:2, 3] = 3.0, -1.0
    memory.deform(Deformation(memory.layer(PoseGraph).trajectory()[0], np.tile(shift, (12, 1, 1))))
    after = scene_of(memory)
    assert before.trajectory is not None
    assert after.trajectory is not None
    np.testing.assert_allclose(after.trajectory.T_map_camera, shift @ before.trajectory.T_map_camera, atol=1e-9)
    np.testing.assert_allclose(after.things[0].position, [4.0, 1.0, 0.5], atol=1e-9)
    without_views = Memory(memory.layers)
    shown = scene_of(without_views).trajectory
    assert shown is not None
    np.testing.assert_array_equal(shown.T_map_camera, memory.layer(PoseGraph).trajectory()[1])


@given(arrays(np.bool_, (9, 11)), st.floats(-50, 50), st.floats(0.02, 1.0))
def test_outlines_hold_the_cells_of_a_room_and_no_others(is_room: np.ndarray, x: float, cell: float) -> None:
    origin = np.array([x, -x])
    rings = outlines(is_room, origin, cell)
    canvas = np.zeros((9 * 16, 11 * 16), np.uint8)
    cv2.fillPoly(canvas, [np.round((ring - origin) / cell * 16 - 0.5).astype(np.int32) for ring in rings], 1)
    filled = canvas[8::16, 8::16].astype(bool)  # the middle of each cell
    np.testing.assert_array_equal(filled, is_room)


def test_all_of_it_is_in_the_files(tmp_path: Path) -> None:
    """What the layers have reaches the page's data and, where Rerun is there, the recording."""
    from embmem.viewing.page import page_data

    layer = two_rooms()
    data = page_data(scene_of(Memory([layer])), [])
    assert [room["name"] for room in data["rooms"]] == ["kitchen", "bedroom"]
    (graph,) = data["graphs"]
    told = nx.DiGraph([(a, b) for a, b, _ in graph["edges"]])
    assert told.number_of_edges() == len(graph["edges"]) > 3
