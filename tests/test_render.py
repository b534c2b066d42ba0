"""The renderer against a brute-force ray caster, closed forms and itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from embmem.geometry import backproject, camera_pose, project
from embmem.observation import Intrinsics
from embmem.sim_envs.house import Mesh, build_mesh, make_house
from embmem.sim_envs.render import Frame, Renderer
from embmem.sim_envs.render.cull import visible_parts
from embmem.sim_envs.render.scene import make_camera

SMALL = Intrinsics(24, 18, 15.0, 14.0, 11.3, 8.9)  # neither square pixels nor a centred principal point
ROOM = (0.0, 0.0, 0.0, 5.0, 4.0, 2.5)
BOX_FACES = np.array(
    [
        *([0, 2, 1], [0, 3, 2], [4, 5, 6], [4, 6, 7], [0, 1, 5], [0, 5, 4]),
        *([1, 2, 6], [1, 6, 5], [2, 3, 7], [2, 7, 6], [3, 0, 4], [3, 4, 7]),
    ]
)


def soup(corners: np.ndarray, *, instance: np.ndarray | None = None) -> Mesh:
    """Loose triangles (t, 3, 3), each a part of its own; triangle i has instance i + 1 and semantic 100 + i."""
    n = len(corners)
    number = np.arange(1, n + 1, dtype=np.int32)
    return Mesh(
        vertices=corners.reshape(-1, 3).astype(np.float32),
        triangles=np.arange(3 * n, dtype=np.int32).reshape(n, 3),
        colour=np.full((n, 3), 200, dtype=np.uint8),
        pattern=(number % 4).astype(np.uint8),
        semantic=99 + number,
        instance=number if instance is None else instance.astype(np.int32),
        part_start=np.arange(n + 1, dtype=np.int32),
        part_aabb=np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1).astype(np.float32),
        part_room=np.full(n, -1, dtype=np.int32),
    )


def box(x0: float, y0: float, z0: float, x1: float, y1: float, z1: float) -> np.ndarray:
    """The twelve triangles of a box, facing outward."""
    x, y, z = (x0, x1), (y0, y1), (z0, z1)
    order = ((0, 0), (1, 0), (1, 1), (0, 1))
    vertices = np.array([(x[i], y[j], z[k]) for k in (0, 1) for i, j in order])
    return vertices[BOX_FACES]


def room(x0: float, y0: float, z0: float, x1: float, y1: float, z1: float) -> np.ndarray:
    """The twelve triangles of a box, facing inward."""
    return box(x0, y0, z0, x1, y1, z1)[:, ::-1]


def brute_force(
    corners: np.ndarray, T_map_camera: np.ndarray, k: Intrinsics
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Depth and triangle of every pixel by testing every ray with every triangle (Moller and Trumbore, 1997).

    The third image tells where the answer is clear-cut: no triangle's border, and no second surface, is close by.
    """
    v, u = np.mgrid[: k.height, : k.width]
    rays = np.stack([(u - k.cx) / k.fx, (v - k.cy) / k.fy, np.ones_like(u, dtype=float)], axis=-1)
    rays = (rays @ T_map_camera[:3, :3].T).reshape(-1, 1, 3)
    a, e, f = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    offset = T_map_camera[:3, 3] - a
    normal = np.cross(e, f)
    facing = -np.sum(rays * normal, axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.sum(offset * normal, axis=-1) / facing
        across = np.cross(offset, rays)
        p, q = np.sum(f * across, axis=-1) / facing, -np.sum(e * across, axis=-1) / facing
        margin = np.minimum(np.minimum(p, q), 1.0 - p - q)
        hit = (facing > 0) & (z > 0.001) & (margin > 0)
        z = np.where(hit, z, np.inf)
        slant = np.abs(facing) / (np.linalg.norm(normal, axis=-1) * np.linalg.norm(rays, axis=-1))
        unclear = (np.abs(margin) < 1e-2) | ~(slant > 1e-3)
    nearest = np.sort(z, axis=1)
    has_rival = nearest[:, 1:2] < nearest[:, :1] + 1e-3
    clear = ~unclear.any(axis=1) & ~has_rival.any(axis=1)
    depth = np.where(np.isfinite(nearest[:, 0]), nearest[:, 0], np.nan)
    triangle = np.where(np.isfinite(depth), np.argmin(z, axis=1), -1)
    shape = (k.height, k.width)
    return depth.reshape(shape), triangle.reshape(shape), clear.reshape(shape)


def same(a: Frame, b: Frame) -> bool:
    """Whether two frames agree in every byte."""
    assert a.rgb is not None
    assert b.rgb is not None
    pairs = ((a.depth, b.depth), (a.semantic, b.semantic), (a.instance, b.instance), (a.rgb, b.rgb))
    return all(x.tobytes() == y.tobytes() for x, y in pairs)


def house_renderers(seed: int, n_rooms: int) -> tuple[Renderer, Renderer]:
    """One renderer that culls by rooms and doors, and one that does not."""
    house = make_house(seed, n_rooms)
    rooms = np.array([(r.x0, r.y0, r.x1, r.y1) for r in house.rooms])
    doors = np.array([(d.x0, d.y0, d.x1, d.y1, d.room_a, d.room_b) for d in house.doors], dtype=np.float64)
    mesh = build_mesh(house)
    return Renderer(mesh, rooms, doors), Renderer(mesh)


def house_poses(seed: int, n: int) -> list[np.ndarray]:
    """Cameras all over a house, also inside walls, doors and furniture, but not within 1 mm of a wall."""
    rng = np.random.default_rng(seed)
    x0, y0, x1, y1 = make_house(seed, 6).bounds()
    positions = rng.uniform((x0, y0, 0.1), (x1, y1, 2.4), size=(n, 3))
    positions[:, :2] = positions[:, :2].round(1) + 0.003  # walls stand on whole decimetres
    return [camera_pose(p, rng.uniform(-np.pi, np.pi), rng.uniform(-0.7, 0.5)) for p in positions]


@given(seed=st.integers(0, 10**6), n=st.integers(1, 12), size=st.floats(0.1, 6.0))
def test_agrees_with_brute_force_on_loose_triangles_all_around_the_camera(seed: int, n: int, size: float) -> None:
    rng = np.random.default_rng(seed)
    corners = rng.uniform(-3, 3, (n, 1, 3)) + rng.uniform(-size, size, (n, 3, 3))
    corners = corners.astype(np.float32).astype(np.float64)
    T = camera_pose(rng.uniform(-1, 1, 3), rng.uniform(-np.pi, np.pi), rng.uniform(-1.2, 1.2))
    depth, triangle, clear = brute_force(corners, T, SMALL)
    frame = Renderer(soup(corners)).render(T, SMALL)
    assume(clear.any())
    assert np.array_equal(frame.instance[clear], triangle[clear] + 1)
    assert np.array_equal(frame.semantic[clear], np.where(triangle >= 0, triangle + 100, 0)[clear])
    assert np.allclose(frame.depth[clear], depth[clear], rtol=1e-5, atol=1e-4, equal_nan=True)


@given(seed=st.integers(0, 10**6))
@example(seed=0)
def test_a_closed_room_has_no_cracks(seed: int) -> None:
    rng = np.random.default_rng(seed)
    position = rng.uniform((0.02, 0.02, 0.02), (4.98, 3.98, 2.48))
    yaw = rng.integers(-4, 5) * np.pi / 4 if seed % 2 else rng.uniform(-np.pi, np.pi)
    pitch = 0.0 if seed % 3 else rng.uniform(-1.5, 1.5)
    T = camera_pose(position, yaw, pitch)
    intrinsics = Intrinsics.from_fov(64, 48, rng.uniform(40, 130))
    frame = Renderer(soup(room(*ROOM))).render(T, intrinsics)
    assert np.isfinite(frame.depth).all()
    points = backproject(frame.depth, intrinsics).reshape(-1, 3) @ T[:3, :3].T + T[:3, 3]
    low, high = np.array(ROOM[:3]), np.array(ROOM[3:])
    to_surface = np.minimum(np.abs(points - low), np.abs(points - high)).min(axis=1)
    assert to_surface.max() < 1e-3
    assert np.all((points > low - 1e-3) & (points < high + 1e-3))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_culling_by_rooms_and_doors_changes_no_pixel(seed: int) -> None:
    culled, plain = house_renderers(seed, 6)
    intrinsics = Intrinsics.from_fov(96, 72, 79.0)
    assert all(same(culled.render(T, intrinsics), plain.render(T, intrinsics)) for T in house_poses(seed, 60))


def test_culling_leaves_out_most_of_a_large_house() -> None:
    culled, plain = house_renderers(4, 12)
    first = make_house(4, 12).rooms[0]
    centre = np.array([(first.x0 + first.x1) / 2, (first.y0 + first.y1) / 2, 1.2])
    for yaw in np.linspace(0, 2 * np.pi, 8):
        camera = make_camera(camera_pose(centre, float(yaw)), Intrinsics.from_fov(64, 48, 79.0))
        n_culled = len(visible_parts(culled._scene, culled._portals, camera))
        n_plain = len(visible_parts(plain._scene, plain._portals, camera))
        assert 0 < n_culled < 0.5 * len(plain._scene.part_room)
        assert n_culled <= n_plain


def test_the_same_pose_gives_the_same_bytes_whatever_was_drawn_before() -> None:
    first, _ = house_renderers(5, 4)
    second, _ = house_renderers(5, 4)
    poses = house_poses(5, 5)
    intrinsics = Intrinsics.from_fov(96, 72, 79.0)
    forward = [first.render(T, intrinsics) for T in poses]
    first.render(poses[0], SMALL)
    backward = [second.render(T, intrinsics) for T in reversed(poses)][::-1]
    assert all(same(a, b) for a, b in zip(forward, backward, strict=True))


def test_a_wall_at_two_metres_has_planar_depth_two() -> None:
    """The camera looks along +y at the wall y = 3 from y = 1; depth is z, not the length of the ray."""
    frame = Renderer(soup(room(*ROOM))).render(camera_pose(np.array([2.5, 1.0, 1.25]), np.pi / 2), SMALL)
    assert frame.depth[9, 11] == pytest.approx(3.0, abs=1e-5)
    assert frame.depth[9, 9] == pytest.approx(frame.depth[9, 13], abs=1e-5)


def test_a_box_covers_exactly_the_pixels_whose_centres_its_projection_holds() -> None:
    """A box straight ahead shows only its front face, a rectangle whose corners `project` gives."""
    k = Intrinsics(64, 48, 60.0, 50.0, 31.5, 23.5)
    T = camera_pose(np.array([0.0, 0.0, 1.0]), 0.0)
    frame = Renderer(soup(box(2.0, -0.51, 0.72, 3.0, 0.31, 1.21), instance=np.full(12, 7))).render(T, k)
    left_top, right_bottom = np.array([[-0.31, -0.21, 2.0]]), np.array([[0.51, 0.28, 2.0]])
    (u0, v0), (u1, v1) = project(left_top, k)[0], project(right_bottom, k)[0]
    v, u = np.mgrid[:48, :64]
    inside = (u >= u0) & (u < u1) & (v >= v0) & (v < v1)
    assert np.array_equal(frame.instance == 7, inside)
    assert np.allclose(frame.depth[inside], 2.0)


def test_where_nothing_is_hit_depth_is_nan_and_the_ids_are_zero() -> None:
    frame = Renderer(soup(box(2.0, -0.51, 0.72, 3.0, 0.31, 1.21))).render(camera_pose(np.zeros(3), np.pi), SMALL)
    assert np.isnan(frame.depth).all()
    assert not frame.semantic.any()
    assert not frame.instance.any()
    assert frame.rgb is not None
    assert len(np.unique(frame.rgb)) == 1


def test_an_empty_scene_renders() -> None:
    frame = Renderer(soup(np.empty((0, 3, 3)))).render(np.eye(4), SMALL)
    assert np.isnan(frame.depth).all()


def test_faces_are_seen_from_one_side_only() -> None:
    inside = camera_pose(np.array([2.5, 2.0, 1.0]), 0.3)
    assert np.isnan(Renderer(soup(box(*ROOM))).render(inside, SMALL).depth).all()


def test_without_rgb_the_geometry_is_the_same() -> None:
    renderer, _ = house_renderers(6, 3)
    T = house_poses(6, 1)[0]
    full, bare = renderer.render(T, SMALL), renderer.render(T, SMALL, rgb=False)
    assert bare.rgb is None
    assert same(full, replace(bare, rgb=full.rgb))


def test_a_surface_keeps_its_pattern_when_the_camera_moves() -> None:
    """Seen from the same distance, a point of the floor has the same colour wherever it is on the image."""
    renderer = Renderer(soup(room(*ROOM)))
    k = Intrinsics(65, 65, 200.0, 200.0, 32.0, 32.0)
    down = np.diag([1.0, -1.0, -1.0, 1.0])  # looks straight down, image columns along +x
    images = []
    for x in (2.0, 2.0 + 10 * 1.5 / 200.0):  # ten pixels to the right, from 1.5 m
        T = down.copy()
        T[:3, 3] = (x, 2.0, 1.5)
        rgb = renderer.render(T, k).rgb
        assert rgb is not None
        images.append(rgb.astype(int))
    assert images[0].std() > 1.0
    difference = np.abs(images[0][:, 10:] - images[1][:, :-10])
    assert np.mean(difference == 0) > 0.98  # texels may flip where a pixel centre lies on their border


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"part_start": np.array([0, 1], dtype=np.int32)}, "part_start"),
        ({"pattern": np.full(12, 9, dtype=np.uint8)}, "pattern 9"),
    ],
)
def test_a_broken_mesh_is_refused(change: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Renderer(replace(soup(room(*ROOM)), **change))


def test_a_door_to_nowhere_is_refused() -> None:
    with pytest.raises(ValueError, match="doors name rooms"):
        Renderer(soup(room(*ROOM)), np.array([ROOM[:2] + ROOM[3:5]]), np.array([[1.0, 4.0, 2.0, 4.1, 0.0, 1.0]]))
