"""A build that was killed goes on: the memory so far beside the file that it is to become, with where it has got to.

`OUT.building` is a memory file like any other, with one more state in it. It is replaced whole, and goes when the build
ends. What is in it decides nothing about the map: a build that never stopped gives the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

import numpy as np

from embmem.building.clock import Clock
from embmem.building.track import Track
from embmem.building.work import Work
from embmem.errors import InputError
from embmem.memory import Memory
from embmem.memory_file import read_memory_file, write_memory_file
from embmem.protocols import Layer, LayerState
from embmem.recordings.recording import Recording
from embmem.store import RecordStore
from embmem.store.snapshots import list_snapshots, read_state, write_layers

ROLE = "building"
VERSION = 1
REMEDY = "say fresh=true to begin anew"
State = tuple[dict[str, Any], dict[str, np.ndarray]]
T = TypeVar("T")
_SHARE = 0.05  # of the time, at most, is spent on writing checkpoints


class Checkpoints:
    """The file beside `out`, written now and then.

    Args:
        out: what is built.
        settings: what decides about the map.
        seconds: between two checkpoints at least; 0 writes one a frame, None none.
    """

    def __init__(self, out: Path, settings: Mapping[str, Any], *, seconds: float | None) -> None:
        if seconds is not None and not seconds >= 0:
            raise ValueError(f"need checkpoint >= 0 s or null, got {seconds}")
        self.path = out.with_name(out.name + ".building")
        self._settings, self._seconds = dict(settings), seconds
        self._at, self._took = monotonic(), 0.0

    def load(self, recording: Recording, layer_types: Sequence[type[Any]]) -> Saved | None:
        """Where a build of the same recording with the same settings was killed; None if there is no such build.

        Raises:
            InputError: if what is there is of something else, or damaged; says of what.
        """
        if not self.path.exists():
            return None
        store, layers = read_memory_file(self.path, layer_types)
        with store.reading() as db:
            state = next((read_state(str(self.path), db, s) for s in list_snapshots(db, ROLE)), None)
        if state is None or state.version != VERSION:
            raise InputError(f"{self.path} is no unfinished build of this version of embmem; {REMEDY}")
        there, settings = state.params.get("recording"), state.params.get("settings")
        if not isinstance(there, dict) or not isinstance(settings, dict):
            raise InputError(f"{self.path} is damaged; {REMEDY}")
        self._check_source(there, self._source_of(recording))
        self._check_settings(settings)
        return Saved(self.path, layers, store, state.params, state.arrays)

    def write_if_due(
        self, memory: Memory, recording: Recording, state: Callable[[], State], clock: Clock, *, is_forced: bool = False
    ) -> None:
        """Write down where the build is, if that was not done for long enough or `is_forced`."""
        if self._seconds is None:
            return
        wait = max(self._seconds, self._took / _SHARE) if self._seconds else 0.0
        if monotonic() - self._at < wait and not is_forced:
            return
        store = memory.store
        if not isinstance(store, RecordStore) or store.path is not None:
            return  # it lives in a place of its own
        started = monotonic()
        with clock.part("checkpoint"):
            params, arrays = state()
            params = {**params, "settings": self._settings, "recording": self._source_of(recording)}
            with store.changing() as db:
                write_layers(db, [LayerState(ROLE, VERSION, params, arrays)], 0, role=ROLE)
            write_memory_file(self.path, store, [layer.save() for layer in memory.layers], overwrite=True)
        self._at = monotonic()
        self._took = self._at - started

    def strip(self, memory: Memory) -> None:
        """Remove the state from the memory, which is done; the file stays until what was built is safe."""
        if isinstance(memory.store, RecordStore):
            with memory.store.changing() as db:
                write_layers(db, [], 0, role=ROLE)

    def forget(self) -> None:
        """Remove the file."""
        self.path.unlink(missing_ok=True)
        self.path.with_name(self.path.name + ".part").unlink(missing_ok=True)

    @contextmanager
    def forgotten_on(self, error: type[BaseException]) -> Iterator[None]:
        """Forget everything when the block ends with such an error."""
        try:
            yield
        except error:
            self.forget()
            raise

    def _source_of(self, recording: Recording) -> dict[str, Any]:
        """What tells the recording from others; what is built may lie in its folder."""
        beside = self.path.name.removesuffix(".building")
        names = (beside, self.path.name, f"{beside}.part", f"{self.path.name}.part")
        return source_of(recording, without=frozenset(self.path.with_name(name).absolute() for name in names))

    def _check_source(self, there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
        """Refuse what is of another recording."""
        for name, value in here.items():
            if there.get(name) != value and name != "path":
                what = f"its {name} is {_short(there.get(name))}, that of {here['path']} {_short(value)}"
                raise InputError(f"{self.path} is of another recording, {there.get('path')}: {what}; {REMEDY}")

    def _check_settings(self, there: Mapping[str, Any]) -> None:
        """Refuse what was begun with other settings, by name."""
        before, now = _flat(there), _flat(self._settings)
        for name in sorted((before.keys() | now.keys()) - {"recording"}):
            if before.get(name) != now.get(name):
                what = f"{name}={before.get(name)}, not {now.get(name)}"
                raise InputError(f"{self.path} was begun with {what}; {REMEDY}")


@dataclass(frozen=True, eq=False)
class Saved:
    """What a killed build left."""

    path: Path
    layers: list[Layer]
    store: RecordStore
    params: dict[str, Any]
    arrays: dict[str, np.ndarray]

    def track(self) -> Track:
        """Where the camera was, as far as that was worked out.

        Raises:
            InputError: if it is damaged.
        """
        return self._unless_damaged(lambda: Track.of(self.params["track"], self.arrays))

    def resume(self, work: Work) -> None:
        """Put the work where it was.

        Raises:
            InputError: if it is damaged, or the recording lies elsewhere in the map now.
        """
        if "work" not in self.params:
            return  # frames were tracked only
        if not np.array_equal(self.arrays.get("T_map_world", np.zeros(0)), work.reading.T_map_world):
            raise InputError(f"{self.path} is of another recording: its frames lie elsewhere in the map; {REMEDY}")
        work.memory.layers, work.memory.store = self.layers, self.store
        self._unless_damaged(lambda: work.resume(self.params["work"], self.arrays))

    def _unless_damaged(self, take: Callable[[], T]) -> T:
        try:
            return take()
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise InputError(f"{self.path} is damaged: {error}; {REMEDY}") from error


def source_of(recording: Recording, without: frozenset[Path] = frozenset()) -> dict[str, Any]:
    """What tells a recording from others, and from itself before it was changed, without reading it: JSON values.

    Args:
        recording: whose files are looked at.
        without: absolute paths that are none of its files.
    """
    files: Iterable[Path] = [recording.path] if recording.path.is_file() else recording.path.rglob("*")
    found = [file.stat() for file in files if file.absolute() not in without and file.is_file()]
    return {
        "path": str(recording.path),
        "format": recording.format,
        "streams": sorted([s.name, s.kind, s.n_samples] for s in recording.streams),
        "size": sum(file.st_size for file in found),
        "time of change": max((file.st_mtime_ns for file in found), default=0),
    }


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:60]} ..."


def _flat(settings: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested settings by their dotted names."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, dict) and value:
            flat |= _flat(value, f"{before}{name}.")
        else:
            flat[f"{before}{name}"] = value
    return flat
