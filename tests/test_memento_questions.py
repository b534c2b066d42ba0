"""Questions about MEMENTO's traces: the whole log answers them, a window and a table of the present do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from embmem.policies.household.past import (
    HELD,
    TEMPLATES,
    Event,
    PastQuestion,
    answer,
    answer_from_table,
    events,
    step_record,
)
from embmem.records import Query
from embmem.sim_envs.memento import MementoEpisode, Place, Trace, TraceStep, read_memento, read_traces
from embmem.sim_envs.memento.questions import MementoDay, days_of, log_of, questions_of, table_of
from embmem.store import RecordStore

TABLE, HAND, SOFA = Place("table_1", "office_1"), Place(None, None), Place("sofa_2", "lounge_1")


def _step(action: str, arguments: tuple[str, ...], ok: bool = True, result: str = "", **objects: Place) -> TraceStep:
    return TraceStep("", action, arguments, ok, result, objects)


DAY = MementoDay("home", (
    Trace("7", "", (
        _step("Explore", ("office_1",), cup_0=TABLE, pen_1=TABLE),
        _step("DescribeObjectTool", ("cup_0",), result="It is:\nA red cup.", cup_0=TABLE, pen_1=TABLE),
        _step("Pick", ("cup_0",), ok=False, cup_0=TABLE, pen_1=TABLE),
        _step("Pick", ("cup_0",), cup_0=HAND, pen_1=TABLE),
        _step("Explore", ("lounge_1",), cup_0=HAND, pen_1=TABLE),
        _step("Place", ("cup_0", "on", "sofa_2", "None", "None"), cup_0=SOFA, pen_1=TABLE),
    )),
    Trace("8", "", (
        _step("Explore", ("office_1",), pen_0=TABLE),
        _step("Pick", ("pen_0",), pen_0=HAND),
    )),
))  # fmt: skip

CASES: list[tuple[PastQuestion, object]] = [
    (PastQuestion("where_is", object="cup_0 of 7"), "sofa_2 in lounge_1"),
    (PastQuestion("where_is", object="pen_0 of 8"), HELD),
    (PastQuestion("where_first", object="cup_0 of 7"), "table_1 in office_1"),
    (PastQuestion("last_picked", errand="8"), "pen_0 of 8"),
    (PastQuestion("n_picked"), 2),
    (PastQuestion("picked_after_room", room="office_1", errand="7"), "cup_0 of 7"),
    (PastQuestion("described_as", text="A red cup."), "cup_0 of 7"),
    (PastQuestion("put_on", object="cup_0 of 7"), "sofa_2"),
    (PastQuestion("beside", object="cup_0 of 7", errand="7"), ("pen_1 of 7",)),
    (PastQuestion("found_in", object="cup_0 of 7"), "office_1"),
    (PastQuestion("nth_picked", n=2), "pen_0 of 8"),
    (PastQuestion("nth_picked", n=3), None),
    (PastQuestion("picked_first", object="pen_0 of 8", other="cup_0 of 7"), "cup_0 of 7"),
    (PastQuestion("step_of_pick", object="cup_0 of 7"), 3),
    (PastQuestion("step_of_place", object="cup_0 of 7"), 5),
    (PastQuestion("held_for", object="cup_0 of 7"), 2),
    (PastQuestion("held_for", object="pen_0 of 8"), None),
    (PastQuestion("errand_steps", errand="7"), 6),
    (PastQuestion("moved", errand="7"), ("cup_0 of 7",)),
    (PastQuestion("failed", errand="7"), ("Pick",)),
    (PastQuestion("pick_order", errand="8"), ("pen_0 of 8",)),
    (PastQuestion("room_order", errand="7"), ("office_1", "lounge_1")),
    (PastQuestion("where_is", object="never seen"), None),
]


@pytest.mark.parametrize(("question", "expected"), CASES)
def test_a_log_answers(question: PastQuestion, expected: object) -> None:
    """A day that a reader can follow; at least one question of every template."""
    assert answer(log_of(DAY), question) == expected
    assert {q.template for q, _ in CASES} == set(TEMPLATES)


def test_a_log_survives_a_store() -> None:
    """Steps are records like any other, and the day comes back from the store."""
    store = RecordStore()
    log = log_of(DAY)
    store.write_all(step_record(event) for event in log)
    assert events(store.read(Query(k=100))) == log
    assert events(store.read(Query(key="errand:8", k=100))) == [e for e in log if e.errand == "8"]


def test_only_news_are_written_down() -> None:
    """An object that stays where it was is in no later record."""
    assert [set(e.changed) for e in log_of(DAY)] == [
        {"cup_0 of 7", "pen_1 of 7"}, set(), set(), {"cup_0 of 7"}, set(), {"cup_0 of 7"},
        {"pen_0 of 8"}, {"pen_0 of 8"},
    ]  # fmt: skip


def test_a_table_of_the_present_knows_only_the_present() -> None:
    """It answers where something is, and nothing else."""
    table = table_of(DAY)
    assert answer_from_table(table, PastQuestion("where_is", object="cup_0 of 7")) == "sofa_2 in lounge_1"
    assert all(answer_from_table(table, q) is None for q, _ in CASES if q.template != "where_is")


def test_unknown_templates_are_refused() -> None:
    """The message lists the others."""
    with pytest.raises(ValueError, match="where_is"):
        answer([], PastQuestion("why"))


def test_truths_agree_with_a_day_that_is_written_out() -> None:
    """What the referee reads off the traces is what the cases say."""
    truth = dict(CASES)
    for seed in range(10):
        for question, value in questions_of(DAY, np.random.default_rng(seed)):
            same = [v for q, v in truth.items() if q == question]
            assert not same or same[0] == value, question
            assert answer(log_of(DAY), question) == value


def test_the_whole_log_answers_what_a_window_forgets(data_dir: Path) -> None:
    """Full log >= .968 on the public traces; the last 30 steps, the last 12 and a table in this order below."""
    folder = data_dir / "memento"
    if not folder.is_dir():
        pytest.skip(f"no MEMENTO files at {folder}")
    episodes: list[MementoEpisode] = read_memento(folder / "memory_acquisition_stage.json.gz")
    days = days_of(read_traces(folder / "gold_traces.tar.gz"), episodes)
    assert sum(len(day.traces) for day in days) == len(episodes)
    right: dict[str, list[bool]] = {name: [] for name in ("all", "30", "12", "table")}
    for i, day in enumerate(days[::4]):
        log: list[Event] = log_of(day)
        table = table_of(day)
        for question, truth in questions_of(day, np.random.default_rng(i)):
            right["all"].append(answer(log, question) == truth)
            right["30"].append(answer(log[-30:], question) == truth)
            right["12"].append(answer(log[-12:], question) == truth)
            right["table"].append(answer_from_table(table, question) == truth)
    share = {name: float(np.mean(each)) for name, each in right.items()}
    assert share["all"] >= 0.968
    assert share["all"] > share["30"] > share["12"] > share["table"]
