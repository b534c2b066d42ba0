"""How the memory node is, part by part, with every counter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from embmem.ros.nodes.memory.counters import Counters
from embmem.ros.nodes.memory.localising import FOUND, UNKNOWN
from embmem.ros.nodes.memory.mapping import Mapping
from embmem.ros.outgoing.diagnostics import ERROR, OK, STALE, WARN, Status

PARTS = {  # which counters are told with which part
    "input": ("received", "camera_missing", "bad_message", "camera_changes", "stamp_backward", "sensor_pauses"),
    "poses": ("tf_late", "tf_missing", "tf_gap", "clock_backward", "clock_forward"),
    "mapping": (
        "mapped",
        "thinned",
        "dropped_queue",
        "dropped_stopped",
        "refused",
        "invalid_depth",
        "encoder_failures",
    ),
    "localisation": ("unlocalised", "relocalised"),
    "storage": ("storage_failures", "lost_storage", "reopened"),
    "requests": ("answered", "refused_requests", "stopped_requests"),
}
_BAD = (  # that rose since the time before: a warning
    "camera_missing", "bad_message", "tf_late", "tf_missing", "tf_gap", "refused", "invalid_depth", "lost_storage",
    "clock_backward", "clock_forward", "stamp_backward", "encoder_failures",
)  # fmt: skip


@dataclass(frozen=True)
class Now:
    """What only the node itself knows."""

    is_active: bool
    is_paused: bool  # no message of the mapped input for too long
    is_replaying: bool  # mode all, in which nothing may be dropped
    n_waiting: int  # frames in the queue
    why: str  # the latest reason of a frame that was dropped before mapping


class Diagnosing:
    """Makes the statuses; remembers the counts of the time before."""

    def __init__(self, counters: Counters, mapping: Mapping) -> None:
        self._counters, self._mapping = counters, mapping
        self._before = counters.all()

    def statuses(self, now: Now) -> list[Status]:
        """One status a part."""
        counts, before = self._counters.all(), self._before
        self._before = counts
        rose = {name for name in counts if counts[name] > before[name]}
        return [self._status(part, names, counts, rose, now) for part, names in PARTS.items()]

    def _status(self, part: str, names: tuple[str, ...], counts: dict[str, int], rose: set[str], now: Now) -> Status:
        values: dict[str, Any] = {name: counts[name] for name in names}
        values |= self._more(part, now)
        level, said = self._judged(part, now)
        bad = [name for name in names if name in rose and name in _BAD]
        if part == "mapping" and "dropped_queue" in rose and now.is_replaying:
            level, said = ERROR, "frames are lost: the queue of mode all is full, play slower"
        elif level == OK and bad:
            why = self._mapping.why if part in ("mapping", "storage") else now.why
            level, said = WARN, f"{', '.join(bad)}: {why}" if why else ", ".join(bad)
        return Status(part, level, said, values)

    def _judged(self, part: str, now: Now) -> tuple[int, str]:
        where, failure = self._mapping.localiser.now, self._mapping.keeper.failure
        if part == "input" and now.is_active and now.is_paused:
            return STALE, "no message of the mapped input"
        if part == "localisation":
            return (WARN, where.why) if where.state == UNKNOWN else (OK, where.why)
        if part == "storage" and failure:
            return ERROR, f"nothing is mapped: {failure}"
        return OK, "ok" if now.is_active else "inactive"

    def _more(self, part: str, now: Now) -> dict[str, Any]:
        """What is told of a part besides its counters."""
        if part == "input":
            return {"active": str(now.is_active)}
        if part == "poses":
            return {"last problem": now.why}
        if part == "mapping":
            return self._speed(now)
        if part == "localisation":
            return self._localisation()
        return self._storage() if part == "storage" else {}

    def _speed(self, now: Now) -> dict[str, Any]:
        values: dict[str, Any] = {"waiting": now.n_waiting, "last problem": self._mapping.why}
        return values | self._counters.latencies()

    def _localisation(self) -> dict[str, Any]:
        where = self._mapping.localiser.now
        values: dict[str, Any] = {"known": str(where.is_known), "tries": where.n_tries}
        return values | ({"score": where.score} if where.state == FOUND else {})

    def _storage(self) -> dict[str, Any]:
        """Sizes of layers and file, as of the last time that something was sent."""
        stats = self._mapping.stats
        sizes = {f"{kind} [bytes]": layer["bytes"] for kind, layer in stats.items() if "bytes" in layer}
        budget = {f"{name} [bytes]": value for name, value in stats.get("budget", {}).items()}
        return {"revision": self._mapping.keeper.revision, **sizes, **budget}
