"""Contracts that any layer or store must hold: inherit one in your test suite and give it your class.

class TestMyLayer(LayerContract):
    @pytest.fixture
    def layer(self): return MyLayer(resolution=0.1)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from embmem.errors import InputError, StoreError
from embmem.geometry import camera_pose
from embmem.observation import Intrinsics, Observation
from embmem.protocols import Deformation, Layer, Store
from embmem.records import Hit, Link, Query, Record


def wall_ahead(stamp: float = 0.0, *, distance: float = 2.0, yaw: float = 0.0) -> Observation:
    """A camera 1 m above the origin that looks at a wall with a square thing, labelled "mug", in the middle."""
    intrinsics = Intrinsics.from_fov(32, 24, 79.0)
    depth = np.full((24, 32), distance, dtype=np.float32)
    semantic = np.ones((24, 32), dtype=np.int32)
    semantic[9:15, 13:19] = 2
    depth[9:15, 13:19] -= 0.2
    return Observation(
        stamp=stamp,
        T_map_camera=camera_pose(np.array([0.0, 0.0, 1.0]), yaw),
        intrinsics=intrinsics,
        depth=depth,
        rgb=np.full((24, 32, 3), 128, dtype=np.uint8),
        semantic=semantic,
        instance=np.where(semantic == 2, 1, 0).astype(np.int32),
        labels=("unlabelled", "wall", "mug"),
    )


def same_hits(a: list[Hit], b: list[Hit]) -> bool:
    """True if two answers agree in everything but the wording."""

    def key(hit: Hit) -> tuple[Any, ...]:
        position = None if hit.position is None else tuple(np.asarray(hit.position, dtype=float).tolist())
        return hit.score, hit.layer, hit.stamp, position, hit.entity, tuple(sorted(hit.detail.items()))

    return [key(hit) for hit in a] == [key(hit) for hit in b]


def _distance(record: Record, point: np.ndarray) -> float:
    return np.inf if record.T_map_obs is None else float(np.linalg.norm(record.T_map_obs[:3, 3] - point))


QUERIES = [
    Query(),
    Query(k=1),
    Query(entity="mug"),
    Query(near=np.array([2.0, 0.0, 1.0]), radius=1.0),
    Query(since=1.0, until=3.0),
]


class LayerContract:
    """What every `Layer` promises. Override the fixture `layer` with a fresh, empty one."""

    @pytest.fixture
    def layer(self) -> Layer:
        raise pytest.UsageError("a LayerContract needs a fixture `layer`")

    def test_speaks_the_protocol(self, layer: Layer) -> None:
        assert isinstance(layer, Layer)
        assert layer.kind
        assert layer.version >= 1

    def test_empty_answers_nothing(self, layer: Layer) -> None:
        assert all(layer.query(query) == [] for query in QUERIES)

    def test_answers_are_limited_sorted_and_explained(self, layer: Layer) -> None:
        for stamp in range(4):
            layer.observe(wall_ahead(float(stamp)))
        for query in QUERIES:
            hits = layer.query(query)
            assert len(hits) <= query.k
            assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
            assert all(hit.why and hit.layer == layer.kind for hit in hits)
            if query.near is not None:
                assert all(np.linalg.norm(hit.position - query.near) <= query.radius + 1e-6 for hit in hits)

    def test_querying_changes_nothing(self, layer: Layer) -> None:
        layer.observe(wall_ahead(0.0))
        first = [layer.query(query) for query in QUERIES]
        assert all(same_hits(layer.query(query), hits) for query, hits in zip(QUERIES, first, strict=True))

    def test_missing_images_are_no_error(self, layer: Layer) -> None:
        full = wall_ahead(0.0)
        layer.observe(replace(full, depth=None))
        layer.observe(replace(full, rgb=None, semantic=None, instance=None, labels=()))
        layer.observe(replace(full, depth=np.full_like(full.depth, np.nan)))

    def test_saved_state_answers_the_same(self, layer: Layer) -> None:
        for stamp in range(4):
            layer.observe(wall_ahead(float(stamp), yaw=0.2 * stamp))
        loaded = type(layer).load(layer.save())
        assert all(same_hits(loaded.query(query), layer.query(query)) for query in QUERIES)
        for each in (layer, loaded):  # and goes on the same way
            each.observe(wall_ahead(5.0, yaw=-0.3))
        assert all(same_hits(loaded.query(query), layer.query(query)) for query in QUERIES)

    def test_same_observations_give_the_same_bytes(self, layer: Layer) -> None:
        twin = type(layer).load(layer.save())
        for each in (layer, twin):
            each.observe(wall_ahead(0.0))
        a, b = layer.save(), twin.save()
        assert a.params == b.params
        assert {name: array.tobytes() for name, array in a.arrays.items()} == {
            name: array.tobytes() for name, array in b.arrays.items()
        }

    def test_refuses_a_newer_version_and_another_kind(self, layer: Layer) -> None:
        state = layer.save()
        with pytest.raises(InputError):
            type(layer).load(replace(state, version=layer.version + 1))
        with pytest.raises(InputError):
            type(layer).load(replace(state, kind=state.kind + "-other"))

    def test_refuses_missing_arrays(self, layer: Layer) -> None:
        layer.observe(wall_ahead(0.0))
        state = layer.save()
        for name in state.arrays:
            fewer = {key: array for key, array in state.arrays.items() if key != name}
            with pytest.raises(InputError):
                type(layer).load(replace(state, arrays=fewer))

    def test_identity_deformation_keeps_the_answers(self, layer: Layer) -> None:
        layer.observe(wall_ahead(0.0))
        before = [layer.query(query) for query in QUERIES]
        layer.deform(Deformation(stamps=np.array([0.0]), T_new_old=np.eye(4)[None]))
        layer.deform(Deformation(stamps=np.zeros(0), T_new_old=np.zeros((0, 4, 4))))
        for query, hits in zip(QUERIES, before, strict=True):
            after = layer.query(query)
            assert len(after) == len(hits)
            for a, b in zip(after, hits, strict=True):
                if a.position is not None and b.position is not None:
                    np.testing.assert_allclose(a.position, b.position, atol=1e-6)
                else:
                    assert a.position is b.position

    def test_time_passes_and_size_is_told(self, layer: Layer) -> None:
        layer.observe(wall_ahead(0.0))
        layer.tick(10.0)
        assert layer.stats()["bytes"] > 0


class StoreContract:
    """What every `Store` promises. Override the fixture `make_store` with a function that gives a fresh, empty one."""

    @pytest.fixture
    def make_store(self) -> Callable[[], Store]:
        raise pytest.UsageError("a StoreContract needs a fixture `make_store`")

    def test_speaks_the_protocol(self, make_store: Callable[[], Store]) -> None:
        assert isinstance(make_store(), Store)

    def test_ids_ascend_and_records_come_back(self, make_store: Callable[[], Store]) -> None:
        store = make_store()
        pose = camera_pose(np.array([1.0, 2.0, 0.5]), 0.3)
        ids = [
            store.write(
                Record(kind="note", t_event=float(t), source="test", T_map_obs=pose, entities=("mug", "cup"),
                       text="on the table", payload={"n": t}, place="kitchen", confidence=0.5, valid=(0.0, 9.0),
                       position=np.array([1.0, 2.0, 0.1]), embedding=np.array([0.5, -0.25], dtype=np.float32),
                       keys=("voxel:1,2,0",), blob=b"\x00\xff", links=(Link("from", t),) if t else ())
            ).wait()
            for t in range(3)
        ]  # fmt: skip
        assert ids == sorted(set(ids))
        assert len(store) == 3
        newest = store.read(Query(k=1))[0]
        assert newest.id == ids[-1]
        assert newest.t_event == 2.0
        assert newest.t_ingest is not None
        assert set(newest.entities) == {"mug", "cup"}
        assert (newest.text, newest.payload, newest.place) == ("on the table", {"n": 2}, "kitchen")
        assert (newest.confidence, newest.valid, newest.source) == (0.5, (0.0, 9.0), "test")
        assert (newest.keys, newest.blob, newest.links) == (("voxel:1,2,0",), b"\x00\xff", (Link("from", 2),))
        np.testing.assert_array_equal(newest.T_map_obs, pose)
        np.testing.assert_array_equal(newest.position, [1.0, 2.0, 0.1])
        np.testing.assert_array_equal(newest.embedding, [0.5, -0.25])
        assert [record.id for record in store.get([ids[2], 10**6, ids[0]])] == [ids[2], ids[0]]

    def test_every_filter_equals_a_plain_list(self, make_store: Callable[[], Store]) -> None:
        store = make_store()
        rng = np.random.default_rng(0)
        records = []
        for t in rng.integers(0, 20, 60):
            record = Record(
                kind=str(rng.choice(["view", "note"])), t_event=float(t), source="test",
                place=str(rng.choice(["hall", "bath"])), entities=tuple(set(rng.choice(["mug", "key", "hat"], 2))),
                T_map_obs=camera_pose(rng.uniform(-3, 3, 3), 0.0),
            )  # fmt: skip
            records.append(replace(record, id=store.write(record).id))
        near = np.zeros(3)
        for query in [
            Query(entity="key", k=99), Query(kind="note", k=99), Query(place="hall", k=5), Query(since=5.0, until=9.0),
            Query(near=near, radius=2.0, k=99), Query(entity="mug", kind="view", near=near, radius=3.0, since=3.0),
        ]:  # fmt: skip
            expected = [
                r for r in records
                if (query.entity is None or query.entity in r.entities) and query.kind in (None, r.kind)
                and query.place in (None, r.place) and query.since <= r.t_event < query.until
                and (query.near is None or _distance(r, query.near) <= query.radius)
            ]  # fmt: skip
            expected.sort(key=lambda r: (r.t_event, r.id), reverse=True)
            assert [r.id for r in store.read(query)] == [r.id for r in expected][: query.k]

    def test_refuses_what_it_could_not_find_again(self, make_store: Callable[[], Store]) -> None:
        store = make_store()
        bad_pose = np.full((4, 4), np.nan)
        for record in (
            Record(kind="note", t_event=np.nan, source="test"),
            Record(kind="note", t_event=0.0, source="test", T_map_obs=bad_pose),
            Record(kind="note", t_event=0.0, source="test", id=7),
            Record(kind="note", t_event=0.0, source="test", embedding=np.array([np.nan, 1.0])),
            Record(kind="note", t_event=0.0, source="test", links=(Link("from", 9),)),
            Record(kind="note", t_event=0.0, source="test", confidence=1.5),
        ):
            with pytest.raises(ValueError, match=r"finite|id|link|confidence"):
                store.write(record)
        assert len(store) == 0

    def test_words_embeddings_and_places_rank(self, make_store: Callable[[], Store]) -> None:
        store = make_store()
        rng = np.random.default_rng(0)
        vectors = rng.normal(size=(30, 4)).astype(np.float16)
        places = rng.uniform(-3, 3, (30, 3))
        texts = [" ".join(rng.choice(["red", "mug", "lamp", "door"], rng.integers(1, 9))) for _ in range(30)]
        ids = store.write_all(
            Record(
                kind="note", t_event=float(i), source="test", text=texts[i], embedding=vectors[i], position=places[i]
            )
            for i in range(30)
        )
        asked = rng.normal(size=4)
        cosines = vectors.astype(float) @ asked / np.linalg.norm(vectors.astype(float), axis=1) / np.linalg.norm(asked)
        answer = store.search(Query(embedding=asked, k=30, min_similarity=0.1))
        assert _ids(answer.hits) == [ids[i] for i in np.argsort(-cosines) if cosines[i] >= 0.1]
        distances = np.linalg.norm(places - asked[:3], axis=1)
        answer = store.search(Query(near=asked[:3], radius=4.0, k=30))
        assert _ids(answer.hits) == [ids[i] for i in np.argsort(distances) if distances[i] <= 4.0]
        answer = store.search(Query(text="Mugs?", k=30))
        assert set(_ids(answer.hits)) == {ids[i] for i in range(30) if "mug" in texts[i].split()}
        assert [hit.score for hit in answer.hits] == sorted((hit.score for hit in answer.hits), reverse=True)
        assert store.search(Query(text="unheard")).abstained is not None

    def test_what_is_withdrawn_is_hidden_and_can_come_back(self, make_store: Callable[[], Store]) -> None:
        store = make_store()

        def write(t: float, *links: tuple[str, int]) -> int:
            all_links = tuple(Link(*link) for link in links)
            return store.write(Record(kind="note", t_event=t, t_ingest=t, source="test", links=all_links)).wait()

        seen = write(1.0)
        derived = write(2.0, ("from", seen))
        correction = write(3.0, ("corrects", seen))
        withdrawal = write(4.0, ("withdraws", correction))
        assert _ids_of(store.read(Query())) == [withdrawal, derived, seen]
        assert _ids_of(store.read(Query(as_of=3.5))) == [correction]
        assert _ids_of(store.read(Query(as_of=2.5))) == [derived, seen]
        assert len(store.read(Query(with_hidden=True))) == len(store) == 4
        assert _ids_of(store.read(Query(linked_to=derived, hops=2))) == [derived, seen]

    def test_a_batch_is_stored_whole_or_not_at_all(self, make_store: Callable[[], Store]) -> None:
        store = make_store()
        good = Record(kind="note", t_event=1.0, source="test", embedding=np.ones(3))
        for bad in (replace(good, confidence=2.0), replace(good, embedding=np.ones(4)), replace(good, kind="")):
            with pytest.raises(ValueError, match=r"confidence|embedding|names"):
                store.write_all([good, bad])
        assert len(store) == 0
        assert store.write_all([]) == []

    def test_what_is_flushed_is_acknowledged_and_a_closed_store_takes_nothing(
        self, make_store: Callable[[], Store]
    ) -> None:
        store = make_store()
        tickets = [store.write(Record(kind="note", t_event=0.0, source="test")) for _ in range(5)]
        store.flush()
        assert all(ticket.is_acknowledged for ticket in tickets)
        assert [ticket.id for ticket in tickets] == [ticket.wait(1.0) for ticket in tickets]
        store.close()
        with pytest.raises(StoreError, match="closed"):
            store.write(Record(kind="note", t_event=0.0, source="test"))


def _ids(hits: list[Hit]) -> list[int | None]:
    return [None if hit.record is None else hit.record.id for hit in hits]


def _ids_of(records: list[Record]) -> list[int | None]:
    return [record.id for record in records]
