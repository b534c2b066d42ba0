"""Sets of operations: their union does not depend on how they came together, and what was removed stays away."""

from __future__ import annotations

import hashlib
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embmem.errors import InputError
from embmem.geometry import camera_pose
from embmem.merge.frames import alignment, frames_of, placements
from embmem.merge.log import OperationLog, ordered, union
from embmem.merge.operations import Operation, Origin, operation
from embmem.merge.reading import read_log
from embmem.merge.writing import write_log
from embmem.records import Link, Record
from embmem.store import RecordStore
from embmem.store.rows import encode

MEMORIES = ("a", "b", "c")


def log_of(memory: str, records: list[Record]) -> OperationLog:
    """What a memory wrote that holds these records."""
    log = OperationLog(vector={memory: len(records)})
    for i, record in enumerate(records, start=1):
        row = encode(replace(record, t_ingest=record.t_event))
        row.id = i
        op = operation(row, memory, {}, {}, lambda: None)
        log.operations[op.origin] = op
    return log


def part(log: OperationLog, origins: set[Origin]) -> OperationLog:
    """A replica that has only some of the operations."""
    kept = {origin: op for origin, op in log.operations.items() if origin in origins}
    return OperationLog(operations=kept, vector=dict(log.vector))


def state(log: OperationLog, folder: Path) -> str:
    """Of the file that it becomes."""
    path = folder / "state.embmem"
    path.unlink(missing_ok=True)
    write_log(path, log, name="0")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def robot(memory: str, n: int = 4) -> OperationLog:
    """Notes, what was derived from them, a correction and a withdrawal."""
    records = [Record("note", float(i), "camera", text=f"{memory}{i}") for i in range(n)]
    records.append(Record("summary", n + 0.5, "mind", text="sum", links=(Link("from", 1), Link("from", 2))))
    records.append(Record("note", n + 1.0, "operator", text="better", links=(Link("corrects", 3),)))
    records.append(Record("withdrawal", n + 2.0, "operator", links=(Link("withdraws", 2),)))
    return log_of(memory, records)


def purge(author: Origin, knew: tuple[tuple[str, int], ...]) -> Operation:
    """The purge of a source, by a memory that knew so much."""
    records = [Record("purge", 20.0, "operator", payload={"purged": "camera", "n": 1})] * author.seq
    return replace(log_of(author.memory, records).operations[author], knew=knew)


ROBOTS = tuple(robot(memory) for memory in MEMORIES)
PURGES = (purge(Origin("a", 8), (("a", 7),)), purge(Origin("a", 8), (("a", 7), ("b", 2))))


@st.composite
def replicas(draw: st.DrawFn) -> list[OperationLog]:
    """Parts of the logs of three robots, one of which may have purged; some operations are in several."""
    whole = {origin: op for log in ROBOTS for origin, op in log.operations.items()}
    purged = draw(st.sampled_from([None, *PURGES]))
    if purged is not None:
        whole[purged.origin] = purged
    vector = dict.fromkeys(MEMORIES, 8)
    parts = [draw(st.sets(st.sampled_from(sorted(whole)))) for _ in range(3)]
    return [OperationLog({o: whole[o] for o in sorted(origins)}, vector=dict(vector)) for origins in parts]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(logs=replicas())
def test_union_is_commutative_associative_and_idempotent_to_the_byte(logs: list[OperationLog], tmp_path: Path) -> None:
    a, b, c = logs
    expected = state(union([a, b, c]), tmp_path)
    assert state(union([c, a, b]), tmp_path) == expected
    assert state(union([union([a, b]), c]), tmp_path) == expected
    assert state(union([a, union([c, b])]), tmp_path) == expected
    assert state(union([union([a, b, c]), union([c, a]), b]), tmp_path) == expected


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(logs=replicas())
def test_a_file_gives_back_the_log_that_it_was_made_of(logs: list[OperationLog], tmp_path: Path) -> None:
    log = union(logs)
    path = tmp_path / "c.embmem"
    path.unlink(missing_ok=True)
    write_log(path, log)
    with RecordStore(path, read_only=True) as store:
        again = read_log(store)
        assert {o: op.digest for o, op in again.operations.items()} == {
            o: op.digest for o, op in log.operations.items()
        }
        assert (again.purged, again.vector) == (log.purged, log.vector)
        assert state(union([again, logs[0]]), tmp_path) == state(log, tmp_path)


def test_the_order_is_that_of_time_and_of_each_memory_and_of_links() -> None:
    log = union([robot("b"), robot("a")])
    late = Record("note", -5.0, "camera", text="told late")
    log = union([log, log_of("c", [Record("note", 2.5, "x"), late])])
    found = ordered(log)
    place = {op.origin: i for i, op in enumerate(found)}
    for op in found:
        assert all(place[to] < place[op.origin] for _, to in op.links)
        before = Origin(op.origin.memory, op.origin.seq - 1)
        assert place.get(before, -1) < place[op.origin]
    independent = [op for op in found if op.origin != Origin("c", 2)]
    assert [op.t_event for op in independent] == sorted(op.t_event for op in independent)


def test_links_in_a_circle_are_refused() -> None:
    log = robot("a")
    first, second = Origin("a", 1), Origin("a", 2)
    log.operations[first] = replace(log.operations[first], links=(("from", second),))
    with pytest.raises(InputError, match="circle"):
        ordered(log)


def test_two_records_of_one_name_are_refused() -> None:
    other = log_of("a", [Record("note", 0.0, "camera", text="something else")])
    with pytest.raises(InputError, match="two different records"):
        union([robot("a"), other])


def test_embeddings_of_two_lengths_are_refused(tmp_path: Path) -> None:
    logs = [log_of(m, [Record("note", 0.0, "x", embedding=np.ones(n))]) for m, n in (("a", 3), ("b", 4))]
    with pytest.raises(InputError, match="embeddings"):
        write_log(tmp_path / "c.embmem", union(logs))


def test_a_purge_reaches_what_its_memory_knew_and_what_came_of_that() -> None:
    log = union([robot("a"), robot("b")])
    log.operations[Origin("p", 1)] = purge(Origin("p", 1), (("a", 2),))
    left = union([log])
    gone = {Origin("a", seq) for seq in (1, 2, 5)}  # notes 1 and 2 and the sum of them
    assert left.purged == gone
    assert set(left.operations) == set(log.operations) - gone


def test_what_came_of_something_purged_does_not_come_back_alone() -> None:
    source = robot("a")
    orphan = part(source, {Origin("a", 5)})  # its parents are forgotten there
    log = union([source])
    log.operations[Origin("p", 1)] = purge(Origin("p", 1), (("a", 7),))
    assert Origin("a", 5) not in union([union([log]), orphan]).operations


def _alignment(author: str, memory: str, to: str, T: np.ndarray, confidence: float = 1.0) -> Operation:
    record = alignment(memory, to, T, t_event=0.0, confidence=confidence, why="")
    return log_of(author, [record]).operations[Origin(author, 1)]


def test_frames_follow_the_surest_alignments() -> None:
    T_a_b, T_b_c = camera_pose(np.array([1.0, 2.0, 0.0]), 0.3), camera_pose(np.array([-3.0, 0.5, 0.2]), 2.0)
    wrong = camera_pose(np.array([9.0, 9.0, 9.0]), 1.0)
    ops = [_alignment("x", "b", "a", T_a_b), _alignment("y", "c", "b", T_b_c), _alignment("z", "c", "a", wrong, 0.5)]
    for each in (ops, ops[::-1]):
        frames = frames_of(each, {})
        np.testing.assert_allclose(frames["a"], np.eye(4))
        np.testing.assert_allclose(frames["b"], T_a_b, atol=1e-12)
        np.testing.assert_allclose(frames["c"], T_a_b @ T_b_c, atol=1e-12)


def test_who_shares_a_frame_moves_together() -> None:
    T = camera_pose(np.array([1.0, 2.0, 0.0]), 0.3)
    frames = frames_of([_alignment("x", "b", "a", T)], {"b": "b", "d": "b"})
    np.testing.assert_allclose(frames["d"], T, atol=1e-12)


def test_moved_records_keep_what_they_were(tmp_path: Path) -> None:
    T, pose = camera_pose(np.array([1.0, 2.0, 0.5]), 0.3), camera_pose(np.array([0.1, 0.2, 1.0]), 1.0)
    records = [
        Record("view", 1.0, "camera", T_map_obs=pose),
        Record("thing", 2.0, "camera", position=np.array([1.0, 0.0, 0.5])),
        Record("thing", 3.0, "camera", T_map_obs=pose, position=np.array([2.0, 0.0, 0.5]), payload={"a": [1.5]}),
    ]
    log = union([log_of("b", records), robot("a")])
    op = _alignment("x", "b", "a", T)
    log.operations[op.origin] = op
    write_log(tmp_path / "c.embmem", log)
    with RecordStore(tmp_path / "c.embmem", read_only=True) as store:
        again = read_log(store)
        assert {o: each.digest for o, each in again.operations.items()} == {
            o: each.digest for o, each in log.operations.items()
        }
        found = {r.payload["merged_from"]["seq"]: r for r in store.get(range(1, 20)) if r.source == "camera"
                 and r.payload["merged_from"]["memory"] == "b"}  # fmt: skip
    for seq, record in enumerate(records, start=1):
        before = np.append(np.asarray(record.where), 1.0)
        np.testing.assert_allclose(np.asarray(found[seq].where), (T @ before)[:3], atol=1e-12)
    moved_pose = found[3].T_map_obs
    assert moved_pose is not None
    np.testing.assert_allclose(moved_pose, T @ pose, atol=1e-12)


def test_an_alignment_that_was_withdrawn_moves_nothing() -> None:
    op = _alignment("x", "b", "a", camera_pose(np.array([1.0, 2.0, 0.5]), 0.3))
    log = union([log_of("b", [Record("thing", 2.0, "camera", position=np.zeros(3))]), robot("a")])
    log.operations[op.origin] = op
    assert placements(ordered(log), {})
    withdrawal = log_of("w", [Record("withdrawal", 30.0, "operator")]).operations[Origin("w", 1)]
    log.operations[withdrawal.origin] = replace(withdrawal, links=(("withdraws", op.origin),))
    assert not placements(ordered(log), {})


@pytest.mark.parametrize(
    "value",
    [
        "{}", "[]", "nonsense", '{"format": 2}',
        '{"format": 1, "vector": {"a": -1}, "purged": {}, "same": {}, "absent": []}',
        '{"format": 1, "vector": {}, "purged": {"a": [[1, 1e300]]}, "same": {}, "absent": []}',
        '{"format": 1, "vector": {}, "purged": {"a": [[1, 1e400]]}, "same": {}, "absent": []}',
    ],
)  # fmt: skip
def test_a_damaged_account_of_the_memories_is_refused(value: str, tmp_path: Path) -> None:
    path = tmp_path / "c.embmem"
    write_log(path, union([robot("a")]))
    with sqlite3.connect(path) as db:
        db.execute("UPDATE meta SET value = ? WHERE name = 'merged'", (value,))
    with RecordStore(path, read_only=True) as store, pytest.raises(InputError, match="cannot be merged"):
        read_log(store)


def test_a_record_that_lies_about_its_origin_is_refused(tmp_path: Path) -> None:
    origin = {"memory": "a", "seq": 1}
    for i, told in enumerate(
        (
            "a", {"memory": 3, "seq": 1}, {"memory": "a", "seq": 0}, {"memory": "a"},
            {**origin, "position": [0.0, 10**400, 0.0]}, {**origin, "position": [1e40, 0.0, 0.0]},
            {**origin, "T_map_obs": [10**400] * 16}, {**origin, "knew": {"b": -1}},
        )
    ):  # fmt: skip
        path = tmp_path / f"{i}.embmem"
        with RecordStore(path) as store:
            store.write_all([Record("note", 0.0, "x", payload={"merged_from": told})])
            with pytest.raises(InputError, match="cannot be merged"):
                read_log(store)


@pytest.mark.parametrize("T", ["nonsense", [[1.0], 2.0], {"a": 1}, [10**400] * 16, [2.0] * 16, None])
def test_an_alignment_by_anything_but_a_rigid_transform_is_refused(T: object, tmp_path: Path) -> None:
    payload = {"memory": "a", "to": "b", "T_to_memory": T}
    log = union([robot("a"), log_of("x", [Record("alignment", 0.0, "merge", payload=payload)])])
    with pytest.raises(InputError, match=r"damaged|no rigid transform"):
        write_log(tmp_path / "c.embmem", log)


def test_a_memory_that_has_written_nothing_yet_is_merged_and_read_again(tmp_path: Path) -> None:
    with RecordStore(tmp_path / "empty.embmem") as empty:
        log = union([robot("a"), read_log(empty)])
        name = empty.uuid
    assert log.vector[name] == 0
    write_log(tmp_path / "c.embmem", log)
    with RecordStore(tmp_path / "c.embmem", read_only=True) as store:
        assert read_log(store).vector == log.vector


def test_a_file_of_a_part_is_no_memory_of_its_own(tmp_path: Path) -> None:
    """A replica that heard of no memory, through a file, does not become one."""
    log = OperationLog(operations=dict(ROBOTS[0].operations))
    write_log(tmp_path / "part.embmem", log)
    with RecordStore(tmp_path / "part.embmem", read_only=True) as store:
        assert set(union([read_log(store)]).vector) == {"a"}
