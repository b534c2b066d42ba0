"""`embmem query` of records: bare words, times ago, belief of then, and a robot that goes on writing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from box_room import WordVectors

from embmem.cli.main import main
from embmem.records import Link, Record
from embmem.store import RecordStore

ENCODER = "encoder._target_=box_room.WordVectors"


@pytest.fixture
def room(tmp_path: Path) -> Path:
    """Ten notes, a minute apart, each a metre farther along x; the fourth is withdrawn by the last."""
    path = tmp_path / "room.embmem"
    texts = ["red mug", "blue mug", "lamp", "red mug on the shelf", "door", "red box", "cat", "mug", "hat", "key"]
    with RecordStore(path) as store:
        for i, text in enumerate(texts):
            store.write(
                Record(
                    kind="note", t_event=60.0 * i, t_ingest=60.0 * i, source="user" if i % 2 else "camera", text=text,
                    position=np.array([float(i), 0.0, 0.0]), place="hall" if i < 5 else "bath", confidence=0.1 * i,
                    keys=(f"voxel:{i}",), links=(Link("withdraws", 4),) if i == 9 else (),
                )
            )  # fmt: skip
    return path


def ask(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["query", "json=true", *words]) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer["records"]


def ids(capsys: pytest.CaptureFixture[str], *words: str) -> list[int]:
    return [row["id"] for row in ask(capsys, *words)["records"]]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["red mug", "near=0,0,0", "radius=4"], [1, 2]),
        (["red mug", "as_of=500"], {1, 2, 4, 6, 8}),
        (["mug", "since=2m"], [8]),
        (["mug", "since=420"], [8]),
        (["mug", "until=0.1h"], [2, 1]),
        (["source=camera", "place=bath"], [9, 7]),
        (["kind=note", "min_confidence=0.75"], [10, 9]),
        (["key=voxel:3", "as_of=1m"], [4]),
        (["linked_to=10", "valid_at=0"], [10]),
        (["since=1m", "k=1"], [10]),
        (["?!"], []),
        (["submarine OR AND ( \"'"], []),
    ],
)
def test_records_are_found_as_they_are_asked_for(
    room: Path, words: list[str], expected: list[int] | set[int], capsys: pytest.CaptureFixture[str]
) -> None:
    found = ids(capsys, str(room), *words)
    assert (set(found) if isinstance(expected, set) else found) == expected


def test_an_answer_says_why_and_how(room: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = ask(capsys, str(room), "red mug", "near=0,0,0", "explain=true")
    assert answer["records"][0]["id"] == 1
    assert 'text "red mug"' in answer["records"][0]["why"]
    assert any("words" in step["step"] for step in answer["plan"])
    nothing = ask(capsys, str(room), "submarine")
    assert (nothing["is_found"], nothing["no_answer"]) == (False, "no record holds a word of 'submarine'")


def test_a_context_fits_its_budget(room: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["query", str(room), "mug", "context=300"]) == 0
    text = capsys.readouterr().out
    assert "<remembered_data>" in text
    assert "blue mug" in text
    assert main(["query", str(room), "mug", "context=lots"]) == 1


def test_embeddings_of_the_encoders_length_are_compared_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "meant.embmem"
    vector = WordVectors()(["mug"])[0]
    with RecordStore(path) as store:
        store.write(Record(kind="note", t_event=0.0, source="camera", text="a cup", embedding=vector))
        store.write(Record(kind="note", t_event=1.0, source="camera", text="a mug of nothing"))
    assert ids(capsys, str(path), "mug", ENCODER) == [2, 1]
    other = tmp_path / "other.embmem"
    with RecordStore(other) as store:
        store.write(Record(kind="note", t_event=0.0, source="camera", text="mug", embedding=np.ones(3)))
    answer = ask(capsys, str(other), "mug", ENCODER)
    assert [row["id"] for row in answer["records"]] == [1]
    assert "embeddings have 3 numbers" in answer["note"]


def test_without_the_encoder_words_alone_are_compared(room: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with RecordStore(room) as store:
        store.write(Record(kind="note", t_event=900.0, source="camera", text="mug again", embedding=np.ones(384)))
    answer = ask(capsys, str(room), "mug", "encoder._target_=test_query_cli.without_extra")
    assert answer["records"][0]["id"] in (8, 11)
    assert "words alone" in answer["note"]


def without_extra() -> None:
    """An encoder whose library is not installed."""
    from embmem.errors import import_extra

    import_extra("no_such_library_of_embeddings", "text")


def test_a_robot_may_go_on_writing(room: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with RecordStore(room) as store:
        store.write(Record(kind="note", t_event=700.0, source="user", text="a violet mug")).wait()
        assert ids(capsys, str(room), "violet") == [11]
        store.write(Record(kind="note", t_event=701.0, source="user", text="violet again")).wait()
        assert set(ids(capsys, str(room), "violet")) == {11, 12}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["mug", "since=yesterday"], "since must be a stamp"),
        (["mug", "near=1,2"], "near must be 3"),
        (["mug", "radius=-1"], "radius >= 0"),
        (["mug", "lamp", "door"], "no setting is meant by 'lamp'"),
    ],
)
def test_a_wrong_question_is_one_line(
    room: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["query", str(room), *words]) in (1, 2)
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
