"""Surfaces by marching cubes, and what other libraries read of them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from embmem.errors import InputError, MissingExtraError
from embmem.exports import surface
from embmem.exports.colours import to_srgb
from embmem.exports.gltf import T_GLTF_MAP, write_glb_mesh, write_glb_points
from embmem.exports.ply import write_ply_mesh
from embmem.exports.surface import Surface, surface_of
from embmem.maps import VoxelMap
from embmem.maps.voxels.blocks import SIDE, UNKNOWN, VOLUME, BlockPool, pack

measure = pytest.importorskip("skimage.measure", reason="needs the extra `mesh`")
EDGE = 0.5
# Bytes of log-odds: unknown, free, about even on both sides, occupied.
worlds = arrays(
    np.int8, st.tuples(*[st.integers(1, 5)] * 3), elements=st.sampled_from([UNKNOWN, -64, -1, 0, 1, 40, 112])
)
corners = st.tuples(*[st.integers(-9, 9)] * 3)


def map_of(bytes_: np.ndarray, corner: tuple[int, int, int] = (0, 0, 0)) -> VoxelMap:
    """A map with these bytes from the voxel `corner` on."""
    at = np.argwhere(np.ones(bytes_.shape, dtype=bool)) + corner
    blocks, inverse = np.unique(at // SIDE, axis=0, return_inverse=True)
    cells = np.full((len(blocks), VOLUME), UNKNOWN, dtype=np.int8)
    x, y, z = (at % SIDE).T
    cells[inverse.reshape(-1), (x * SIDE + y) * SIDE + z] = bytes_.ravel()
    voxels = VoxelMap(EDGE)
    voxels.blocks = BlockPool.from_rows(pack(*blocks.T), cells, np.zeros(len(blocks)))
    return voxels


def triangles_of(mesh: Surface) -> set[tuple[tuple[float, ...], ...]]:
    """Triangles as rounded points, each from its least corner on."""
    found = set()
    for rows in np.round(mesh.vertices[mesh.triangles], 5).tolist():
        first = rows.index(min(rows))
        found.add(tuple(tuple(rows[(first + k) % 3]) for k in range(3)))
    return found


@settings(max_examples=15)
@given(bytes_=worlds, corner=corners, side=st.sampled_from([2, 3, 7]))
def test_tiles_of_any_size_make_the_surface_that_the_library_makes_of_the_whole(
    bytes_: np.ndarray, corner: tuple[int, int, int], side: int
) -> None:
    voxels = map_of(bytes_, corner)
    if not len(voxels.occupied()):
        with pytest.raises(InputError, match="no occupied voxel"):
            surface_of(voxels)
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(surface, "SIDE", side)
        mesh = surface_of(voxels)
    dense = np.pad(np.where(bytes_ == UNKNOWN, -2.0, bytes_ / 32.0), 2, constant_values=-2.0)
    vertices, triangles, _, _ = measure.marching_cubes(
        np.clip(dense, -4, 4).astype(np.float32), 1 / 64, gradient_direction="ascent"
    )
    whole = Surface((vertices.astype(float) - 2 + corner + 0.5) * EDGE, triangles.astype(np.int64), mesh.colours)
    assert triangles_of(mesh) == triangles_of(whole)
    solid: Any = trimesh.Trimesh(mesh.vertices, mesh.triangles, process=False)
    assert solid.is_watertight
    assert solid.is_winding_consistent
    assert solid.volume > 0  # normals outwards


@given(bytes_=worlds)
def test_every_vertex_lies_between_an_occupied_voxel_and_another(bytes_: np.ndarray) -> None:
    voxels = map_of(bytes_)
    if not len(voxels.occupied()):
        return
    at = surface_of(voxels).vertices / EDGE - 0.5
    beside = np.abs(at - np.rint(at)) > 1e-4
    single = at[beside.sum(axis=1) == 1]  # the few others lie in the middle of a cube
    assert len(single)
    odds = [voxels.log_odds((end(single) + 0.5) * EDGE) for end in (_below, _above)]
    is_occupied = [np.nan_to_num(value, nan=-2.0) > 0 for value in odds]
    assert (is_occupied[0] != is_occupied[1]).all()


def _below(at: np.ndarray) -> np.ndarray:
    return np.floor(at + 1e-4)


def _above(at: np.ndarray) -> np.ndarray:
    return np.ceil(at - 1e-4)


def box() -> VoxelMap:
    """A box of 2 x 3 x 4 voxels in free space, from (1, 1, 1)."""
    bytes_ = np.full((4, 5, 6), -64, dtype=np.int8)
    bytes_[1:3, 1:4, 1:5] = 64
    return map_of(bytes_)


def test_a_box_of_even_odds_has_its_own_extent_and_about_its_volume() -> None:
    mesh = surface_of(box())
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    np.testing.assert_allclose([low, high], [[0.5, 0.5, 0.5], [1.5, 2.0, 2.5]], atol=0.01)
    solid: Any = trimesh.Trimesh(mesh.vertices, mesh.triangles, process=False)
    assert 0.7 * 24 * EDGE**3 < solid.volume < 24 * EDGE**3  # marching cubes cuts edges and corners


def test_vertices_are_painted_like_the_nearest_voxel() -> None:
    voxels = box()

    def red_below(occupancy: Any, centres: np.ndarray) -> np.ndarray:
        assert set(map(tuple, centres)) <= set(map(tuple, occupancy.occupied()))
        return np.where(centres[:, 2:] < 1.5, [[255, 0, 0]], [[0, 0, 255]]).astype(np.uint8)

    mesh = surface_of(voxels, red_below)
    assert (mesh.colours[mesh.vertices[:, 2] < 1.4] == [255, 0, 0]).all()
    assert (mesh.colours[mesh.vertices[:, 2] > 1.6] == [0, 0, 255]).all()


def test_open3d_and_trimesh_open_the_meshes(tmp_path: Path) -> None:
    mesh = surface_of(box())
    write_ply_mesh(tmp_path / "mesh.ply", mesh)
    write_glb_mesh(tmp_path / "mesh.glb", mesh)
    ply: Any = trimesh.load(tmp_path / "mesh.ply", process=False)
    np.testing.assert_allclose(ply.vertices, mesh.vertices, atol=1e-6)
    np.testing.assert_array_equal(ply.faces, mesh.triangles)
    np.testing.assert_array_equal(np.asarray(ply.visual.vertex_colors)[:, :3], mesh.colours[:, :3])
    glb: Any = trimesh.load(tmp_path / "mesh.glb", process=False)
    (there,) = glb.geometry.values()
    np.testing.assert_allclose(there.vertices @ T_GLTF_MAP[:3, :3], mesh.vertices, atol=1e-6)
    linear = np.asarray(there.visual.vertex_colors if there.visual.kind == "vertex" else _colours_in(tmp_path), float)
    # 256 levels of linear light tell dark colours apart by up to 13 of sRGB.
    np.testing.assert_allclose(to_srgb(linear[:, :3] / 255.0) * 255.0, mesh.colours[:, :3], atol=13)
    o3d = pytest.importorskip("open3d", reason="needs the extra `recon`")
    theirs = o3d.io.read_triangle_mesh(str(tmp_path / "mesh.ply"))
    assert len(theirs.vertices) == len(mesh.vertices)
    assert theirs.is_watertight()
    assert len(o3d.io.read_triangle_mesh(str(tmp_path / "mesh.glb")).triangles) == len(mesh.triangles)


def _colours_in(folder: Path) -> np.ndarray:
    """COLOR_0 of the only primitive, read without trimesh."""
    head, binary = chunks(folder / "mesh.glb")
    accessor = head["accessors"][head["meshes"][0]["primitives"][0]["attributes"]["COLOR_0"]]
    view = head["bufferViews"][accessor["bufferView"]]
    start = view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
    return np.frombuffer(binary, np.uint8, accessor["count"] * 4, start).reshape(-1, 4)


def chunks(path: Path) -> tuple[Any, bytes]:
    """The JSON and the binary chunk of a .glb (glTF 2.0, 4.4)."""
    import json
    import struct

    data = path.read_bytes()
    magic, version, length = struct.unpack_from("<4sII", data)
    assert (magic, version, length) == (b"glTF", 2, len(data))
    n, kind = struct.unpack_from("<I4s", data, 12)
    assert kind == b"JSON"
    return json.loads(data[20 : 20 + n]), data[28 + n :]


def test_a_glb_has_its_highest_point_on_positive_y_and_a_rough_material(tmp_path: Path) -> None:
    points = np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 0.0]])
    write_glb_points(tmp_path / "points.glb", points)
    head, _ = chunks(tmp_path / "points.glb")
    (primitive,) = head["meshes"][0]["primitives"]
    assert primitive["mode"] == 0  # points
    assert head["materials"][primitive["material"]]["pbrMetallicRoughness"]["metallicFactor"] == 0.0
    accessor = head["accessors"][primitive["attributes"]["POSITION"]]
    assert accessor["max"] == [1.0, 3.0, -2.0]
    assert accessor["min"] == [1.0, 0.0, -2.0]
    with pytest.raises(ValueError, match="no occupied voxel"):
        write_glb_points(tmp_path / "none.glb", np.empty((0, 3)))


def test_without_scikit_image_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage.measure", None)
    with pytest.raises(MissingExtraError, match=r"embmem\[mesh\]"):
        surface_of(box())
