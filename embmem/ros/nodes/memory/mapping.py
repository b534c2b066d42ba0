"""What the mapping thread does: frames into the memory, and all that reads the whole of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from hydra.utils import instantiate

from embmem.errors import EmbmemError, InputError, RefusedObservation, StoreError
from embmem.observation import Observation
from embmem.records import Record
from embmem.ros.nodes.memory.counters import Counters
from embmem.ros.nodes.memory.intake import PosedFrame
from embmem.ros.nodes.memory.keeper import Keeper
from embmem.ros.nodes.memory.localising import Localiser
from embmem.ros.nodes.memory.sending import Message, Sending, Wanted

Log = Callable[[str, str], None]  # level, text


class Mapping:
    """Used by the mapping thread only, but for `latest`, which any thread may read.

    Args:
        keeper: of the memory.
        counters: of what happens to frames.
        log: says something.
        on_found: called when the robot was found, or is not known any more.
    """

    def __init__(self, keeper: Keeper, counters: Counters, *, log: Log, on_found: Callable[[], None]) -> None:
        self.keeper, self._counters, self._log, self._on_found = keeper, counters, log, on_found
        self.localiser = Localiser(instantiate(keeper.config.relocaliser))
        self.latest: Record | None = None  # where the robot's camera was when the last frame was mapped
        self.why = ""  # the latest reason why a frame was not mapped
        self._derived_at, self._derived = -1e9, -1
        self._stats_of = -1
        self.stats: dict[str, dict[str, float]] = {}

    def take_up(self, *, is_trusted: bool) -> None:
        """The memory is another one, or the world frame may have moved."""
        is_fresh = self.keeper.is_fresh and self.keeper.revision == self.keeper.revision_at_open
        self.localiser.take_up(is_fresh=is_fresh, is_trusted=is_trusted)
        self._on_found()

    def handle(self, posed: PosedFrame) -> None:
        """Map one frame; whatever is wrong with it is counted."""
        try:
            if not self.keeper.has_room():
                self._counters.add("lost_storage")
                return
            self._map(posed)
        except RefusedObservation as error:
            self._leave("refused", error)
        except StoreError as error:
            self._leave("lost_storage", error)
            self._log("error", f"the memory cannot be written, nothing is mapped: {error}")
        except (InputError, ValueError) as error:
            self._leave("bad_message", error)
        except EmbmemError as error:
            self._leave("refused", error)

    def _leave(self, counter: str, error: Exception) -> None:
        self._counters.add(counter)
        self.why = str(error)

    def _map(self, posed: PosedFrame) -> None:
        localiser, memory = self.localiser, self.keeper.memory
        if not localiser.now.is_known:
            self._counters.add("unlocalised")
            observations = posed.observer.observe(posed.raw, posed.T_world_camera)
            if localiser.look(observations, memory):
                self._counters.add("relocalised")
                self._log("info", f"the robot was found in its memory: {localiser.now.why}")
            self._on_found()
            return
        observations = posed.observer.observe(posed.raw, localiser.to_map(memory) @ posed.T_world_camera)
        if not _has_depth(observations):
            self._counters.add("invalid_depth")
        n_mapped = sum([self.keeper.observe(observation) for observation in observations])
        self._counters.add("mapped" if n_mapped or not observations else "thinned")
        took = time.monotonic() - posed.arrived
        self._counters.took(took, posed.age + took)
        if observations:
            last = observations[-1]
            T = localiser.now.T_map_world @ posed.T_world_camera
            self.latest = Record(kind="note", t_event=last.stamp, source="", T_map_obs=np.asarray(T))

    def new_session(self, *, is_trusted: bool) -> None:
        """Time has run backwards: odometry may have begun anew, so the robot's place is not known without trust."""
        if self.keeper.revision > self.keeper.revision_at_open or not self.keeper.is_fresh:
            self.latest = None
            self.localiser.take_up(is_fresh=False, is_trusted=is_trusted)
            self._on_found()

    def messages(self, sending: Sending, wanted: Wanted, derive_period: float | None) -> list[Message]:
        """What is to be sent; rooms and relations are derived now and then, with None not at all."""
        keeper = self.keeper
        is_due = derive_period is not None and time.monotonic() - self._derived_at >= derive_period
        if is_due and keeper.revision != self._derived:
            keeper.memory.derive()
            self._derived_at, self._derived = time.monotonic(), keeper.revision
        if keeper.revision != self._stats_of:
            self.stats, self._stats_of = keeper.memory.stats(), keeper.revision
        return sending.messages(keeper.memory, keeper.revision, wanted)

    def recover(self) -> None:
        """Look at the disk though no frame comes: whether it is full, or can be written again."""
        was_failure = self.keeper.failure
        if self.keeper.has_room() and was_failure:
            self._log("info", "the memory can be written again")

    def exchange(self, other: Path | None, *, is_trusted: bool) -> Path:
        """Another memory takes the place of this one; where this one lies now."""
        kept = self.keeper.exchange(other)
        self.latest, self._derived, self._stats_of = None, -1, -1
        self.take_up(is_trusted=is_trusted)
        return kept


def _has_depth(observations: Sequence[Observation]) -> bool:
    return any(o.depth is not None and bool(np.isfinite(np.asarray(o.depth)).any()) for o in observations)
