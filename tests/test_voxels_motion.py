"""Removal, crumbs and changes against brute force over every voxel, and worked scenes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from embmem.errors import InputError
from embmem.geometry import camera_pose, invert_pose, pixel_rays, project, transform_points
from embmem.maps import Removal, VoxelMap
from embmem.maps.voxels.motion.changes import change_rate, changes
from embmem.maps.voxels.motion.crumbs import remove_crumbs
from embmem.observation import Intrinsics, Observation
from embmem.protocols import Layer
from embmem.records import Query
from embmem.testing import LayerContract, wall_ahead

K = Intrinsics.from_fov(24, 18, 79.0)
BENT = replace(K, distortion=(-0.2, 0.05, 0.01, -0.02, 0.01))
PLACE = np.array([[1.83, 0.0, 1.0]])  # on the thing of `wall_ahead(distance=2.02)`
solids = arrays(np.bool_, st.tuples(*[st.integers(1, 14)] * 3), elements=st.booleans())


class TestForgettingVoxelMapContract(LayerContract):
    @pytest.fixture
    def layer(self) -> Layer:
        return VoxelMap(0.1, removal=Removal(z_max=2.2, margin=0.07), track_changes=True)


def key(points: np.ndarray, resolution: float) -> set[tuple[int, ...]]:
    return {tuple(p) for p in np.floor(points / resolution).astype(int).tolist()}


def with_occupied(voxels: np.ndarray, resolution: float) -> VoxelMap:
    """A map in which exactly these voxels are occupied; each is seen from its own inside."""
    result = VoxelMap(resolution)
    for block in np.unique(voxels // 8, axis=0):
        centres = (voxels[(voxels // 8 == block).all(axis=1)] + 0.5) * resolution
        for centre in centres:
            result.integrate(centre[None], centre + 0.2 * resolution)
    return result


def random_view(seed: int, resolution: float, k: Intrinsics) -> tuple[VoxelMap, Observation]:
    """A map of random solid voxels around a camera that measures random depth with holes."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(-3.0, 3.0, (600, 3))
    voxels = VoxelMap(resolution)
    for chunk in np.split(points, 20):
        voxels.integrate(chunk, chunk[0])
    depth = rng.uniform(0.2, 4.0, (K.height, K.width)).astype(np.float32)
    depth[rng.random(depth.shape) < 0.2] = rng.choice([np.nan, 0.0, -1.0, np.inf])
    pose = camera_pose(rng.uniform(-1, 1, 3), rng.uniform(-3, 3), rng.uniform(-1, 1))
    return voxels, Observation(1.0, pose, k, depth=depth)


@pytest.mark.parametrize("k", [K, BENT], ids=["straight", "distorted"])
@given(st.integers(0, 2**31), st.sampled_from([0.05, 0.13, 0.3]), st.floats(0.5, 4.0), st.floats(0.0, 0.3))
@settings(max_examples=25)
def test_removal_equals_the_rule_on_every_voxel(
    k: Intrinsics, seed: int, resolution: float, z_max: float, margin: float
) -> None:
    voxels, observation = random_view(seed, resolution, k)
    depth = observation.depth
    assert depth is not None
    centres = voxels.occupied()
    in_camera = transform_points(invert_pose(observation.T_map_camera), centres)
    # beyond the corners of the image a lens polynomial folds back into it
    radius = np.linalg.norm(in_camera[:, :2], axis=1) / np.maximum(in_camera[:, 2], 1e-9)
    corner = np.linalg.norm(pixel_rays(k)[..., :2], axis=-1).max()
    is_seen = radius < corner * 1.1 if k.distortion else radius < np.inf
    pixel = np.where(is_seen[:, None], np.nan_to_num(project(in_camera, k), nan=-9.0), -9.0)
    u, v = np.floor(pixel + 0.5).astype(int).T
    z = in_camera[:, 2]
    is_in = (u >= 0) & (u < K.width) & (v >= 0) & (v < K.height) & (z > 0.01) & (z <= z_max)
    measured = np.where(is_in, depth[np.where(is_in, v, 0), np.where(is_in, u, 0)], np.nan)
    is_removed = (measured > 0) & np.isfinite(measured) & ~(measured < z - margin)
    near = (np.abs(z - z_max) < 1e-9) | ((np.abs(radius / corner - 1.0) < 0.15) & bool(k.distortion))
    near |= (np.abs(pixel + 0.5 - np.round(pixel + 0.5)) < 1e-9).any(axis=1) | (np.abs(measured - z + margin) < 1e-9)
    free = key(voxels.free(), resolution)
    n = Removal(z_max, margin).apply(voxels.blocks, resolution, observation)
    left = key(voxels.occupied(), resolution)
    assert n == len(centres) - len(left)
    assert left ^ key(centres[~is_removed], resolution) <= key(centres[near], resolution)
    assert key(voxels.free(), resolution) == free
    assert np.isnan(voxels.log_odds(centres[is_removed & ~near])).all()


def test_removed_voxels_lose_their_channels_and_their_blocks_are_new() -> None:
    voxels = VoxelMap(0.05)
    voxels.observe(wall_ahead(0.0, distance=2.02))
    colour = voxels.blocks.add_channel("colour", np.uint8, (3,))
    colour[: voxels.blocks.n] = 7
    before, revision = voxels.blocks.cells[: voxels.blocks.n] > 0, voxels.blocks.revision
    assert Removal().apply(voxels.blocks, 0.05, wall_ahead(1.0, distance=2.02)) == before.sum()
    assert (colour[: voxels.blocks.n][before] == 0).all()
    assert (colour[: voxels.blocks.n][~before] == 7).all()
    assert voxels.blocks.revision == revision + 1
    changed = voxels.blocks.revisions[: voxels.blocks.n] == revision + 1
    np.testing.assert_array_equal(changed, before.any(axis=1))


def test_nothing_in_view_changes_nothing() -> None:
    voxels = VoxelMap(0.05)
    voxels.observe(wall_ahead(0.0))
    revision = voxels.blocks.revision
    assert Removal().apply(voxels.blocks, 0.05, wall_ahead(1.0, yaw=np.pi)) == 0
    assert Removal().apply(voxels.blocks, 0.05, replace(wall_ahead(1.0), depth=None)) == 0
    assert Removal(z_max=1.0).apply(voxels.blocks, 0.05, wall_ahead(1.0)) == 0
    assert voxels.blocks.revision == revision


def test_a_thing_that_left_is_gone_after_one_look_and_what_an_occluder_hides_stays() -> None:
    voxels = VoxelMap(0.05, removal=Removal())
    for stamp in range(10):
        voxels.observe(wall_ahead(float(stamp), distance=2.02))
    gone = replace(wall_ahead(10.0), depth=np.full((24, 32), 2.02, dtype=np.float32))
    hidden = replace(wall_ahead(10.0), depth=np.full((24, 32), 1.0, dtype=np.float32))
    voxels.observe(hidden)
    assert voxels.log_odds(PLACE)[0] > 0
    voxels.observe(gone)
    assert not voxels.log_odds(PLACE)[0] > 0


def test_looking_again_at_what_stays_keeps_the_map() -> None:
    once, often = VoxelMap(0.05), VoxelMap(0.05, removal=Removal())
    once.observe(wall_ahead(0.0))
    for stamp in range(5):
        often.observe(wall_ahead(float(stamp)))
    np.testing.assert_array_equal(often.occupied(), once.occupied())


def test_removal_is_saved_with_the_map_and_checked() -> None:
    state = VoxelMap(0.1, removal=Removal(1.5, 0.2)).save()
    assert VoxelMap.load(state).removal == Removal(1.5, 0.2)
    assert VoxelMap.load(VoxelMap(0.1).save()).removal is None
    for removal in ("all", {"z_max": 1.5}, {"z_max": -1.0, "margin": 0.1}, {"z_max": True, "margin": 0.1}):
        with pytest.raises(InputError):
            VoxelMap.load(replace(state, params={**state.params, "removal": removal}))


@pytest.mark.parametrize(("z_max", "margin"), [(0.0, 0.1), (np.inf, 0.1), (2.5, -0.1), (2.5, np.nan)])
def test_a_senseless_removal_is_refused(z_max: float, margin: float) -> None:
    with pytest.raises(ValueError, match="need"):
        Removal(z_max, margin)


def dbscan_noise(points: np.ndarray, eps: float, min_points: int) -> np.ndarray:
    """Noise of DBSCAN (Ester et al. 1996), clusters grown point by point as in the paper."""
    near = np.linalg.norm(points[:, None] - points[None], axis=2) <= eps
    label = np.full(len(points), -1)
    for start in range(len(points)):
        if label[start] >= 0 or near[start].sum() < min_points:
            continue
        queue = [start]
        while queue:
            i = queue.pop()
            if label[i] >= 0:
                continue
            label[i] = start
            if near[i].sum() >= min_points:
                queue += np.flatnonzero(near[i]).tolist()
    return label < 0


@given(st.integers(0, 2**31), st.sampled_from([1.0, 2.0, 2.5, 4.0, 9.0]), st.integers(1, 12), st.integers(1, 120))
@settings(max_examples=25)
def test_crumbs_are_the_noise_of_dbscan(seed: int, eps: float, min_points: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    found = np.unique(rng.integers(-12, 12, (n, 3)), axis=0)
    voxels = with_occupied(found, 1.0)
    is_noise = dbscan_noise(found.astype(float), eps, min_points)
    assert remove_crumbs(voxels, eps, min_points) == is_noise.sum()
    assert key(voxels.occupied(), 1.0) == {tuple(p) for p in found[~is_noise].tolist()}


def test_crumbs_of_a_wall_are_only_what_lies_apart() -> None:
    voxels = VoxelMap(0.05)
    y, z = np.meshgrid(np.arange(-1, 1, 0.03), np.arange(0, 1, 0.03))
    wall = np.stack([np.full(y.size, 1.52), y.ravel(), z.ravel()], axis=1)
    crumb = np.array([[0.9, 0.0, 0.5], [0.95, 0.05, 0.5]])
    voxels.integrate(wall, np.array([0.0, 0.0, 0.5]))
    voxels.integrate(crumb, np.array([0.85, 0.0, 0.5]))
    n = len(voxels.occupied())
    assert remove_crumbs(voxels) == 2
    assert len(voxels.occupied()) == n - 2
    assert np.isnan(voxels.log_odds(crumb)).all()
    assert remove_crumbs(voxels) == 0
    with pytest.raises(ValueError, match="eps"):
        remove_crumbs(voxels, 0.5)


class FlipModel:
    """Flips of every voxel in a dictionary, from the state of the map after each frame."""

    def __init__(self) -> None:
        self.state: dict[tuple[int, ...], bool] = {}
        self.flips: dict[tuple[int, ...], int] = {}
        self.last: dict[tuple[int, ...], float] = {}
        self.first: dict[tuple[int, ...], float] = {}

    def note(self, voxels: VoxelMap, stamp: float) -> None:
        known = np.concatenate([voxels.occupied(), voxels.free()])
        odds = voxels.log_odds(known)
        for is_sure, solid in ((odds >= 27 / 32, True), (odds <= -2.0, False)):
            for voxel in key(known[is_sure], voxels.resolution):
                self.first.setdefault(voxel, stamp)
                if self.state.get(voxel, solid) != solid:
                    self.flips[voxel] = self.flips.get(voxel, 0) + 1
                    self.last[voxel] = stamp
                self.state[voxel] = solid


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0.5, 9.0)), min_size=1, max_size=6), st.booleans())
@settings(max_examples=12)
def test_changes_match_a_dictionary_of_every_voxel(frames: list[tuple[int, float]], with_removal: bool) -> None:
    voxels = VoxelMap(0.1, track_changes=True, removal=Removal() if with_removal else None)
    plain = VoxelMap(0.1, removal=Removal() if with_removal else None)
    model, stamp = FlipModel(), 1000.0
    for thing, wait in [frame for frame in frames for _ in range(6)]:
        frame = wall_ahead(stamp, distance=2.02)
        depth = np.full((24, 32), 2.02, dtype=np.float32)
        depth[9:15, 4 * thing : 4 * thing + 6] -= 0.5
        voxels.observe(replace(frame, depth=depth))
        plain.observe(replace(frame, depth=depth))
        model.note(voxels, stamp)
        stamp += np.floor(8 * wait) / 8
    middle = 1000.0 + (stamp - 1000.0) // 2
    for since, until in ((-np.inf, np.inf), (middle, np.inf), (1000.0, middle)):
        found = changes(voxels, since, until)
        expected = {v: t for v, t in model.last.items() if since <= t < until}
        ours = dict(zip(map(tuple, found.voxels.tolist()), found.stamps.tolist(), strict=True))
        assert ours == pytest.approx(expected)
        assert [model.state[tuple(v)] for v in found.voxels.tolist()] == found.appeared.tolist()
    known = np.array(sorted(model.first))
    seconds = np.array([voxels.blocks.stamps.max() - model.first[tuple(v)] for v in known.tolist()])
    rates = change_rate(voxels, (known + 0.5) * 0.1, prior_rate=0.01, prior_time=20.0)
    counts = np.array([model.flips.get(tuple(v), 0) for v in known.tolist()])
    assert (rates >= (counts + 0.2) / (seconds + 20.0) - 1e-12).all()  # a block may not have been seen to the end
    assert (rates <= (counts + 0.2) / 20.0 + 1e-12).all()
    np.testing.assert_array_equal(voxels.save().arrays["cells"], plain.save().arrays["cells"])


def test_the_change_rate_is_the_posterior_mean_of_a_poisson_rate() -> None:
    voxels = VoxelMap(0.1, track_changes=True, removal=Removal())
    flat = np.full((24, 32), 2.02, dtype=np.float32)
    for i in range(66):  # six looks at each state: the removed voxel is surely free after five
        depth = flat.copy()
        depth[9:15, 13:19] -= 0.5 * (i // 6 % 2)
        voxels.observe(replace(wall_ahead(50.0 + 0.5 * i), depth=depth))
    points = np.array([[1.52, 0.02, 1.02], [1.0, 0.02, 1.02], [-5.0, 0.0, 0.0], [np.nan, 0.0, 0.0], [1e12, 0.0, 0.0]])
    rates = change_rate(voxels, points)
    seconds = 32.5 - 2.0  # from the fifth look, which made it sure, to the last
    assert rates[0] == pytest.approx((10 + 0.06) / (seconds + 60.0))
    assert rates[1] == pytest.approx(0.06 / (seconds + 60.0))
    assert np.isnan(rates[2:]).all()
    assert np.isnan(change_rate(VoxelMap(0.1), points)).all()
    with pytest.raises(ValueError, match="prior"):
        change_rate(voxels, points, prior_time=0.0)


@given(solids, solids)
@settings(max_examples=30)
def test_regions_of_changes_are_26_connected(came: np.ndarray, went: np.ndarray) -> None:
    shape = np.maximum(came.shape, went.shape)
    grids = [np.pad(g, [(0, s - n) for s, n in zip(shape, g.shape, strict=True)]) for g in (came, went)]
    grids[1] &= ~grids[0]
    voxels = VoxelMap(1.0, track_changes=True, max_range=100.0)
    every = np.argwhere(np.ones(shape, bool))
    voxels.integrate((every + 0.5).astype(float), np.array([0.6, 0.5, 0.5]), stamp=0.0)  # creates the blocks
    channels, pool = voxels.blocks.channels, voxels.blocks
    for grid, state in zip(grids, (2, 1), strict=True):
        for v in np.argwhere(grid):
            (row,) = [r for r in range(pool.n) if (_corner(pool.keys[r]) == v // 8).all()]
            cell = (v[0] % 8 * 8 + v[1] % 8) * 8 + v[2] % 8
            channels["flips"][row, cell], channels["flipped"][row, cell], channels["settled"][row, cell] = 1, 5, state
    hits = voxels.query(Query(kind="change", since=5.0, k=10**6))
    ours = sorted((hit.detail["appeared"], hit.score) for hit in hits)
    expected = []
    for grid, appeared in zip(grids, (1.0, 0.0), strict=True):
        label, _ = ndimage.label(grid, np.ones((3, 3, 3)))
        expected += [(appeared, float(size)) for size in np.bincount(label.ravel())[1:]]
    assert ours == sorted(expected)
    assert voxels.query(Query(kind="change", since=5.5, k=10**6)) == []
    assert voxels.query(Query(kind="change", until=5.0, k=10**6)) == []


def _corner(packed: np.int64) -> np.ndarray:
    axes = [packed >> 42, (packed >> 21) & 0x1FFFFF, packed & 0x1FFFFF]
    return np.array(axes) - (1 << 20)


def test_a_moved_thing_vanishes_here_and_appears_there() -> None:
    voxels = VoxelMap(0.1, track_changes=True, removal=Removal())
    for stamp in np.arange(12.0):
        column = 4 if stamp < 6 else 22
        depth = np.full((24, 32), 2.02, dtype=np.float32)
        depth[9:15, column : column + 6] -= 0.5
        voxels.observe(replace(wall_ahead(stamp), depth=depth))
    hits = voxels.query(Query(kind="change", since=5.5))
    largest = {word: next(h for h in hits if h.why.startswith(word)) for word in ("vanished", "appeared")}
    for word, hit in largest.items():
        assert hit.position is not None
        side = 1.0 if word == "vanished" else -1.0  # image left is map +y
        assert side * hit.position[1] > 0.2
        assert hit.position[0] == pytest.approx(1.55, abs=0.1)
        assert hit.stamp == (10.0 if word == "vanished" else 9.0)  # sure after five looks, or four
        assert (hit.detail["y1"] - hit.detail["y0"]) == pytest.approx(0.6, abs=0.21)
    near = voxels.query(Query(kind="change", near=largest["appeared"].position, radius=0.3, k=1))
    assert near[0].detail == largest["appeared"].detail
    assert VoxelMap(0.1).query(Query(kind="change")) == []


def test_tracked_changes_are_saved_and_checked() -> None:
    voxels = VoxelMap(0.1, track_changes=True)
    voxels.observe(wall_ahead(0.0))
    state = voxels.save()
    assert VoxelMap.load(state).track_changes
    assert VoxelMap.load(VoxelMap(0.1, track_changes=True).save()).track_changes
    assert not VoxelMap.load(VoxelMap(0.1).save()).track_changes
    wrong = state.arrays["channel_flips"].astype(np.float32)
    with pytest.raises(InputError):
        VoxelMap.load(replace(state, arrays={**state.arrays, "channel_flips": wrong}))
