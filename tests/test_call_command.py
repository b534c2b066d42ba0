"""`embmem call`: services and actions of a node in another process, found by name, told in YAML."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

pytest.importorskip("cyclonedds", reason="cyclonedds (the extra dds) is not installed")

from wire import own_domain, process

from embmem.cli.main import main

TALKER = "tests/wire_nodes.py"


@pytest.fixture(scope="module")
def domain() -> Iterator[int]:
    with own_domain() as number, process(TALKER, "Talker", str(number)):
        yield number


def _call(capsys: pytest.CaptureFixture[str], domain: int, *words: str) -> tuple[int, str, str]:
    """(exit status, what it printed, what it complained of)."""
    status = main(["call", *words, f"domain={domain}", "wait=30"])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_a_service_answers_in_yaml_and_in_json(domain: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert _call(capsys, domain, "/talker/now", "{data: true}")[:2] == (0, "success: true\nmessage: 'yes'\n")
    _, text, _ = _call(capsys, domain, "/talker/later", "{data: true}", "json=true")
    assert json.loads(text) == {"success": True, "message": "later"}


def test_no_success_is_an_error_with_the_reason(domain: int, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, complaint = _call(capsys, domain, "/talker/now", "{data: false}")
    assert status != 0
    assert "it failed: no" in complaint


def test_an_action_tells_how_far_it_is_and_its_result(domain: int, capsys: pytest.CaptureFixture[str]) -> None:
    goal = "{pose: {header: {frame_id: map}, pose: {position: {x: 5.0}}}}"
    status, result, feedback = _call(capsys, domain, "/go", goal)
    assert status == 0
    assert "error_code: 0" in result
    assert "distance_remaining" in feedback
    assert "goal succeeded" in feedback
    status, _, complaint = _call(capsys, domain, "/go", "{pose: {header: {frame_id: moon}}}")
    assert status != 0
    assert "refused the goal" in complaint


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("/nobody",), "there is no service or action /nobody after 0.5 s, but "),
        (("/talker/now", "{speed: 1}"), "no field speed"),
        (("/talker/now", "[1]"), "request is fields and their values"),
        (("/talker/now", "{"), "request is YAML"),
    ],
)
def test_what_cannot_be_asked_is_one_line(
    domain: int, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], complaint: str
) -> None:
    status = main(["call", *words, f"domain={domain}", "wait=0.5", "type=null"])
    error = capsys.readouterr().err
    assert status != 0
    assert complaint in error
    assert len(error.splitlines()) == 1


def test_the_command_ends_with_its_answer(domain: int) -> None:
    command = [sys.executable, "-m", "embmem.cli.main", "call", "/talker/now", "{data: true}", f"domain={domain}"]
    done = subprocess.run([*command, "wait=30"], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
