"""A Rerun recording says what the scene says: read back by Rerun's own reader and its own command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from house_frames import house_frames
from view_scene import HOSTILE, flat, thing

from embmem.errors import InputError, MissingExtraError, OutputExistsError
from embmem.maps import ObjectMemory, VoxelMap, spatial_memory
from embmem.maps.viewing import scene_of
from embmem.records import Query
from embmem.viewing import Scene, rerun_log
from embmem.viewing.rerun_log import TIMELINE, write_recording

pytest.importorskip("rerun", reason="needs the extra `view`")


def read(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Rows by entity path; a row holds the components by name, and the time by the name of the timeline."""
    from rerun.chunk import RrdReader

    rows: dict[str, list[dict[str, Any]]] = {}
    for chunk in RrdReader(path).stream():
        rows.setdefault(str(chunk.entity_path), []).extend(chunk.to_record_batch().to_pylist())
    return rows


def seconds(time: Any) -> float:
    """Of a duration or a date on the timeline."""
    return float(time.total_seconds() if hasattr(time, "total_seconds") else time.timestamp())


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    path = tmp_path_factory.mktemp("rerun") / "flat.rrd"
    write_recording(path, flat())
    return read(path)


def test_voxels_are_points_of_their_size(rows: dict[str, list[dict[str, Any]]]) -> None:
    (points,) = rows["/map/voxels"]
    np.testing.assert_allclose(points["Points3D:positions"], flat().voxels.centres, atol=1e-6)  # type: ignore[union-attr]
    assert points["Points3D:radii"] == pytest.approx([0.05])
    assert len(points["Points3D:colors"]) == 2


def test_the_camera_walks_along_the_timeline(rows: dict[str, list[dict[str, Any]]]) -> None:
    walk = flat().trajectory
    assert walk is not None
    moving = [row for row in rows["/map/camera"] if "Transform3D:translation" in row]
    assert [seconds(row[TIMELINE]) for row in moving] == pytest.approx(walk.stamps.tolist())
    positions = [row["Transform3D:translation"][0] for row in moving]
    np.testing.assert_allclose(positions, walk.T_map_camera[:, :3, 3], atol=1e-6)
    turned = np.array([row["Transform3D:mat3x3"][0] for row in moving]).reshape(-1, 3, 3)
    np.testing.assert_allclose(turned.transpose(0, 2, 1), walk.T_map_camera[:, :3, :3], atol=1e-6)  # columns first
    (pinhole,) = [row for row in rows["/map/camera"] if "Pinhole:resolution" in row]
    assert pinhole["Pinhole:resolution"] == [[64.0, 48.0]]
    (strip,) = rows["/map/path"][0]["LineStrips3D:strips"]
    np.testing.assert_allclose(strip, walk.T_map_camera[:, :3, 3], atol=1e-6)


def test_things_appear_when_they_were_first_seen_and_say_how_sure_they_are(
    rows: dict[str, list[dict[str, Any]]],
) -> None:
    things = {path: found for path, found in rows.items() if path.startswith("/map/things/")}
    assert len(things) == len(flat().things)
    first, last = things[r"/map/things/red\ mug/objects\ red\ mug"]
    assert [seconds(row[TIMELINE]) for row in (first, last)] == [60.0, 90.0]
    assert first["Boxes3D:labels"] == ["red mug"]
    assert last["Boxes3D:labels"] == ["red mug 90 %"]
    assert last["Boxes3D:half_sizes"] == [[0.25, 0.25, 0.25]]
    assert last["Boxes3D:centers"] == [[6.0, 1.0, 0.25]]
    assert last["confidence"] == [0.9]
    assert last["why"] == ["seen 3 times, missed 0 times"]
    kettle = things["/map/things/kettle/objects\\ kettle"][-1]
    assert kettle["facts"] == ["on the counter", "is empty"]
    chair = things["/map/things/chair/objects\\ chair"]
    places = [(seconds(row[TIMELINE]), row["Boxes3D:centers"][0][0]) for row in chair]
    assert places == [(10.0, 2.0), (70.0, 7.0), (90.0, 7.0)]


def test_graphs_have_nodes_edges_by_kind_and_a_diagram(rows: dict[str, list[dict[str, Any]]]) -> None:
    (nodes,) = rows["/map/graphs/landmarks/nodes"]
    assert nodes["Points3D:labels"] == ["door", "window", HOSTILE]
    loops, odometry = (rows[f"/map/graphs/pose_graph/edges/{kind}"][0] for kind in ("loop", "odometry"))
    assert loops["LineStrips3D:strips"] == [[[5.0, 2.0, 1.0], [1.0, 2.0, 1.0]]]
    assert len(odometry["LineStrips3D:strips"]) == 2
    diagram = {key: value for row in rows["/diagrams/landmarks"] for key, value in row.items()}
    assert diagram["GraphNodes:node_ids"] == ["0", "1", "2"]
    assert [(e["first"], e["second"]) for e in diagram["GraphEdges:edges"]] == [("0", "1"), ("0", "2")]


def test_rooms_are_closed_outlines_with_names(rows: dict[str, list[dict[str, Any]]]) -> None:
    (outlines,) = rows["/map/rooms/outlines"]
    assert [len(strip) for strip in outlines["LineStrips3D:strips"]] == [5, 5]
    assert all(strip[0] == strip[-1] for strip in outlines["LineStrips3D:strips"])
    assert rows["/map/rooms/names"][0]["Points3D:labels"] == ["kitchen", HOSTILE]


def test_a_recording_counts_what_the_memory_counts(tmp_path: Path) -> None:
    memory = spatial_memory(0.1, 5.0)
    for frame in house_frames(40):
        memory.observe(frame)
    scene = scene_of(memory)
    write_recording(tmp_path / "house.rrd", scene)
    rows = read(tmp_path / "house.rrd")
    assert len(rows["/map/voxels"][0]["Points3D:positions"]) == len(memory.layer(VoxelMap).occupied())
    assert sum(path.startswith("/map/things/") for path in rows) == len(memory.layer(ObjectMemory)) > 10
    views = memory.store.read(Query(kind="view", k=999))
    assert sum("Transform3D:translation" in row for row in rows["/map/camera"]) == len(views) > 10
    assert rows["/map/rooms/names"][0]["Points3D:labels"] == [room.name for room in scene.rooms]
    nodes, (graph,) = rows["/map/graphs/scene_graph/nodes"][0], scene.graphs
    assert len(nodes["Points3D:positions"]) == len(graph.labels)
    for kind in set(graph.edge_kinds):
        path = f"/map/graphs/scene_graph/edges/{kind}".replace(" ", "\\ ")
        assert len(rows[path][0]["LineStrips3D:strips"]) == graph.edge_kinds.count(kind)


def test_no_clock_but_that_of_the_memory_is_in_the_file(rows: dict[str, list[dict[str, Any]]]) -> None:
    names = {name for found in rows.values() for row in found for name in row if "time" in name.lower()}
    assert names == set()


def test_reruns_own_command_finds_nothing_wrong(tmp_path: Path) -> None:
    odd = thing("a/../b", 1.0, 1.0, first_seen=1.7e9, last_seen=1.7e9 + 9), thing("", 2.0, 2.0, id="")
    dated = Scene("dated", things=odd)
    for name, scene in (("flat", flat(title=HOSTILE)), ("dated", dated)):
        write_recording(tmp_path / f"{name}.rrd", scene)
        command = [str(Path(sys.executable).with_name("rerun")), "rrd", "verify", str(tmp_path / f"{name}.rrd")]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
    of_things = [row for path, found in read(tmp_path / "dated.rrd").items() if "things" in path for row in found]
    times = [seconds(row[TIMELINE]) for row in of_things]
    assert sorted(times)[-1] == pytest.approx(1.7e9 + 9)


def test_one_clock_counts_all_of_a_recording(tmp_path: Path) -> None:
    """A note without a date in a memory of dates, told after and before them."""
    for name, first, second in (("dated", 1.7e9, 5.0), ("undated", 5.0, 1.7e9)):
        things = (thing("a", 1.0, 1.0, first_seen=first, last_seen=first),
                  thing("b", 2.0, 2.0, first_seen=second, last_seen=second))  # fmt: skip
        write_recording(tmp_path / f"{name}.rrd", Scene(name, things=things))
        of_things = [row for path, found in read(tmp_path / f"{name}.rrd").items() if "things" in path for row in found]
        assert len({type(row[TIMELINE]) for row in of_things}) == 1
        assert sorted(seconds(row[TIMELINE]) for row in of_things) == pytest.approx([5.0, 1.7e9])


def test_a_file_that_is_there_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "flat.rrd"
    path.write_bytes(b"mine")
    with pytest.raises(OutputExistsError):
        write_recording(path, flat())
    assert path.read_bytes() == b"mine"
    assert [file.name for file in tmp_path.iterdir()] == ["flat.rrd"]


@pytest.mark.skipif("DISPLAY" in os.environ or "WAYLAND_DISPLAY" in os.environ, reason="would open a window")
def test_without_a_screen_the_viewer_says_what_to_do_instead() -> None:
    with pytest.raises(InputError, match=r"does not start here; write out=memory.html or out=memory.rrd"):
        rerun_log.show(flat())


def test_without_rerun_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rerun", None)
    with pytest.raises(MissingExtraError, match=r"embmem\[view\]"):
        write_recording(tmp_path / "flat.rrd", flat())
    with pytest.raises(MissingExtraError, match=r"embmem\[view\]"):
        rerun_log.show(flat())
