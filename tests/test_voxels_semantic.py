"""Prototypes, clusters and queries in words against brute force, SciPy and worked scenes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import label as label_image

from embmem.encoders import TextEncoder
from embmem.maps import ObjectMemory, VoxelMap
from embmem.maps.voxels.blocks import UNKNOWN, VOLUME, BlockPool, pack, unpack
from embmem.maps.voxels.meaning.block_lists import LENGTH, BlockLists
from embmem.maps.voxels.meaning.calibration import calibrate
from embmem.maps.voxels.meaning.instances import cluster, voxel_coordinates
from embmem.maps.voxels.meaning.payload import CHANNELS, Payload
from embmem.maps.voxels.meaning.prototypes import PrototypeTable, unit_rows
from embmem.maps.voxels.meaning.semantic import Search
from embmem.memory import Memory
from embmem.observation import Observation
from embmem.records import Query, Record
from embmem.store import RecordStore
from embmem.testing import wall_ahead

vectors = arrays(
    np.float64, st.tuples(st.integers(1, 12), st.just(4)), elements=st.sampled_from([-1.0, -0.3, 0.2, 1.0])
)


class PlainTable:
    """The documented rule in a few plain lines."""

    def __init__(self, gate: float, capacity: int) -> None:
        self.gate, self.capacity = gate, capacity
        self.means: list[np.ndarray] = []
        self.counts: list[int] = []

    def assign(self, units: np.ndarray) -> list[int]:
        """The ids of the unit vectors."""
        before = [mean / np.linalg.norm(mean) for mean in self.means]
        joins: dict[int, list[np.ndarray]] = {}
        founded: list[np.ndarray] = []
        ids, n_crowded = [-1] * len(units), []
        for i, unit in enumerate(units):
            if before and max(float(d @ unit) for d in before) >= self.gate:
                ids[i] = int(np.argmax([float(d @ unit) for d in before]))
                joins.setdefault(ids[i], []).append(unit)
        for i, unit in enumerate(units):
            if ids[i] >= 0:
                continue
            if founded and max(float(f @ unit) for f in founded) >= self.gate:
                ids[i] = len(before) + int(np.argmax([float(f @ unit) for f in founded]))
            elif len(self.means) == self.capacity:
                ids[i] = int(np.argmax([float(d @ unit) for d in [*before, *founded]]))
                n_crowded.append(ids[i])
                continue
            else:
                ids[i] = len(self.means)
                founded.append(unit)
                self.means.append(np.zeros_like(unit))
                self.counts.append(0)
            joins.setdefault(ids[i], []).append(unit)
        for number, members in joins.items():
            total = self.means[number] * self.counts[number] + np.sum(members, axis=0)
            self.counts[number] += len(members)
            self.means[number] = total / self.counts[number]
        for number in n_crowded:
            self.counts[number] += 1
        return ids


@given(st.integers(0, 2**31), st.sampled_from([0.3, 0.7, 0.95]), st.sampled_from([3, 100]))
def test_prototypes_are_running_means_by_the_documented_rule(seed: int, gate: float, capacity: int) -> None:
    rng = np.random.default_rng(seed)
    table, plain = PrototypeTable(5, capacity, gate), PlainTable(gate, capacity)
    for stamp in range(6):
        batch = rng.normal(size=(int(rng.integers(0, 6)), 5))
        units = batch / np.linalg.norm(batch, axis=1, keepdims=True)
        assert table.assign(batch, float(stamp)).tolist() == plain.assign(units)
    assert table.count.tolist() == plain.counts
    np.testing.assert_allclose(table.mean, np.array(plain.means).reshape(-1, 5), atol=1e-5)
    np.testing.assert_allclose(table.direction, table.mean / np.linalg.norm(table.mean, axis=1)[:, None], atol=1e-5)


def test_a_full_table_counts_what_it_cannot_hold_and_keeps_its_means() -> None:
    table = PrototypeTable(2, capacity=2, merge_cosine=0.9)
    assert table.assign(np.array([[1.0, 0.0], [0.0, 1.0]]), 1.0).tolist() == [0, 1]
    before = table.mean.copy()
    assert table.assign(np.array([[-1.0, 0.2]]), 2.0).tolist() == [1]
    np.testing.assert_array_equal(table.mean, before)
    assert (len(table), table.n_crowded) == (2, 1)
    assert table.count.tolist() == [1, 2]
    assert table.last_seen.tolist() == [1.0, 2.0]


def test_times_of_prototypes_never_run_backwards() -> None:
    table = PrototypeTable(2)
    for stamp in (5.0, 3.0):
        table.assign(np.array([[1.0, 0.0]]), stamp)
    assert table.last_seen.tolist() == [5.0]


@pytest.mark.parametrize(
    "bad", [np.ones((2, 3)), np.zeros((1, 2)), np.array([[np.nan, 1.0]]), np.array([[np.inf, 1.0]])]
)
def test_vectors_that_are_no_embeddings_are_refused(bad: np.ndarray) -> None:
    table = PrototypeTable(2)
    with pytest.raises(ValueError, match="embedding"):
        table.assign(bad, 0.0)
    assert len(table) == 0


@pytest.mark.parametrize("arguments", [(0,), (3, 0), (3, 70000), (3, 5, 0.0), (3, 5, 1.1), (10**9,)])
def test_senseless_tables_are_refused(arguments: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="need"):
        PrototypeTable(*arguments)


def pool_of(voxels: np.ndarray) -> tuple[BlockPool, np.ndarray, np.ndarray]:
    """(pool in which just these distinct voxels are occupied, their blocks, their cells), sorted by block."""
    voxels = np.unique(voxels, axis=0)
    keys, block = np.unique([pack(*(int(c) for c in v // 8)) for v in voxels], return_inverse=True)
    cell = (voxels % 8) @ [64, 8, 1]
    cells = np.full((len(keys), VOLUME), UNKNOWN)
    cells[block, cell] = 50
    order = np.lexsort((cell, block))
    return BlockPool.from_rows(keys, cells, np.zeros(len(keys))), block[order], cell[order]


@given(st.integers(0, 2**31), st.integers(0, 2), st.sampled_from([0.01, 0.05, 0.2]))
def test_clusters_equal_those_of_scipy_on_a_dense_grid(seed: int, gap: int, density: float) -> None:
    rng = np.random.default_rng(seed)
    grid = rng.random((20, 18, 22)) < density
    grid[3, 3, 3] = True
    pool, rows, cells = pool_of(np.argwhere(grid) - 9)
    groups = cluster(pool, rows, cells, gap)
    voxels = voxel_coordinates(pool, rows, cells) + 9
    # voxels are joined over gaps exactly if cubes of (gap + 1) voxels at their places touch or overlap
    if gap == 0:
        labels, n = label_image(grid, np.ones((3, 3, 3)))
        expected = labels[tuple(voxels.T)]
    else:
        apart = np.abs(voxels[:, None] - voxels[None]).max(axis=2)
        expected, n = np.arange(len(voxels)), 0
        while True:
            lower = np.where(apart <= gap + 1, expected[None], len(voxels)).min(axis=1)
            if (lower == expected).all():
                break
            expected = lower
        n = len(np.unique(expected))
    assert groups.max() + 1 == n
    assert len({*zip(groups.tolist(), expected.tolist(), strict=True)}) == n
    first = [int(np.argmax(groups == g)) for g in range(n)]
    assert first == sorted(first)


def random_payload(rng: np.random.Generator, n_ids: int) -> tuple[BlockPool, dict[tuple[int, int], int]]:
    """A pool with a prototype channel of random ids, some blocks with very many, and the ids of occupied voxels."""
    keys = np.array([pack(int(x), int(y), 0) for x in range(-3, 3) for y in range(-2, 2)])
    cells = rng.integers(-60, 60, (len(keys), VOLUME)).astype(np.int8)
    pool = BlockPool.from_rows(keys, cells, np.zeros(len(keys)))
    channel = pool.add_channel("prototype", np.uint16)
    for row in range(pool.n):
        some = rng.integers(0, n_ids + 1, int(rng.choice([1, 3, LENGTH, 4 * LENGTH])))
        channel[row] = np.where(rng.random(VOLUME) < 0.3, rng.choice(some, VOLUME), 0)
    known = {
        (row, cell): int(channel[row, cell])
        for row, cell in np.argwhere((channel[: pool.n] > 0) & (cells > 0)).tolist()
    }
    return pool, known


@given(st.integers(0, 2**31), st.sampled_from([1, 40]), st.floats(-1.0, 1.0))
def test_selected_voxels_are_all_that_score_enough_in_every_state_of_the_map(
    seed: int, n_ids: int, least: float
) -> None:
    rng = np.random.default_rng(seed)
    pool, known = random_payload(rng, n_ids)
    lists = BlockLists("prototype")
    for _ in range(3):
        scores = rng.uniform(-1, 1, n_ids + 1).astype(np.float32)
        rows, cells, ids, best = lists.select(pool, scores, least)
        expected = {at: i for at, i in known.items() if scores[i] >= np.float32(least)}
        assert {(r, c): i for r, c, i in zip(rows.tolist(), cells.tolist(), ids.tolist(), strict=True)} == expected
        assert best == max((float(scores[i]) for i in known.values()), default=-np.inf)
        coordinates = unpack(pool.keys[rows])
        assert (np.diff(np.flatnonzero(np.append(True, (np.diff(coordinates, axis=0) != 0).any(axis=1)))) > 0).all()
        row = int(rng.integers(pool.n))  # one block changes
        pool.revision += 1
        pool.revisions[row] = pool.revision
        pool.cells[row, :100], pool.channels["prototype"][row, 100:200] = -20, 1
        known = {at: i for at, i in known.items() if at[0] != row}
        here = pool.channels["prototype"][row]
        known |= {(row, c): int(here[c]) for c in np.flatnonzero((here > 0) & (pool.cells[row] > 0)).tolist()}


def test_ids_of_a_forged_file_that_there_are_not_are_passed_over() -> None:
    pool, _ = random_payload(np.random.default_rng(0), 5)
    pool.channels["prototype"][:4] = 65535
    assert (BlockLists("prototype").select(pool, np.ones(6), 0.5)[2] <= 5).all()


AXES = {"wall": [1.0, 0.0, 0.0], "mug": [0.0, 1.0, 0.0], "piano": [0.0, 0.0, 1.0]}


def encode(texts: Sequence[str]) -> np.ndarray:
    """A text encoder that knows three words."""
    return np.array([AXES[text] for text in texts], dtype=np.float32)


def two_mugs(stamp: float = 0.0) -> Observation:
    """A wall with a mug on the left and one on the right, each with an embedding."""
    frame = wall_ahead(stamp, distance=2.02)
    semantic, depth = np.ones((24, 32), dtype=np.int32), np.full((24, 32), 2.02, dtype=np.float32)
    instance = np.ones((24, 32), dtype=np.int32)
    for number, columns in ((2, slice(4, 9)), (3, slice(22, 27))):
        semantic[9:15, columns], instance[9:15, columns], depth[9:15, columns] = 2, number, 1.82
    like = {1: np.array([1.0, 0.1, 0.0]), 2: np.array([0.1, 1.0, 0.0]), 3: np.array([0.05, 0.8, 0.02])}
    return replace(frame, semantic=semantic, instance=instance, depth=depth, embeddings=like)


def seen_twice() -> VoxelMap:
    voxels = VoxelMap(
        0.05, payload=Payload(CHANNELS, prototypes=PrototypeTable(3)), search=Search(encoder=encode, gap=3)
    )
    voxels.observe(two_mugs(10.0))
    voxels.observe(two_mugs(11.0))
    return voxels


def test_a_text_finds_each_thing_with_its_place_size_age_and_confidence() -> None:
    hits = seen_twice().query(Query(text="mug"))
    assert len(hits) == 2
    assert sorted(round(float(hit.position[1])) for hit in hits if hit.position is not None) == [-1, 1]
    for hit in hits:
        assert hit.entity == "mug"
        assert hit.layer == "voxels"
        assert hit.stamp == 11.0
        assert hit.score > 0.98
        assert 0.9 < hit.detail["confidence"] <= 1.0
        assert 0.3 < hit.detail["size"] < 0.8
        assert hit.position is not None
        assert hit.position[0] == pytest.approx(1.825, abs=0.05)
        assert hit.position[2] == pytest.approx(1.0, abs=0.1)


def test_what_is_not_there_has_no_answer_but_a_best_score() -> None:
    voxels = seen_twice()
    assert voxels.query(Query(text="piano")) == []
    answer = voxels.find(Query(text="piano"))
    assert answer.instances == []
    assert 0.0 < answer.best_score < 0.21
    assert voxels.find(Query(entity="piano")).best_score == -np.inf
    assert VoxelMap().find(Query(text="mug")).best_score == -np.inf


def test_text_embedding_and_label_ask_for_the_same_thing() -> None:
    voxels = seen_twice()
    queries = [Query(text="mug"), Query(embedding=np.array([0.0, 2.0, 0.0])), Query(entity=" Mug "),
               Query(entity="mug", text="mug"), Query(text="mug", embedding=np.array([0.0, 1.0, 0.0]))]  # fmt: skip
    found = [
        sorted(tuple(hit.position) for hit in voxels.query(query) if hit.position is not None) for query in queries
    ]
    assert all(len(each) == 2 for each in found)
    np.testing.assert_allclose(found[1:], [found[0]] * (len(found) - 1), atol=0.05)
    assert voxels.query(Query(entity="wall", text="mug")) == []
    assert voxels.query(Query(text="mug", embedding=np.array([0.0, 0.0, 1.0]))) == []


def test_place_and_time_narrow_the_answer() -> None:
    voxels = seen_twice()
    every = voxels.query(Query(text="mug"))
    assert every[0].position is not None
    assert len(voxels.query(Query(text="mug", near=every[0].position, radius=0.1))) == 1
    assert len(voxels.query(Query(text="mug", k=1))) == 1
    assert len(voxels.query(Query(text="mug", since=11.0))) == 2
    assert voxels.query(Query(text="mug", until=11.0)) == []
    assert voxels.query(Query(text="mug", place="kitchen")) == []
    assert voxels.query(Query(text="mug", kind="objects")) == []


def test_a_thing_that_is_gone_is_no_answer() -> None:
    voxels = seen_twice()
    empty = two_mugs(12.0)
    empty = replace(empty, depth=np.full((24, 32), 2.02, dtype=np.float32), semantic=np.ones((24, 32), dtype=np.int32),
                    instance=np.ones((24, 32), dtype=np.int32), embeddings={1: np.array([1.0, 0.1, 0.0])})  # fmt: skip
    for _ in range(12):
        voxels.observe(empty)
    assert voxels.query(Query(text="mug")) == []
    assert voxels.query(Query(entity="mug")) == []


def test_a_label_is_as_sure_as_its_votes() -> None:
    voxels = VoxelMap(0.05, payload=Payload(["labels"]))
    for stamp in range(8):
        voxels.observe(two_mugs(float(stamp)))
    once = VoxelMap(0.05, payload=Payload(["labels"]))
    once.observe(two_mugs(0.0))
    sure, unsure = (m.query(Query(entity="mug"))[0].detail["confidence"] for m in (voxels, once))
    assert unsure == pytest.approx(2 / 3)
    assert sure == pytest.approx(9 / 10)


def test_a_loaded_map_answers_the_same_once_it_has_its_encoder() -> None:
    voxels = seen_twice()
    voxels.search.calibration = calibrate(np.array([0.7, 0.8]), np.array([0.1, 0.2]))
    loaded = VoxelMap.load(voxels.save())
    assert loaded.search.calibration == voxels.search.calibration
    with pytest.raises(ValueError, match="encoder"):
        loaded.query(Query(text="mug"))
    loaded.search.encoder = encode
    for query in (Query(text="mug"), Query(entity="mug"), Query(text="piano")):
        a, b = voxels.query(query), loaded.query(query)
        assert [(h.score, h.stamp, h.detail) for h in a] == [(h.score, h.stamp, h.detail) for h in b]


def test_embeddings_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="length 3"):
        seen_twice().query(Query(embedding=np.ones(4)))


def test_words_are_answered_by_the_records_where_no_layer_embeds_them() -> None:
    objects, plain, store = ObjectMemory(), VoxelMap(0.1), RecordStore()
    memory = Memory([plain, objects], store=store)
    memory.observe(wall_ahead())
    store.write(Record(kind="note", t_event=0.0, source="test", text="mug"))
    assert memory.query(Query(embedding=np.ones(3))) == []
    assert {hit.layer for hit in memory.query(Query(text="mug"))} == {"store"}
    assert {hit.layer for hit in memory.query(Query(entity="mug"))} == {"objects", "store"}


def test_any_callable_is_an_encoder() -> None:
    assert isinstance(encode, TextEncoder)


@pytest.mark.parametrize("arguments", [{"gap": -1}, {"gap": 8}, {"min_voxels": 0}])
def test_senseless_searches_are_refused(arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="need"):
        Search(**arguments)  # type: ignore[arg-type]


@given(vectors)
def test_unit_rows_are_unit_and_point_the_same_way(rows: np.ndarray) -> None:
    units = unit_rows(rows, 4)
    np.testing.assert_allclose(np.linalg.norm(units, axis=1), 1.0, atol=1e-6)
    np.testing.assert_allclose(np.einsum("nd,nd->n", units, rows), np.linalg.norm(rows, axis=1), rtol=1e-5)
