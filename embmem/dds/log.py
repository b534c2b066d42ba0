"""What a node says: on the standard error output as ROS prints it, and on /rosout."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import FrameType

from embmem.ros.ports import Fields

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}  # rcl_interfaces/Log
_SHOWN = {"debug": "DEBUG", "info": "INFO", "warning": "WARN", "error": "ERROR"}
_MAX_PLACES = 10_000  # that are remembered for the throttle


class NodeLog:
    """Says things, the same place not more often than it wants; any thread may.

    Args:
        name: of the node, as ROS's loggers are named: `robot_1.memory`.
        now_ns: time of the node.
        publish: takes a rcl_interfaces/Log for /rosout.
        least: level below which nothing is said.
    """

    def __init__(
        self, name: str, now_ns: Callable[[], int], publish: Callable[[Fields], None], *, least: str = "info"
    ) -> None:
        if least not in LEVELS:
            raise ValueError(f"a level is one of {', '.join(LEVELS)}, not {least!r}")
        self._name, self._now_ns, self._publish, self._least = name, now_ns, publish, LEVELS[least]
        self._last: dict[tuple[str, int], float] = {}

    def __call__(self, level: str, text: str, *, throttle: float = 0.0, depth: int = 1) -> None:
        """Say it.

        Args:
            level: debug, info, warning or error.
            text: what.
            throttle: [s] in which the same place speaks once.
            depth: frames above this call that the place is.
        """
        if level not in LEVELS:
            raise ValueError(f"a level is one of {', '.join(LEVELS)}, not {level!r}")
        frame = sys._getframe(depth)
        if LEVELS[level] < self._least or (throttle > 0 and self._is_soon(frame, throttle)):
            return
        now, text = self._now_ns(), "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text)
        sys.stderr.write(f"[{_SHOWN[level]}] [{now / 1e9:.9f}] [{self._name}]: {text}\n")
        sys.stderr.flush()
        code = frame.f_code
        sec, nanosec = divmod(now, 1_000_000_000)
        self._publish({
            "stamp": {"sec": sec, "nanosec": nanosec},
            "level": LEVELS[level],
            "name": self._name,
            "msg": text,
            "file": code.co_filename,
            "function": code.co_name,
            "line": frame.f_lineno,
        })  # fmt: skip

    def _is_soon(self, frame: FrameType, throttle: float) -> bool:
        place, now = (frame.f_code.co_filename, frame.f_lineno), time.monotonic()
        if now - self._last.get(place, -float("inf")) < throttle:
            return True
        if len(self._last) >= _MAX_PLACES:
            self._last.clear()
        self._last[place] = now
        return False
