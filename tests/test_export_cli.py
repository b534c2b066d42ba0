"""`embmem export`: every format of a memory, all or none of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from house_frames import house_frames

from embmem.cli import export
from embmem.cli.main import main
from embmem.maps import LandmarkGraph, VoxelMap, spatial_memory
from embmem.memory import Memory

NEEDED = ("skimage.measure", "rerun")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A house with things, landmarks and the way of the camera."""
    memory = spatial_memory(0.15, more=[LandmarkGraph(near=1.0)])
    for frame in house_frames(30, every=8, noisy=False):
        memory.observe(frame)
    path = tmp_path_factory.mktemp("house") / "house.embmem"
    memory.save(path)
    return path


def test_all_that_a_memory_has_is_written_and_told(
    house: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in NEEDED:
        pytest.importorskip(module)
    assert main(["export", str(house), f"{tmp_path}/out", "formats=[all]"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "map.ply", "mesh.ply", "mesh.glb", "points.glb", "map.pgm", "map.yaml", "map.png", "map.bt", "map.ot",
        "route_graph.geojson", "scene_graph.json", "landmarks.json", "dsg.json", "scene_graph.txt",
        "trajectory.tum", "trajectory.kitti", "trajectory.kitti.times", "map.rrd",
    }  # fmt: skip
    assert "left out annotated: this memory keeps no labels of places" in said
    for file in (tmp_path / "out").iterdir():
        assert file.stat().st_size > 0
        assert file.name in said
        assert f"{file.stat().st_size:,}" in said


def test_a_rerun_recording_opens(house: Path, tmp_path: Path) -> None:
    pytest.importorskip("rerun", reason="needs the extra `view`")
    from rerun.chunk import RrdReader  # type: ignore[import-not-found, unused-ignore]

    assert main(["export", str(house), f"{tmp_path}/out", "formats=[rrd]"]) == 0
    reader: Any = RrdReader(str(tmp_path / "out" / "map.rrd"))
    assert reader is not None
    assert (tmp_path / "out" / "map.rrd").read_bytes()[:3] == b"RRF"


def test_files_of_the_same_names_are_replaced_on_request_only(house: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "map.bt").write_text("old")
    (out / "mine.txt").write_text("mine")
    call = ["export", str(house), str(out), "formats=[bt,tum]"]
    assert main(call) == 1
    assert sorted(p.name for p in out.iterdir()) == ["map.bt", "mine.txt"]
    assert main([*call, "overwrite=true"]) == 0
    assert sorted(p.name for p in out.iterdir()) == ["map.bt", "mine.txt", "trajectory.tum"]
    assert (out / "map.bt").read_bytes().startswith(b"# Octomap")
    assert (out / "mine.txt").read_text() == "mine"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_folder_in_the_place_of_a_file_is_not_replaced(house: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "map.bt").mkdir(parents=True)
    assert main(["export", str(house), f"{tmp_path}/out", "formats=[tum,bt]", "overwrite=true"]) == 1
    assert [p.name for p in (tmp_path / "out").rglob("*")] == ["map.bt"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_one_format_that_fails_leaves_nothing(
    house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(folder: Path, work: Any) -> None:
        (folder / "half").write_text("half")
        raise OSError("disk full")

    monkeypatch.setitem(export.FORMATS, "kitti", export._Format(fail, ""))
    assert main(["export", str(house), f"{tmp_path}/out", "formats=[bt,kitti]"]) == 1
    assert "disk full" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        ("ply", "no occupied voxel"),
        ("ply_mesh", "no occupied voxel"),
        ("glb_points", "no occupied voxel"),
        ("route_graph", "needs landmarks with ways"),
        ("landmarks", "need a landmark graph"),
        ("scene_graph", "no scene graph yet"),
        ("annotated", "keeps no labels"),
        ("tum", "no view and no keyframe"),
        ("kitti", "no view and no keyframe"),
        ("map_server", "unknown everywhere"),
        ("rrd", "nothing in this memory has a place"),
    ],
)
def test_what_a_format_needs_is_told_in_a_sentence(
    tmp_path: Path, form: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Memory([VoxelMap(0.1)]).save(tmp_path / "empty.embmem")
    assert main(["export", f"{tmp_path}/empty.embmem", f"{tmp_path}/out", f"formats=[{form}]"]) == 1
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_modes_of_the_grid_and_the_frame_of_routes_are_settings(house: Path, tmp_path: Path) -> None:
    call = ["export", str(house), f"{tmp_path}/out", "formats=[map_server,route_graph]", "map_server.mode=scale"]
    assert main([*call, "route_graph.frame=level_2"]) == 0
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"map.yaml", "map_scale.png", "route_graph.geojson"}
    features = json.loads((tmp_path / "out" / "route_graph.geojson").read_text())["features"]
    assert features[0]["properties"]["frame"] == "level_2"
    assert main(["export", str(house), f"{tmp_path}/no", "formats=[stl]"]) == 1
