"""The gold traces of MEMENTO (Kwon et al. 2025) in the action grammar."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from embmem.policies.actions import Ask, Go, Look, Open, Outcome, Pick, Place, Sight, Step, WhereIs
from embmem.sim_envs.memento.traces import Place as Spot
from embmem.sim_envs.memento.traces import TraceStep


def traces_file() -> Path | None:
    """The archive, where it is on this machine."""
    path = Path(os.environ.get("EMBMEM_DATA_DIR", "../shared/data")) / "memento" / "gold_traces.tar.gz"
    return path if path.is_file() else None


def in_grammar(step: TraceStep) -> tuple[Step, Outcome]:
    """A step of a trace and whether it worked, without what was listed after it."""
    arguments, ok = step.arguments, Outcome(step.ok)
    if step.action in ("Navigate", "Explore"):
        return Go(arguments[0]), ok
    if step.action == "Pick":
        return Pick(arguments[0]), ok
    if step.action == "Place":
        return Place(arguments[0], arguments[2]), ok
    if step.action == "Open":
        return Open(arguments[0]), ok
    if step.action in ("FindObjectTool", "FindReceptacleTool", "FindRoomTool"):
        return WhereIs(", ".join(arguments)), ok
    return (Ask(", ".join(arguments)) if step.action == "DescribeObjectTool" else Look()), ok


def sight_of(listed: Mapping[str, Spot]) -> Sight:
    """What a list of objects shows."""
    inside: dict[str, str] = {}
    for name, spot in listed.items():
        if spot.furniture is not None and spot.room is not None:
            inside |= {name: spot.furniture, spot.furniture: spot.room}
    return Sight(inside)
