"""A build on its way: what was observed so far, and all that it takes to go on after a crash."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np

from embmem.building.clock import Clock
from embmem.building.closed import loop_closer
from embmem.building.keyframes import Keyframes
from embmem.building.moving import Moving
from embmem.errors import InputError, RefusedObservation
from embmem.memory import Memory
from embmem.observation import Observation
from embmem.recordings.frames import RawFrame
from embmem.recordings.reading import Fault, Reading


@runtime_checkable
class Resumable(Protocol):
    """A layer that knows more than it saves, without which it would not go on as if nothing had happened."""

    kind: str

    def unsaved(self) -> dict[str, np.ndarray]:
        """What `save` leaves out."""

    def resume(self, arrays: dict[str, np.ndarray]) -> None:
        """Go on from there."""


@dataclass(eq=False)
class Work:
    """The frames observed so far, and where the camera was."""

    memory: Memory
    reading: Reading
    clock: Clock
    is_skipping: bool
    perceive: Callable[[Observation], Observation] | None = None
    keyframes: Keyframes = field(default_factory=Keyframes)
    moving: Moving | None = None
    n_looked: int = 0  # frames of the recording that are done
    n_frames: int = 0  # of them observed
    refused: Counter[str] = field(default_factory=Counter)  # by the gate
    stamps: list[float] = field(default_factory=list)
    given: list[np.ndarray] = field(default_factory=list)  # T_map_camera as handed in ...
    admitted: list[np.ndarray] = field(default_factory=list)  # ... and as the memory took it
    recent: deque[int] = field(default_factory=deque)  # numbers of the frames that the next one is compared with

    def frames(self) -> Iterator[int]:
        """Observe frame after frame; how many of the recording are done so far."""
        start = self.recent[0] if self.recent else 0
        n_before = 1 if self.moving is None else 1 + self.moving.reach
        items = self.clock.timed("read", self.reading.numbered(start, self.keyframes.keep))
        if self.moving is not None:
            items = self.clock.timed("moving", self.moving.removed(items))
        for number, frame, observations in items:
            if number < self.n_looked:
                continue
            self._observe(frame, observations)
            self.n_looked = number + 1
            self.recent.append(number)
            while len(self.recent) > n_before:
                self.recent.popleft()
            yield self.n_looked

    def corrected(self) -> np.ndarray | None:
        """Where the map has the camera, if a pose graph of the memory has closed loops."""
        graph = loop_closer(self.memory)
        if graph is None or not graph.loops:
            return None
        moves = graph.corrections(np.array(self.stamps, dtype=np.float64))
        return np.asarray(moves @ np.array(self.admitted).reshape(-1, 4, 4))

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """(JSON values, arrays) of all but the layers and the records."""
        gate, view = self.memory.gate, self.memory.last_view
        params = {
            "n_looked": self.n_looked,
            "n_frames": self.n_frames,
            "refused": dict(sorted(self.refused.items())),
            "faults": [[fault.number, fault.kind, fault.detail] for fault in self.reading.faults],
            "recent": list(self.recent),
            "seconds": dict(self.clock.seconds),
            "gate": {"session": gate.session, "counts": dict(sorted(gate.counts.items()))},
        }
        arrays = {
            "stamps": np.array(self.stamps, dtype=np.float64),
            "given": np.array(self.given, dtype=np.float64).reshape(-1, 4, 4),
            "admitted": np.array(self.admitted, dtype=np.float64).reshape(-1, 4, 4),
            "last_view": np.zeros((0, 4, 4)) if view is None else np.asarray(view, dtype=np.float64)[None],
            "T_map_world": np.asarray(self.reading.T_map_world, dtype=np.float64),
            "last_stamp": np.array([gate.last_stamp], dtype=np.float64),
        }
        for layer in self.memory.layers:
            if isinstance(layer, Resumable):
                arrays |= {f"{layer.kind}/{name}": array for name, array in layer.unsaved().items()}
        return params, arrays

    def resume(self, params: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        """Go on from a state; the memory holds the layers and records of then already."""
        self.n_looked, self.n_frames = int(params["n_looked"]), int(params["n_frames"])
        self.refused = Counter({str(k): int(n) for k, n in params["refused"].items()})
        known = [Fault(int(number), str(kind), str(detail)) for number, kind, detail in params["faults"]]
        self.reading.faults += [fault for fault in known if fault not in self.reading.faults]
        self.recent = deque(int(number) for number in params["recent"])
        self.clock.seconds = {str(k): float(v) + self.clock.seconds.get(k, 0.0) for k, v in params["seconds"].items()}
        gate = self.memory.gate
        gate.session, gate.last_stamp = int(params["gate"]["session"]), float(arrays["last_stamp"][0])
        gate.counts = Counter({str(k): int(n) for k, n in params["gate"]["counts"].items()})
        self.stamps, self.given = arrays["stamps"].tolist(), list(arrays["given"])
        self.admitted = list(arrays["admitted"])
        self.memory.last_view = arrays["last_view"][0] if len(arrays["last_view"]) else None
        for layer in self.memory.layers:
            if isinstance(layer, Resumable):
                start = f"{layer.kind}/"
                layer.resume({k.removeprefix(start): v for k, v in arrays.items() if k.startswith(start)})

    def _observe(self, frame: RawFrame, observations: Sequence[Observation]) -> None:
        first: Observation | None = None
        try:
            for observation in observations:
                if self.perceive is not None:
                    with self.clock.part("perceive"):
                        observation = self.perceive(observation)  # noqa: PLW2901 - the same, with more in it
                with self.clock.part("observe"):
                    admitted = self.memory.observe(observation)
                first = first or admitted
        except RefusedObservation as error:
            if not self.is_skipping:
                raise InputError(f"{frame.describe()}: {error}") from None
            self.refused[error.fault] += 1
            return
        self.n_frames += 1
        if first is not None:
            self.stamps.append(float(first.stamp))
            self.given.append(np.asarray(observations[0].T_map_camera, dtype=np.float64))
            self.admitted.append(np.asarray(first.T_map_camera, dtype=np.float64))
