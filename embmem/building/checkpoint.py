"""A build that was killed goes on: the memory so far beside the file that it is to become, with where it has got to.

`OUT.building` is a memory file like any other, with one more state in it. It is replaced whole, and goes when the build
ends. What is in it decides nothing about the map: a build that never stopped gives the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np

from embmem.building.work import Work
from embmem.errors import InputError
from embmem.memory_file import read_memory_file, write_memory_file
from embmem.protocols import LayerState
from embmem.recordings.reading import Reading
from embmem.store import RecordStore
from embmem.store.snapshots import list_snapshots, read_state, write_layers

ROLE = "building"
VERSION = 1
_SHARE = 0.05  # of the time, at most, is spent on writing checkpoints


class Checkpoints:
    """The file beside `out`, written now and then.

    Args:
        out: what is built.
        settings: what decides about the map.
        seconds: between two checkpoints at least; None writes none.
    """

    def __init__(self, out: Path, settings: Mapping[str, Any], *, seconds: float | None) -> None:
        if seconds is not None and not seconds >= 0:
            raise ValueError(f"need checkpoint >= 0 s or null, got {seconds}")
        self.path = out.with_name(out.name + ".building")
        self._settings, self._seconds = dict(settings), seconds
        self._at, self._took = monotonic(), 0.0

    def resume(self, work: Work) -> bool:
        """Go on where a build of the same recording with the same settings was killed; whether there is one.

        Raises:
            InputError: if what is there is of something else, or damaged; says of what.
        """
        if not self.path.exists():
            return False
        store, layers = read_memory_file(self.path, [type(layer) for layer in work.memory.layers])
        with store.reading() as db:
            state = next((read_state(str(self.path), db, s) for s in list_snapshots(db, ROLE)), None)
        if state is None or state.version != VERSION:
            raise InputError(f"{self.path} is no unfinished build of this version of embmem; {self._remedy()}")
        self._check(state.params, work.reading)
        work.memory.layers, work.memory.store = layers, store
        try:
            work.resume(state.params["work"], state.arrays)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise InputError(f"{self.path} is damaged: {error}; {self._remedy()}") from error
        return True

    def write_if_due(self, work: Work) -> None:
        """Write down where the build is, if that was not done for long enough."""
        if self._seconds is None or monotonic() - self._at < max(self._seconds, self._took / _SHARE):
            return
        store = work.memory.store
        if not isinstance(store, RecordStore) or store.path is not None:
            return  # it lives in a place of its own
        started = monotonic()
        with work.clock.part("checkpoint"):
            self._write(work, store)
        self._at = monotonic()
        self._took = self._at - started

    def _write(self, work: Work, store: RecordStore) -> None:
        params, arrays = work.state()
        params = {"work": params, "settings": self._settings, "recording": source_of(work.reading)}
        with store.changing() as db:
            write_layers(db, [LayerState(ROLE, VERSION, params, arrays)], 0, role=ROLE)
        write_memory_file(self.path, store, [layer.save() for layer in work.memory.layers], overwrite=True)

    def forget(self, work: Work | None = None) -> None:
        """Remove the file, and the state from the memory."""
        self.path.unlink(missing_ok=True)
        self.path.with_name(self.path.name + ".part").unlink(missing_ok=True)
        if work is not None and isinstance(work.memory.store, RecordStore):
            with work.memory.store.changing() as db:
                write_layers(db, [], 0, role=ROLE)

    def _check(self, params: Mapping[str, Any], reading: Reading) -> None:
        """Refuse what is of another recording or of other settings, by name."""
        there, here = params.get("recording"), source_of(reading)
        if not isinstance(there, dict) or not isinstance(params.get("settings"), dict):
            raise InputError(f"{self.path} is damaged; {self._remedy()}")
        for name, value in here.items():
            if there.get(name) != value and name != "path":
                what = f"its {name} is {_short(there.get(name))}, that of {here['path']} {_short(value)}"
                raise InputError(f"{self.path} is of another recording, {there.get('path')}: {what}; {self._remedy()}")
        for name, value in _flat(self._settings).items():
            before = _flat(params["settings"]).get(name)
            if before != value and name != "recording":
                raise InputError(f"{self.path} was begun with {name}={before}, not {value}; {self._remedy()}")

    def _remedy(self) -> str:
        return "say fresh=true to begin anew"


def source_of(reading: Reading) -> dict[str, Any]:
    """What tells a recording from others: JSON values."""
    recording = reading.recording
    files = (
        [recording.path] if recording.path.is_file() else sorted(p for p in recording.path.rglob("*") if p.is_file())
    )
    return {
        "path": str(recording.path),
        "format": recording.format,
        "streams": sorted([s.name, s.kind, s.n_samples] for s in recording.streams),
        "size": sum(file.stat().st_size for file in files if file.is_file()),
        "place in the map": np.asarray(reading.T_map_world).tolist(),
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
