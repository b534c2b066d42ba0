"""The state of a node as diagnostic_msgs/DiagnosticArray."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from embmem.ros.outgoing.parts import Fields, header

OK, WARN, ERROR, STALE = 0, 1, 2, 3


@dataclass(frozen=True)
class Status:
    """One part of a node: how it is, in words and in numbers."""

    name: str
    level: int = OK
    message: str = "ok"
    values: Mapping[str, float | int | str] = field(default_factory=dict)


def diagnostics(node: str, statuses: Sequence[Status], stamp_ns: int) -> Fields:
    """A diagnostic_msgs/DiagnosticArray; names are `node: part`."""
    return {
        "header": header(stamp_ns, ""),
        "status": [
            {
                "level": status.level,
                "name": f"{node}: {status.name}",
                "message": status.message,
                "hardware_id": node,
                "values": [{"key": key, "value": _text(value)} for key, value in status.values.items()],
            }
            for status in statuses
        ],
    }


def _text(value: float | int | str) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
