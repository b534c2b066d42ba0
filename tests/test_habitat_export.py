"""Houses exported for Habitat, opened by independent readers: the same triangles, colours and free floor as ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from heightfields import free_floor, in_habitat, read_glb
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from embmem.agent import Body
from embmem.cli.main import main
from embmem.errors import InputError
from embmem.exports.colours import to_srgb
from embmem.sim_envs.habitat.frames import from_habitat, to_habitat
from embmem.sim_envs.habitat.navmesh_settings import NavMeshSettings, house_settings
from embmem.sim_envs.habitat.scene_files import DATASET, ensure_scene, navmesh_path, stage_path
from embmem.sim_envs.house import LABELS, House, build_mesh, make_house, night
from embmem.sim_envs.house.gltf import gltf_paths, id_colours, region_ids
from embmem.sim_envs.navmesh import NavMesh

BODY = Body()


@pytest.fixture(scope="module")
def house() -> House:
    return make_house(7, 4)


@pytest.fixture(scope="module")
def glb(house: House, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ensure_scene(house, tmp_path_factory.mktemp("scenes"), BODY)


def stage_of(glb: Path) -> dict[str, Any]:
    stage: dict[str, Any] = json.loads(stage_path(glb).read_text())
    return stage


def test_every_file_that_habitat_looks_for_is_there(glb: Path) -> None:
    """A bare .glb is z-up for Habitat unless <name>.stage_config.json lies beside it, so that name matters."""
    stage = stage_of(glb)
    assert stage_path(glb).name == glb.name.removesuffix(".glb") + ".stage_config.json"
    for key in ("render_asset", "semantic_asset", "semantic_descriptor_filename"):
        assert (glb.parent / stage[key]).is_file()
    dataset = json.loads((glb.parent / DATASET).read_text())
    (folder,) = dataset["stages"]["paths"][".json"]
    assert stage_path(glb) in list((glb.parent / folder).glob("*.stage_config.json"))


def test_two_readers_see_the_house_where_our_episodes_are(house: House, glb: Path) -> None:
    """pygltflib and trimesh, turned as Habitat turns the stage, give the map's points in Habitat's frame."""
    import trimesh

    mesh, stage = build_mesh(house), stage_of(glb)
    expected = to_habitat(mesh.vertices[mesh.triangles].astype(float))
    corners = in_habitat(np.concatenate([c for c, _ in read_glb(str(glb))]).astype(float), stage)
    np.testing.assert_allclose(corners, expected, atol=1e-5)
    scene: Any = trimesh.load(glb)
    other = np.concatenate([g.vertices[g.faces] for g in scene.geometry.values()])
    np.testing.assert_allclose(in_habitat(other, stage), expected, atol=1e-5)


def test_semantic_colours_decode_to_the_table_as_habitat_reads_both(house: House, glb: Path) -> None:
    """Habitat's rule for the table splits at quotes; vertex colours are linear light, matched as sRGB bytes."""
    _, semantic_mesh, table = gltf_paths(glb)
    header, *lines = table.read_text().splitlines()
    assert "HM3D Semantic Annotations" in header
    by_colour: dict[int, tuple[int, str]] = {}
    for line in lines:
        front, name, region = line.split('"')
        number, colour = front.strip(",").split(",")
        assert int(region.strip(" ,")) in {room.id for room in house.rooms}
        by_colour[int(colour, 16)] = (int(number), name)
    assert len(by_colour) == len(lines)
    assert 0 not in by_colour  # black is Habitat's unknown
    mesh = build_mesh(house)
    stored = np.concatenate([c for _, c in read_glb(str(semantic_mesh))])
    assert (stored == stored[:, :1]).all()  # one colour a triangle
    red, green, blue = np.rint(to_srgb(stored[:, 0, :3] / np.float32(255)) * 255).astype(int).T
    found = [by_colour[int(c)] for c in red << 16 | green << 8 | blue]
    assert [i for i, _ in found] == region_ids(house, mesh).tolist()
    assert [name for _, name in found] == [LABELS[i] for i in mesh.semantic]


def test_no_colour_is_near_a_rounding_edge() -> None:
    """Bytes are found by rounding in float32 there; no level lies within 0.001 of a half."""
    linear, _ = id_colours(np.arange(1, 64**3))
    levels = to_srgb(np.unique(linear) / 255.0) * 255.0
    assert (np.abs(levels % 1.0 - 0.5) > 1e-3).all()


def test_the_free_floor_of_the_files_is_ours(house: House, glb: Path) -> None:
    """By a height field of the exported triangles and settings: they differ along edges only, and all is connected."""
    settings = json.loads(navmesh_path(glb).read_text())
    corners = in_habitat(np.concatenate([c for c, _ in read_glb(str(glb))]).astype(float), stage_of(glb))
    theirs, centres = free_floor(corners, settings)
    places = from_habitat(np.stack([centres[..., 0], np.zeros(theirs.shape), centres[..., 1]], axis=-1))[..., :2]
    mesh = NavMesh(house.obstacles(), np.array(house.bounds()), BODY.radius)
    ours = mesh.is_free(places.reshape(-1, 2)).reshape(theirs.shape)
    cell = settings["cellSize"]
    deep = ndimage.distance_transform_edt(ours) * cell
    assert theirs[deep > 2.1 * cell].all()
    # Outside ours by no more than a square body's corners and a cell (the height field's body is round).
    assert not theirs[ndimage.distance_transform_edt(~ours) * cell > (2**0.5 - 1) * BODY.radius + 2 * cell].any()
    assert (ours & theirs).sum() / (ours | theirs).sum() > 0.93
    parts, _ = ndimage.label(theirs)
    assert len(np.unique(parts[deep > 2.1 * cell])) == 1


def test_a_night_gives_another_file_and_the_same_house_the_same(house: House, glb: Path, tmp_path: Path) -> None:
    later, _ = night(house, np.random.default_rng(3))
    assert ensure_scene(later, tmp_path, BODY).name != glb.name
    again = ensure_scene(house, tmp_path, BODY)
    assert again.name == glb.name
    assert again.read_bytes() == glb.read_bytes()
    stamp = again.stat().st_mtime_ns
    assert ensure_scene(house, tmp_path, BODY).stat().st_mtime_ns == stamp


def test_scenes_need_a_folder(house: House, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="file"):
        ensure_scene(house, tmp_path / "file", BODY)


numbers = st.floats(0.01, 50)


@given(st.fixed_dictionaries({"cell_size": numbers, "agent_radius": numbers, "filter_ledge_spans": st.booleans()}))
def test_settings_survive_their_file(values: dict[str, Any]) -> None:
    from tempfile import TemporaryDirectory

    settings = NavMeshSettings(**values)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.navmesh_settings.json"
        path.write_text(settings.to_json())
        assert NavMeshSettings.read(path) == settings
    assert "cellSize" in settings.to_json()


def test_settings_round_to_the_cells_that_are_meant() -> None:
    """Recast rounds the radius up and the climb down in float32: 0.18 of 0.03 must be six cells, not seven."""
    settings = house_settings(Body(radius=0.18, height=0.88))
    assert np.ceil(np.float32(settings.agent_radius) / np.float32(settings.cell_size)) == 6
    assert np.ceil(np.float32(settings.agent_height) / np.float32(settings.cell_height)) == 44


@pytest.mark.parametrize("text", ["{", "[]", '{"cellSize": -1}', '{"cellSize": "small"}', '{"cellSize": 0}'])
def test_foreign_settings_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"bad\.json"):
        NavMeshSettings.read(path)
    with pytest.raises(InputError, match="none"):
        NavMeshSettings.read(tmp_path / "none.json")


def test_the_command_writes_both_formats_and_refuses_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = ["house", "seed=3", "n_rooms=3", f"out={tmp_path}/h.glb", "formats=[gltf,habitat]"]
    assert main(call) == 0
    names = {"h.glb", "h.semantic.glb", "h.semantic.txt", "h.png", "h.stage_config.json", "h.navmesh_settings.json"}
    assert {p.name for p in tmp_path.iterdir()} == {*names, DATASET}
    assert "h.stage_config.json" in capsys.readouterr().out
    assert main([*call[:3], f"out={tmp_path}/other.glb", "formats=usd"]) != 0
    assert "usd" in capsys.readouterr().err
    assert len(list(tmp_path.iterdir())) == 7
