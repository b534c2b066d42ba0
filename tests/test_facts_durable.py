"""Facts in a file: kill -9 loses none that was acknowledged, readers follow a writer, budgets do not touch them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from facts_child import statement

from embmem.facts import Fact, FactMemory
from embmem.forgetting.budgets import Uses, candidates
from embmem.records import Record
from embmem.store import RecordStore
from embmem.store.amend import withdraw
from embmem.store.verify import verify

CHILD = Path(__file__).with_name("facts_child.py")


def told(facts: list[Fact]) -> list[tuple[object, ...]]:
    return [(f.subject, f.object, f.valid_at, f.invalid_at) for f in facts]


def killed(path: Path, seconds: float) -> int:
    """Let the child write for a while and kill it; returns what it had promised."""
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    with subprocess.Popen([sys.executable, str(CHILD), str(path)], stdout=subprocess.PIPE, env=environment) as child:
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(seconds)
        child.send_signal(signal.SIGKILL)
        lines = child.stdout.read().decode().splitlines(keepends=True)
    return max((int(line) for line in lines if line.endswith("\n")), default=0)


def test_no_kill_loses_a_fact_and_what_is_left_resolves_as_it_should(tmp_path: Path) -> None:
    path, rng, promised = tmp_path / "room.embmem", np.random.default_rng(0), 0
    for _ in range(3):
        promised = max(promised, killed(path, rng.uniform(0.05, 0.3)))
        with RecordStore(path) as store:
            n = len(store)
            assert n >= promised
            expected = FactMemory(RecordStore())
            expected.write_all(statement(i) for i in range(1, n + 1))
            there = FactMemory(store)
            assert told(there.history(belief_time=np.inf)) == told(expected.history(belief_time=np.inf))
            for t in (10.0, 50.0, np.inf):
                assert told(there.facts(event_time=t)) == told(expected.facts(event_time=t))
    assert promised > 0


def test_a_reader_follows_what_a_writer_asserts_withdraws_and_removes(tmp_path: Path) -> None:
    path = tmp_path / "room.embmem"
    with RecordStore(path) as store, RecordStore(path, read_only=True) as view:
        writing, reading = FactMemory(store), FactMemory(view)
        assert reading.facts() == []
        first = writing.assert_fact("mug", "in", "hall", valid_at=1.0)
        second = writing.assert_fact("mug", "in", "attic", valid_at=2.0)
        assert (first.wait(), second.wait()) == (1, 2)
        assert [f.object for f in reading.facts("mug")] == ["attic"]
        withdraw(store, [2])
        assert reading.facts("mug") == writing.facts("mug")
        assert [f.object for f in reading.facts("mug")] == ["hall"]


def test_facts_survive_a_copy_and_verify(tmp_path: Path) -> None:
    path = tmp_path / "room.embmem"
    with RecordStore(path) as store:
        facts = FactMemory(store, many_valued=["next to"])
        for i, room in enumerate(("hall", "attic", "hall")):
            facts.assert_fact("mug", "in", room, valid_at=float(i), value=None)
            facts.assert_fact("mug", "next to", f"cup-{i}", valid_at=float(i))
        before = facts.history()
        store.copy_to(tmp_path / "copy.embmem")
    assert verify(tmp_path / "copy.embmem").is_sound
    with RecordStore(tmp_path / "copy.embmem") as store:
        assert FactMemory(store).history() == before


def test_budgets_leave_facts_alone() -> None:
    facts = FactMemory(RecordStore())
    note = facts.store.write(Record(kind="note", t_event=0.0, source="s", text="x")).id
    facts.assert_fact("mug", "in", "hall", valid_at=1.0)
    facts.retract("mug", "in", valid_at=2.0)
    with facts.store.reading() as db:
        assert candidates(db, Uses()).ids.tolist() == [note]
