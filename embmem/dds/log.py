"""What a node says: on the standard error output as ROS prints it, and on /rosout."""

from __future__ import annotations

import sys
from collections.abc import Callable

from embmem.ros.ports import Fields

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}  # rcl_interfaces/Log
_SHOWN = {"debug": "DEBUG", "info": "INFO", "warning": "WARN", "error": "ERROR"}


def check_level(level: str) -> None:
    """Refuse what is no level."""
    if level not in LEVELS:
        raise ValueError(f"a level is one of {', '.join(LEVELS)}, not {level!r}")


class NodeLog:
    """Says things; any thread may.

    Args:
        name: of the node, as ROS's loggers are named: `robot_1.memory`.
        now_ns: time of the node.
        publish: takes a rcl_interfaces/Log for /rosout.
        least: level below which nothing is said.
    """

    def __init__(
        self, name: str, now_ns: Callable[[], int], publish: Callable[[Fields], None], *, least: str = "info"
    ) -> None:
        check_level(least)
        self._name, self._now_ns, self._publish, self._least = name, now_ns, publish, LEVELS[least]

    def __call__(self, level: str, text: str) -> None:
        """Say it, unless the level is too low."""
        check_level(level)
        if LEVELS[level] < self._least:
            return
        now, text = self._now_ns(), "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text)
        sys.stderr.write(f"[{_SHOWN[level]}] [{now / 1e9:.9f}] [{self._name}]: {text}\n")
        sys.stderr.flush()
        sec, nanosec = divmod(now, 1_000_000_000)
        self._publish({
            "stamp": {"sec": sec, "nanosec": nanosec},
            "level": LEVELS[level],
            "name": self._name,
            "msg": text,
        })  # fmt: skip
