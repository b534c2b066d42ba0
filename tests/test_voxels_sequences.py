"""The voxel map as a plain dictionary through random lives: seen, saved, opened, merged, cropped, moved, asked."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from embmem.maps import VoxelMap
from embmem.maps.voxels.euclidean import EuclideanField
from embmem.maps.voxels.formats.files import open_voxels, read_voxels, write_voxels
from embmem.maps.voxels.merge import crop, merge, transform

RES = 0.25
HIT, MISS, LOW, HIGH = 27, -13, -64, 112
Voxel = tuple[int, int, int]
Model = dict[Voxel, int]
coordinate = st.integers(-11, 11)
rays = st.lists(st.tuples(coordinate, st.integers(0, 2)), min_size=1, max_size=6)  # (where it ends, along which axis)


def centre(voxel: Voxel) -> np.ndarray:
    return (np.array(voxel) + 0.5) * RES


def integrate(voxels: VoxelMap, model: Model, origin: Voxel, ends: list[tuple[int, int]]) -> None:
    """One frame of rays along the axes, between centres: no edge is grazed, so that all integers are certain."""
    hits: set[Voxel] = set()
    free: set[Voxel] = set()
    points = []
    for place, axis in ends:
        x, y, z = (place if axis == i else origin[i] for i in range(3))
        points.append(centre((x, y, z)))
        if (x, y, z) == origin:
            continue  # a point at its own origin is skipped
        hits.add((x, y, z))
        step = 1 if place > origin[axis] else -1
        for between in range(origin[axis], place, step):
            u, v, w = (between if axis == i else origin[i] for i in range(3))
            free.add((u, v, w))
    voxels.integrate(np.array(points), centre(origin), stamp=1.0)
    for voxel in hits | free:
        change = HIT if voxel in hits else MISS
        model[voxel] = min(max(model.get(voxel, 0) + change, LOW), HIGH)


class Life(RuleBasedStateMachine):
    """Every rule does the same to the map and to the dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.voxels, self.model = VoxelMap(RES, max_range=10.0), dict[Voxel, int]()
        self.field = EuclideanField(self.voxels, 1.0)
        self.folder = tempfile.TemporaryDirectory()

    def teardown(self) -> None:
        self.folder.cleanup()

    def replace(self, voxels: VoxelMap) -> None:
        self.voxels = self.field.voxels = voxels

    @rule(origin=st.tuples(coordinate, coordinate, coordinate), ends=rays)
    def see(self, origin: Voxel, ends: list[tuple[int, int]]) -> None:
        integrate(self.voxels, self.model, origin, ends)

    @rule()
    def save_and_load(self) -> None:
        self.replace(VoxelMap.load(self.voxels.save()))

    @rule(compressed=st.booleans(), mapped=st.booleans())
    def write_and_open(self, compressed: bool, mapped: bool) -> None:
        path = Path(self.folder.name) / "map.safetensors"  # perhaps the one that is mapped
        write_voxels(path, self.voxels, compressed=compressed, overwrite=True)
        self.replace((open_voxels if mapped else read_voxels)(path))

    @rule(origin=st.tuples(coordinate, coordinate, coordinate), ends=rays, times=st.integers(1, 4))
    def merge_with_another(self, origin: Voxel, ends: list[tuple[int, int]], times: int) -> None:
        other, theirs = VoxelMap(RES, max_range=10.0), dict[Voxel, int]()
        for _ in range(times):
            integrate(other, theirs, origin, ends)
        self.replace(merge(self.voxels, other))
        for voxel, value in theirs.items():
            self.model[voxel] = min(max(self.model.get(voxel, 0) + value, LOW), HIGH)

    @rule(low=st.tuples(coordinate, coordinate, coordinate))
    def keep_a_part(self, low: Voxel) -> None:
        self.replace(crop(self.voxels, np.array(low) * RES, np.full(3, np.inf)))
        self.model = {v: value for v, value in self.model.items() if all(a >= b for a, b in zip(v, low, strict=True))}

    @rule(shift=st.tuples(coordinate, coordinate, coordinate))
    def turn_and_shift(self, shift: Voxel) -> None:
        T = np.eye(4)
        T[:3, :3], T[:3, 3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]], np.array(shift) * RES
        self.replace(transform(self.voxels, T))
        a, b, c = shift
        self.model = {(-y - 1 + a, x + b, z + c): value for (x, y, z), value in self.model.items()}

    @invariant()
    def knows_what_the_dictionary_knows(self) -> None:
        known = np.concatenate([self.voxels.occupied(), self.voxels.free()])
        voxels = [(x, y, z) for x, y, z in np.floor(known / RES).astype(int).tolist()]
        odds = np.round(self.voxels.log_odds(known) * 32).astype(int).tolist()
        assert dict(zip(voxels, odds, strict=True)) == self.model

    @invariant()
    def the_field_is_that_of_the_occupied_voxels(self) -> None:
        self.field.update()
        solid = np.array([v for v, value in self.model.items() if value > 0]).reshape(-1, 3)
        asked = np.random.default_rng(len(self.model)).integers(-14, 15, (50, 3))
        gaps = np.linalg.norm(asked[:, None] - solid, axis=2).min(axis=1, initial=np.inf)
        distances = self.field.distance((asked + 0.5) * RES)
        np.testing.assert_allclose(np.maximum(distances, 0.0), np.where(gaps * RES <= 1.0, gaps * RES, 1.0))


Life.TestCase.settings = settings(max_examples=25, stateful_step_count=12, deadline=None)
TestLife = Life.TestCase
