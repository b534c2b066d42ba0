"""The mesh of a house is closed, faces the right way and carries the right labels."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embmem.sim_envs.house import LABELS, OBJECTS, House, Mesh, build_mesh, make_house
from embmem.sim_envs.house.shapes import SHAPES, unit_shape


@cache
def built(seed: int, n_rooms: int) -> tuple[House, Mesh]:
    house = make_house(seed, n_rooms)
    return house, build_mesh(house)


seeds = st.integers(0, 5)
some = settings(max_examples=10)


def signed_volume(vertices: np.ndarray, triangles: np.ndarray) -> float:
    """Divergence theorem: the sum of the tetrahedra from the origin; positive for closed outward surfaces."""
    a, b, c = (vertices[triangles[:, i]].astype(np.float64) for i in range(3))
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6.0)


def is_closed(vertices: np.ndarray, triangles: np.ndarray) -> bool:
    """Every directed edge is met by as many of the opposite direction, corners within 1 mm being one."""
    _, corner = np.unique(np.rint(vertices * 1000).astype(np.int64), axis=0, return_inverse=True)
    t = corner.ravel()[triangles]
    edges = np.concatenate([t[:, [0, 1]], t[:, [1, 2]], t[:, [2, 0]]])
    there, back = (np.unique(e, axis=0, return_counts=True) for e in (edges, edges[:, ::-1]))
    return np.array_equal(there[0], back[0]) and np.array_equal(there[1], back[1])


def part_triangles(mesh: Mesh, part: int) -> np.ndarray:
    return mesh.triangles[mesh.part_start[part] : mesh.part_start[part + 1]]


@some
@given(seeds)
def test_rooms_and_doors_together_are_one_closed_surface_facing_inward(seed: int) -> None:
    house, mesh = built(seed, 3 + seed % 6)
    shell = mesh.triangles[: mesh.part_start[len(house.rooms) + len(house.doors)]]
    air = sum(room.area for room in house.rooms) * house.height
    air += sum((d.x1 - d.x0) * (d.y1 - d.y0) * 2.0 for d in house.doors)
    assert signed_volume(mesh.vertices, shell) == pytest.approx(-air, rel=1e-5)
    assert is_closed(mesh.vertices, shell)


@some
@given(seeds)
def test_furniture_is_closed_and_has_the_volume_of_its_boxes(seed: int) -> None:
    house, mesh = built(seed, 3 + seed % 6)
    first = len(house.rooms) + len(house.doors)
    for i, f in enumerate(house.furniture):
        triangles = part_triangles(mesh, first + i)
        volume = np.prod(f.boxes[:, 3:] - f.boxes[:, :3], axis=1).sum()
        assert signed_volume(mesh.vertices, triangles) == pytest.approx(volume, abs=1e-4)
        assert is_closed(mesh.vertices, triangles)
        assert set(mesh.instance[mesh.part_start[first + i] : mesh.part_start[first + i + 1]]) == {f.id}


@some
@given(seeds)
def test_objects_are_closed_and_fill_their_boxes(seed: int) -> None:
    house, mesh = built(seed, 3 + seed % 6)
    first = len(house.rooms) + len(house.doors) + len(house.furniture)
    for i, o in enumerate(house.objects):
        triangles = part_triangles(mesh, first + i)
        volume = signed_volume(mesh.vertices, triangles)
        assert 0.04 * np.prod(o.size) < volume < 1.001 * np.prod(o.size), o.category
        box, around = mesh.part_aabb[first + i], house.object_aabb(o)
        assert (box[:3] >= around[:3] - 1e-5).all(), o.category
        assert (box[3:] <= around[3:] + 1e-5).all(), o.category
        assert box[5] - box[2] == pytest.approx(o.size[2], abs=1e-5), o.category


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_shapes_are_closed_outward_and_fill_the_unit_cube(name: str) -> None:
    shape = unit_shape(name)
    assert signed_volume(shape.vertices, shape.triangles) > 0.02
    assert is_closed(shape.vertices, shape.triangles)
    assert shape.vertices.min(axis=0) == pytest.approx([-0.5, -0.5, 0.0], abs=0.21)
    assert shape.vertices.max(axis=0) == pytest.approx([0.5, 0.5, 1.0], abs=0.21)
    assert np.abs(shape.vertices[:, :2]).max() <= 0.5 + 1e-9
    assert shape.vertices[:, 2].min() == 0.0
    assert shape.vertices[:, 2].max() == 1.0
    assert len(shape.is_accent) == len(shape.triangles)


def test_an_unknown_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="tesseract"):
        unit_shape("tesseract")


@some
@given(seeds)
def test_triangles_carry_labels_and_lie_in_their_parts(seed: int) -> None:
    house, mesh = built(seed, 3 + seed % 6)
    n = len(mesh.triangles)
    assert mesh.part_start[0] == 0
    assert mesh.part_start[-1] == n
    assert (np.diff(mesh.part_start) > 0).all()
    for array in (mesh.colour, mesh.pattern, mesh.semantic, mesh.instance):
        assert len(array) == n
    categories = {f.id: f.category for f in house.furniture} | {o.id: o.category for o in house.objects}
    rooms = {f.id: f.room for f in house.furniture} | {o.id: o.room for o in house.objects}
    for part, (start, end) in enumerate(zip(mesh.part_start[:-1], mesh.part_start[1:], strict=True)):
        corners = mesh.vertices[mesh.triangles[start:end]].reshape(-1, 3)
        assert np.array_equal(np.concatenate([corners.min(axis=0), corners.max(axis=0)]), mesh.part_aabb[part])
        instance = int(mesh.instance[start])
        names = {LABELS[i] for i in mesh.semantic[start:end]}
        if instance:
            assert names == {categories[instance]}
            assert mesh.part_room[part] == rooms[instance]
        else:
            assert names <= {"wall", "floor", "ceiling", "door frame"}


def test_objects_have_the_colour_of_their_category() -> None:
    house, mesh = built(0, 6)
    for o in house.objects:
        colours = mesh.colour[mesh.instance == o.id]
        assert (colours == OBJECTS[o.category].colour).all(axis=1).any(), o.category


def test_the_same_house_gives_the_same_mesh() -> None:
    house, mesh = built(1, 6)
    again = build_mesh(house)
    for name in ("vertices", "triangles", "colour", "pattern", "semantic", "instance", "part_aabb"):
        assert getattr(mesh, name).tobytes() == getattr(again, name).tobytes(), name
