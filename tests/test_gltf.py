"""Exported houses open elsewhere and mean the same there."""

from __future__ import annotations

import csv
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embmem.cli.main import main
from embmem.errors import InputError, OutputExistsError
from embmem.exports.colours import to_linear, to_srgb
from embmem.sim_envs.house import LABELS, House, build_mesh, make_house
from embmem.sim_envs.house.export import export_house
from embmem.sim_envs.house.gltf import id_colours, write_gltf


@pytest.fixture(scope="module")
def house() -> House:
    return make_house(7, 4)


@pytest.fixture(scope="module")
def folder(house: House, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("house")
    write_gltf(house, folder / "home.glb")
    return folder


def reopened(path: Path) -> Any:  # trimesh.Scene
    import trimesh

    return trimesh.load(path)


def table(folder: Path) -> list[tuple[int, str, str, int]]:
    lines = (folder / "home.semantic.txt").read_text().splitlines()
    assert lines[0] == "HM3D Semantic Annotations"
    return [(int(i), colour, name, int(region)) for i, colour, name, region in csv.reader(lines[1:])]


@pytest.mark.parametrize("name", ["home.glb", "home.semantic.glb"])
def test_a_house_reopens_with_the_same_triangles_and_y_up(house: House, folder: Path, name: str) -> None:
    mesh, scene = build_mesh(house), reopened(folder / name)
    assert sum(len(g.faces) for g in scene.geometry.values()) == len(mesh.triangles)
    assert len(scene.geometry) == len(mesh.part_room)
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    assert scene.bounds[0] == pytest.approx([low[0], low[2], -high[1]], abs=1e-5)
    assert scene.bounds[1] == pytest.approx([high[0], high[2], -low[1]], abs=1e-5)


def test_nodes_stay_right_handed_and_outward(house: House, folder: Path) -> None:
    scene = reopened(folder / "home.glb")
    for f in house.furniture:
        piece = scene.geometry[f"{f.category}_{f.id}".replace(" ", "_")]
        volume = np.prod(f.boxes[:, 3:] - f.boxes[:, :3], axis=1).sum()
        assert piece.volume == pytest.approx(volume, abs=1e-4)


def test_the_table_lists_every_piece_with_its_room(house: House, folder: Path) -> None:
    rows = {i: (name, region) for i, _, name, region in table(folder)}
    assert len(rows) == len(table(folder))
    items = [(f.id, f.category, f.room) for f in house.furniture] + [(o.id, o.category, o.room) for o in house.objects]
    for i, category, room in items:
        assert rows[i] == (category, room)
    floors = [region for name, region in rows.values() if name == "floor"]
    assert set(floors) == {room.id for room in house.rooms}
    assert {name for name, _ in rows.values()} <= set(LABELS)


def test_semantic_colours_look_up_in_the_table_as_habitat_reads_them(house: House, folder: Path) -> None:
    """Vertex colours are linear; converted to sRGB bytes they are the keys of the table, and no two rows share one."""
    by_colour = {colour: name for _, colour, name, _ in table(folder)}
    assert len(by_colour) == len(table(folder))
    scene = reopened(folder / "home.semantic.glb")
    for f in house.furniture:
        piece = scene.geometry[f"{f.category}_{f.id}".replace(" ", "_")]
        colours = np.asarray(piece.visual.vertex_attributes["color"])
        assert (colours == colours[0]).all()
        srgb = np.rint(to_srgb(colours[0, :3] / 255.0) * 255.0).astype(int)
        assert by_colour["{:02X}{:02X}{:02X}".format(*srgb)] == f.category


@given(st.lists(st.integers(1, 50_000), min_size=2, max_size=40, unique=True))
def test_every_id_has_its_own_colour(ids: list[int]) -> None:
    for colours in id_colours(np.array(ids)):
        assert len({tuple(colour) for colour in colours.tolist()}) == len(ids)


@given(st.floats(0, 1))
def test_srgb_and_linear_light_are_inverse(value: float) -> None:
    there = to_linear(np.array([value]))
    assert to_srgb(there)[0] == pytest.approx(value, abs=1e-4)
    assert to_srgb(np.array([0.5]))[0] == pytest.approx(0.7353569, abs=1e-6)  # IEC 61966-2-1


def test_materials_are_not_metal(folder: Path) -> None:
    data = (folder / "home.glb").read_bytes()
    length = struct.unpack_from("<I", data, 12)[0]
    tree = json.loads(data[20 : 20 + length])
    assert tree["materials"][0]["pbrMetallicRoughness"]["metallicFactor"] == 0.0
    assert all(p["material"] == 0 for mesh in tree["meshes"] for p in mesh["primitives"])


def test_the_same_house_gives_the_same_files(house: House, folder: Path, tmp_path: Path) -> None:
    for path in write_gltf(house, tmp_path / "home.glb"):
        assert path.read_bytes() == (folder / path.name).read_bytes()


def test_nothing_is_overwritten_unasked(house: House, tmp_path: Path) -> None:
    (tmp_path / "home.semantic.txt").write_text("mine")
    with pytest.raises(OutputExistsError, match="overwrite"):
        write_gltf(house, tmp_path / "home.glb")
    assert [p.name for p in tmp_path.iterdir()] == ["home.semantic.txt"]
    write_gltf(house, tmp_path / "home.glb", overwrite=True)
    assert (tmp_path / "home.semantic.txt").read_text().startswith("HM3D")


def test_wrong_outputs_are_refused(house: House, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.glb"):
        write_gltf(house, tmp_path / "home.obj")
    with pytest.raises(InputError, match="nowhere"):
        export_house(1, 4, tmp_path / "nowhere" / "home.glb")


def test_the_command_writes_four_files_and_then_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = ["house", "seed=3", "n_rooms=3", f"out={tmp_path}/h.glb"]
    assert main(call) == 0
    assert "3 rooms" in capsys.readouterr().out
    assert {p.name for p in tmp_path.iterdir()} == {"h.glb", "h.semantic.glb", "h.semantic.txt", "h.png"}
    assert (tmp_path / "h.png").read_bytes()[:4] == b"\x89PNG"
    assert main(call) == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("override", ["n_rooms=2", "seed=-1", "n_rooms=many", "out=house.obj", "colour=red"])
def test_the_command_refuses_nonsense_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], override: str
) -> None:
    assert main(["house", f"out={tmp_path}/h.glb", override]) != 0
    assert capsys.readouterr().err.count("\n") == 1
    assert not list(tmp_path.iterdir())
