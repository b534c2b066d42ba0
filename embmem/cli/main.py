"""`embmem <command> [setting=value ...]`: one module a command, one Hydra config a command."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Iterator
from functools import partial
from keyword import iskeyword
from pathlib import Path
from types import ModuleType

import yaml
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from embmem import configs
from embmem.cli.overrides import check_kinds
from embmem.cli.words import as_overrides
from embmem.errors import EmbmemError

COMMANDS = (
    "eval", "train", "episodes", "record", "doctor", "build", "query", "facts", "export", "house", "stats", "diff",
    "correct", "purge", "verify", "recover", "compact", "backup", "merge", "sync", "view", "fetch", "import",
    "report", "node", "play", "call", "compare",
)  # fmt: skip
ABOUT = """embmem: spatial memory for robots and simulated agents

  embmem eval     evaluate agents in the embedded world: a table, a report, pictures
  embmem compare  the same episodes in two runs, e.g. in two worlds
  embmem train    train a policy and write its weights
  embmem episodes write the episodes of a task as a Habitat file
  embmem record   walk through a procedural house and record what the camera sees
  embmem fetch    get a small public recording to begin with
  embmem doctor   say what is in a recording, what is missing and what is wrong with it
  embmem build    turn an RGB-D recording into a saved map
  embmem report   the page about a build, once more
  embmem query    ask a saved map
  embmem facts    what is said of things: what holds, held, and was believed to hold
  embmem export   write a saved map as PLY, glTF, OctoMap tree, grid for Nav2, trajectory, scene graph, ...
  embmem import   make a memory of a map of Nav2, OctoMap, Spark-DSG or RTAB-Map
  embmem view     look at a memory in a browser or in Rerun
  embmem house    write a procedural house as glTF with its semantic table
  embmem stats    show what a memory holds
  embmem diff     show what two memories do not have in common
  embmem correct  say that a record is wrong, withdraw it, or take that back
  embmem purge    remove all that a source has said, for ever
  embmem verify   check every page and every record of a memory file
  embmem recover  save what can be saved of a damaged memory file
  embmem compact  give back the space of what was removed
  embmem backup   copy a memory file, also while it is written
  embmem merge    make one memory of several: of sessions, or of robots
  embmem sync     send a fleet's server what a memory has taken in since the last time
  embmem node     run a ROS 2 node without ROS: memory, planner, perception or recorder
  embmem play     play a ROS 2 bag on the wire
  embmem call     ask a service or an action of a running ROS 2 node

  embmem <command> --help                shows the settings of a command with their defaults
  embmem <command> setting=value ...     changes them (Hydra overrides: a.b=1, list=[x,y])
  embmem <command> room.embmem ...       a bare word is the file, where a command reads one
  add -v for the log, --traceback to see where an error comes from
"""
USAGE_ERROR = 2
PIPE_CLOSED = 128 + 13  # what a shell shows of a program that SIGPIPE ended


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 done, 1 the world said no, 2 the call was wrong, more by command."""
    try:
        status = _main(argv)
        sys.stdout.flush()
    except BrokenPipeError:  # who reads our output, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    return status


def _main(argv: list[str] | None) -> int:
    arguments = sys.argv[1:] if argv is None else argv
    flags = {a for a in arguments if a.startswith("-")}
    words = [a for a in arguments if not a.startswith("-")]
    unknown = flags - {"-h", "--help", "-v", "--verbose", "--traceback"}
    if unknown:
        return _complain(f"unknown option {sorted(unknown)[0]}; see: embmem --help", USAGE_ERROR)
    if not words:
        sys.stdout.write(ABOUT)
        return 0 if flags & {"-h", "--help"} else USAGE_ERROR
    command = words[0]
    if command not in COMMANDS:
        return _complain(f"there is no command {command!r}, only {', '.join(COMMANDS)}", USAGE_ERROR)
    level = logging.INFO if flags & {"-v", "--verbose"} else logging.WARNING
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    # `import` is a word of Python's own.
    module = importlib.import_module(f"embmem.cli.{command}_" if iskeyword(command) else f"embmem.cli.{command}")
    if flags & {"-h", "--help"}:
        return _help(command, module)
    return _run(command, module, words[1:], is_traceback_wanted="--traceback" in flags)


def _run(command: str, module: ModuleType, words: list[str], *, is_traceback_wanted: bool) -> int:
    try:
        overrides = as_overrides(words, _positional(command, module))
        config = compose_config(command, overrides)
        check_kinds(config, overrides, partial(compose_config, command))
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        if is_traceback_wanted:
            raise
        return _complain(f"{_one_line(error)} (see: embmem {command} --help)", USAGE_ERROR)
    try:
        status = module.run(config)
    except KeyboardInterrupt:
        return _complain("interrupted", 130)
    except BrokenPipeError:
        raise
    except (EmbmemError, HydraException, OmegaConfBaseException, ValueError, OSError) as error:
        if is_traceback_wanted:
            raise
        usage = f" (see: embmem {command} --help)" if isinstance(error, MissingMandatoryValue) else ""
        return _complain(_one_line(error) + usage, 1)
    return status if isinstance(status, int) else 0  # a command that says nothing is done


def _positional(command: str, module: ModuleType) -> tuple[str, ...]:
    """The settings that bare words stand for: what the module calls POSITIONAL, else `file` where there is one."""
    default = ("file",) if "file" in yaml.safe_load(_config_text(command)) else ()
    names: tuple[str, ...] = getattr(module, "POSITIONAL", default)
    return names


def _config_text(command: str) -> str:
    return (Path(configs.__file__).parent / f"{command}.yaml").read_text("utf-8")


def compose_config(command: str, overrides: list[str]) -> DictConfig:
    """The Hydra configuration of a command."""
    from hydra import compose, initialize_config_module

    with initialize_config_module("embmem.configs", version_base="1.3"):
        return compose(command, overrides=overrides)


def _help(command: str, module: ModuleType) -> int:
    """The examples of a command, then its configuration as it is written, comments included."""
    folder = Path(configs.__file__).parent
    text = _config_text(command)
    sys.stdout.write(f"{module.HELP.strip()}\n\nSettings and their defaults (??? must be given):\n{_indented(text)}")
    for entry in yaml.safe_load(text).get("defaults", []):
        if isinstance(entry, dict):
            sys.stdout.writelines(_group_help(folder, *next(iter(entry.items()))))
    return 0


def _group_help(folder: Path, group: str, chosen: str | list[str] | None) -> Iterator[str]:
    """What can be chosen in a config group, and the settings of what is chosen by default."""
    files = (folder / group).rglob("*.yaml")
    there = sorted(file.relative_to(folder / group).with_suffix("").as_posix() for file in files)
    names = [chosen] if isinstance(chosen, str) else chosen or []
    typed = f"[{','.join(names)}]" if isinstance(chosen, list) else chosen or "null"
    yield f"\n{group}={typed}   there are: {', '.join(there)}\n"
    for name in names:
        yield _indented((folder / group / f"{name}.yaml").read_text("utf-8"))


def _indented(text: str) -> str:
    return "".join(f"  {line}\n" for line in text.splitlines())


def _complain(message: str, status: int) -> int:
    sys.stderr.write(f"embmem: {message}\n")
    return status


def _one_line(error: BaseException) -> str:
    """The message of an error; where Hydra wrapped it, of the one that it wrapped."""
    cause = error
    while isinstance(cause, HydraException) and cause.__cause__ is not None:
        cause = cause.__cause__
    if isinstance(cause, MissingMandatoryValue):
        return f"{cause.full_key} must be given"
    message = str(cause).split("Config search path:")[0]  # where Hydra looked helps nobody here
    return " ".join(message.split()) or type(cause).__name__


if __name__ == "__main__":
    raise SystemExit(main())
