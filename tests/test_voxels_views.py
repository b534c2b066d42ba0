"""Meshes and Open3D views against volumes, trimesh and the voxels themselves."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from embmem.maps import VoxelMap
from embmem.maps.voxels.blocks import VOLUME, BlockPool, pack
from embmem.maps.voxels.formats.views import to_mesh, to_open3d_mesh, to_open3d_points, to_open3d_voxels

RES = 0.25
solids = arrays(np.bool_, (10, 9, 4), elements=st.booleans())


def map_of(solid: np.ndarray) -> VoxelMap:
    """A map whose first voxel is (-5, -4, -2); what is not solid is free."""
    voxels = VoxelMap(RES)
    cells = np.full((16, 16, 16), -128, dtype=np.int8)
    cells[3:13, 4:13, 6:10] = np.where(solid, 27, -13)
    blocks = cells.reshape(2, 8, 2, 8, 2, 8).transpose(0, 2, 4, 1, 3, 5).reshape(8, VOLUME)
    keys = np.array([pack(x - 1, y - 1, z - 1) for x, y, z in np.ndindex(2, 2, 2)])
    voxels.blocks = BlockPool.from_rows(keys, blocks, np.zeros(8))
    return voxels


@given(solids)
def test_the_mesh_is_closed_and_encloses_exactly_the_occupied_volume(solid: np.ndarray) -> None:
    vertices, triangles = to_mesh(map_of(solid))
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    volume = np.einsum("ij,ij->", a, np.cross(b, c)) / 6.0
    assert volume == pytest.approx(np.count_nonzero(solid) * RES**3)
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    there, n_there = np.unique(edges, axis=0, return_counts=True)
    back, n_back = np.unique(edges[:, ::-1], axis=0, return_counts=True)
    np.testing.assert_array_equal(there, back)
    np.testing.assert_array_equal(n_there, n_back)


@given(solids)
def test_the_mesh_has_two_triangles_for_every_exposed_face(solid: np.ndarray) -> None:
    vertices, triangles = to_mesh(map_of(solid))
    padded = np.pad(solid, 1).astype(int)
    n_faces = sum(int(np.abs(np.diff(padded, axis=axis)).sum()) for axis in range(3))
    assert len(triangles) == 2 * n_faces
    assert len(np.unique(vertices, axis=0)) == len(vertices)


def test_one_voxel_is_a_cube() -> None:
    solid = np.zeros((10, 9, 4), dtype=bool)
    solid[5, 4, 2] = True  # voxel (0, 0, 0)
    mesh = trimesh.Trimesh(*to_mesh(map_of(solid)), process=False)
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert mesh.volume == pytest.approx(RES**3)
    np.testing.assert_allclose(mesh.bounds, np.array([(0, 0, 0), (RES, RES, RES)]))


def test_an_empty_map_has_an_empty_mesh() -> None:
    vertices, triangles = to_mesh(VoxelMap(RES))
    assert vertices.shape == triangles.shape == (0, 3)


def test_open3d_gets_the_same_voxels() -> None:
    pytest.importorskip("open3d", reason="Open3D is not installed")
    solid = np.random.default_rng(0).random((10, 9, 4)) < 0.3
    voxels = map_of(solid)
    centres = voxels.occupied()
    cloud, grid, mesh = to_open3d_points(voxels), to_open3d_voxels(voxels), to_open3d_mesh(voxels)
    np.testing.assert_allclose(np.asarray(cloud.points), centres)
    assert not cloud.has_colors()
    found = np.array([grid.get_voxel_center_coordinate(voxel.grid_index) for voxel in grid.get_voxels()])
    assert {tuple(row) for row in np.round(found / RES, 6)} == {tuple(row) for row in np.round(centres / RES, 6)}
    assert all(grid.check_if_included(cloud.points))
    assert len(mesh.triangles) == len(to_mesh(voxels)[1])
    assert mesh.has_triangle_normals()


def test_colours_reach_the_point_cloud_and_voxels_without_one_are_grey() -> None:
    pytest.importorskip("open3d", reason="Open3D is not installed")
    solid = np.zeros((10, 9, 4), dtype=bool)
    solid[5, 4, 2] = solid[6, 4, 2] = True  # voxels (0, 0, 0) and (1, 0, 0)
    voxels = map_of(solid)
    channel = voxels.blocks.add_channel("colour", np.uint16, (4,))
    channel[7, 0] = (255 * 256, 0, 51 * 256, 3)
    np.testing.assert_allclose(np.asarray(to_open3d_points(voxels).colors), [[1.0, 0.0, 0.2], [0.5, 0.5, 0.5]])


def test_an_empty_map_has_no_voxel_grid() -> None:
    pytest.importorskip("open3d", reason="Open3D is not installed")
    with pytest.raises(ValueError, match="no occupied voxel"):
        to_open3d_voxels(VoxelMap(RES))
