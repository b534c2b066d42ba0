"""The octree over the voxels against the voxels themselves."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voxel_worlds import RES, dictionary, random_map, seeds

from embmem.maps import VoxelMap
from embmem.maps.voxels import levels
from embmem.maps.voxels.blocks import BlockPool, pack

HALF = 1 << 23  # voxels from the lowest corner of the root to the origin


def grouped(voxels: VoxelMap, depth: int) -> dict[tuple[int, ...], list[int]]:
    """The bytes of the known voxels by the node of a level that they lie in."""
    groups = defaultdict(list)
    for voxel, value in dictionary(voxels).items():
        groups[tuple((x + HALF) >> depth for x in voxel)].append(value)
    return groups


@given(seeds, st.integers(0, levels.ROOT_LEVEL))
def test_nodes_hold_the_counts_and_bounds_of_their_voxels(seed: int, depth: int) -> None:
    voxels = random_map(seed)
    found, expected = levels.level(voxels, depth), grouped(voxels, depth)
    assert sorted(tuple(node) for node in found.nodes.tolist()) == sorted(expected)
    for i, node in enumerate(found.nodes.tolist()):
        values = np.array(expected[tuple(node)])
        assert (found.min_log_odds[i] * 32, found.max_log_odds[i] * 32) == (values.min(), values.max())
        assert (found.n_occupied[i], found.n_free[i]) == ((values > 0).sum(), (values <= 0).sum())
        assert found.n_unknown()[i] == pytest.approx(8**depth - len(values))
        assert found.edge == RES * 2**depth
        np.testing.assert_allclose(found.centres[i], (np.array(node) + 0.5) * found.edge - HALF * RES)


@given(seeds, st.integers(0, levels.ROOT_LEVEL - 1))
def test_bounds_of_a_node_contain_those_of_its_children_which_follow_each_other(seed: int, depth: int) -> None:
    voxels = random_map(seed)
    children, parents = levels.level(voxels, depth), levels.level(voxels, depth + 1)
    of_parent = {tuple(node): i for i, node in enumerate(parents.nodes.tolist())}
    rows = np.array([of_parent[tuple(node)] for node in (children.nodes >> 1).tolist()], dtype=int)
    assert (np.diff(rows) >= 0).all()
    assert (parents.min_log_odds[rows] <= children.min_log_odds).all()
    assert (parents.max_log_odds[rows] >= children.max_log_odds).all()
    for of_children, of_parents in (
        (children.n_occupied, parents.n_occupied), (children.n_free, parents.n_free),
    ):  # fmt: skip
        assert np.bincount(rows, of_children, len(parents.nodes)).tolist() == of_parents.tolist()


@given(seeds, st.integers(0, levels.ROOT_LEVEL))
def test_bounds_at_points_are_those_of_the_nodes_around_them(seed: int, depth: int) -> None:
    voxels, rng = random_map(seed), np.random.default_rng(seed)
    groups = grouped(voxels, depth)
    points = rng.uniform(-9, 9, (60, 3))
    low, high = levels.log_odds_bounds(voxels, np.concatenate([points, [[np.nan, 0, 0], [0, 1e12, 0]]]), depth)
    for point, a, b in zip(points, low, high, strict=False):
        values = groups.get(tuple(((np.floor(point / RES).astype(int) + HALF) >> depth).tolist()))
        np.testing.assert_array_equal([a * 32, b * 32], [np.nan] * 2 if values is None else [min(values), max(values)])
    assert np.isnan(low[-2:]).all()
    assert np.isnan(high[-2:]).all()


@given(seeds, st.integers(0, 6), st.integers(0, 6))
@settings(max_examples=60)
def test_leaves_hold_every_voxel_once_and_no_eight_of_them_could_be_one(seed: int, a: int, b: int) -> None:
    finest, coarsest = min(a, b), max(a, b)
    voxels = random_map(seed, 25, reach=1)
    leaves = levels.octree(voxels, finest=finest, coarsest=coarsest)
    assert ((finest <= leaves.levels) & (leaves.levels <= coarsest)).all()
    at_finest = {node: max(values) for node, values in grouped(voxels, finest).items()}
    covered = {}
    siblings = defaultdict(list)
    for depth, centre, value in zip(leaves.levels.tolist(), leaves.centres, leaves.log_odds * 32, strict=True):
        corner = np.round(centre / RES - 2.0**depth / 2).astype(int) + HALF
        siblings[depth, tuple((corner >> (depth + 1)).tolist())].append((corner, value))
        side = range(1 << (depth - finest))
        for x, y, z in ((x, y, z) for x in side for y in side for z in side):
            node = tuple(((corner >> finest) + [x, y, z]).tolist())
            assert node not in covered
            covered[node] = value
    assert covered == at_finest
    model = dictionary(voxels)
    for (depth, _), group in siblings.items():
        if depth < coarsest and len(group) == 8 and len({value for _, value in group}) == 1:
            side = range(1 << depth)
            voxels_of = [tuple((c - HALF + np.array((x, y, z))).tolist()) for c, _ in group for x in side for y in side
                         for z in side]  # fmt: skip
            assert len({model.get(voxel) for voxel in voxels_of}) > 1


def test_eight_full_blocks_of_one_value_are_one_leaf() -> None:
    voxels = VoxelMap(0.1)
    keys = np.array([pack(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)])
    voxels.blocks = BlockPool.from_rows(keys, np.full((8, 512), 112, dtype=np.int8), np.zeros(8))
    leaves = levels.octree(voxels)
    assert leaves.levels.tolist() == [4]
    np.testing.assert_allclose(leaves.centres, [[0.8, 0.8, 0.8]])
    assert leaves.edges.tolist() == [1.6]
    assert leaves.log_odds.tolist() == [3.5]
    assert levels.octree(voxels, coarsest=3).levels.tolist() == [3] * 8


def test_an_empty_map_has_no_nodes_and_no_leaves() -> None:
    for depth in (0, 3, levels.ROOT_LEVEL):
        assert len(levels.level(VoxelMap(), depth).nodes) == 0
        assert np.isnan(levels.log_odds_bounds(VoxelMap(), np.zeros((1, 3)), depth)).all()
    assert len(levels.octree(VoxelMap()).levels) == 0


@pytest.mark.parametrize("depth", [-1, 25])
def test_levels_that_do_not_exist_are_refused(depth: int) -> None:
    with pytest.raises(ValueError, match=str(depth)):
        levels.level(VoxelMap(), depth)
    with pytest.raises(ValueError, match=str(depth)):
        levels.log_odds_bounds(VoxelMap(), np.zeros((1, 3)), depth)
    with pytest.raises(ValueError, match=str(depth)):
        levels.octree(VoxelMap(), finest=depth)
    with pytest.raises(ValueError, match="finest <= coarsest"):
        levels.octree(VoxelMap(), finest=3, coarsest=2)
