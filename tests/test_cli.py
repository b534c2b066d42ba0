"""The command line itself: help that teaches, one line for every mistake, and an exit status to rely on."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial

import pytest

from embmem.cli.main import COMMANDS, compose_config, main
from embmem.cli.overrides import check_kinds


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
        (["eval", "a b c"], "a b c"),
        (["eval", "episodes=abc"], "episodes must be a whole number, got 'abc'"),
        (["eval", "episodes=1.5"], "episodes must be a whole number"),
        (["eval", "episodes=null"], "episodes must be a whole number"),
        (["eval", "task.max_steps=many"], "task.max_steps must be a whole number"),
        (["eval", "task=objectnav", "task.min_path=far"], "task.min_path must be a number"),
        (["eval", "strips=7"], "strips must be true or false"),
        (["export", "formats=ply"], "formats must be a list"),
    ],
)
def test_a_wrong_call_is_one_line_and_status_2(argv: list[str], what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    error = capsys.readouterr().err
    assert what in error
    assert error.count("\n") == (1 if argv else 0)


def test_a_whole_number_may_stand_for_a_number_and_null_for_nothing() -> None:
    overrides = ["task.min_path=3", "out=null", "seed=5", "agent=oracle"]
    config = compose_config("eval", overrides)
    check_kinds(config, overrides, partial(compose_config, "eval"))
    assert (config.task.min_path, config.seed) == (3, 5)


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    """As in `embmem eval --help | head -1`: the pipe is shut before all is written."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "embmem.cli.main", "eval", "--help"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (128 + 13, "")
