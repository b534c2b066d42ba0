"""Maps of other programs become memories that are asked, viewed and exported again."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from box_room import walk
from house_plans import house_grid
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from rtabmap_writer import write_rtabmap
from test_scene_graph import things_of, two_storeys

from embmem.cli.main import main
from embmem.errors import InputError
from embmem.exports.map_server import write_map_server
from embmem.map_hash import map_hash
from embmem.maps import LandmarkGraph, ObjectMemory, SceneGraph, VoxelMap, open_memory
from embmem.maps.importing import import_map
from embmem.maps.scene_graph.dsg import read_dsg, write_dsg
from embmem.maps.scene_graph.exporting import scene_graph_in
from embmem.maps.scene_graph.json_files import write_node_link
from embmem.maps.scene_graph.room_areas import RoomSketch, floors_of
from embmem.maps.scene_graph.things import Things
from embmem.maps.voxels.formats.octomap_files import read_octomap, write_octomap
from embmem.records import Query
from embmem.sim_envs.house import make_house


def house_scene() -> SceneGraph:
    house, scene = make_house(3), SceneGraph()
    scene.update(house_grid(house, 0.1), things_of(house))
    return scene


@pytest.mark.parametrize("write", [write_dsg, write_node_link])
def test_a_scene_graph_keeps_its_things_rooms_and_doors(tmp_path: Path, write: Any) -> None:
    scene = house_scene()
    write(tmp_path / "g.json", scene.networkx())
    memory = import_map(tmp_path / "g.json").memory
    things, before = memory.layer(ObjectMemory).things(), scene.things
    np.testing.assert_array_equal(things["id"], before.ids)
    np.testing.assert_allclose(things["box"], before.box, atol=1e-9)
    np.testing.assert_allclose(things["confidence"], before.confidence, atol=1e-9)
    np.testing.assert_allclose(things["last_seen"], before.stamp, atol=1e-6)
    categories = memory.layer(ObjectMemory).categories
    assert [categories[i] for i in things["category"]] == list(before.categories)
    again = memory.layer(SceneGraph)
    assert again.room_ids() == scene.room_ids()
    for room in scene.room_ids():  # boxes overlap where rooms are no rectangles; the middle of a room stays in it
        assert again.room_at(np.array([*scene.floors[0].rooms.middle(room), 0.5])) == room
    doors, known = again.floors[0].rooms.doors, scene.floors[0].rooms.doors
    np.testing.assert_array_equal(doors.rooms, known.rooms)
    np.testing.assert_allclose(doors.width, known.width, atol=1e-9)


boxes = arrays(np.float64, st.tuples(st.integers(1, 6), st.just(2), st.just(3)), elements=st.floats(-100, 100))


@given(corners=boxes, data=st.data())
def test_any_things_come_back_from_a_file_of_spark_dsg(
    tmp_path_factory: pytest.TempPathFactory, corners: np.ndarray, data: st.DataObject
) -> None:
    n = len(corners)
    ids = np.array(sorted(data.draw(st.sets(st.integers(0, 10**6), min_size=n, max_size=n))))
    names = tuple(data.draw(st.lists(st.text(min_size=1, max_size=8), min_size=n, max_size=n)))
    scene = SceneGraph()
    shares = np.array(data.draw(st.lists(st.floats(0.2, 0.9), min_size=n, max_size=n)))
    scene.update([], Things(ids, names, np.sort(corners, axis=1), np.arange(n) * 1.5, shares))
    path = tmp_path_factory.mktemp("things") / "g.json"
    write_dsg(path, scene.networkx())
    objects = import_map(path).memory.layer(ObjectMemory)
    things = objects.things()
    np.testing.assert_array_equal(things["id"], ids)
    assert tuple(objects.categories[i] for i in things["category"]) == names
    np.testing.assert_allclose(things["box"], np.sort(corners, axis=1), atol=1e-9)
    np.testing.assert_allclose(things["confidence"], shares, atol=1e-9)
    np.testing.assert_allclose(things["last_seen"], np.arange(n) * 1.5, atol=1e-9)


def test_what_was_imported_is_saved_asked_viewed_and_written_as_spark_dsg_again(tmp_path: Path) -> None:
    scene = house_scene()
    write_dsg(tmp_path / "g.json", scene.networkx())
    file = tmp_path / "house.embmem"
    assert main(["import", f"{tmp_path}/g.json", str(file)]) == 0
    memory = open_memory(file)
    name = scene.things.categories[0]
    (hit, *_) = memory.query(Query(entity=name, k=1))
    assert hit.entity == name
    assert main(["view", str(file), f"{tmp_path}/house.html"]) == 0
    assert main(["export", str(file), f"{tmp_path}/out", "formats=[dsg,route_graph,text]"]) == 0
    spark_dsg = pytest.importorskip("spark_dsg")
    theirs = spark_dsg.DynamicSceneGraph.load(f"{tmp_path}/out/dsg.json")
    assert theirs.num_nodes() == len(scene.networkx())
    first, second = (read_dsg(path) for path in (tmp_path / "g.json", tmp_path / "out" / "dsg.json"))
    assert set(first) == set(second)
    for key in first:
        if first.nodes[key]["layer"] in ("object", "furniture"):
            for name in ("name", "layer"):
                assert first.nodes[key][name] == second.nodes[key][name]
            np.testing.assert_allclose(first.nodes[key]["position"], second.nodes[key]["position"], atol=1e-9)
    assert main(["export", str(file), f"{tmp_path}/no", "formats=[ply]"]) == 1


def test_a_graph_of_hydra_brings_places_as_landmarks_and_rooms_around_them(tmp_path: Path) -> None:
    dsg = pytest.importorskip("spark_dsg")
    theirs = dsg.DynamicSceneGraph()
    for i in range(6):
        place = dsg.PlaceNodeAttributes()
        place.position = np.array([float(i), 0.0, 1.0])
        theirs.add_node(3, dsg.NodeSymbol("p", i).value, place)
        if i:
            theirs.insert_edge(dsg.NodeSymbol("p", i - 1).value, dsg.NodeSymbol("p", i).value)
    for i, name in enumerate(("kitchen", "")):
        room = dsg.RoomNodeAttributes()
        room.position, room.name = np.array([1.0 + 3 * i, 0.0, 1.0]), name
        theirs.add_node(4, dsg.NodeSymbol("R", i).value, room)
    for i in range(6):
        theirs.insert_edge(dsg.NodeSymbol("R", i // 3).value, dsg.NodeSymbol("p", i).value)
    mug = dsg.ObjectNodeAttributes()
    mug.position, mug.name = np.array([4.0, 0.2, 1.2]), "mug"
    mug.bounding_box = dsg.BoundingBox(np.array([0.1, 0.1, 0.1]), np.array([4.0, 0.2, 1.2]))
    theirs.add_node(2, dsg.NodeSymbol("O", 7).value, mug)
    theirs.save(str(tmp_path / "hydra.json"))
    memory = import_map(tmp_path / "hydra.json").memory
    landmarks = memory.layer(LandmarkGraph)
    path = landmarks.shortest_path(0, 5)
    assert path is not None
    assert path.nodes == (0, 1, 2, 3, 4, 5)
    scene = memory.layer(SceneGraph)
    rooms = [scene.room_at(np.array([x, 0.3, 1.0])) for x in range(6)]
    assert rooms == [0, 0, 0, 1, 1, 1]
    (hit,) = memory.query(Query(entity="kitchen"))
    assert (hit.layer, hit.entity) == ("scene_graph", "kitchen")
    memory.save(tmp_path / "hydra.embmem")
    again = open_memory(tmp_path / "hydra.embmem").layer(SceneGraph)
    assert again.networkx().nodes["room:0"]["name"] == "kitchen"
    write_dsg(tmp_path / "again.json", again.networkx())
    assert read_dsg(tmp_path / "again.json").nodes["room:0"]["name"] == "kitchen"
    (mug_hit, *_) = memory.query(Query(entity="mug"))
    assert mug_hit.position is not None
    np.testing.assert_allclose(mug_hit.position, [4.0, 0.2, 1.2])
    assert scene_graph_in(memory.layers) is scene


def test_storeys_become_floors_again(tmp_path: Path) -> None:
    scene = SceneGraph()
    scene.update(*two_storeys())
    write_dsg(tmp_path / "g.json", scene.networkx())
    again = import_map(tmp_path / "g.json").memory.layer(SceneGraph)
    assert [floor.height for floor in again.floors] == pytest.approx([0.0, 2.9])
    assert [floor.rooms.ids().tolist() for floor in again.floors] == [f.rooms.ids().tolist() for f in scene.floors]


def test_a_smaller_room_lies_over_a_larger_and_none_gets_lost() -> None:
    outer = RoomSketch(4, np.array([2.0, 2.0, 0.0]), np.array([[0.0, 0, 0], [4, 4, 2]]))
    inner = RoomSketch(2, np.array([1.0, 1.0, 0.0]), np.array([[0.5, 0.5, 0], [1.5, 1.5, 2]]))
    same = RoomSketch(9, np.array([3.0, 3.0, 0.0]), np.array([[0.0, 0, 0], [4, 4, 2]]))
    (floor,) = floors_of([outer, inner, same])
    assert floor.rooms.ids().tolist() == [2, 4, 9]
    assert floor.rooms.at(np.array([[1.0, 1.0]])).tolist() == [2]
    area = sum(floor.rooms.area(room) for room in (2, 4, 9))
    assert area == pytest.approx(16.0, abs=0.2)
    with pytest.raises(InputError, match="no metres"):
        floors_of([outer, RoomSketch(1, np.array([5e6, 0.0, 0.0]))])


def test_a_floor_plan_has_rooms_and_comes_back_bit_for_bit(tmp_path: Path) -> None:
    house = make_house(3)
    grid = house_grid(house, 0.1)
    (tmp_path / "in").mkdir()
    write_map_server(tmp_path / "in", grid.cells, np.rint(grid.origin / 0.1) * 0.1, 0.1)
    file = tmp_path / "plan.embmem"
    assert main(["import", f"{tmp_path}/in/map.yaml", f"out={file}"]) == 0
    assert main(["export", str(file), f"{tmp_path}/out", "formats=[map_server,route_graph]"]) == 0
    for name in ("map.pgm", "map.yaml"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "in" / name).read_bytes()
    rooms = len(json.loads((tmp_path / "out" / "route_graph.geojson").read_text())["features"])
    assert rooms > len(house.rooms)
    assert len(scene_graph_in(open_memory(file).layers).room_ids()) == len(house.rooms)


def test_a_real_building_is_the_same_to_the_tools_of_octomap(tmp_path: Path, data_dir: Path) -> None:
    for tool in ("convert_octree", "compare_octrees"):
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool} (Debian: octomap-tools)")
    file = tmp_path / "geb.embmem"
    assert main(["import", f"{data_dir}/octomap/geb079.bt", f"out={file}"]) == 0
    assert main(["export", str(file), f"{tmp_path}/out", "formats=[bt,ot]"]) == 0
    trees = {"theirs": data_dir / "octomap" / "geb079.bt", "ours": tmp_path / "out" / "map.bt"}
    for name, tree in trees.items():
        subprocess.run(["convert_octree", str(tree), f"{tmp_path}/{name}.ot"], capture_output=True, check=False)
    command = ["compare_octrees", f"{tmp_path}/ours.ot", f"{tmp_path}/theirs.ot"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert "KLD: 0\n" in said  # what it says of equal trees: no leaf differs
    assert said.count("(532566 nodes)") == 2


def test_a_tree_keeps_its_resolution_and_every_voxel(tmp_path: Path) -> None:
    voxels = VoxelMap(0.25)
    voxels.integrate(np.random.default_rng(0).uniform(-2, 2, (60, 3)), np.zeros(3))
    write_octomap(tmp_path / "a.ot", voxels)
    imported = import_map(tmp_path / "a.ot", stamp=7.0).memory
    again = imported.layer(VoxelMap)
    assert again.resolution == 0.25
    assert set(map(tuple, again.occupied())) == set(map(tuple, voxels.occupied()))
    assert again.blocks.stamps[0] == 7.0
    memory = import_map(tmp_path / "a.ot").memory
    memory.save(tmp_path / "a.embmem")
    assert map_hash(open_memory(tmp_path / "a.embmem")) == map_hash(memory)
    assert set(map(tuple, read_octomap(tmp_path / "a.ot").free())) == set(map(tuple, voxels.free()))


def test_a_database_of_rtabmap_is_integrated_at_its_poses(tmp_path: Path) -> None:
    write_rtabmap(tmp_path / "a.db", list(walk(6)))
    assert main(["import", f"{tmp_path}/a.db", f"out={tmp_path}/a.embmem", "resolution=0.1"]) == 0
    occupied = open_memory(tmp_path / "a.embmem").layer(VoxelMap).occupied()
    assert len(occupied) > 500
    assert (occupied.min(axis=0) > -0.2).all()
    assert (occupied.max(axis=0) < [5.2, 4.2, 2.7]).all()


def test_imports_are_refused_whole_and_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "a.json").write_text('{"SPARK_DSG_header": 1, "nodes": [], "edges": []}')
    (tmp_path / "taken.embmem").write_text("mine")
    for words, message in (
        ([f"{tmp_path}/none.bt"], "is not a file"),
        ([f"{tmp_path}/a.txt"], "cannot be imported"),
        ([f"{tmp_path}/a.json"], "no thing, no room and no place"),
        ([f"{tmp_path}/a.json", f"out={tmp_path}/taken.embmem"], "overwrite=true"),
        ([f"{tmp_path}/a.json", f"out={tmp_path}/no/b.embmem"], "is not a folder"),
    ):
        out = [] if len(words) > 1 else [f"out={tmp_path}/b.embmem"]
        assert main(["import", *words, *out]) == 1
        said = capsys.readouterr().err
        assert message in said
        assert said.count("\n") == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.json", "a.txt", "taken.embmem"]
    assert (tmp_path / "taken.embmem").read_text() == "mine"
