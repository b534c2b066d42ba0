"""What is hidden, now and as of every earlier time, equals a plain model that walks the links one by one."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from embmem.records import Link, Query, Record
from embmem.store import RecordStore, hidden
from embmem.store.purge import forget

RELATIONS = ("from", "from", "withdraws", "corrects", "near")


@dataclass
class Model:
    """Records as (ingest time, links), and what hides them by the definition."""

    records: dict[int, tuple[float, tuple[Link, ...]]] = field(default_factory=dict)

    def hidden_as_of(self, t: float) -> set[int]:
        return {r for r in self.records if any(self._is_active(a, t) for a in self._reached_by(r))}

    def _is_active(self, amendment: int, t: float) -> bool:
        later = [a for a in self._reached_by(amendment) if a > amendment]
        return self.records[amendment][0] <= t and not any(self._is_active(a, t) for a in later)

    def _reached_by(self, r: int) -> list[int]:
        return [a for a in self.records if a != r and any(self._is_derived(r, aim, a) for aim in self._aims(a))]

    def _aims(self, a: int) -> set[int]:
        links = self.records[a][1]
        direct = {link.to for link in links if link.relation in ("withdraws", "corrects")}
        return direct.union(*(self._aims(link.to) for link in links if link.relation == "corrects"))

    def _is_derived(self, r: int, ancestor: int, around: int) -> bool:
        """Whether a path of links "from" leads from r to the ancestor without passing through `around`."""
        if r == around:
            return False
        parents = [link.to for link in self.records[r][1] if link.relation == "from"]
        return r == ancestor or any(self._is_derived(p, ancestor, around) for p in parents)


class Amendments(RuleBasedStateMachine):
    """Random records with random links to earlier ones, in batches, ingested out of order."""

    @initialize()
    def open(self) -> None:
        self.store = RecordStore()
        self.model = Model()

    @rule(data=st.data(), n=st.integers(1, 4))
    def write(self, data: st.DataObject, n: int) -> None:
        records = []
        first = len(self.model.records) + 1
        for i in range(first, first + n):
            earlier = st.builds(Link, st.sampled_from(RELATIONS), st.integers(1, max(i - 1, 1)))
            links = tuple(data.draw(st.lists(earlier, max_size=3))) if i > 1 else ()
            t = float(data.draw(st.integers(0, 20)))
            records.append(Record(kind="note", t_event=0.0, source="s", t_ingest=t, links=links))
            self.model.records[i] = (t, links)
        self.store.write_all(records)

    @invariant()
    def the_table_and_the_log_say_what_the_model_says(self) -> None:
        expected = self.model.hidden_as_of(float("inf"))
        with self.store.reading() as db:
            assert {row[0] for row in db.execute("SELECT record_id FROM hidden")} == expected
            assert hidden.hidden_as_of(db) == expected

    @rule(t=st.integers(-1, 21))
    def ask_as_of(self, t: int) -> None:
        expected = {r for r, (t_r, _) in self.model.records.items() if t_r <= t} - self.model.hidden_as_of(float(t))
        assert {r.id for r in self.store.read(Query(as_of=float(t), k=1000))} == expected

    @rule()
    def made_again_from_the_log_it_is_the_same(self) -> None:
        with self.store.changing() as db:
            before = db.execute("SELECT * FROM hidden ORDER BY 1, 2").fetchall()
            hidden.rebuild(db)
            assert db.execute("SELECT * FROM hidden ORDER BY 1, 2").fetchall() == before


TestAmendments = Amendments.TestCase
TestAmendments.settings = settings(max_examples=60, stateful_step_count=10, deadline=None)


def note(*links: tuple[str, int], kind: str = "note") -> Record:
    return Record(kind=kind, t_event=0.0, source="s", links=tuple(Link(*link) for link in links))


def visible(store: RecordStore) -> set[int]:
    return {r.id for r in store.read(Query(k=100_000)) if r.id is not None}


@pytest.mark.parametrize(
    ("links", "left"),
    [
        ([[], [("from", 1)], [("withdraws", 1)]], {3}),
        ([[], [("withdraws", 1)], [("from", 1)]], {2}),
        ([[], [("withdraws", 1)], [("withdraws", 2)]], {1, 3}),
        ([[], [("withdraws", 1)], [("withdraws", 2)], [("withdraws", 3)]], {2, 4}),
        ([[], [("corrects", 1)], [("corrects", 2)]], {3}),
        ([[], [("corrects", 1)], [("corrects", 2)], [("withdraws", 3)]], {2, 4}),
        ([[], [("from", 1), ("corrects", 1)], [("from", 2)]], {2, 3}),
        ([[], [("from", 1)], [("from", 1)], [("from", 2), ("from", 3)], [("withdraws", 2)]], {1, 3, 5}),
    ],
    ids=[
        "what was derived goes along", "derived from what is hidden is hidden from birth", "undone",
        "undone twice", "a correction of a correction keeps the first hidden", "an older version comes back",
        "a correction derived from what it corrects stays", "a diamond falls with one of its sides",
    ],
)  # fmt: skip
def test_what_is_left(links: list[list[tuple[str, int]]], left: set[int]) -> None:
    store = RecordStore()
    store.write_all(note(*each) for each in links)
    assert visible(store) == left


@pytest.mark.parametrize("shape", ["deep", "wide"])
def test_ten_thousand_derived_records_are_hidden_and_restored_at_once(shape: str) -> None:
    store = RecordStore()
    n = 10_000
    store.write_all([note(), *(note(("from", i if shape == "deep" else 1)) for i in range(1, n + 1))])
    started = time.process_time()
    withdrawal = store.write(note(("withdraws", 1))).wait()
    assert visible(store) == {withdrawal}
    store.write(note(("withdraws", withdrawal))).wait()
    assert len(visible(store)) == n + 2
    assert time.process_time() - started < 5.0


@given(st.data())
def test_forgetting_changes_nothing_for_what_stays(data: st.DataObject) -> None:
    n, n_later = data.draw(st.integers(1, 9)), 3
    notes = [note()]
    for i in range(2, n + n_later + 1):
        earlier = st.tuples(st.sampled_from(RELATIONS[1:4]), st.integers(1, i - 1))
        notes.append(note(*data.draw(st.lists(earlier, max_size=2))))
    store, whole = RecordStore(), RecordStore()
    for each in (store, whole):
        each.write_all(notes[:n])
    asked = data.draw(st.sets(st.integers(1, n)))
    n_gone = forget(store, asked)
    gone = asked - {r.id for r in store.get(range(1, n + 1))}
    assert len(gone) == n_gone
    assert visible(store) == visible(whole) - gone
    is_fit = [not gone & {to for relation, to in each.links if relation != "withdraws"} for each in notes[n:]]
    later = [each if fit else note() for each, fit in zip(notes[n:], is_fit, strict=True)]
    for each in (store, whole):
        each.write_all(later)
    assert visible(store) == visible(whole) - gone
    with store.changing() as db:
        assert {row[0] for row in db.execute("SELECT record_id FROM hidden")} == hidden.hidden_as_of(db)
