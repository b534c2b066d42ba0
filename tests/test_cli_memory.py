"""`embmem correct`, `purge`, `stats` and `diff` as a user calls them: what they do, say and refuse."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embmem.cli.main import main
from embmem.protocols import LayerState
from embmem.records import Link, Query, Record
from embmem.store import RecordStore
from embmem.store.describe import describe
from embmem.store.snapshots import write_layers


def note(i: int, source: str, *links: tuple[str, int]) -> Record:
    return Record(
        kind="note", t_event=float(i), source=source, place="kitchen", text=f"red mug {i}",
        entities=("mug", f"thing{i}"),
        position=np.array([i, 0.0, 1.0]), embedding=np.ones(4, np.float32), links=tuple(Link(*link) for link in links),
    )  # fmt: skip


@pytest.fixture
def room(tmp_path: Path) -> Path:
    """Records 1 to 6 by turns of two cameras, 7 was derived from 2."""
    path = tmp_path / "room.embmem"
    with RecordStore(path, clock=lambda: 100.0) as store:
        store.write_all(note(i, "camera2" if i % 2 == 0 else "camera1") for i in range(1, 7))
        store.write(note(7, "planner", ("from", 2)))
        with store.changing() as db:
            write_layers(db, [LayerState("voxels", 1, {"resolution": 0.1}, {"cells": np.arange(9)})], 7)
    return path


def ask(capsys: pytest.CaptureFixture[str], *argv: str, status: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    assert main([*argv, "json=true"]) == status
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def believed(path: Path, **filters: Any) -> dict[int, str]:
    with RecordStore(path, read_only=True) as store:
        return {r.id: r.text for r in store.read(Query(kind="note", k=100, **filters)) if r.id is not None}


def test_a_record_is_corrected_and_restored(room: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = [
        str(room),
        "id=2",
        "text=blue mug",
        "position=1,2,0.7",
        "entities=[mug,blue mug]",
        "confidence=1",
        "by=anna",
    ]
    answer = ask(capsys, "correct", *argv, "reason=it was dark")
    assert answer["written"] == [8]
    with RecordStore(room, read_only=True) as store:
        (new,) = store.get([8])
    assert (new.text, new.entities, new.source, new.confidence) == ("blue mug", ("blue mug", "mug"), "anna", 1.0)
    assert new.position is not None
    assert new.position.tolist() == [1.0, 2.0, 0.7]
    assert new.payload == {"reason": "it was dark"}
    assert set(believed(room)) == {1, 3, 4, 5, 6, 8}
    told = ask(capsys, "correct", str(room), "id=2", "history=true")["history"]
    assert [(row["id"], row["role"], row["of"], row["hidden_by"]) for row in told] == [
        (2, "original", [], [8]), (7, "derived", [2], [8]), (8, "correction", [2], []),
    ]  # fmt: skip
    assert main(["correct", str(room), "id=2", "restore=true"]) == 0
    assert "record 2 is believed again" in capsys.readouterr().out
    assert set(believed(room)) == {1, 2, 3, 4, 5, 6, 7}


def test_what_it_says_about_undoing_undoes_it(room: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = believed(room)
    for what in (["id=[1,3]", "withdraw=true"], ["source=camera2", "withdraw=true"], ["id=4", "place=hall"]):
        assert main(["correct", str(room), *what]) == 0
        assert believed(room) != before
        undo = capsys.readouterr().out.rpartition("to undo it: embmem ")[2].split()
        assert main([word.strip("'") for word in undo]) == 0
        assert believed(room) == before


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ([], "set text, position"),
        (["id=2"], "set text, position"),
        (["text=blue"], "say which record with id=12"),
        (["id=2", "source=camera1", "withdraw=true"], "say which record with id=12"),
        (["source=camera1", "text=blue"], "say which record with id=12"),
        (["id=2", "text=blue", "withdraw=true"], "got withdraw and a change"),
        (["id=2", "withdraw=true", "restore=true"], "got withdraw and restore"),
        (["id=two", "text=blue"], "id must be a whole number"),
        (["id=[2,3]", "text=blue"], "only withdraw=true takes several"),
        (["id=99", "text=blue"], "there is no record 99"),
        (["id=2", "position=1,2"], "position must be 3 finite numbers"),
        (["id=2", "confidence=2"], "confidence must be within [0, 1]"),
        (["id=2", "confidence=high"], "confidence must be a number from 0 to 1"),
        (["id=2", "entities=mug"], "entities must be a list in brackets"),
        (["id=2", "restore=true"], "record 2 is not hidden"),
    ],
)
def test_a_correction_that_cannot_be_teaches_and_writes_nothing(
    words: list[str], what: str, room: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["correct", str(room), *words]) == 1
    error = capsys.readouterr().err
    assert what in error
    assert error.count("\n") == 1
    with RecordStore(room, read_only=True) as store:
        assert len(store) == 7


@pytest.mark.parametrize("command", [["correct", "id=1", "withdraw=true"], ["purge", "source=a"], ["stats"]])
def test_a_mistyped_name_makes_no_new_file(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, f"file={tmp_path / 'rom.embmem'}"]) == 1
    assert "rom.embmem is not a file" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_purge_shows_what_would_go_and_removes_it_when_told(room: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = ask(capsys, "purge", str(room), "source=camera2", status=1)
    assert answer["would_go"] == [
        {"source": "camera2", "kind": "note", "n": 3}, {"source": "planner", "kind": "note", "n": 1},
    ]  # fmt: skip
    assert len(believed(room)) == 7
    assert main(["purge", str(room), "source=camera2"]) == 1
    assert "add yes=true" in capsys.readouterr().err
    answer = ask(capsys, "purge", str(room), "source=camera2", "yes=true", "reason=asked by Bob")
    assert answer == {"purged": 4, "source": "camera2", "layers": []}
    assert set(believed(room)) == {1, 3, 5}
    assert b"red mug 4" not in room.read_bytes()
    assert ask(capsys, "purge", str(room), "source=camera2", "yes=true")["purged"] == 0
    assert main(["purge", str(room), "source=camera3", "yes=true"]) == 1
    assert "its sources are: camera1, operator" in capsys.readouterr().err


def test_a_memory_that_is_being_written_is_read_but_not_changed(room: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with RecordStore(room) as store:
        store.write(note(8, "camera1")).wait()
        assert ask(capsys, "stats", str(room))["n_records"] == 8
        for command in (["purge", "source=camera1", "yes=true"], ["correct", "id=1", "withdraw=true"]):
            assert main([*command, f"file={room}"]) == 1
            assert f"is being written by process {os.getpid()}" in capsys.readouterr().err
        assert len(store) == 8


def test_stats_counts_what_is_there(room: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["correct", str(room), "id=2", "withdraw=true"])
    found = ask(capsys, "stats", str(room))
    assert (found["n_records"], found["n_hidden"], found["last_id"], found["dim"]) == (8, 2, 8, 4)
    assert found["by_kind"]["note"] == {"n": 7, "n_hidden": 2, "first": 1.0, "last": 7.0}
    assert {name: group["n"] for name, group in found["by_source"].items()} == {
        "camera1": 3, "camera2": 3, "operator": 1, "planner": 1,
    }  # fmt: skip
    assert (found["event"], found["ingest"][0], found["n_entities"]) == ([1.0, 7.0], 100.0, 8)
    assert found["counts"] == {"vectors": 7, "blobs": 0, "links": 2}
    assert [(row["role"], row["kind"], row["covers"]) for row in found["layers"]] == [("base", "voxels", 7)]
    assert sum(found["table_bytes"].values()) == room.stat().st_size
    assert main(["stats", str(room)]) == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("2 hidden", "7 of 4 numbers", "camera1", "voxels version 1", found["uuid"]))


def test_bytes_are_estimated_where_sqlite_does_not_count_pages(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class WithoutPages:
        def __init__(self, db: sqlite3.Connection) -> None:
            self._db = db
            self.close = db.close
            self.executemany = db.executemany

        def execute(self, sql: str, parameters: Any = ()) -> Any:
            if "dbstat" in sql:
                raise sqlite3.OperationalError("no such table: dbstat")
            return self._db.execute(sql, parameters)

    def connect(path: Path) -> WithoutPages:
        return WithoutPages(sqlite3.connect(path, isolation_level=None, check_same_thread=False))

    with RecordStore(room, connect=connect) as store:
        found = describe(store)
    assert found.is_estimate
    assert 0 < sum(found.table_bytes.values()) < room.stat().st_size


def test_diff_of_a_memory_and_its_backup(room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    backup = Path(shutil.copy(room, tmp_path / "backup.embmem"))
    assert ask(capsys, "diff", str(backup), str(room))["is_none"]
    main(["correct", str(room), "id=2", "text=blue mug"])
    with RecordStore(backup) as store:
        store.write(note(9, "camera9"))
    with RecordStore(room) as store, store.changing() as db:
        write_layers(db, [LayerState("voxels", 1, {"resolution": 0.1}, {"cells": np.arange(1, 10)})], 7)
    found = ask(capsys, "diff", str(backup), str(room))
    assert (found["is_same_memory"], found["is_none"], found["common"]) == (True, False, 8)
    assert found["changed"]["ids"] == [8]  # both went on and gave the same id
    assert found["hidden_in_b_only"]["ids"] == [2, 7]
    assert (found["only_in_a"]["n"], found["only_in_b"]["n"], found["hidden_in_a_only"]["n"]) == (0, 0, 0)
    assert found["hidden_in_b_only"]["places"] == {"kitchen": 2}
    assert found["layers"] == [{"role": "base", "kind": "voxels", "what": ["arrays"]}]
    capsys.readouterr()
    assert main(["diff", str(backup), str(room)]) == 0
    assert "hidden in b only" in " ".join(capsys.readouterr().out.split())


def test_diff_of_two_memories_goes_by_what_their_records_say(
    room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.embmem"
    with RecordStore(other) as store:
        store.write_all([note(9, "radio"), note(3, "camera1"), note(3, "camera1"), note(1, "camera1")])
    found = ask(capsys, "diff", str(room), str(other))
    assert (found["is_same_memory"], found["common"]) == (False, 2)
    assert (found["only_in_a"]["n"], found["only_in_a"]["ids"]) == (5, [2, 4, 5, 6, 7])
    assert (found["only_in_b"]["ids"], found["only_in_b"]["entities"]) == ([1, 3], {"mug": 2, "thing3": 1, "thing9": 1})
    assert found["layers"] == [{"role": "base", "kind": "voxels", "what": ["only in a"]}]


def test_the_installed_command_runs(room: Path) -> None:
    command = [sys.executable, "-m", "embmem.cli.main", "purge", str(room), "source=camera2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "camera2" in done.stdout
    assert done.stderr == "embmem: nothing was removed; to remove this for ever, add yes=true\n"
