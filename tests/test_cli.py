"""The command line itself: help that teaches, one line for every mistake, and an exit status to rely on."""

from __future__ import annotations

import pytest

from embmem.cli.main import COMMANDS, main


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"embmem {command}" in text for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_shows_examples_and_defaults(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"embmem {command}" in text
    assert "Settings and their defaults" in text


@pytest.mark.parametrize(
    ("argv", "what"),
    [
        ([], ""),
        (["fly"], "there is no command 'fly'"),
        (["eval", "--fast"], "unknown option --fast"),
        (["eval", "typo=1"], "typo"),
        (["eval", "task=juggling"], "juggling"),
        (["build", "a b c"], "a b c"),
    ],
)
def test_a_wrong_call_is_one_line_and_status_2(argv: list[str], what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    error = capsys.readouterr().err
    assert what in error
    assert error.count("\n") == (1 if argv else 0)
