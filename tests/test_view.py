"""`embmem view` shows what the memory holds, no more and no less, and says what it left out."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from box_room import MUG, SIZE, walk
from hypothesis import given
from hypothesis import strategies as st
from view_scene import flat, thing

from embmem.cli.main import main
from embmem.errors import InputError
from embmem.facts import FactMemory
from embmem.geometry import camera_pose
from embmem.maps import DecayLayers, ObjectMemory, OccupancyGrid, VoxelMap, durable_memory, open_memory, spatial_memory
from embmem.maps.viewing import scene_of
from embmem.maps.voxels.formats.files import write_voxels
from embmem.maps.voxels.formats.octomap_files import write_octomap
from embmem.maps.voxels.meaning.payload import Payload
from embmem.memory import Memory
from embmem.observation import Intrinsics
from embmem.records import Link, Query, Record
from embmem.store import RecordStore
from embmem.viewing import Graph, Plan, Scene, Trajectory
from embmem.viewing.first_seen import first_seen
from embmem.viewing.page import page_data, write_page


@pytest.fixture(scope="module")
def memory() -> Memory:
    """A turn in the room with a mug, and four notes, of which one is withdrawn and one has no place."""
    memory = spatial_memory(0.1, 8.0, view_distance=0.1)
    for observation in walk():
        memory.observe(observation)
    for i, (text, position) in enumerate(
        [("keys here", [1.0, 1.0, 1.0]), ("wrong", [2.0, 1.0, 1.0]), ("nowhere", None)]
    ):
        place = None if position is None else np.array(position)
        memory.store.write(
            Record(kind="note", t_event=0.5 + i, source="user", text=text, position=place, confidence=0.6)
        )
    wrong = memory.store.read(Query(text="wrong"))[0].id
    assert wrong is not None
    memory.store.write(Record(kind="withdrawal", t_event=2.0, source="user", links=(Link("withdraws", wrong),)))
    return memory


@pytest.fixture(scope="module")
def saved(memory: Memory, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("view") / "room.embmem"
    memory.save(path)
    return path


def data_of(page: Path) -> dict[str, Any]:
    """What a page inlines for its script."""
    found = re.search(r'<script type="application/json" id="scene">(.*?)</script>', page.read_text("utf-8"), re.DOTALL)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


def test_a_scene_holds_what_the_memory_holds(memory: Memory) -> None:
    scene = scene_of(memory, title="room")
    voxels = memory.layer(VoxelMap)
    assert scene.voxels is not None
    np.testing.assert_array_equal(scene.voxels.centres, voxels.occupied())
    assert scene.trajectory is not None
    views = memory.store.read(Query(kind="view", k=99))[::-1]
    np.testing.assert_array_equal(scene.trajectory.stamps, [view.t_event for view in views])
    np.testing.assert_array_equal(scene.trajectory.T_map_camera, [view.T_map_obs for view in views])
    assert scene.trajectory.intrinsics == next(walk()).intrinsics
    names = [each.name for each in scene.things]
    assert names == ["mug", "keys here"]  # not what is withdrawn, hidden, or nowhere
    assert np.linalg.norm(scene.things[0].position - MUG) < 0.1
    assert scene.things[1].why == "note by user: keys here"
    assert scene.left_out == ()
    assert scene.span == (0.0, 1.1)


def test_facts_are_told_of_the_thing_that_they_name(memory: Memory) -> None:
    store = RecordStore()
    copy, facts = Memory(memory.layers, store=store), FactMemory(store)
    facts.assert_fact("Mug", "in", "hall", valid_at=1.0)
    facts.assert_fact("mug-0", "in", "bath", valid_at=5.0)
    facts.assert_fact("thing:0", "on", "thing:7", valid_at=6.0, until=9.0)
    facts.assert_fact("thing:7", "is a", value="shelf", valid_at=6.0)
    facts.assert_fact("elephant", "in", "room", valid_at=1.0).wait()
    facts.assert_fact("giraffe", "in", "room", valid_at=1.0).wait()
    scene = scene_of(copy)
    assert scene.things[0].held == (("in bath", 5.0, np.inf), ("on the shelf", 6.0, 9.0), ("in hall", 1.0, np.inf))
    assert scene.left_out == ("Facts about 2 names that no thing with a place has are not shown.",)


def test_the_plan_is_the_occupancy_grid_cut_to_what_is_known(memory: Memory) -> None:
    plan = scene_of(memory).plan
    assert plan is not None
    grid = OccupancyGrid.from_voxels(memory.layer(VoxelMap))
    rows, columns = np.indices(plan.cells.shape).reshape(2, -1)
    middles = plan.origin + (np.column_stack([columns, rows]) + 0.5) * plan.resolution
    np.testing.assert_array_equal(grid.cells[tuple(grid.to_cells(middles).T)], plan.cells.ravel())
    assert (grid.cells >= 0).sum() == (plan.cells >= 0).sum()
    for border in (plan.cells[0], plan.cells[-1], plan.cells[:, 0], plan.cells[:, -1]):
        assert (border >= 0).any()
    walls = plan.height[plan.cells == 100]
    assert np.nanmax(walls) == pytest.approx(2.0, abs=0.11)  # what lies higher is ceiling


def test_large_maps_become_fewer_larger_cubes_that_hold_all_that_is_occupied(memory: Memory) -> None:
    whole, few = scene_of(memory), scene_of(memory, max_voxels=300)
    assert whole.voxels is not None
    assert few.voxels is not None
    assert 0 < len(few.voxels.centres) <= 300
    assert few.voxels.n_in_map == len(whole.voxels.centres)
    apart = np.abs(whole.voxels.centres[:, None] - few.voxels.centres[None]).max(axis=2)
    assert (apart.min(axis=1) < few.voxels.edge / 2 + 1e-9).all()
    assert (apart.min(axis=0) < few.voxels.edge / 2 + 1e-9).all()
    assert "occupied voxels" in few.left_out[0]


@pytest.mark.parametrize("most", [1, 40, 400])
def test_layers_that_decay_become_cubes_of_one_size_however_few(most: int) -> None:
    layers = DecayLayers(VoxelMap(0.1, max_range=8.0), VoxelMap(0.1, max_range=8.0), movable=("mug",))
    shift = np.eye(4)
    shift[:3, 3] = -2.0  # around the origin, where even the largest cubes meet
    for observation in walk():
        layers.observe(replace(observation, T_map_camera=shift @ observation.T_map_camera))
    scene = scene_of(Memory([layers]), max_voxels=most, find_rooms=False)
    assert scene.voxels is not None
    parts = [layers.static.occupied(), layers.dynamic.occupied()]
    every = np.concatenate(parts)
    assert scene.voxels.n_in_map == len(every)
    apart = np.abs(every[:, None] - scene.voxels.centres[None]).max(axis=2)
    assert (apart.min(axis=1) < scene.voxels.edge / 2 + 1e-9).all()
    cubes = [np.unique(np.floor(part / scene.voxels.edge), axis=0) for part in parts]
    assert len(scene.voxels.centres) == sum(map(len, cubes)) or most == 1  # the largest cube is around the origin
    assert len(scene.voxels.centres) <= max(most, 2)
    assert "stand for" in scene.left_out[-1]


def test_of_many_views_and_things_some_are_shown_and_it_is_said(memory: Memory) -> None:
    scene = scene_of(memory, max_views=5, max_things=1)
    assert scene.trajectory is not None
    assert scene.trajectory.stamps.tolist() == pytest.approx([0.0, 0.2, 0.5, 0.8, 1.1], abs=0.11)
    assert [each.name for each in scene.things] == ["mug", "keys here"]
    assert "5 of 12 views" in " ".join(scene.left_out)
    tight = scene_of(memory, max_things=1)
    assert len(tight.things) == 2  # one of the maps, one of the records


def test_voxels_are_coloured_by_what_the_map_keeps() -> None:
    voxels = VoxelMap(0.1, max_range=8.0, payload=Payload(["colour", "labels"]))
    for observation in walk():
        voxels.observe(observation)
    memory = Memory([voxels])
    by = {name: scene_of(memory, colour=name).voxels for name in ("auto", "colour", "label", "height")}
    colours = {name: cloud.colours for name, cloud in by.items() if cloud is not None}
    np.testing.assert_array_equal(colours["auto"], colours["colour"])
    expected = voxels.read(voxels.occupied()).colour()
    known = np.isfinite(expected).all(axis=1)
    np.testing.assert_array_equal(colours["colour"][known], expected[known].astype(np.uint8))
    labels = voxels.read(voxels.occupied()).top_label()
    for label in np.unique(labels[labels >= 0]):
        assert len(np.unique(colours["label"][labels == label], axis=0)) == 1
    with pytest.raises(ValueError, match="colour must be one of"):
        scene_of(memory, colour="mauve")
    plain = VoxelMap(0.1)
    plain.observe(next(walk()))
    with pytest.raises(ValueError, match="this map keeps no 'labels'"):
        scene_of(Memory([plain]), colour="label")


def test_a_thing_is_shown_at_every_place_where_it_was(memory: Memory) -> None:
    state = memory.layer(ObjectMemory).save()
    places = np.array([[1.0, 1.0, 1.0], [2.0, 1.0, 1.0]])
    left = {
        "place_thing": np.zeros(2, dtype=np.int64), "place_position": places,
        "place_box": np.stack([places, places], axis=1), "place_first_seen": np.array([-9.0, -5.0]),
        "place_last_seen": np.array([-8.0, -4.0]), "first_seen": np.array([-9.0]),
    }  # fmt: skip
    (mug,) = scene_of(Memory([ObjectMemory.load(replace(state, arrays={**state.arrays, **left}))])).things
    assert mug.moves is not None
    np.testing.assert_array_equal(mug.moves[:, 0], [-9.0, -5.0, state.arrays["here_since"][0]])
    np.testing.assert_array_equal(mug.moves[:, 1:], [*places, mug.position])
    assert memory.layer(ObjectMemory).places_left().size == 0
    assert scene_of(memory).things[0].moves is None


def test_layers_that_decay_are_shown_both() -> None:
    layers = DecayLayers(VoxelMap(0.1, max_range=8.0), VoxelMap(0.1, max_range=8.0), movable=("mug",))
    for observation in walk():
        layers.observe(observation)
    scene = scene_of(Memory([layers]))
    assert scene.voxels is not None
    n = len(layers.static.occupied()), len(layers.dynamic.occupied())
    assert min(n) > 0
    assert len(scene.voxels.centres) == sum(n)


@pytest.mark.parametrize("name", ["room.embmem", "room.bt", "room.ot", "room.safetensors"])
def test_every_file_that_opens_becomes_a_page(
    name: str, memory: Memory, saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / name
    voxels = memory.layer(VoxelMap)
    if file.suffix == ".embmem":
        file.write_bytes(saved.read_bytes())
    elif file.suffix == ".safetensors":
        write_voxels(file, voxels)
    else:
        write_octomap(file, voxels)
    assert main(["view", str(file), str(tmp_path / "page.html")]) == 0
    assert "page.html" in capsys.readouterr().out.replace("\n", "")
    data = data_of(tmp_path / "page.html")
    assert len(data["things"]) == (2 if file.suffix == ".embmem" else 0)
    assert (data["path"] is None) == (file.suffix != ".embmem")
    picture = base64.b64decode(data["plan"]["src"].partition(",")[2])
    cells = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    assert cells is not None
    plan = scene_of(open_memory(file)).plan
    assert plan is not None
    np.testing.assert_array_equal(cells[::-1, :, 2], np.select([plan.cells == 100, plan.cells == 0], [2, 1], 0))
    x0, y0, x1, y1 = data["plan"]["extent"]
    assert (x1 - x0, y1 - y0) == pytest.approx(SIZE[:2], abs=0.25)


def test_a_robots_file_can_be_looked_at_while_it_writes(tmp_path: Path) -> None:
    with durable_memory(tmp_path / "robot.embmem", 0.1, 8.0) as memory:
        for observation in walk(4):
            memory.observe(observation)
        memory.flush()
        assert main(["view", str(tmp_path / "robot.embmem"), str(tmp_path / "now.html")]) == 0
    assert "mug" in [each["name"] for each in data_of(tmp_path / "now.html")["things"]]


@pytest.mark.parametrize(
    ("words", "what", "status"),
    [
        (["missing.embmem", "page.html"], "missing.embmem is not a file", 1),
        (["{room}", "page.pdf"], "out must end in .html or .rrd", 1),
        (["{room}", "taken.html"], "taken.html exists; choose another name or set overwrite=true", 1),
        (["{room}", "no/folder.html"], "is not a folder; create it first", 1),
        (["{empty}", "page.html"], "nothing in this memory has a place: 0 records, layers ['voxels', 'objects']", 1),
        (["{room}", "page.html", "scene.max_voxels=0"], "need room for one at least", 1),
        (["{room}", "page.html", "scene.max_things=many"], "scene.max_things must be a whole number", 2),
        (["{room}", "page.html", "more"], "no setting is meant by 'more'", 2),
    ],
)
def test_what_cannot_be_done_is_one_line_and_no_file(
    words: list[str], what: str, status: int, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("taken.html").write_text("mine")
    spatial_memory().save("empty.embmem")
    assert main(["view", *(word.format(room=saved, empty="empty.embmem") for word in words)]) == status
    error = capsys.readouterr().err
    assert what in error
    assert error.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.embmem", "taken.html"]
    assert Path("taken.html").read_text() == "mine"


def test_the_same_memory_gives_the_same_page(saved: Path, tmp_path: Path) -> None:
    for name in ("a.html", "b.html"):
        assert main(["view", str(saved), str(tmp_path / name), "title=room"]) == 0
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


TAGS = ["</script>", "<!--<script>", "&lt;", "]]>", "</style><svg onload=alert(1)>", "{{ 7 * 7 }}"]
labels = st.text(st.characters(exclude_categories=()), max_size=40) | st.sampled_from(TAGS)


@given(name=labels, why=labels)
def test_no_text_ends_the_data_and_every_text_arrives(
    tmp_path_factory: pytest.TempPathFactory, name: str, why: str
) -> None:
    path = tmp_path_factory.mktemp("page") / "page.html"
    write_page(path, Scene(name, things=(thing(name, 1.0, 2.0, why=why),), left_out=(why,)))
    html = path.read_bytes().decode("utf-8")
    assert html.count("<script") == html.count("</script>") == 2
    assert html.count("<!--") == 0
    said = data_of(path)["things"][0]["why"]
    whole = why.encode("utf-8", "replace").decode()
    assert said == "".join(c if c.isprintable() or c in "\u200c\u200d" else "\ufffd" for c in whole)


@given(stamp=st.floats(0, 100), y=st.floats(0.2, 3.8))
def test_a_cell_that_a_ray_meets_is_known_since_the_first_that_met_it(stamp: float, y: float) -> None:
    """Looking along +x from the left in an empty hall: all cells of the row before the camera, at once."""
    plan = Plan(np.zeros(2), 0.1, np.zeros((40, 60), dtype=np.int8), np.full((40, 60), np.nan))
    poses = np.stack([camera_pose(np.array([x, y, 1.0]), yaw=0.0) for x in (0.05, 3.05)])
    walk = Trajectory(np.array([stamp, stamp + 5.0]), poses, Intrinsics.from_fov(64, 48, 80.0))
    seen = first_seen(plan, walk, 2.0)
    row = seen[int(y / 0.1)]
    assert (row[:20] == stamp).all()
    assert (row[31:50] == stamp + 5.0).all()


def test_a_wall_hides_what_is_behind_it_until_somebody_goes_there() -> None:
    scene = flat()
    assert scene.plan is not None
    assert scene.trajectory is not None
    seen = first_seen(scene.plan, scene.trajectory, 10.0)
    assert seen[20, 20] == 0.0
    assert seen[38, 70] > 10.0  # beside the door, in the other room
    assert np.isfinite(seen).all()


def test_what_a_page_is_too_small_for_is_said() -> None:
    n = 5000
    graph = Graph(
        "big", "Big graph", ("",) * n, np.zeros((n, 3)), np.zeros(n), np.array([[0, n - 1], [0, 1]]), ("a", "b")
    )
    left_out: list[str] = []
    data = page_data(Scene("big", graphs=(graph,)), left_out)
    assert data["graphs"][0]["edges"] == [[0, 1, 0]]
    assert left_out == ["Big graph: the page draws 4,000 of 5,000 nodes and 1 of 2 edges."]


def test_cameras_that_cannot_be_are_not_drawn(memory: Memory) -> None:
    for damage in ({"fx": 10**400}, {"width": 0.5}, {"cy": 1e300}, {"fx": -1}, {"height": None}):
        store = RecordStore()
        (view,) = memory.store.read(Query(kind="view", k=1))
        payload = {"intrinsics": {**view.payload["intrinsics"], **damage}}
        store.write(replace(view, id=None, payload=payload))
        trajectory = scene_of(Memory(memory.layers, store=store)).trajectory
        assert trajectory is not None
        assert trajectory.intrinsics is None


def test_a_memory_without_anything_to_see_is_refused() -> None:
    with pytest.raises(InputError, match="nothing in this memory has a place"):
        scene_of(Memory([VoxelMap(0.1)]))


def test_a_map_as_large_as_a_country_gets_no_plan_instead_of_all_the_memory() -> None:
    voxels = VoxelMap(0.05)
    for x in (0.0, 30_000.0):
        voxels.integrate(np.array([[x + 1.0, x + 1.0, 0.5]]), np.array([x, x, 0.5]))
    scene = scene_of(Memory([voxels]))
    assert scene.plan is None
    assert "There is no floor plan: the map reaches over" in scene.left_out[0]
    assert scene.voxels is not None
    assert len(scene.voxels.centres) == 2
