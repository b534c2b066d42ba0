"""What is to be built, as plain data: it can be written down, compared, and sent to another process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar

T = TypeVar("T")

_OF_THE_WAY = ("out", "overwrite", "checkpoint", "fresh")


@dataclass(frozen=True)
class BuildPlan:
    """The settings of `embmem build`. `memory` and `perceive` are Hydra's nodes, with a `_target_`."""

    recording: str
    out: str
    memory: dict[str, Any]
    read: dict[str, Any] = field(default_factory=dict)  # see `Conventions`; None is not given
    perceive: dict[str, Any] | None = None  # called with every observation
    odometry: dict[str, Any] | None = None  # `track` and `loops`, see configs/odometry; None: recorded poses
    frame: str = "auto"  # see `Reading`
    on_fault: str = "refuse"
    every: int = 1
    colour: bool = False
    keyframes: dict[str, Any] = field(default_factory=dict)  # arguments of `Keyframes`
    moving: dict[str, Any] | None = None  # arguments of `Moving`; None takes everything for standing still
    checkpoint: float | None = 10.0  # [s] between two checkpoints; None writes none
    fresh: bool = False  # leave the checkpoint of a build that was killed
    overwrite: bool = False

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> BuildPlan:
        """The plan in a resolved configuration, of which other settings are left aside."""
        known = {f.name for f in fields(cls)}
        given = {str(name): value for name, value in config.items() if name in known}
        if isinstance(given.get("checkpoint"), int):
            given["checkpoint"] = float(given["checkpoint"])
        return cls(**given)

    def settings(self) -> dict[str, Any]:
        """What decides about the map, as JSON values: not where it goes, nor how it gets there."""
        plain = asdict(self)
        return {name: value for name, value in plain.items() if name not in _OF_THE_WAY}


def made(kind: type[T], given: Mapping[str, Any], name: str) -> T:
    """A dataclass of these settings; whole numbers where it wants real ones are taken as such.

    Raises:
        ValueError: if it has no such setting, or one makes no sense.
    """
    there = {f.name: f for f in fields(kind) if f.init}  # type: ignore[arg-type]
    for setting in given:
        if setting not in there:
            raise ValueError(f"{name} has no setting {setting!r}, only {', '.join(there)}")
    values = {k: float(v) if there[k].type == "float" and type(v) is int else v for k, v in given.items()}
    return kind(**values)
