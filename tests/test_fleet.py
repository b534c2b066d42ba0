"""The store of a fleet, on a real Postgres server, keeps the contract and answers as the store in a file does."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_search import plain_read, plain_search
from postgres_server import NUMBERS, PostgresServer, opening_stores, start_server
from test_engine import ALL_QUERIES, world

from embmem.errors import MissingExtraError
from embmem.fleet import PostgresStore
from embmem.protocols import Ranking, Store
from embmem.records import Link, Query, Record
from embmem.store import RecordStore
from embmem.testing import StoreContract


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    server = start_server()
    yield server
    server.remove()


@pytest.fixture
def connect(server: PostgresServer) -> Iterator[Callable[..., PostgresStore]]:
    with opening_stores(server) as connect:
        yield connect


class TestPostgres(StoreContract):
    @pytest.fixture
    def make_store(self, connect: Callable[..., PostgresStore]) -> Callable[[], Store]:
        return lambda: connect(schema=f"contract{next(NUMBERS)}")


@pytest.fixture(scope="module")
def stored(server: PostgresServer) -> Iterator[Callable[[int], tuple[PostgresStore, list[Any]]]]:
    """A store of a world, and its records as they came back."""
    worlds: dict[int, tuple[PostgresStore, list[Any]]] = {}

    def stored(seed: int) -> tuple[PostgresStore, list[Any]]:
        if seed not in worlds:
            store = PostgresStore(server.dsn, "r1", schema=f"world{seed}")
            worlds[seed] = store, store.get([store.write(record).id for record in world(seed)])
        return worlds[seed]

    yield stored
    for store, _ in worlds.values():
        store.close()


@settings(max_examples=100)
@given(
    seed=st.integers(0, 1),
    query=ALL_QUERIES,
    weights=st.sampled_from([{}, {"recency": 0.5}, {"confidence": 2.0, "text": 0.5}]),
)
def test_a_search_is_that_of_a_plain_list(
    stored: Callable[[int], tuple[PostgresStore, list[Any]]], seed: int, query: Query, weights: dict[str, float]
) -> None:
    store, records = stored(seed)
    answer = store.search(query, Ranking(weights=weights))
    assert [hit.record and hit.record.id for hit in answer.hits] == plain_search(
        records, query, Ranking(weights=weights)
    )
    assert (answer.abstained is None) == bool(answer.hits)


@settings(max_examples=60)
@given(seed=st.integers(0, 1), query=ALL_QUERIES)
def test_reading_is_a_plain_list_too(
    stored: Callable[[int], tuple[PostgresStore, list[Any]]], seed: int, query: Query
) -> None:
    store, records = stored(seed)
    assert [record.id for record in store.read(query)] == plain_read(records, query)


ARRAYS = ("T_map_obs", "position", "embedding")


def facts(record: Record) -> tuple[Any, ...]:
    """All that a record says but its ingest time, to be compared."""
    others = [part.name for part in fields(Record) if part.name not in ("t_ingest", *ARRAYS)]
    arrays = [getattr(record, name) for name in ARRAYS]
    return (*(getattr(record, name) for name in others), *(None if a is None else a.tolist() for a in arrays))


SENTENCES = [
    "The mugs were washed", "washing a mug", "Café au lait", "cafe", "a running robot runs", "ÄPFEL und apfel",
    "日本語 の 文", "x" * 3000, "red-mug_3 it's", "no\x00thing \x1a here", "", "?!", "ﬁnd naïve co-operate",
    "Ⅷ ½ x²",
]  # fmt: skip


def test_any_text_is_found_and_scored_as_in_a_file(connect: Callable[..., PostgresStore]) -> None:
    file, fleet = RecordStore(), connect()
    records = [
        Record(kind="note", t_event=float(i), source="s", text=text, entities=("tea pot",) if i % 3 else ())
        for i, text in enumerate(SENTENCES)
    ]
    file.write_all(records)
    fleet.write_all(records)
    for text in [
        *SENTENCES,
        "mug",
        "wash",
        "runs",
        "pots",
        "nothing",
        "CAFÉ lait",
        "本 日本語",
        "apfel äpfel mugs mug",
    ]:
        query = Query(text=text, k=50)
        ours, theirs = fleet.search(query).hits, file.search(query).hits
        assert [hit.record and hit.record.id for hit in ours] == [hit.record and hit.record.id for hit in theirs]
        assert [hit.detail["bm25"] for hit in ours] == pytest.approx([hit.detail["bm25"] for hit in theirs])


def test_whatever_a_string_says_it_is_data(connect: Callable[..., PostgresStore]) -> None:
    evil = [
        "'; DROP TABLE records; --",
        '"',
        "%s %(k)s %%",
        "\\",
        "{a,b}",
        "$1",
        "NULL",
        "\x00",
        "\x1a0\x00\x1a",
        "a\nb\tc",
    ]
    evil += ["é" * 1024, "\\N", "\\.", "👩‍🚀", "\u200b"]
    robot = "r'; DROP SCHEMA public CASCADE; --"
    fleet, file = connect(robot), RecordStore()
    for i, name in enumerate(evil):
        record = Record(
            kind=name, t_event=float(i), source=name, place=name, entities=(name,), keys=(name,), text=name,
            payload={name: [name, None, 1.5]}, links=(Link(name, i),) if i else (), blob=name.encode(),
        )  # fmt: skip
        assert fleet.write(record).id == file.write(record).id
    everything = range(1, len(evil) + 1)
    assert list(map(facts, fleet.get(everything))) == list(map(facts, file.get(everything)))
    for i, name in enumerate(evil, 1):
        for query in (Query(kind=name), Query(source=name), Query(place=name), Query(entity=name), Query(key=name)):
            assert [record.id for record in fleet.read(query)] == [i]
            assert [record.id for record in fleet.read(query, robots=[robot])] == [i]
            assert fleet.read(query, robots=[name]) == []
        fleet.search(Query(text=name))
    assert fleet.robots() == [robot]


def test_records_of_absurd_size_and_place_are_kept_and_found(connect: Callable[..., PostgresStore]) -> None:
    fleet = connect()
    far = np.array([1e30, -1e30, 1e29])
    ids = fleet.write_all(
        [
            Record(
                kind="note", t_event=-1.7e308, source="s", position=far, valid=(-np.inf, 5e-324), blob=bytes(1 << 20)
            ),
            Record(kind="note", t_event=1.0, source="s", position=np.zeros(3), text="w" * (1 << 20)),
            Record(kind="note", t_event=2.0, source="s", text="a " * 500_000, payload={"x": "\ud800\x00" * 10}),
        ]
    )
    there = fleet.get(ids)
    assert there[0].blob == bytes(1 << 20)
    assert there[1].text == "w" * (1 << 20)
    assert there[2].payload == {"x": "\ud800\x00" * 10}
    assert [r.id for r in fleet.read(Query(near=np.zeros(3), radius=2e30))] == [ids[1], ids[0]]
    assert [r.id for r in fleet.read(Query(near=np.zeros(3), radius=1.0))] == [ids[1]]
    assert [r.id for r in fleet.read(Query(box=np.stack([far - 1e20, far + 1e20])))] == [ids[0]]
    assert [h.record and h.record.id for h in fleet.search(Query(near=np.zeros(3))).hits] == [ids[1], ids[0]]
    assert [r.id for r in fleet.read(Query(text="w" * (1 << 20)))] == [ids[1]]
    assert fleet.get([0, -1, 1 << 70]) == []
    assert fleet.read(Query(linked_to=1 << 70)) == []


def test_a_graph_finds_most_of_the_nearest_and_filters_stay_exact(connect: Callable[..., PostgresStore]) -> None:
    fleet, rng = connect(), np.random.default_rng(0)
    with pytest.raises(ValueError, match="the fleet has 0"):
        fleet.build_graph()
    centres = rng.normal(size=(20, 16))
    vectors = (centres[rng.integers(0, 20, 2000)] + 0.5 * rng.normal(size=(2000, 16))).astype(np.float16)
    notes = [
        Record(kind=f"kind{i % 5}", t_event=float(i), source="s", embedding=vector) for i, vector in enumerate(vectors)
    ]
    fleet.write_all(notes[:1500])
    queries = [Query(embedding=centre, k=10) for centre in centres]
    fleet.build_graph()
    fleet.build_graph()
    fleet.write_all(notes[1500:])
    withdrawals = [(Link("withdraws", i),) for i in range(1, 400)]
    fleet.write_all(Record(kind="note", t_event=0.0, source="s", links=links) for links in withdrawals)
    units = vectors.astype(float) / np.linalg.norm(vectors.astype(float), axis=1)[:, None]
    n_found = 0
    for query in queries:
        cosines = units @ (np.asarray(query.embedding) / np.linalg.norm(np.asarray(query.embedding)))
        cosines[:399] = -2.0
        found = fleet.search(query)
        assert len(found.hits) == 10
        best = set((np.argsort(-cosines)[:10] + 1).tolist())
        n_found += len({hit.record and hit.record.id for hit in found.hits} & best)
        exact = fleet.search(replace(query, kind="kind1")).hits
        of_kind = np.where(np.arange(2000) % 5 == 1, cosines, -2.0)
        assert [hit.record and hit.record.id for hit in exact] == (np.argsort(-of_kind)[:10] + 1).tolist()
    assert n_found >= 0.95 * 10 * len(queries)


def test_without_the_driver_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtraError, match=r"embmem\[fleet\]"):
        PostgresStore("host=/nowhere", "r1")
