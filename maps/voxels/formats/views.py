"""The occupied voxels as a mesh, and as point cloud, voxel grid and mesh of Open3D.

The mesh is made of the faces between occupied voxels and all others, not of marching cubes: it is closed, it encloses
exactly the occupied volume, a one-voxel wall keeps its thickness, and it needs no further library.
"""

from __future__ import annotations

from typing import Any, no_type_check

import numpy as np
from jaxtyping import Float64, Int64
from numba import njit

from embmem.errors import import_extra
from embmem.maps.voxels import morton
from embmem.maps.voxels.blocks import SIDE, find, pack
from embmem.maps.voxels.cast import cell_index, list_voxels
from embmem.maps.voxels.voxel_map import VoxelMap

GREY = 0.5  # of voxels without a colour
_UPWARDS = np.array([(0, 0), (1, 0), (1, 1), (0, 1)])  # corners of a face, seen from the side that the axis points to
# (6, 4, 3): corners of the faces towards -x, +x, -y, +y, -z, +z, seen from outside anticlockwise
_CORNERS = np.stack(
    [
        np.insert(_UPWARDS if side else _UPWARDS[::-1], 0, side, axis=1)[
            :, np.argsort([axis, (axis + 1) % 3, (axis + 2) % 3])
        ]
        for axis in range(3)
        for side in (0, 1)
    ]
)


def to_mesh(voxels: VoxelMap) -> tuple[Float64[np.ndarray, "n 3"], Int64[np.ndarray, "m 3"]]:
    """(vertices [m], triangles) of the surface of the occupied voxels, normals outwards; the same on every call.

    Raises:
        ValueError: if the occupied voxels spread over more than 2^21 voxels along an axis.
    """
    pool = voxels.blocks
    occupied, _ = _occupied(voxels)
    quads = exposed_faces(pool.table, pool.keys, pool.cells, occupied, _CORNERS).reshape(-1, 3)
    corner = quads.min(axis=0) if len(quads) else np.zeros(3, dtype=np.int64)
    codes, index = np.unique(morton.encode(quads - corner), return_inverse=True)
    index = index.reshape(-1, 4)
    triangles = np.concatenate([index[:, :3], index[:, [0, 2, 3]]], axis=1).reshape(-1, 3)
    return (morton.decode(codes) + corner) * float(voxels.resolution), triangles


def to_open3d_points(voxels: VoxelMap) -> Any:
    """An `open3d.geometry.PointCloud` of the centres of the occupied voxels, coloured where the map keeps colours.

    Raises:
        MissingExtraError: if Open3D is not installed.
    """
    o3d = import_extra("open3d", "recon")
    occupied, rows = _occupied(voxels)
    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector((occupied + 0.5) * voxels.resolution))
    colour = voxels.blocks.channels.get("colour")  # mean r, g, b in 1/256 and the weight
    if colour is not None:
        mean = colour[rows, cell_index(*(occupied % SIDE).T)]
        rgb = np.where(mean[:, 3:] > 0, mean[:, :3] / (256.0 * 255.0), GREY)
        cloud.colors = o3d.utility.Vector3dVector(rgb)
    return cloud


def to_open3d_voxels(voxels: VoxelMap) -> Any:
    """An `open3d.geometry.VoxelGrid` of the occupied voxels, aligned with the map's.

    Raises:
        MissingExtraError: if Open3D is not installed.
        ValueError: if no voxel is occupied.
    """
    o3d = import_extra("open3d", "recon")
    cloud, edge = to_open3d_points(voxels), float(voxels.resolution)
    if cloud.is_empty():
        raise ValueError("the map has no occupied voxel")
    half = np.full(3, edge / 2)
    low, high = cloud.get_min_bound() - half, cloud.get_max_bound() + half
    return o3d.geometry.VoxelGrid.create_from_point_cloud_within_bounds(cloud, edge, low, high)


def to_open3d_mesh(voxels: VoxelMap) -> Any:
    """An `open3d.geometry.TriangleMesh` of `to_mesh`.

    Raises:
        MissingExtraError: if Open3D is not installed.
    """
    o3d = import_extra("open3d", "recon")
    vertices, triangles = to_mesh(voxels)
    mesh = o3d.geometry.TriangleMesh(
        o3d.utility.Vector3dVector(vertices), o3d.utility.Vector3iVector(triangles.astype(np.int32))
    )
    return mesh.compute_triangle_normals()


def _occupied(voxels: VoxelMap) -> tuple[np.ndarray, np.ndarray]:
    """((n, 3) occupied voxels, rows of their blocks), in Morton order of the blocks."""
    pool = voxels.blocks
    return list_voxels(pool.order(), pool.keys, pool.cells, 1, 127)


@no_type_check
@njit(cache=True)
def exposed_faces(table, keys, cells, occupied, corners):
    """(n, 4, 3) int64 corners, in voxels, of the faces of occupied voxels (n, 3) towards voxels that are not."""
    faces = np.empty((6 * len(occupied), 4, 3), dtype=np.int64)
    n = 0
    for i in range(len(occupied)):
        for side in range(6):
            voxel = occupied[i].copy()
            voxel[side // 2] += 2 * (side % 2) - 1
            x, y, z = voxel
            block = find(table, keys, pack(x // SIDE, y // SIDE, z // SIDE))
            if block < 0 or cells[block, cell_index(x, y, z)] <= 0:
                for k in range(4):
                    for axis in range(3):
                        faces[n, k, axis] = occupied[i, axis] + corners[side, k, axis]
                n += 1
    return faces[:n].copy()
