"""What happened to frames and to the node: every policy under stress has its counter, and diagnostics show them all."""

from __future__ import annotations

import threading
from collections import deque

import numpy as np

COUNTERS = {  # name -> what it counts
    "received": "messages of the mapped input",
    "mapped": "frames in the map",
    "thinned": "frames like the one before, not mapped",
    "dropped_queue": "frames dropped because newer ones came, or the queue of mode all was full",
    "dropped_stopped": "frames dropped because the node stopped",
    "tf_late": "frames dropped because their pose did not come in time",
    "tf_missing": "frames dropped because nothing links their frame with the world",
    "tf_gap": "frames dropped because of a hole between two poses",
    "camera_missing": "frames dropped for want of camera_info or of the names of classes",
    "bad_message": "frames dropped because a message of theirs makes no sense",
    "refused": "frames refused by the gate of the memory",
    "invalid_depth": "frames mapped without one valid pixel",
    "encoder_failures": "views kept without an embedding because the image encoder failed",
    "unlocalised": "frames not mapped because the robot's place is unknown",
    "clock_backward": "jumps of the clock backward",
    "clock_forward": "jumps of the clock forward",
    "stamp_backward": "messages older than the one before; dropped if by less than a second",
    "sensor_pauses": "pauses of the mapped input",
    "camera_changes": "changes of camera_info",
    "storage_failures": "times that the memory could not be written",
    "lost_storage": "frames dropped or lost because the memory could not be written",
    "reopened": "times that the memory was opened again after that",
    "answered": "requests of services that were answered",
    "refused_requests": "requests that could not be done, with a reason",
    "stopped_requests": "requests that were waiting when the node stopped",
    "relocalised": "times that the robot was found again",
}
_KEPT = 500  # latencies


class Counters:
    """Counts by name, and how long frames take; any thread may count."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = dict.fromkeys(COUNTERS, 0)
        self._latencies: deque[tuple[float, float]] = deque(maxlen=_KEPT)

    def add(self, name: str, n: int = 1) -> None:
        """Count something, `n` times."""
        with self._lock:
            self._counts[name] += n

    def took(self, seconds: float, age: float) -> None:
        """Note how long a frame took into the map, from its arrival and from its stamp."""
        with self._lock:
            self._latencies.append((seconds, age))

    def __getitem__(self, name: str) -> int:
        with self._lock:
            return self._counts[name]

    def all(self) -> dict[str, int]:
        """All counts as of one moment."""
        with self._lock:
            return dict(self._counts)

    def latencies(self) -> dict[str, float]:
        """Medians and 99th percentiles of the latest frames: latency from their arrival, age from their stamps."""
        with self._lock:
            kept = np.array(self._latencies).reshape(-1, 2)
        if not len(kept):
            return {}
        return {
            f"{name} p{percent} [s]": float(np.percentile(kept[:, i], percent))
            for i, name in enumerate(("latency", "age"))
            for percent in (50, 99)
        }
