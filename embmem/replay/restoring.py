"""Layers from a memory file: the newest state that is whole, and then what was logged after it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from embmem.errors import InputError
from embmem.protocols import Layer
from embmem.replay.observation_log import apply, entries, last_entry, log_checksum
from embmem.store.schema import Connection
from embmem.store.snapshots import Snapshot, list_snapshots, read_state


@dataclass
class Restored:
    """What came back."""

    layers: list[Layer]
    base: int  # log position that the base covers
    last_id: int  # of the newest entry of the log that the layers know
    checksum: int  # of the entries after the base, see `log_checksum`
    settings: dict[str, str] = field(default_factory=dict)  # parameters of the empty layers, JSON
    n_replayed: int = 0
    rebuilt: dict[str, str] = field(default_factory=dict)  # layers whose latest snapshot was of no use, and why
    is_new_base: bool = False  # the layers wanted are not those of the base


def restore_known(path: str, db: Connection, layer_types: Sequence[type[Any]]) -> Restored:
    """The layers that the file holds, with the settings that they have there.

    Raises:
        InputError: if one of them is none of `layer_types`, or is damaged with no way to rebuild it.
    """
    classes = {kind.kind: kind for kind in layer_types}
    base = list_snapshots(db, "base")
    unknown = sorted({snapshot.kind for snapshot in base} - set(classes))
    if unknown:
        raise InputError(f"{path} holds layers that are not known here: {unknown}")
    found = Restored([], max((b.covers for b in base), default=0), last_entry(db), 0)
    starts = []
    for snapshot in base:
        layer, start = _newest(path, db, classes[snapshot.kind], snapshot, found)
        found.layers.append(layer)
        found.settings[snapshot.kind] = snapshot.settings
        starts.append(start)
    return _replay(db, found, starts)


def restore(path: str, db: Connection, fresh: Sequence[Layer]) -> Restored:
    """Layers with the settings of the empty ones given: those of the file where the settings agree, else rebuilt.

    Raises:
        InputError: if a layer would have to be rebuilt from frames that are forgotten, or the base is damaged or holds
            a layer that is not wanted.
    """
    base = {snapshot.kind: snapshot for snapshot in list_snapshots(db, "base")}
    covers = max((snapshot.covers for snapshot in base.values()), default=0)
    unwanted = sorted(set(base) - {layer.kind for layer in fresh})
    if unwanted and covers:
        raise InputError(f"{path} holds the layers {unwanted}, whose past is in no log; open it with them")
    found = Restored([], covers, last_entry(db), 0, is_new_base=bool(unwanted))
    starts = []
    for empty in fresh:
        snapshot, settings = base.get(empty.kind), json.dumps(empty.save().params)
        is_alike = snapshot is not None and json.loads(snapshot.settings) == json.loads(settings)
        if snapshot is not None and is_alike and (covers or snapshot.version == empty.version):
            layer, start = _newest(path, db, type(empty), snapshot, found)
        elif snapshot is not None and covers:
            raise InputError(
                f"{path} holds layer {empty.kind!r} with other settings: {snapshot.settings}; to change them takes the "
                f"frames up to record {covers}, which it does not have; to keep them, open it without settings"
            )
        else:
            layer, start, found.is_new_base = empty, 0, True
        found.layers.append(layer)
        found.settings[empty.kind] = settings
        starts.append(start)
    return _replay(db, found, starts)


def _replay(db: Connection, found: Restored, starts: Sequence[int]) -> Restored:
    """Apply to each layer what was logged after its start."""
    for record in entries(db, min(starts, default=found.last_id)):
        apply(record, [layer for layer, start in zip(found.layers, starts, strict=True) if start < (record.id or 0)])
        found.n_replayed += 1
    found.checksum = log_checksum(db, found.base, found.last_id)
    return found


def _newest(path: str, db: Connection, kind: type[Any], base: Snapshot, found: Restored) -> tuple[Layer, int]:
    """A layer as of its latest snapshot, if that is whole and made of what is believed now, else as of its base."""
    latest = next((s for s in list_snapshots(db, "latest") if s.kind == base.kind), None)
    reason = None
    if latest is not None and latest.version != kind.version:
        reason = f"it is of version {latest.version}, not {kind.version}"
    elif latest is not None and latest.frames != log_checksum(db, found.base, latest.covers):
        reason = "what was observed has been corrected since"
    elif latest is not None:
        try:
            return kind.load(read_state(path, db, latest)), latest.covers
        except InputError as error:
            reason = str(error)
    if reason is not None:
        found.rebuilt[base.kind] = reason
    return kind.load(read_state(path, db, base)), base.covers
