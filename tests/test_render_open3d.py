"""Depth and semantics against Open3D's ray caster, on whole houses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from embmem.geometry import camera_pose
from embmem.observation import Intrinsics
from embmem.sim_envs.house import House, Mesh, build_mesh, make_house
from embmem.sim_envs.render import Renderer

open3d = pytest.importorskip(
    "open3d", reason="Open3D is the oracle here: pip install 'embmem[recon]'", exc_type=ImportError
)
K = Intrinsics.from_fov(160, 120, 79.0)


def raycaster(mesh: Mesh) -> Any:
    """Open3D's scene of a mesh."""
    scene = open3d.t.geometry.RaycastingScene(nthreads=1)
    scene.add_triangles(
        open3d.core.Tensor(mesh.vertices.astype(np.float32)), open3d.core.Tensor(mesh.triangles.astype(np.uint32))
    )
    return scene


def cast(scene: Any, T: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Planar depth and triangle of every pixel; rays are not normalised, so that their parameter is z."""
    v, u = np.mgrid[: K.height, : K.width]
    rays = np.stack([(u - K.cx) / K.fx, (v - K.cy) / K.fy, np.ones(u.shape)], axis=-1) @ T[:3, :3].T
    origins = np.broadcast_to(T[:3, 3], rays.shape)
    hits = scene.cast_rays(open3d.core.Tensor(np.concatenate([origins, rays], axis=-1).astype(np.float32)))
    return hits["t_hit"].numpy(), hits["primitive_ids"].numpy().astype(np.int64)


def faces(mesh: Mesh) -> np.ndarray:
    """(t,) number of the flat face (plane and instance) that each triangle belongs to."""
    a, b, c = np.moveaxis(mesh.vertices[mesh.triangles].astype(np.float64), 1, 0)
    n = np.cross(b - a, c - a)
    n /= np.linalg.norm(n, axis=1, keepdims=True)
    key = np.concatenate([n, np.sum(n * a, axis=1, keepdims=True)], axis=1).round(3) + 0.0
    _, face = np.unique(np.column_stack([key, mesh.instance, mesh.semantic]), axis=0, return_inverse=True)
    return face.ravel()


def poses(house: House, rng: np.random.Generator, n: int) -> list[np.ndarray]:
    """Cameras in free space, every third one 3 cm from a wall."""
    solid = house.solid_boxes()
    found: list[np.ndarray] = []
    while len(found) < n:
        room = house.rooms[rng.integers(len(house.rooms))]
        p = rng.uniform((room.x0, room.y0, 0.3), (room.x1, room.y1, 2.2))
        if len(found) % 3 == 0:
            p[0] = room.x0 + 0.03
        if not np.any(np.all((p > solid[:, :3] - 0.02) & (p < solid[:, 3:] + 0.02), axis=1)):
            found.append(camera_pose(p, rng.uniform(-np.pi, np.pi), rng.uniform(-0.6, 0.4)))
    return found


@pytest.mark.parametrize("seed", [11, 12, 13, 14])
def test_away_from_edges_depth_agrees_within_a_centimetre_and_semantics_agree(seed: int) -> None:
    house = make_house(seed)
    mesh = build_mesh(house)
    scene, face = raycaster(mesh), faces(mesh)
    rooms = np.array([(r.x0, r.y0, r.x1, r.y1) for r in house.rooms])
    doors = np.array([(d.x0, d.y0, d.x1, d.y1, d.room_a, d.room_b) for d in house.doors], dtype=np.float64)
    renderer = Renderer(mesh, rooms, doors)
    n_inside = n_pixels = n_labels = 0
    for T in poses(house, np.random.default_rng(seed), 12):
        frame = renderer.render(T, K)
        depth, triangle = cast(scene, T)
        assert np.isfinite(depth).all()
        on = face[triangle]
        inside = ndimage.minimum_filter(on, 3) == ndimage.maximum_filter(on, 3)
        assert np.abs(frame.depth - depth)[inside].max() < 0.01
        n_labels += np.count_nonzero((frame.semantic == mesh.semantic[triangle])[inside])
        assert np.mean((frame.instance == mesh.instance[triangle])[inside]) >= 0.999
        n_inside, n_pixels = n_inside + np.count_nonzero(inside), n_pixels + inside.size
    assert n_labels >= 0.999 * n_inside
    assert n_inside > 0.7 * n_pixels
