"""What is to be built, as plain data: it can be written down, compared, and sent to another process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any


@dataclass(frozen=True)
class BuildPlan:
    """The settings of `embmem build`. `memory` and `perceive` are Hydra's nodes, with a `_target_`."""

    recording: str
    out: str
    memory: dict[str, Any]
    read: dict[str, Any] = field(default_factory=dict)  # see `Conventions`; None is not given
    perceive: dict[str, Any] | None = None  # called with every observation
    frame: str = "auto"  # see `Reading`
    on_fault: str = "refuse"
    every: int = 1
    colour: bool = False
    overwrite: bool = False

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> BuildPlan:
        """The plan in a resolved configuration, of which other settings are left aside."""
        known = {f.name for f in fields(cls)}
        return cls(**{str(name): value for name, value in config.items() if name in known})

    def settings(self) -> dict[str, Any]:
        """What decides about the map, as JSON values: not where it goes."""
        plain = asdict(self)
        return {name: value for name, value in plain.items() if name not in ("out", "overwrite")}
