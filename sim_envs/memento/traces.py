"""MEMENTO's gold traces: what an agent did in an acquisition episode, and which objects it knew where after each step.

The text is that of the planner's prompt: a task, then thought, action, result and object list again and again. Thoughts
are kept as they are; they were written by a language model and are data.
"""

from __future__ import annotations

import gzip
import io
import re
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from embmem.errors import InputError

HELD = "held by the agent"
MAX_BYTES = 4 * 2**20  # of one trace; the public ones have less than 40 kB
MAX_ARCHIVE = 256 * 2**20  # of an unpacked archive; the public one has 1.3 MB
_NAME = re.compile(r"(?:.*/)?trace-episode_(\w+)_(\d+)-(\d+)\.txt")
_ACTION = re.compile(r"([A-Za-z]+)\[(.*)\]\s*")
_OBJECT = re.compile(r"(\w+_\d+): (.*)")
_PLACE = re.compile(r"(\S+) in (\S+)")
_OK = "Successful execution!"
_N_ARGUMENTS = {"Pick": 1, "Place": 5, "Open": 1, "Close": 1, "Explore": 1, "Navigate": 1}
_ANSWERS = ("DescribeObjectTool", "FindObjectTool", "FindReceptacleTool", "FindRoomTool")


@dataclass(frozen=True, order=True)
class Place:
    """Where an object is: on a piece of furniture in a room, or in the agent's hand (both None)."""

    furniture: str | None
    room: str | None

    @property
    def is_held(self) -> bool:
        """Whether the agent holds it."""
        return self.furniture is None

    def __str__(self) -> str:
        return HELD if self.is_held else f"{self.furniture} in {self.room}"


@dataclass(frozen=True)
class TraceStep:
    """An action and what came of it."""

    thought: str
    action: str  # e.g. "Place"
    arguments: tuple[str, ...]
    ok: bool
    result: str
    objects: dict[str, Place]  # all that is known after it


@dataclass(frozen=True)
class Trace:
    """A whole episode; the final `Done` has no result and is not among the steps."""

    episode: str  # id
    instruction: str
    steps: tuple[TraceStep, ...]


def read_traces(path: Path) -> list[Trace]:
    """The traces of a `.tar.gz` or of a folder, by episode id.

    Nothing is unpacked to the disk.

    Raises:
        InputError: if there are none, or one of them is malformed.
    """
    try:
        texts = _from_folder(path) if path.is_dir() else _from_archive(path)
    except (OSError, EOFError, zlib.error, tarfile.TarError, UnicodeDecodeError) as error:
        raise InputError(f"{path} holds no traces of MEMENTO: {error}") from error
    traces = [parse_trace(episode, text) for episode, text in sorted(texts.items())]
    if not traces:
        raise InputError(f"{path} holds no file trace-episode_<id>_<run>-<agent>.txt")
    return sorted(traces, key=lambda trace: (len(trace.episode), trace.episode))


def parse_trace(episode: str, text: str) -> Trace:
    """A trace from its text.

    Raises:
        InputError: if it is malformed; the message names the line.
    """
    lines = [line.rstrip() for line in text.splitlines()]
    if not lines or not lines[0].startswith("Task: "):
        raise InputError(f"trace {episode}: the first line must begin with 'Task: ', got {lines[:1]}")
    steps: list[TraceStep] = []
    at = 1
    while True:
        step, at = _step(episode, lines, at)
        if step is None:
            return Trace(episode, lines[0].removeprefix("Task: "), tuple(steps))
        steps.append(step)


def _step(episode: str, lines: list[str], at: int) -> tuple[TraceStep | None, int]:
    """The step that begins at a line, and where the next one does; None for the final `Done`."""
    start = at
    while at < len(lines) and not _ACTION.fullmatch(lines[at]):
        at += 1
    match = _ACTION.fullmatch(lines[at]) if at < len(lines) else None
    if match is None or at + 1 >= len(lines) or lines[at + 1] != "Assigned!":
        raise InputError(f"trace {episode}: no action that was assigned in the lines from {start + 1} on")
    thought = "\n".join(line.removeprefix("Thought: ") for line in lines[start:at]).strip()
    if match[1] == "Done":
        if any(lines[at + 2 :]):
            raise InputError(f"trace {episode}: there is more after Done in line {at + 1}")
        return None, at
    begin = at + 2
    if begin >= len(lines) or not lines[begin].startswith("Result: "):
        raise InputError(f"trace {episode}: line {begin + 1} must begin with 'Result: '")
    end = begin
    while end < len(lines) and not lines[end].startswith(("Objects: ", "Thought: ")):
        end += 1
    if end == len(lines) or lines[end].startswith("Thought: "):
        raise InputError(f"trace {episode}: the result in line {begin + 1} has no list of objects")
    result = "\n".join(lines[begin:end]).removeprefix("Result: ").strip()
    objects, after = _objects(episode, lines, end)
    arguments = tuple(part.strip() for part in match[2].split(","))
    if not all(arguments) or len(arguments) != _N_ARGUMENTS.get(match[1], len(arguments)):
        raise InputError(
            f"trace {episode}: {match[1]} in line {at + 1} has other arguments than it needs: {lines[at]!r}"
        )
    ok = result == _OK or match[1] in _ANSWERS
    return TraceStep(thought, match[1], arguments, ok, result, objects), after


def _objects(episode: str, lines: list[str], at: int) -> tuple[dict[str, Place], int]:
    first = lines[at].removeprefix("Objects: ")
    if first == "No objects found yet":
        return {}, at + 1
    objects: dict[str, Place] = {}
    line = first
    while match := _OBJECT.fullmatch(line):
        place = _PLACE.fullmatch(match[2])
        if place is None and match[2] != HELD:
            raise InputError(f"trace {episode}: line {at + 1} names no place: {line!r}")
        objects[match[1]] = Place(None, None) if place is None else Place(place[1], place[2])
        at += 1
        line = lines[at] if at < len(lines) else ""
    if not objects:
        raise InputError(f"trace {episode}: line {at + 1} lists no object: {line!r}")
    return objects, at


def _from_folder(path: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for file in sorted(path.iterdir()):
        if (match := _NAME.fullmatch(file.name)) and file.is_file():
            with file.open("rb") as opened:
                _add(found, match[1], opened.read(MAX_BYTES + 1))
    return found


def _from_archive(path: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    with gzip.open(path) as packed:
        data = packed.read(MAX_ARCHIVE + 1)
    if len(data) > MAX_ARCHIVE:
        raise InputError(f"{path} unpacks to more than {MAX_ARCHIVE} bytes")
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
        for member in archive:
            match = _NAME.fullmatch(member.name)
            if match is None or not member.isfile():
                continue
            file = archive.extractfile(member)
            if file is not None:
                _add(found, match[1], file.read(MAX_BYTES + 1))
    return found


def _add(found: dict[str, str], episode: str, data: bytes) -> None:
    if len(data) > MAX_BYTES:
        raise InputError(f"trace {episode} has more than {MAX_BYTES} bytes")
    if episode in found:
        raise InputError(f"there are two traces of episode {episode}")
    found[episode] = data.decode("utf-8")
