"""`embmem facts` as a user calls it, also while a robot writes the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from embmem.cli.main import main
from embmem.facts import FactMemory
from embmem.store import RecordStore


@pytest.fixture
def room(tmp_path: Path) -> Path:
    """A mug that went kitchen, hall, kitchen; that it was in the hall became known last."""
    path = tmp_path / "room.embmem"
    with RecordStore(path, clock=iter(range(1000, 2000)).__next__) as store:
        facts = FactMemory(store)
        facts.assert_fact("mug-3", "in", "kitchen", valid_at=0.0)
        facts.assert_fact("mug-3", "in", "kitchen", valid_at=60.0)
        facts.assert_fact("mug-3", "in", "kitchen", valid_at=3600.0)
        facts.assert_fact("mug-3", "in", "hall", valid_at=1800.0, source="anna", confidence=0.5)
        facts.assert_fact("door-2", "state", value="open", valid_at=10.0)
    return path


def ask(capsys: pytest.CaptureFixture[str], *words: object) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert main(["facts", "json=true", *map(str, words)]) == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["facts"]
    return found


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], [("door-2", "open"), ("mug-3", "kitchen")]),
        (["mug-3"], [("mug-3", "kitchen")]),
        (["mug-3", "in", "at=30m"], [("mug-3", "hall")]),
        (["mug-3", "in", "at=30m", "as_of=2s"], [("mug-3", "kitchen")]),
        (["mug-3", "in", "at=30m", "as_of=1003"], [("mug-3", "hall")]),
        (["object=hall"], []),
        (["object=hall", "at=2000"], [("mug-3", "hall")]),
        (["value=open"], [("door-2", "open")]),
        (["mug-3", "in", "hall", "history=true"], [("mug-3", "hall")]),
        (["nobody"], []),
    ],
)
def test_a_question_on_both_clocks(
    words: list[str], expected: list[tuple[str, str]], room: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with RecordStore(room):  # a robot has it open
        found = ask(capsys, room, *words)
    assert [(f["subject"], f["object"] or f["value"]) for f in found] == expected


def test_history_joins_what_was_said_twice_and_changes_shows_every_belief(
    room: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = ask(capsys, room, "mug-3", "history=true")
    assert [(f["object"], f["valid_at"], f["invalid_at"], f["ids"]) for f in found] == [
        ("kitchen", 0.0, 1800.0, [1, 2]),
        ("hall", 1800.0, 3600.0, [4]),
        ("kitchen", 3600.0, None, [3]),
    ]
    changes = ask(capsys, room, "mug-3", "changes=true", "object=kitchen")
    told = [(f["valid_at"], f["invalid_at"], f["created_at"], f["expired_at"]) for f in changes]
    assert told == [
        (0.0, None, 1000.0, 1001.0), (0.0, 60.0, 1001.0, None), (60.0, None, 1001.0, 1002.0),
        (60.0, 3600.0, 1002.0, 1003.0), (60.0, 1800.0, 1003.0, None), (3600.0, None, 1002.0, None),
    ]  # fmt: skip


def test_tables_show_names_as_they_are_and_say_when_there_is_more(
    room: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with RecordStore(room) as store:
        FactMemory(store).assert_fact("[red]cup", "weighs", value=0.25, valid_at=1.7e9)
    assert main(["facts", str(room)]) == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("[red]cup", "0.25", "2023-11-14", "kitchen", "robot"))
    assert main(["facts", str(room), "changes=true", "k=2"]) == 0
    assert "the last 2 are shown" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["at=1", "history=true"], "at= asks for one moment"),
        (["as_of=1", "changes=true"], "as_of= asks for one belief"),
        (["at=yesterday"], "at must be a stamp"),
    ],
)
def test_what_does_not_go_together_is_said(
    words: list[str], what: str, room: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["facts", str(room), *words]) == 1
    assert what in capsys.readouterr().err
    assert main(["facts", str(room.with_name("rom.embmem"))]) == 1
    assert "rom.embmem is not a file" in capsys.readouterr().err


def test_nothing_found_is_said_in_words(room: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["facts", str(room), "elephant"]) == 0
    assert capsys.readouterr().out.strip() == "nothing is said of this"
    empty = room.with_name("empty.embmem")
    RecordStore(empty).close()
    assert main(["facts", str(empty)]) == 0
    assert capsys.readouterr().out.strip() == "no facts in this memory"
