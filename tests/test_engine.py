"""The query engine answers as a plain list does, whichever index it reads first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_search import bm25, plain_read, plain_search

from embmem.geometry import camera_pose
from embmem.observation import Intrinsics
from embmem.protocols import Ranking
from embmem.records import Frustum, Hit, Link, Query, Record
from embmem.search import engine, finder, plan, rankings, words
from embmem.store import RecordStore
from embmem.store.purge import forget

DIM = 8
WORDS = ("red", "mug", "box", "lamp", "door", "cat")
NAMES = ("hat", "key", "jar")
DRIVERS = (
    None,
    "",
    "time",
    "kind",
    "source",
    "place",
    "entity",
    "key",
    "links",
    "text",
    "ball",
    "box",
    "view",
    "ingest",
)


def world(seed: int, n: int = 120) -> list[Record]:
    """Records with every field, some with few."""
    rng = np.random.default_rng(seed)
    records = []
    for i in range(n):
        links = tuple(Link("about", int(to)) for to in rng.integers(1, i + 1, rng.integers(0, 2))) if i else ()
        if i and rng.random() < 0.08:
            links += (Link(str(rng.choice(["withdraws", "corrects"])), int(rng.integers(1, i + 1))),)
        records.append(
            Record(
                kind=str(rng.choice(["view", "note"])), t_event=float(rng.integers(0, 40)), t_ingest=float(i // 3),
                source=str(rng.choice(["camera", "user"])), place=(None, "hall", "bath")[rng.integers(3)],
                position=rng.uniform(-3, 3, 3) if rng.random() < 0.8 else None,
                entities=tuple(rng.choice(NAMES, rng.integers(0, 3), replace=False).tolist()),
                keys=tuple(rng.choice(["a", "b"], rng.integers(0, 2)).tolist()),
                text=" ".join(rng.choice(WORDS, rng.integers(0, 6))),
                embedding=rng.normal(size=DIM).astype(np.float16) if rng.random() < 0.7 else None,
                confidence=float(rng.choice([0.25, 0.5, 1.0])),
                valid=(0.0, float(rng.integers(1, 40))) if rng.random() < 0.5 else (-np.inf, np.inf), links=links,
            )
        )  # fmt: skip
    return records


WORLDS: dict[int, tuple[RecordStore, list[Record]]] = {}


def stored(seed: int) -> tuple[RecordStore, list[Record]]:
    """A store of a world, and its records as they came back."""
    if seed not in WORLDS:
        store = RecordStore()
        ids = store.write_all(world(seed))
        WORLDS[seed] = store, store.get(ids)
    return WORLDS[seed]


def id_of(hit: Hit) -> int | None:
    """Of the record."""
    return None if hit.record is None else hit.record.id


def optional(strategy: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.one_of(st.none(), strategy)


POINT = st.integers(0, 1000).map(lambda seed: np.random.default_rng(seed).uniform(-3, 3, 3))
BOX = st.tuples(POINT, POINT).map(lambda ends: np.sort(np.stack(ends), axis=0))


def frustum(seed: int) -> Frustum:
    """A camera somewhere."""
    rng = np.random.default_rng(seed)
    camera = Intrinsics.from_fov(32, 24, rng.uniform(30.0, 120.0))
    if seed % 4 == 0:
        camera = replace(camera, distortion=(-0.1, 0.02, 0.001, 0.0))
    pose = camera_pose(rng.uniform(-3, 3, 3), rng.uniform(-3, 3), rng.uniform(-0.5, 0.5))
    return Frustum(pose, camera, far=rng.uniform(1.0, 6.0), near=0.1)


FRUSTUM = st.sampled_from([frustum(seed) for seed in range(24)])
QUERIES = st.builds(
    Query,
    entity=optional(st.sampled_from(NAMES)), kind=optional(st.sampled_from(["view", "note"])),
    place=optional(st.sampled_from(["hall", "bath"])), source=optional(st.sampled_from(["camera", "user"])),
    key=optional(st.sampled_from(["a", "b", "c"])),
    text=optional(st.lists(st.sampled_from([*WORDS, "unheard", "?!"]), max_size=3).map(" ".join)),
    embedding=optional(st.integers(0, 999).map(lambda seed: np.random.default_rng(seed).normal(size=DIM))),
    near=optional(POINT), radius=st.sampled_from([np.inf, 0.5, 2.0, 4.0]), box=optional(BOX),
    frustum=optional(FRUSTUM), since=st.sampled_from([-np.inf, 5.0, 20.0]), until=st.sampled_from([np.inf, 15.0, 35.0]),
    ingested_since=st.sampled_from([-np.inf, 10.0]), as_of=optional(st.sampled_from([8.0, 25.0])),
    valid_at=optional(st.floats(0.0, 40.0)), min_confidence=st.sampled_from([0.0, 0.3, 0.9]),
    linked_to=optional(st.integers(1, 120)), hops=st.integers(0, 4), min_similarity=st.sampled_from([-1.0, 0.05, 0.4]),
    with_hidden=st.booleans(), k=st.sampled_from([1, 3, 10, 200]),
)  # fmt: skip
FEW_FIELDS = st.lists(
    st.sampled_from([name for name in Query.__dataclass_fields__ if name != "k"]), max_size=5, unique=True
)


@st.composite
def narrow_queries(draw: st.DrawFn) -> Query:
    """With few enough fields that something is left."""
    full, names = draw(QUERIES), draw(FEW_FIELDS)
    return Query(k=full.k, **{name: getattr(full, name) for name in names})


ALL_QUERIES = st.one_of(narrow_queries(), QUERIES)


@settings(max_examples=80, deadline=None)
@given(
    st.integers(0, 3),
    ALL_QUERIES,
    st.sampled_from(DRIVERS),
    st.sampled_from([{}, {"recency": 0.5}, {"confidence": 2.0, "text": 0.5}]),
)
def test_whatever_is_read_first_the_answer_is_that_of_a_plain_list(
    seed: int, query: Query, drive: str | None, weights: dict[str, float]
) -> None:
    store, records = stored(seed)
    ranking = Ranking(weights=weights)
    with store.reading() as db:
        answer = engine.search(db, store.embeddings, query, ranking, drive=drive)
    assert [id_of(hit) for hit in answer.hits] == plain_search(records, query, ranking)
    assert (answer.abstained is None) == bool(answer.hits)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 3), ALL_QUERIES)
def test_reading_is_a_plain_list_too(seed: int, query: Query) -> None:
    store, records = stored(seed)
    assert [record.id for record in store.read(query)] == plain_read(records, query)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 3), ALL_QUERIES)
def test_a_plan_that_is_given_up_gives_the_same_answer(seed: int, query: Query) -> None:
    store, records = stored(seed)
    with pytest.MonkeyPatch.context() as patch:  # as if 120 records were a million
        for module, name, value in (
            (plan, "GLANCE", 1), (finder, "HANDFUL", 2), (finder, "BLOCK", 2), (finder, "MAX_BLOCK", 4),
            (finder, "PATIENCE", 6), (finder, "MOST", 60), (rankings, "FEW", 0), (rankings, "HANDFUL", 2),
        ):  # fmt: skip
            patch.setattr(module, name, value)
        found = [id_of(hit) for hit in store.search(query).hits]
        read = [record.id for record in store.read(query)]
    assert found == plain_search(records, query, Ranking())
    assert read == plain_read(records, query)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 3), st.lists(st.sampled_from(WORDS), min_size=1, max_size=4), st.integers(1, 8))
def test_common_words_find_records_that_hold_them_with_their_scores(seed: int, asked: list[str], common: int) -> None:
    store, records = stored(seed)
    query = Query(text=" ".join(asked), k=5, with_hidden=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(words, "COMMON", common)
        hits = store.search(query).hits
    scores = bm25(records, query.text or "")
    assert len(hits) == min(5, len(scores))
    for hit in hits:
        assert hit.record is not None
        assert hit.detail["bm25"] == pytest.approx(scores[hit.record.id or 0])


def test_what_is_written_or_removed_later_is_found_or_not(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(30, DIM)).astype(np.float32)
    notes = [Record(kind="note", t_event=float(i), source="test", embedding=v) for i, v in enumerate(vectors)]

    def nearest(store: RecordStore, i: int) -> int | None:
        return id_of(store.search(Query(embedding=vectors[i], k=1)).hits[0])

    with RecordStore(tmp_path / "a.embmem") as store:
        store.write_all(notes[:20])
        assert nearest(store, 7) == 8
        with RecordStore(tmp_path / "a.embmem", read_only=True) as reader:
            assert nearest(reader, 7) == 8
            store.write_all(notes[20:])
            assert (nearest(store, 25), nearest(reader, 25)) == (26, 26)
            forget(store, [26])
            assert 26 not in (nearest(store, 25), nearest(reader, 25))
        assert store.embeddings.save(store)
    with RecordStore(tmp_path / "a.embmem") as store:
        assert [nearest(store, i) for i in (3, 25, 29)][::2] == [4, 30]
        store.embeddings.discard()
        assert nearest(store, 3) == 4
    assert not (tmp_path / "a.embmem.vectors").exists()


def test_an_embedding_of_another_length_finds_nothing_and_says_so() -> None:
    store, _ = stored(0)
    answer = store.search(Query(embedding=np.ones(DIM + 1)))
    assert (answer.hits, answer.abstained) == ([], "no record has an embedding to compare with")
    assert "none of this length" in " ".join(answer.plan)
    weak = store.search(Query(embedding=np.ones(DIM), min_similarity=0.999))
    assert weak.abstained is not None
    assert "is below 0.999" in weak.abstained


@pytest.mark.parametrize(
    "query",
    [Query(near=np.zeros(2)), Query(near=np.array([np.nan, 0, 0])), Query(radius=-1.0), Query(box=np.zeros((3, 2))),
     Query(since=float("nan")), Query(k=-1), Query(hops=-1), Query(embedding=np.zeros(DIM)),
     Query(frustum=replace(frustum(1), far=np.inf))],
)  # fmt: skip
def test_a_question_that_makes_no_sense_is_refused(query: Query) -> None:
    with pytest.raises(ValueError, match=r"."):
        stored(0)[0].search(query)


def test_diversity_prefers_what_is_not_alike() -> None:
    store = RecordStore()
    twins = np.eye(4)[0] + 0.01 * np.eye(4)[1:3]
    vectors = np.vstack([np.eye(4)[0], twins, np.eye(4)[0] + 2.0 * np.eye(4)[3]])
    store.write_all(Record(kind="n", t_event=float(i), source="t", embedding=v) for i, v in enumerate(vectors))
    asked = Query(embedding=np.eye(4)[0], k=2)

    def chosen(diversity: float) -> list[int | None]:
        hits = store.search(asked, Ranking(fusion="weighted", diversity=diversity)).hits
        return [id_of(hit) for hit in hits]

    assert chosen(0.0) == [1, 3]
    assert chosen(0.7) == [1, 4]
