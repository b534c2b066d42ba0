"""The experience store."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embmem.encoders import HashingEncoder
from embmem.experience import Experience, ExperienceStore, KeyWeights, error_key
from embmem.records import Record
from embmem.store import RecordStore
from embmem.store.amend import withdraw

FAILED = "Failed to place! Not close enough to chair_19 or occluded."
words = st.text("abcde ", min_size=1, max_size=12).filter(str.strip)
attempts = st.tuples(words, st.lists(words, max_size=3).map(tuple), st.booleans(), words, words)


@settings(max_examples=20)
@given(st.lists(attempts, min_size=1, max_size=6), words, words, words)
def test_the_order_is_that_of_the_weighted_cosines(
    tried: list[tuple[str, tuple[str, ...], bool, str, str]], task: str, step: str, state: str
) -> None:
    kept = [Experience(*attempt) for attempt in tried]
    store = ExperienceStore(RecordStore(), weights=KeyWeights(1.0, 0.3, 0.7))
    ids = [store.add(experience, stamp=float(i)).id for i, experience in enumerate(kept)]
    encode = HashingEncoder()

    def cosine(a: str, b: str) -> float:
        return float(encode([a])[0] @ encode([b])[0]) if a.strip() and b.strip() else 0.0

    plain = {
        i: (cosine(e.task, task) + 0.3 * cosine("\n".join(e.plan), step) + 0.7 * cosine(e.state, state)) / 2.0
        for i, e in zip(ids, kept, strict=True)
    }
    found = store.similar(task, plan=[step], state=state, k=len(kept))
    assert [r.experience for r in found] == [kept[ids.index(r.id)] for r in found]
    np.testing.assert_allclose([r.score for r in found], [plain[r.id] for r in found], atol=1e-6)
    np.testing.assert_allclose([r.score for r in found], sorted(plain.values(), reverse=True), atol=1e-6)


@pytest.mark.parametrize("ok", [True, False])
def test_what_worked_and_what_failed_can_be_asked_for_alone(ok: bool) -> None:
    store = ExperienceStore(RecordStore())
    store.add(Experience("make a pick", ("craft wood",), ok=True), stamp=0.0)
    store.add(Experience("make a pick", ("craft stone",), ok=False, reason="no stone"), stamp=1.0)
    assert [r.experience.ok for r in store.similar("make a pick", ok=ok)] == [ok]
    assert [r.experience.ok for r in store.similar("make a pick")] == [False, True]  # ties newest first


def test_repairs_are_found_under_the_error_whatever_its_names() -> None:
    store = ExperienceStore(RecordStore())
    near = Experience("put it on the chair", ("go(chair_19)", "place(vase_0, chair_19)"), ok=True, repaired=FAILED)
    store.add(near, stamp=0.0)
    store.add(Experience("open it", ("open(fridge_1)",), ok=True, repaired="fridge_1 is closed"), stamp=1.0)
    store.add(Experience("again", ("place(vase_0, chair_19)",), ok=False, reason=FAILED, repaired=FAILED), stamp=2.0)
    found = store.repairs("Failed to place! Not close enough to table_2 or occluded.")
    assert [r.experience for r in found] == [near]
    assert found[0].why == "after the same error"
    assert store.repairs("the battery is low") == []


def test_names_do_not_count_in_an_error() -> None:
    assert error_key(FAILED) == "failed to place not close enough to # or occluded"
    assert error_key("No 'red mug' on table_3") == error_key("no 'key' on shelf_12")
    assert error_key("I can't open what isn't there") != error_key("I can't take what isn't there")


def test_programs_are_taught_and_kept_apart_from_attempts() -> None:
    store = ExperienceStore(RecordStore())
    store.teach("tidy up my desk", ["pick(book)", "place(book, shelf)"], stamp=0.0)
    store.teach("water the plants", ["pick(can)"], stamp=1.0)
    assert store.programs("please tidy my desk up", k=1)[0].experience.plan == ("pick(book)", "place(book, shelf)")
    assert store.similar("tidy up my desk") == []


def test_what_is_withdrawn_is_forgotten_and_the_rest_outlives_the_process(tmp_path: Path) -> None:
    log = RecordStore(tmp_path / "log.embmem")
    store = ExperienceStore(log)
    wrong = store.add(Experience("cook", ("burn it",), ok=True), stamp=0.0).id
    store.add(Experience("cook", ("boil it",), ok=True), stamp=1.0)
    assert len(store.similar("cook")) == 2
    withdraw(log, [wrong], reason="burnt")
    log.close()
    again = ExperienceStore(RecordStore(tmp_path / "log.embmem"))
    assert [r.experience.plan for r in again.similar("cook")] == [("boil it",)]
    again.store.close()


def test_what_was_acknowledged_outlives_a_process_that_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "log.embmem"
    code = f"""
import itertools
from embmem.experience import Experience, ExperienceStore
from embmem.store import RecordStore
store = ExperienceStore(RecordStore({str(path)!r}))
for i in itertools.count():
    store.add(Experience(f"task {{i}}", ("a" * 999,), ok=True), stamp=float(i)).wait()
    print(i, flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        last = next(int(line) for line in process.stdout if int(line) >= 8)
        process.kill()
    log = RecordStore(path)
    assert {f"task {i}" for i in range(last + 1)} <= {
        r.experience.task for r in ExperienceStore(log).similar("task", k=99)
    }
    log.close()


@pytest.mark.parametrize(
    "payload",
    [{}, {"task": "a", "plan": "b", "ok": True}, {"task": 1, "plan": [], "ok": True, "state": "", "reason": "",
     "repaired": ""}, {"task": "", "plan": [], "ok": True, "state": "", "reason": "", "repaired": ""}],
)  # fmt: skip
def test_records_of_others_are_left_out(payload: dict[str, object]) -> None:
    log = RecordStore()
    log.write(Record(kind="experience", t_event=0.0, source="somebody", payload=payload))
    assert ExperienceStore(log).similar("a") == []


@pytest.mark.parametrize("broken", [("", ("a",)), ("x" * 5000, ()), ("a", ("b",) * 300), ("a\ud800", ())])
def test_what_is_no_experience_is_refused(broken: tuple[str, tuple[str, ...]]) -> None:
    with pytest.raises(ValueError, match=r"need a task|valid Unicode"):
        Experience(*broken, ok=True)


def test_settings_and_counts_that_make_no_sense_are_refused() -> None:
    for weights in ((0.0, 1.0, 1.0), (1.0, -1.0, 0.0), (float("nan"), 0.0, 0.0)):
        with pytest.raises(ValueError, match="weights"):
            KeyWeights(*weights)
    with pytest.raises(ValueError, match="n_cached"):
        ExperienceStore(RecordStore(), n_cached=0)
    store = ExperienceStore(RecordStore())
    for ask in (store.similar, store.programs, store.repairs):
        with pytest.raises(ValueError, match="k must be"):
            ask("a", k=-1)


def test_a_small_cache_changes_no_answer() -> None:
    log = RecordStore()
    small, large = ExperienceStore(log, n_cached=1), ExperienceStore(log)
    for i in range(10):
        large.add(Experience(f"task {i}", (f"step {i}",), ok=True, state="kitchen"), stamp=float(i))
    for _ in range(2):
        assert small.similar("task 3", state="hall") == large.similar("task 3", state="hall")
