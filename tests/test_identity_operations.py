"""Merges and splits, taken back: byte for byte where nothing happened since, by nearness where something did."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_identity import LOOKS, MUG, recognising, seen, state_bytes
from test_objects import Thing, look

from embmem.errors import InputError
from embmem.maps import ObjectMemory
from embmem.records import Query

FAR = Thing(2, (-2.0, 0.3, 1.0))


def two_mugs(memory: ObjectMemory | None = None) -> ObjectMemory:
    """One ahead, seen at 0 to 3 s, one behind, seen at 10 to 12 s."""
    memory = ObjectMemory() if memory is None else memory
    for stamp in range(4):
        memory.observe(seen({0: MUG}, float(stamp)))
    for stamp in range(10, 13):
        memory.observe(seen({1: FAR}, float(stamp), yaw=np.pi))
    assert memory.things()["id"].tolist() == [0, 1]
    return memory


def test_a_merge_keeps_the_elder_id_the_newest_place_and_all_that_was_seen() -> None:
    memory = two_mugs()
    memory.merge(1, 0)
    (thing,) = memory.things()
    assert (thing["id"], thing["times_seen"], thing["first_seen"], thing["last_seen"]) == (0, 7, 0.0, 12.0)
    np.testing.assert_allclose(thing["position"], FAR.position, atol=0.03)
    (left,) = memory.places_left(0)
    np.testing.assert_allclose(left["position"], MUG.position, atol=0.03)
    (operation,) = memory.operations()
    assert (operation.kind, operation.kept, operation.other, operation.is_asked) == ("merge", 0, 1, True)


def test_two_halves_of_one_thing_are_fused_where_they_are() -> None:
    memory = ObjectMemory(gate=0.2)
    memory.observe(look([Thing(2, (2.0, 0.23, 1.0), width=0.3)], 0.0))
    memory.observe(look([Thing(2, (2.0, -0.23, 1.0), width=0.3)], 1.0, yaw=0.01))
    assert len(memory) == 2
    memory.merge(0, 1)
    (thing,) = memory.things()
    assert abs(thing["position"][1]) < 0.03
    assert thing["box"][1, 1] - thing["box"][0, 1] == pytest.approx(0.74, abs=0.06)
    assert len(memory.places_left()) == 0


def test_a_split_gives_an_earlier_place_back_to_a_thing_of_its_own() -> None:
    memory = two_mugs()
    memory.merge(0, 1)
    memory.split(0, np.array(MUG.position))
    kept, new = memory.things()
    assert (kept["id"], new["id"]) == (0, 2)
    np.testing.assert_allclose(kept["position"], FAR.position, atol=0.03)
    np.testing.assert_allclose(new["position"], MUG.position, atol=0.03)
    assert (new["first_seen"], new["last_seen"]) == (0.0, 3.0)
    assert len(memory.places_left()) == 0
    with pytest.raises(ValueError, match="two"):
        memory.merge(0, 2)


def test_a_split_cuts_the_box_of_two_things_that_were_taken_for_one() -> None:
    memory = ObjectMemory()
    for stamp in range(3):
        memory.observe(look([Thing(2, (2.0, 0.0, 1.0), width=0.6)], float(stamp)))
    (whole,) = memory.things()
    memory.split(0, np.array([2.0, 0.2, 1.0]))
    right, left = memory.things()
    assert right["box"][1, 1] == pytest.approx(left["box"][0, 1])
    assert left["box"][1, 1] == whole["box"][1, 1]
    assert right["box"][0, 1] == whole["box"][0, 1]
    assert left["times_seen"] + right["times_seen"] == whole["times_seen"]


numbers = st.integers(0, 5)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("merge"), numbers, numbers),
        st.tuples(st.just("split"), numbers, st.tuples(*[st.integers(-20, 20).map(lambda x: x / 10.0)] * 3)),
        st.tuples(st.just("apart"), numbers, numbers),
    ),
    max_size=8,
)


@settings(max_examples=25, deadline=None)
@given(steps, st.booleans())
def test_undoing_every_operation_restores_every_byte(todo: list[tuple], has_looks: bool) -> None:  # type: ignore[type-arg]
    memory = two_mugs(recognising(least_elsewhere=9.0) if has_looks else ObjectMemory())
    memory.observe(look([Thing(3, (2.0, 0.5, 1.2)), Thing(3, (2.0, -0.5, 1.2))], 20.0))
    history = []
    for kind, a, b in todo:
        before = state_bytes(memory)
        try:
            if kind == "merge":
                history.append((memory.merge(a, b), before))
            elif kind == "split":
                history.append((memory.split(a, np.array(b)), before))
            else:
                memory.keep_apart(a, b)
                history.clear()  # not an operation: what was before cannot come back
        except ValueError:
            assert state_bytes(memory) == before  # what is refused changes nothing
    memory = ObjectMemory.load(memory.save())
    for operation, before in reversed(history):
        memory.undo(operation)
        assert state_bytes(memory) == before


def test_operations_about_other_things_can_be_undone_in_any_order() -> None:
    memory = two_mugs()
    memory.observe(look([Thing(3, (2.0, 0.5, 1.2))], 20.0))
    memory.observe(look([Thing(3, (-2.0, -0.5, 1.2))], 21.0, yaw=np.pi))
    books = memory.things()["id"][2:].tolist()
    first = memory.merge(0, 1)
    untouched = memory.things()[:1]
    second = memory.merge(*books)
    memory.undo(first)
    assert memory.things()["id"].tolist() == [0, 1, books[0]]
    memory.undo(second)
    assert memory.things()["id"].tolist() == [0, 1, *books]
    assert untouched["id"] == 0
    third = memory.merge(0, 1)
    fourth = memory.split(0, np.array(MUG.position))
    with pytest.raises(ValueError, match=f"operation {fourth} came later"):
        memory.undo(third)
    with pytest.raises(ValueError, match="no operation 99"):
        memory.undo(99)


def test_what_was_seen_since_a_wrong_merge_goes_to_the_nearer_of_the_two() -> None:
    memory = two_mugs()
    before = memory.things()
    operation = memory.merge(0, 1)
    for stamp in range(20, 24):
        memory.observe(look([FAR], float(stamp), yaw=np.pi))
    memory.undo(operation)
    ahead, behind = memory.things()
    assert ahead == before[0]
    assert (behind["times_seen"], behind["last_seen"], behind["first_seen"]) == (7, 23.0, 10.0)
    np.testing.assert_allclose(behind["position"], FAR.position, atol=0.03)
    assert len(memory.places_left()) == 0


def test_undoing_a_split_after_more_was_seen_makes_one_thing_of_all() -> None:
    memory = two_mugs()
    memory.merge(0, 1)
    operation = memory.split(0, np.array(MUG.position))
    for stamp in range(20, 24):
        memory.observe(look([MUG], float(stamp)))
    memory.undo(operation)
    (thing,) = memory.things()
    assert (thing["id"], thing["last_seen"]) == (0, 23.0)
    np.testing.assert_allclose(thing["position"], MUG.position, atol=0.03)
    assert len(memory.table.apart) == 0


def test_the_model_s_own_merges_are_in_the_log_and_stay_undone_when_kept_apart() -> None:
    memory = recognising()
    for stamp in range(3):
        memory.observe(seen({0: MUG}, float(stamp)))
    memory.observe(seen({0: FAR}, 30_000.0, yaw=np.pi))
    (operation,) = memory.operations()
    assert not operation.is_asked
    assert operation.score > 0
    memory.undo(operation.id)
    old, new = memory.things()
    np.testing.assert_allclose(old["position"], MUG.position, atol=0.03)
    np.testing.assert_allclose(new["position"], FAR.position, atol=0.03)
    memory.keep_apart(int(old["id"]), int(new["id"]))
    for stamp in range(30_001, 30_012):
        memory.observe(seen({}, float(stamp)))
        memory.observe(seen({0: FAR}, float(stamp), yaw=np.pi))
    assert memory.things()["id"].tolist() == [old["id"], new["id"]]


def test_an_id_that_others_still_know_is_not_given_again() -> None:
    memory = two_mugs()
    memory.observe(look([Thing(3, (2.0, 0.5, 1.2))], 20.0))
    memory.observe(look([Thing(3, (-2.0, -0.5, 1.2))], 21.0, yaw=np.pi))
    split = memory.split(0, np.add(MUG.position, (0.0, 0.05, 0.0)))
    memory.keep_apart(2, int(memory.things()["id"].max()))
    merged = memory.merge(2, 3)
    memory.undo(split)
    memory.observe(look([Thing(3, (2.0, -0.9, 1.2))], 22.0))
    memory.undo(merged)
    memory.merge(2, int(memory.things()["id"].max()))  # which were never seen beside each other


@pytest.mark.parametrize("cut", [False, True])
def test_the_parts_of_a_split_stay_two_without_a_model_too(cut: bool) -> None:
    memory = ObjectMemory()
    wide = Thing(2, (2.0, 0.0, 1.0), width=0.6)
    for stamp in range(3):
        memory.observe(look([wide], float(stamp)))
    memory.split(0, np.array([2.0, 0.2, 1.0]))
    if not cut:
        memory.undo(0)
    for stamp in range(3, 9):
        memory.observe(look([wide], float(stamp)))
    assert memory.things()["id"].tolist() == ([0, 1] if cut else [0])


def test_a_name_that_was_lost_in_a_merge_comes_back_with_its_own_votes() -> None:
    memory = recognising(least_elsewhere=99.0)
    for stamp in range(4):
        memory.observe(seen({0: MUG}, float(stamp)))
    for stamp in range(10, 13):
        memory.observe(seen({0: Thing(3, FAR.position)}, float(stamp), yaw=np.pi))
    before = memory.table.rows.copy()
    operation = memory.merge(0, 1)
    for stamp in range(20, 22):
        memory.observe(seen({0: FAR}, float(stamp), yaw=np.pi))
    memory.undo(operation)
    assert memory.table.rows["times_seen"].tolist() == [4, 5]
    for name in ("category", "lead"):
        assert memory.table.rows[name].tolist() == before[name].tolist()


def test_what_can_be_undone_counts_as_memory() -> None:
    memory = two_mugs()
    before = memory.stats()["bytes"]
    memory.merge(0, 1)
    assert memory.stats()["bytes"] > before


def test_only_the_newest_operations_are_kept() -> None:
    memory = two_mugs(ObjectMemory(undoable=2))
    for _ in range(3):
        new = int(memory.things()["id"].max()) + 1
        memory.split(0, memory.things()["position"][0] + [0.0, 0.01 * new, 0.0])
    assert [operation.id for operation in memory.operations()] == [1, 2]
    assert state_bytes(ObjectMemory.load(memory.save())) == state_bytes(memory)


@pytest.mark.parametrize("call", [
    lambda m: m.merge(0, 0), lambda m: m.merge(0, 9), lambda m: m.split(9, np.zeros(3)), lambda m: m.keep_apart(1, 1),
    lambda m: m.split(0, np.full(3, np.nan)), lambda m: m.split(0, np.zeros(2)), lambda m: m.undo(0),
    lambda m: m.split(0, m.things()["position"][0]),
])  # fmt: skip
def test_senseless_operations_are_refused_and_change_nothing(call) -> None:  # type: ignore[no-untyped-def]
    memory = two_mugs()
    before = state_bytes(memory)
    with pytest.raises(ValueError, match=r".+"):
        call(memory)
    assert state_bytes(memory) == before


def test_malformed_tables_of_identity_are_refused() -> None:
    memory = two_mugs(recognising())
    memory.observe(look([Thing(3, (2.0, 0.5, 1.2)), Thing(3, (2.0, -0.5, 1.2))], 20.0))
    memory.merge(0, 1)
    memory.split(0, np.array(MUG.position))
    state = memory.save()
    for name, change in {
        "looks": lambda a: a[:-1], "lead": lambda a: a - 9, "n_looks": lambda a: a - 99,
        "here_since": lambda a: a + 1e9,
        "apart": lambda a: a[:, ::-1], "op_numbers": lambda a: a[::-1], "op_counts": lambda a: a + 1,
        "op_row_id": lambda a: a + 1, "op_row_category": lambda a: a + 99, "op_row_log_odds": lambda a: a + 99.0,
        "op_place_thing": lambda a: a + 77, "op_next": lambda a: a - 2, "op_looks": lambda a: a * np.float32(np.nan),
        "op_apart": lambda a: a[:, ::-1], "op_scores": lambda a: a[:1], "next_id": lambda a: a + 2**31,
        "place_thing": lambda a: np.append(a, 88),
    }.items():  # fmt: skip
        changed = np.ascontiguousarray(change(state.arrays[name]))  # type: ignore[no-untyped-call]
        if changed.tobytes() == state.arrays[name].tobytes():
            continue
        with pytest.raises(InputError):
            ObjectMemory.load(replace(state, arrays={**state.arrays, name: changed}))
    for params in ({"undoable": 1.0}, {"undoable": 2.5}, {"undoable": 0}):
        with pytest.raises(InputError):
            ObjectMemory.load(replace(state, params={**state.params, **params}))


def test_tables_and_operations_that_do_not_fit_together_are_refused() -> None:
    memory = two_mugs(recognising(least_elsewhere=99.0))
    memory.observe(look([Thing(3, (2.0, y, 1.2)) for y in (-0.5, 0.0, 0.5)], 20.0))
    memory.merge(0, 1)
    state = memory.save()
    arrays = state.arrays
    numbers, ids = arrays["op_numbers"].copy(), arrays["op_row_id"].copy()
    numbers[0, 2], ids[ids == 1] = -7, -7
    counts = arrays["op_counts"] + np.array([0, 0, 0, 0, 1])
    for changed in (
        {"apart": np.ascontiguousarray(arrays["apart"][::-1])},
        {"op_numbers": numbers, "op_row_id": ids},
        {"op_counts": counts, "op_looks": np.pad(arrays["op_looks"], ((0, 0), (0, 1)))},
    ):
        with pytest.raises(InputError):
            ObjectMemory.load(replace(state, arrays={**arrays, **changed}))


def test_a_merged_thing_has_the_mean_look_and_answers_queries() -> None:
    memory = two_mugs(recognising(least_elsewhere=99.0))
    memory.merge(0, 1)
    found = memory.look(0)
    assert found is not None
    np.testing.assert_allclose(found, (4 * LOOKS[0] + 3 * LOOKS[1]) / 7, atol=1e-6)
    (hit,) = memory.query(Query(entity="mug"))
    assert hit.detail["times_seen"] == 7.0
