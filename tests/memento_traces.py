"""The gold traces of MEMENTO (Kwon et al. 2025) as steps of the action grammar, with what was listed after each."""

from __future__ import annotations

import os
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path

from embmem.policies.actions import Ask, Go, Look, Open, Outcome, Pick, Place, Sight, Step, Stop, WhereIs

_CALL = re.compile(r"^(\w+)\[(.*)\]")
_LISTED = re.compile(r"^(\S+): (?:(held by the agent)|(\S+) in (\S+))$")
HELD = "held by the agent"


@dataclass(frozen=True)
class TraceStep:
    """One call of a trace; `listed` is empty where nothing was listed."""

    step: Step
    outcome: Outcome
    listed: dict[str, str]  # object -> "table_1 in kitchen_1" or HELD


def traces_file() -> Path | None:
    """The archive, where it is on this machine."""
    folder = os.environ.get("EMBMEM_DATA_DIR")
    path = None if folder is None else Path(folder) / "memento" / "gold_traces.tar.gz"
    return path if path is not None and path.is_file() else None


def read_traces(path: Path) -> dict[str, list[TraceStep]]:
    """The steps of every trace, by its name."""
    with tarfile.open(path) as archive:
        files = {
            m.name: archive.extractfile(m) for m in sorted(archive.getmembers(), key=lambda m: m.name) if m.isfile()
        }
        return {name: read_trace(f.read().decode()) for name, f in files.items() if f is not None}


def read_trace(text: str) -> list[TraceStep]:
    """The steps of one trace in order."""
    steps: list[TraceStep] = []
    call: tuple[str, list[str]] | None = None
    is_ok, listed, in_list = False, dict[str, str](), False

    def finish() -> None:
        if call is not None:
            steps.append(TraceStep(_step(*call), Outcome(is_ok), listed))

    for line in text.splitlines():
        if found := _CALL.match(line):
            finish()
            call, is_ok, listed, in_list = (found[1], [a.strip() for a in found[2].split(",")]), False, {}, False
        elif line.startswith("Result:"):
            is_ok, in_list = not line.startswith("Result: Unexpected failure"), False
        elif line.startswith("Thought:"):
            in_list = False
        in_list = in_list or line.startswith("Objects:")
        if in_list and (entry := _LISTED.match(line.removeprefix("Objects:").strip())):
            listed[entry[1]] = entry[2] or f"{entry[3]} in {entry[4]}"
    finish()
    return steps


def sight_of(listed: dict[str, str], wanted: set[str] | None = None) -> Sight:
    """What a listing shows, or only what it shows of the objects wanted."""
    inside: dict[str, str] = {}
    for name, where in listed.items():
        if where != HELD and (wanted is None or name in wanted):
            receptacle, room = where.split(" in ")
            inside |= {name: receptacle, receptacle: room}
    return Sight(inside)


def _step(call: str, arguments: list[str]) -> Step:
    if call in ("Navigate", "Explore"):
        return Go(arguments[0])
    if call == "Pick":
        return Pick(arguments[0])
    if call == "Place":
        return Place(arguments[0], arguments[2])
    if call == "Open":
        return Open(arguments[0])
    if call in ("FindObjectTool", "FindReceptacleTool", "FindRoomTool"):
        return WhereIs(", ".join(arguments))
    if call == "DescribeObjectTool":
        return Ask(", ".join(arguments))
    return Stop() if call == "Done" else Look()
