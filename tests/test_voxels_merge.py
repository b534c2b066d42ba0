"""Cropped, moved and merged maps against plain dictionaries and against maps that saw everything at once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from embmem.geometry import camera_pose, transform_points
from embmem.maps import VoxelMap
from embmem.maps.voxels.blocks import SIDE, UNKNOWN, unpack
from embmem.maps.voxels.meaning.payload import Payload
from embmem.maps.voxels.meaning.prototypes import PrototypeTable
from embmem.maps.voxels.merge import crop, merge, transform
from embmem.protocols import Deformation
from embmem.testing import wall_ahead

RES = 0.25
clouds = arrays(np.float64, st.tuples(st.integers(1, 12), st.just(3)), elements=st.floats(-2.0, 2.0, width=32))
origins = arrays(np.float64, 3, elements=st.floats(-1.0, 1.0, width=32))
frames = st.lists(st.tuples(clouds, origins), min_size=0, max_size=3)
Frames = list[tuple[np.ndarray, np.ndarray]]
Model = dict[tuple[int, ...], int]


def make_map(steps: Frames, **settings: float) -> VoxelMap:
    """With a channel `mark` that is 1 + the last step in which the voxel changed."""
    voxels = VoxelMap(RES, max_range=3.0, **settings)  # type: ignore[arg-type]
    mark = voxels.blocks.add_channel("mark", np.uint16, (2,))
    for i, (points, origin) in enumerate(steps):
        before = model(voxels)
        voxels.integrate(points, origin, stamp=10.0 + i)
        cells = voxels.blocks.cells[: voxels.blocks.n]
        old = np.array([before.get(v, int(UNKNOWN)) for v in coordinates(voxels)]).reshape(cells.shape)
        mark[: voxels.blocks.n][cells != old] = 1 + i
    return voxels


def coordinates(voxels: VoxelMap) -> list[tuple[int, ...]]:
    """The voxels of all cells, in their order."""
    offsets = np.stack(np.meshgrid(*[np.arange(SIDE)] * 3, indexing="ij"), axis=-1).reshape(1, -1, 3)
    blocks = unpack(voxels.blocks.keys[: voxels.blocks.n])[:, None] * SIDE
    return [tuple(v) for v in (blocks + offsets).reshape(-1, 3).tolist()]


def model(voxels: VoxelMap) -> Model:
    """The byte of every known voxel."""
    values = voxels.blocks.cells[: voxels.blocks.n].ravel().tolist()
    return {v: value for v, value in zip(coordinates(voxels), values, strict=True) if value != UNKNOWN}


def marks(voxels: VoxelMap) -> Model:
    """The channel `mark` where it is not 0."""
    values = voxels.blocks.channels["mark"][: voxels.blocks.n, :, 1].ravel().tolist()
    return {v: value for v, value in zip(coordinates(voxels), values, strict=True) if value != 0}


def state(voxels: VoxelMap, *names: str) -> list[bytes]:
    arrays = voxels.save().arrays
    return [arrays[name].tobytes() for name in names or sorted(arrays)]


@given(frames, arrays(np.float64, (2, 3), elements=st.floats(-2.5, 2.5)))
def test_a_crop_is_what_lies_in_the_box(steps: Frames, corners: np.ndarray) -> None:
    voxels, (low, high) = make_map(steps), (corners.min(axis=0), corners.max(axis=0))
    part = crop(voxels, low, high)

    def is_inside(v: tuple[int, ...]) -> bool:
        centre = (np.array(v) + 0.5) * RES
        return bool(((low <= centre) & (centre < high)).all())

    assert model(part) == {v: value for v, value in model(voxels).items() if is_inside(v)}
    assert marks(part) == {v: value for v, value in marks(voxels).items() if is_inside(v)}
    everything = crop(voxels, np.full(3, -np.inf), np.full(3, np.inf))
    assert state(everything) == state(voxels)


@given(frames, frames)
def test_merging_adds_log_odds_as_a_dictionary_does(first: Frames, second: Frames) -> None:
    a, b = make_map(first), make_map(second)
    x, y = model(a), model(b)
    merged = merge(a, b)
    assert model(merged) == {
        v: int(np.clip(x.get(v, 0) + y.get(v, 0), round(a.low * 32), round(a.high * 32))) for v in x.keys() | y.keys()
    }
    p, q = marks(a), marks(b)
    assert marks(merged) == {v: (q if y.get(v, -128) > x.get(v, -128) else p)[v] for v in x.keys() | y.keys()}
    assert merged.epoch == 10.0 or not (first or second)


@given(frames, frames)
def test_a_merged_map_is_the_map_that_saw_all_frames_as_long_as_nothing_is_clamped(
    first: Frames, second: Frames
) -> None:
    wide = {"hit": 0.3, "miss": -0.2, "low": -3.9, "high": 3.9}
    merged = merge(make_map(first, **wide), make_map(second, **wide))
    assert model(merged) == model(make_map([*first, *second], **wide))


@given(frames, frames, frames)
@settings(max_examples=25)
def test_the_order_of_maps_does_not_matter_as_long_as_nothing_is_clamped(a: Frames, b: Frames, c: Frames) -> None:
    x, y, z = (make_map(f, hit=0.3, miss=-0.2, low=-3.9, high=3.9) for f in (a, b, c))
    names = ("keys", "cells", "stamps", "epoch")
    assert state(merge(x, y), *names) == state(merge(y, x), *names)
    assert state(merge(merge(x, y), z), *names) == state(merge(x, merge(y, z)), *names)


@given(frames, frames)
@settings(max_examples=25)
def test_two_maps_commute_even_where_they_are_clamped(a: Frames, b: Frames) -> None:
    x, y = make_map(3 * a), make_map(3 * b)
    assert state(merge(x, y), "keys", "cells", "stamps") == state(merge(y, x), "keys", "cells", "stamps")


def test_three_maps_do_not_associate_where_a_sum_is_clamped() -> None:
    point, origin = np.array([[0.1, 0.1, 0.1]]), np.array([1.1, 0.1, 0.1])
    sure, free = make_map([(point, origin)] * 5), make_map([(np.array([[-1.1, 0.1, 0.1]]), origin)] * 3)
    left = merge(merge(sure, sure), free).log_odds(point)[0]
    right = merge(sure, merge(sure, free)).log_odds(point)[0]
    assert left < right == sure.high


@given(frames)
def test_an_empty_map_changes_nothing(steps: Frames) -> None:
    voxels = make_map(steps)
    for merged in (merge(voxels, make_map([])), merge(make_map([]), voxels)):
        assert state(merged) == state(voxels)


RIGHT_ANGLES = [camera_pose(np.array([3, -5, 2]) * RES, np.pi / 2, 0.0), camera_pose(np.zeros(3), np.pi, 0.0)]


@pytest.mark.parametrize("T", RIGHT_ANGLES)
@given(steps=frames)
@settings(max_examples=20)
def test_moves_by_whole_voxels_and_right_angles_are_exact_and_carry_the_channels(T: np.ndarray, steps: Frames) -> None:
    voxels = make_map(steps)
    moved = transform(voxels, T)

    def move(v: tuple[int, ...]) -> tuple[int, ...]:
        centre = transform_points(T, (np.array([v]) + 0.5) * RES)[0]
        return tuple(np.round(centre / RES - 0.5).astype(int).tolist())

    assert model(moved) == {move(v): value for v, value in model(voxels).items()}
    assert marks(moved) == {move(v): value for v, value in marks(voxels).items()}
    assert model(merge(make_map([]), voxels, T)) == model(moved)
    assert state(transform(moved, np.linalg.inv(T)), "cells") == state(
        crop(voxels, -np.full(3, 9.0), np.full(3, 9.0)), "cells"
    )


@given(frames, st.integers(0, 2**31))
@settings(max_examples=25)
def test_a_turned_map_has_at_every_voxel_what_was_there_before(steps: Frames, seed: int) -> None:
    voxels, rng = make_map(steps), np.random.default_rng(seed)
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = Rotation.random(random_state=seed).as_matrix(), rng.uniform(-3, 3, 3)
    moved = transform(voxels, T)
    known = np.array(list(model(moved)), dtype=np.float64).reshape(-1, 3)
    sources = np.floor(transform_points(np.linalg.inv(T), (known + 0.5) * RES) / RES + 1e-9).astype(int)
    x, y = model(voxels), model(moved)
    assert list(y.values()) == [x[tuple(v)] for v in sources.tolist()]
    p, q = marks(voxels), marks(moved)
    assert all(
        q.get(tuple(v)) == p.get(tuple(s)) for v, s in zip(known.astype(int).tolist(), sources.tolist(), strict=True)
    )
    # nothing known is lost: the voxels around where a known centre went hold it
    assert 0.8 * len(x) - 8 < len(y) < 1.2 * len(x) + 8


def test_deforming_moves_channels_with_their_blocks() -> None:
    voxels = make_map([(np.array([[1.1, 0.1, 0.1]]), np.full(3, 0.1))])
    T = camera_pose(np.array([0.0, 4 * RES, 0.0]), np.pi / 2, 0.0)
    expected = marks(transform(voxels, T))
    voxels.deform(Deformation(stamps=np.array([10.0]), T_new_old=T[None]))
    assert marks(voxels) == expected
    assert len(expected) > 3


def test_blocks_that_meet_keep_the_higher_log_odds_and_its_channel() -> None:
    near = make_map([(np.array([[0.1, 0.1, 0.1]]), np.array([1.1, 0.1, 0.1]))])
    far = make_map([(np.array([[8.1, 0.1, 0.1]]), np.array([9.1, 0.1, 0.1]))] * 2)
    both = merge(near, far)
    rows = np.flatnonzero(both.blocks.stamps[: both.blocks.n] == 11.0)
    assert len(rows) == 1
    T = np.stack([np.eye(4), np.eye(4)])
    T[1, 0, 3] = -8.0
    both.deform(Deformation(stamps=np.array([10.0, 11.0]), T_new_old=T))
    point = np.array([[0.1, 0.1, 0.1]])
    assert both.log_odds(point)[0] == pytest.approx(2 * 27 / 32)
    assert marks(both)[0, 0, 0] == 2


def seen_by_payload(stamp: float, labels: tuple[str, ...], vector: int) -> VoxelMap:
    """A wall with a mug, with every channel of a payload."""
    names = ("colour", "labels", "seen", "keyframe", "prototype")
    voxels = VoxelMap(0.1, payload=Payload(names, prototypes=PrototypeTable(4)), track_changes=True)
    observation = replace(wall_ahead(stamp), labels=labels, embeddings={1: np.eye(4, dtype=np.float32)[vector]})
    voxels.observe(observation)
    return voxels


def at(voxels: VoxelMap, name: str, point: np.ndarray) -> np.ndarray:
    """The value of a channel at a point."""
    part = crop(voxels, point - voxels.resolution / 3, point + voxels.resolution / 3)
    values = part.blocks.channels[name][: part.blocks.n]
    return np.asarray(values[part.blocks.cells[: part.blocks.n] != UNKNOWN][0])


def test_numbers_in_channels_are_those_of_the_merged_map() -> None:
    a = seen_by_payload(100.0, ("unlabelled", "wall", "mug"), 0)
    b = seen_by_payload(160.0, ("unlabelled", "mug", "cup"), 1)
    shift = np.eye(4)
    shift[0, 3] = 10.0
    merged = merge(a, b, shift)
    here, _ = (point[0] for point in a.nearest_occupied(np.array([[1.8, 0.0, 1.0]])))
    there = here + np.array([10.0, 0.0, 0.0])
    assert merged.payload is not None
    assert merged.payload.prototypes is not None
    assert merged.payload.names == ["wall", "mug", "cup"]
    assert [merged.payload.names[at(merged, "labels", p)[0, 0] - 1] for p in (here, there)] == ["mug", "cup"]
    assert merged.epoch == 100.0
    assert [float(at(merged, "seen", p)) for p in (here, there)] == [1.0, 61.0]
    assert [float(at(merged, "first_known", p)) for p in (here, there)] == [0.0, 60.0]
    assert [merged.payload.stamps[at(merged, "keyframe", p) - 1] for p in (here, there)] == [100.0, 160.0]
    directions = [merged.payload.prototypes.direction[at(merged, "prototype", p) - 1] for p in (here, there)]
    np.testing.assert_allclose(directions, np.eye(4)[:2], atol=1e-6)
    assert len(a.payload.names) == 2  # type: ignore[union-attr]  # the parts are as they were
    back = VoxelMap.load(merged.save())
    assert state(back) == state(merged)
    flips = merged.blocks.channels["flips"][: merged.blocks.n].sum()
    merged.observe(replace(wall_ahead(200.0), labels=("unlabelled", "wall", "mug")))
    assert merged.blocks.channels["flips"][: merged.blocks.n].sum() == flips


def test_times_count_from_the_earlier_epoch_whichever_map_comes_first() -> None:
    a, b = seen_by_payload(100.0, ("", "wall", "mug"), 0), seen_by_payload(160.0, ("", "wall", "mug"), 0)
    for merged in (merge(a, b), merge(b, a)):
        assert merged.epoch == 100.0
        seen = merged.blocks.channels["seen"][: merged.blocks.n]
        assert set(np.unique(seen)) == {0.0, 61.0}
        occupied = merged.blocks.cells[: merged.blocks.n] > 0
        assert (merged.blocks.channels["first_known"][: merged.blocks.n][occupied] == 0.0).all()


@given(st.integers(0, 2**31), st.integers(1, 9))
@settings(max_examples=20)
def test_absorbed_prototypes_keep_their_counts_and_find_those_they_are_like(seed: int, capacity: int) -> None:
    rng = np.random.default_rng(seed)
    tables = [PrototypeTable(3, capacity=9, merge_cosine=0.9), PrototypeTable(3, capacity=capacity, merge_cosine=0.9)]
    for i, table in enumerate(tables):
        table.assign(rng.normal(size=(12, 3)), float(i))
    theirs, ours = tables
    before, n_before = ours.direction.copy(), len(ours)
    total = ours.count.sum() + theirs.count.sum()
    ids = ours.absorb(theirs)
    assert ours.count.sum() == total
    assert len(ours) <= capacity
    assert (ids < len(ours)).all()
    cosines = theirs.direction @ before.T
    alike = cosines.max(axis=1) >= 0.9
    assert (ids[alike] == cosines.argmax(axis=1)[alike]).all()
    if len(ours) < capacity:
        assert (ids[~alike] >= n_before).all()
        assert len(set(ids[~alike])) == (~alike).sum()
    np.testing.assert_allclose(np.linalg.norm(ours.direction, axis=1), 1.0, rtol=1e-5)
    assert (np.linalg.norm(ours.mean, axis=1) <= 1.0 + 1e-5).all()


def test_maps_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="voxels of"):
        merge(VoxelMap(0.1), VoxelMap(0.2))
    with pytest.raises(ValueError, match="keep"):
        merge(VoxelMap(0.1, payload=Payload()), VoxelMap(0.1, payload=Payload(slots=2)))
    a, b = VoxelMap(0.1), VoxelMap(0.1)
    a.blocks.add_channel("mark", np.uint8)
    b.blocks.add_channel("mark", np.uint16)
    with pytest.raises(ValueError, match="mark"):
        merge(a, b)
    with pytest.raises(ValueError, match="low <= high"):
        crop(a, np.array([0.0, np.nan, 0.0]), np.ones(3))
    for T in (2 * np.eye(4), np.diag([1.0, 1.0, -1.0, 1.0]), np.full((4, 4), np.nan)):
        with pytest.raises(ValueError, match="rigid"):
            transform(a, T)
