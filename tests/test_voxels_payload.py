"""Payload channels against plain per-voxel dictionaries, and their files against forgery."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embmem.errors import InputError
from embmem.geometry import camera_pose
from embmem.maps import VoxelMap
from embmem.maps.voxels.blocks import VOLUME, BlockPool
from embmem.maps.voxels.meaning.payload import CHANNELS, Payload
from embmem.maps.voxels.meaning.pixels import COUNT_LIMIT, count_votes
from embmem.maps.voxels.meaning.prototypes import PrototypeTable
from embmem.observation import Intrinsics, Observation
from embmem.protocols import Deformation, Layer
from embmem.testing import LayerContract, wall_ahead

K = Intrinsics.from_fov(40, 30, 79.0)
RES = 0.25
LABELS = ("unlabelled", "wall", "mug", "sofa", "lamp")
Voxel = tuple[int, ...]


def full_map(resolution: float = RES, **settings: Any) -> VoxelMap:
    """A map with every channel, the prototypes of length 3."""
    return VoxelMap(resolution, payload=Payload(CHANNELS, prototypes=PrototypeTable(3), **settings))


class TestMapWithEveryChannel(LayerContract):
    @pytest.fixture
    def layer(self) -> Layer:
        return full_map(0.1)


def scene(rng: np.random.Generator, stamp: float = 0.0) -> Observation:
    """A camera that sees patches of random depth, colour, label and instance."""

    def patches(low: float, high: float) -> np.ndarray:
        return np.kron(rng.uniform(low, high, (6, 8)), np.ones((5, 5)))

    depth = (patches(0.5, 6.0) + rng.uniform(0, 0.2, (30, 40))).astype(np.float32)
    depth[rng.random(depth.shape) < 0.1] = np.nan
    instance = patches(0, 5).astype(np.int64)
    return Observation(
        stamp,
        camera_pose(rng.uniform(-1, 1, 3), float(rng.uniform(-3, 3)), 0.2),
        K,
        depth=depth,
        rgb=rng.integers(0, 256, (30, 40, 3)).astype(np.uint8),
        semantic=patches(0, 5).astype(np.uint8),
        instance=instance,
        labels=LABELS,
        embeddings={int(i): rng.normal(size=3) for i in np.unique(instance) if i > 1},
    )


def pixels_by_voxel(observation: Observation) -> dict[Voxel, list[int]]:
    """Flat indices of the pixels whose measured surface lies in each voxel."""
    depth = np.asarray(observation.depth, dtype=np.float64)
    v, u = np.mgrid[: K.height, : K.width]
    p = np.stack([(u - K.cx) / K.fx, (v - K.cy) / K.fy, np.ones(u.shape)], axis=-1) * depth[..., None]
    is_hit = np.isfinite(depth) & (np.linalg.norm(p, axis=-1) <= 5.0)
    T = observation.T_map_camera
    voxels = np.floor((p @ T[:3, :3].T + T[:3, 3]) / RES)
    found = defaultdict(list)
    for i in np.flatnonzero(is_hit.ravel()):
        found[tuple(voxels.reshape(-1, 3)[i].astype(int).tolist())].append(int(i))
    return found


def winner(shown: list[str]) -> str | None:
    """What most say, the earlier in LABELS of those with equally many; the label 0 says nothing."""
    counts = Counter(name for name in shown if name != LABELS[0])
    return min(counts, key=lambda name: (-counts[name], LABELS.index(name))) if counts else None


def centres(voxels: list[Voxel]) -> np.ndarray:
    return (np.array(voxels, dtype=np.float64).reshape(-1, 3) + 0.5) * RES


@given(st.integers(0, 2**31), st.integers(1, 4))
def test_every_channel_matches_plain_dictionaries(seed: int, n_frames: int) -> None:
    rng = np.random.default_rng(seed)
    voxel_map, seen, frames = full_map(), {}, {}
    colours: dict[Voxel, list[np.ndarray]] = defaultdict(list)
    votes: dict[Voxel, Counter[str | None]] = defaultdict(Counter)
    for frame in range(n_frames):
        observation = scene(rng, stamp=100.0 + 7.5 * frame)
        voxel_map.observe(observation)
        assert observation.rgb is not None
        assert observation.semantic is not None
        for voxel, pixels in pixels_by_voxel(observation).items():
            colours[voxel].append(observation.rgb.reshape(-1, 3)[pixels].mean(axis=0))
            top = winner([LABELS[int(i)] for i in observation.semantic.ravel()[pixels]])
            votes[voxel][top] += 1
            seen[voxel], frames[voxel] = observation.stamp, frame
    voxels = sorted(seen)
    readings = voxel_map.read(centres(voxels))
    mean = np.array([np.mean(colours[v], axis=0) for v in voxels])
    assert np.abs(readings.colour() - mean).max() < 0.02
    np.testing.assert_array_equal(readings.colour_weight(), [len(colours[v]) for v in voxels])
    np.testing.assert_array_equal(readings.last_seen(), [seen[v] for v in voxels])
    np.testing.assert_array_equal(readings.keyframe(), [frames[v] for v in voxels])
    assert voxel_map.payload is not None
    names = voxel_map.payload.names
    for voxel, numbers, counts in zip(voxels, *readings.labels(), strict=True):
        told = {names[number]: int(count) for number, count in zip(numbers, counts, strict=True) if number >= 0}
        true = Counter({name: count for name, count in votes[voxel].items() if name is not None})
        if len(true) <= 3:
            assert told == true


@given(st.integers(0, 2**31))
def test_a_voxel_takes_the_prototype_of_most_pixels_of_the_newest_frame(seed: int) -> None:
    rng = np.random.default_rng(seed)
    table, expected = PrototypeTable(3), {}
    voxel_map = VoxelMap(RES, payload=Payload(["prototype"], prototypes=table))
    for frame in range(2):
        observation = scene(rng, stamp=float(frame))
        voxel_map.observe(observation)
        assert observation.instance is not None
        assert observation.embeddings is not None
        for voxel, pixels in pixels_by_voxel(observation).items():
            numbers = [int(n) for n in observation.instance.ravel()[pixels] if n in observation.embeddings]
            if numbers:
                expected[voxel] = {tuple(observation.embeddings[n]) for n in numbers}, len(set(numbers)) == 1
    voxels = [v for v, (_, is_one) in expected.items() if is_one]
    ids = voxel_map.read(centres(voxels)).prototype()
    assert (ids >= 0).all()
    for voxel, number in zip(voxels, ids, strict=True):
        (embedding,) = expected[voxel][0]
        assert table.scores(np.array(embedding))[number] >= table.merge_cosine - 0.1


@given(st.integers(0, 2**31))
def test_the_order_of_pixels_does_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    observation = scene(rng)
    voxel_map = full_map()
    voxel_map.observe(observation)
    ends = np.zeros((K.width * K.height, 4), dtype=np.int32)
    for voxel, pixels in pixels_by_voxel(observation).items():
        ends[pixels] = [*voxel, 2]
    order = rng.permutation(len(ends))

    def shuffled(image: np.ndarray | None) -> np.ndarray:
        assert image is not None
        return image.reshape(len(ends), -1)[order].reshape(image.shape)

    twin = full_map()
    twin.blocks = BlockPool.from_rows(
        *(getattr(voxel_map.blocks, n)[: voxel_map.blocks.n] for n in ("keys", "cells", "stamps"))
    )
    mixed = replace(observation, rgb=shuffled(observation.rgb), semantic=shuffled(observation.semantic),
                    instance=shuffled(observation.instance))  # fmt: skip
    assert twin.payload is not None
    twin.payload.write(twin.blocks, ends[order], mixed, observation.stamp)
    for name in CHANNELS:
        a, b = voxel_map.blocks.channels[name], twin.blocks.channels[name]
        np.testing.assert_array_equal(a[: voxel_map.blocks.n], b[: twin.blocks.n])


@given(st.lists(st.integers(1, 9), min_size=1, max_size=300), st.integers(1, 5))
def test_a_frequent_label_is_never_lost_and_counts_err_by_a_bounded_share(votes: list[int], slots: int) -> None:
    histogram = np.zeros((1, VOLUME, slots, 2), dtype=np.uint16)
    at = np.zeros(1, dtype=np.int32)
    for vote in votes:
        count_votes(np.array([vote], dtype=np.int32), at, at, histogram)
    told = {int(label): int(count) for label, count in histogram[0, 0] if count}
    true, bound = Counter(votes), len(votes) / (slots + 1)
    assert len(told) == np.count_nonzero(histogram[0, 0, :, 1])
    for label, count in true.items():
        assert count - bound <= told.get(label, 0) <= count
        assert label in told or count <= bound


def test_full_counts_are_halved_instead_of_running_over() -> None:
    histogram = np.zeros((1, VOLUME, 3, 2), dtype=np.uint16)
    histogram[0, 0] = [[4, COUNT_LIMIT], [5, 1], [6, 9]]
    at = np.zeros(1, dtype=np.int32)
    count_votes(np.array([4], dtype=np.int32), at, at, histogram)
    assert histogram[0, 0].tolist() == [[4, COUNT_LIMIT // 2 + 1], [0, 0], [6, 4]]


def test_colours_follow_the_light_when_the_weight_is_full() -> None:
    voxels = VoxelMap(0.1, payload=Payload(["colour"], max_weight=20))
    spot = np.array([[1.84, 0.0, 1.0]])
    dark = wall_ahead(0.0, distance=2.02)
    expected = 0.0
    for frame in range(200):
        bright = frame >= 50
        voxels.observe(replace(dark, rgb=np.full((24, 32, 3), 250 if bright else 10, dtype=np.uint8)))
        expected += ((250.0 if bright else 10.0) - expected) / (min(frame, 20) + 1)
    assert voxels.read(spot).colour()[0, 0] == pytest.approx(expected, abs=0.1)
    assert voxels.read(spot).colour_weight()[0] == 20


def test_names_of_another_detector_are_mapped_to_the_same_labels() -> None:
    voxels = VoxelMap(0.1, payload=Payload(["labels"]))
    spot = np.array([[1.84, 0.0, 1.0]])
    voxels.observe(wall_ahead(0.0, distance=2.02))
    other = wall_ahead(1.0, distance=2.02)
    swapped = np.array([0, 2, 1])[np.asarray(other.semantic)].astype(np.int32)
    voxels.observe(replace(other, semantic=swapped, labels=("nothing", "mug", "wall")))
    assert voxels.payload is not None
    numbers, votes = voxels.read(spot).labels()
    assert [voxels.payload.names[n] for n in numbers[0] if n >= 0] == ["mug"]
    assert votes[0].tolist() == [2, 0, 0]
    assert voxels.read(spot).top_share()[0] == 1.0


def test_nothing_is_told_of_what_was_never_seen() -> None:
    voxels = full_map(0.1)
    voxels.observe(wall_ahead(5.0, distance=2.02))
    readings = voxels.read(np.array([[1.0, 0.0, 1.0], [50.0, 0.0, 0.0], [np.nan, 0.0, 0.0], [1e15, 0.0, 0.0]]))
    assert np.isnan(readings.colour()).all()
    assert np.isnan(readings.last_seen()).all()
    assert np.isnan(readings.top_share()).all()
    assert (readings.top_label() == -1).all()
    assert (readings.keyframe() == -1).all()
    assert (readings.prototype() == -1).all()


def test_an_older_stamp_does_not_make_a_voxel_older_and_the_epoch_is_a_time_like_any_other() -> None:
    voxels, spot = VoxelMap(0.1, payload=Payload(["seen"])), np.array([[1.84, 0.0, 1.0]])
    for stamp, latest in ((100.0, 100.0), (99.0, 100.0), (90.0, 100.0), (100.5, 100.5)):
        voxels.observe(wall_ahead(stamp, distance=2.02))
        assert voxels.read(spot).last_seen()[0] == latest
    early = VoxelMap(0.1, payload=Payload(["seen"]))
    early.observe(replace(wall_ahead(100.0), depth=np.full((24, 32), np.nan, dtype=np.float32)))
    early.observe(wall_ahead(99.0, distance=2.02))  # a second before the epoch: where 0 would mean never
    assert early.read(spot).last_seen()[0] == pytest.approx(99.0)


def test_a_point_cloud_tells_when_and_nothing_else() -> None:
    voxels = VoxelMap(0.1, payload=Payload(["colour", "labels", "seen", "keyframe"]))
    points = np.array([[1.04, 0.04, 0.04], [np.nan, 0.0, 0.0], [0.04, 1.04, 0.04], [9.0, 0.0, 0.0]])
    voxels.integrate(points, np.full(3, 0.05), stamp=4.0)
    voxels.integrate(points[:1], np.full(3, 0.05), stamp=6.5)
    readings = voxels.read(np.array([[1.05, 0.05, 0.05], [0.05, 1.05, 0.05], [5.0, 0.05, 0.05]]))
    np.testing.assert_array_equal(readings.last_seen(), [6.5, 4.0, np.nan])
    assert readings.keyframe().tolist() == [1, 0, -1]
    assert (readings.colour_weight() == 0).all()
    assert (readings.top_label() == -1).all()


def test_large_and_negative_segment_numbers_find_their_prototypes() -> None:
    table = PrototypeTable(3)
    voxels, spot = VoxelMap(0.1, payload=Payload(["prototype"], prototypes=table)), np.array([[1.84, 0.0, 1.0]])
    for number in (-7, 2**40):
        frame = wall_ahead(0.0, distance=2.02)
        instance = np.where(np.asarray(frame.semantic) == 2, number, 0).astype(np.int64)
        voxels.observe(replace(frame, instance=instance, embeddings={number: np.array([1.0, number, 2.0])}))
        assert table.scores(np.array([1.0, number, 2.0]))[voxels.read(spot).prototype()[0]] > 0.999


def test_channels_that_are_not_kept_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="occupancy only"):
        VoxelMap(0.1).read(np.zeros((1, 3)))
    with pytest.raises(ValueError, match="colour"):
        VoxelMap(0.1, payload=Payload(["seen"])).read(np.zeros((1, 3))).colour()


@pytest.mark.parametrize("arguments", [
    {"channels": ["smell"]}, {"channels": ["seen", "seen"]}, {"slots": 0}, {"max_weight": 0},
    {"channels": ["prototype"]}, {"prototypes": PrototypeTable(3)},
])  # fmt: skip
def test_senseless_settings_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must|need"):
        Payload(**arguments)


def test_embeddings_of_another_length_are_refused_before_anything_is_stored() -> None:
    voxels = full_map(0.1)
    with pytest.raises(ValueError, match="length 3"):
        voxels.observe(replace(wall_ahead(), embeddings={1: np.ones(4)}))
    assert voxels.blocks.n == 0


def test_a_map_continues_after_loading_as_if_it_had_not_been_saved() -> None:
    rng = np.random.default_rng(4)
    frames = [scene(rng, stamp=float(i)) for i in range(6)]
    one, two = full_map(), full_map()
    for frame in frames[:3]:
        one.observe(frame)
        two.observe(frame)
    two = VoxelMap.load(two.save())
    for frame in frames[3:]:
        one.observe(frame)
        two.observe(frame)
    a, b = one.save(), two.save()
    assert a.params == b.params
    assert {n: x.tobytes() for n, x in a.arrays.items()} == {n: x.tobytes() for n, x in b.arrays.items()}


def forged(**changes: Any) -> dict[str, Any]:
    voxels = full_map(0.1)
    voxels.observe(replace(wall_ahead(), embeddings={1: np.ones(3)}))
    state = voxels.save()
    payload = {**state.params["payload"], **changes.pop("payload", {})}
    params = {**state.params, "payload": payload, **changes.pop("params", {})}
    return {"state": replace(state, params=params, arrays={**state.arrays, **changes})}


def filled(name: str, dtype: Any, shape: tuple[int, ...], value: float) -> dict[str, Any]:
    n = len(forged()["state"].arrays["keys"])
    return forged(**{f"channel_{name}": np.full((n, VOLUME, *shape), value, dtype=dtype)})


SEARCH = {"threshold": 0.2, "slope": 1.0, "offset": 0.0, "gap": 1, "min_voxels": 1}
FORGERIES = {
    "payload is no object": forged(params={"payload": [1]}),
    "a setting is missing": forged(params={"payload": {"channels": ["seen"]}}),
    "slots are a text": forged(payload={"slots": "3"}),
    "slots are a truth value": forged(payload={"slots": True}),
    "too many slots": forged(payload={"slots": 10**9}),
    "unknown channel": forged(payload={"channels": ["smell"]}),
    "a name is a number": forged(payload={"names": ["wall", 3]}),
    "a name twice": forged(payload={"names": ["wall", "wall"]}),
    "no names": forged(payload={"names": []}),
    "a huge table": forged(payload={"prototypes": {"dim": 10**12, "capacity": 9, "merge_cosine": 0.5, "n_crowded": 0}}),
    "no table": forged(payload={"prototypes": None}),
    "table of texts": forged(payload={"prototypes": "x"}),
    "search is missing": forged(params={"search": None}),
    "search with half a voxel": forged(params={"search": {**SEARCH, "gap": 0.5}}),
    "search with a gap like a house": forged(params={"search": {**SEARCH, "gap": 99}}),
    "mean is no mean of unit vectors": forged(prototype_mean=np.full((1, 3), 9.0, dtype=np.float32)),
    "more prototypes than counts": forged(prototype_count=np.ones(2, dtype=np.int64)),
    "prototype that nothing joined": forged(prototype_count=np.zeros(1, dtype=np.int64)),
    "stamps that are not finite": forged(frame_stamps=np.array([np.nan])),
    "keyframe that was never seen": filled("keyframe", np.uint32, (), 9),
    "prototype that there is not": filled("prototype", np.uint16, (), 2),
    "prototype of another type": filled("prototype", np.int64, (), 0),
    "label that has no name": filled("labels", np.uint16, (3, 2), 9),
    "labels with another number of slots": filled("labels", np.uint16, (4, 2), 0),
    "colour brighter than white": filled("colour", np.uint16, (4,), 65535),
    "time that is not finite": filled("seen", np.float32, (), np.inf),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGERIES)
def test_forged_files_are_refused(name: str) -> None:
    VoxelMap.load(forged()["state"])
    with pytest.raises(InputError):
        VoxelMap.load(FORGERIES[name]["state"])


def test_a_deformation_carries_the_payload_along() -> None:
    voxels = full_map(0.1)
    voxels.observe(replace(wall_ahead(3.0, distance=2.02), embeddings={1: np.ones(3)}))
    spot, shift = np.array([[1.84, 0.0, 1.0]]), np.array([0.3, -0.2, 0.1])
    before = voxels.read(spot)
    T = np.eye(4)
    T[:3, 3] = shift
    expected = before.colour(), before.labels(), before.last_seen(), before.keyframe(), before.prototype()
    voxels.deform(Deformation(stamps=np.array([3.0]), T_new_old=T[None]))
    after = voxels.read(spot + shift)
    got = after.colour(), after.labels(), after.last_seen(), after.keyframe(), after.prototype()
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_array_equal(a, b)
