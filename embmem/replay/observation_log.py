"""What went into the layers, as records: frames, passing time, loop closures. Replaying them gives the layers."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from embmem.errors import InputError, StoreError
from embmem.observation import Observation
from embmem.protocols import Deformation, Layer, Ticket
from embmem.records import Record
from embmem.replay.frame_codec import FORMAT, pack, unpack
from embmem.store import RecordStore
from embmem.store.rows import select_records
from embmem.store.schema import Connection

KINDS = ("frame", "tick", "deform")
_EVIDENCE = "evidence."  # before the name of an array
_IS_ENTRY = f"kind IN ({', '.join(repr(kind) for kind in KINDS)}) AND json_extract(payload, '$.log') IS NOT NULL"
IS_BELIEVED = f"{_IS_ENTRY} AND id NOT IN (SELECT record_id FROM hidden)"


@dataclass(frozen=True)
class Thinning:
    """Which frames are worth their bytes: one is left out if it is like the last one kept in all three."""

    interval: float = 0.1  # [s]
    distance: float = 0.05  # [m]
    angle: float = 0.05  # [rad]

    def __post_init__(self) -> None:
        if not min(self.interval, self.distance, self.angle) >= 0:
            raise ValueError(f"intervals, distances and angles are >= 0, got {self}")

    def keeps(self, observation: Observation, last: Observation | None) -> bool:
        """Whether the frame is to be kept after `last`."""
        if last is None or abs(observation.stamp - last.stamp) >= self.interval:
            return True
        T, T_last = observation.T_map_camera, last.T_map_camera
        if np.linalg.norm(T[:3, 3] - T_last[:3, 3]) >= self.distance:
            return True
        cosine = (np.trace(T[:3, :3].T @ T_last[:3, :3]) - 1.0) / 2.0
        return bool(np.arccos(np.clip(cosine, -1.0, 1.0)) >= self.angle)


class ObservationLog:
    """Writes the log of a memory and knows what it has written.

    Args:
        store: where records go.
        last_id: of the newest entry, 0 if there is none.
        checksum: of the ids of the entries after the base, see `log_checksum`.
    """

    def __init__(self, store: RecordStore, last_id: int, checksum: int) -> None:
        self.store = store
        self.last_id = last_id
        self.checksum = checksum
        self._on_the_way: deque[Ticket] = deque()

    def write_frame(self, observation: Observation, session: int) -> int:
        """Log a canonical observation; the id of its record."""
        record = Record(
            kind="frame", t_event=observation.stamp, source="camera", T_map_obs=observation.T_map_camera,
            payload={"log": FORMAT, "session": session}, blob=pack(observation),
        )  # fmt: skip
        return self._write(record)

    def write_tick(self, stamp: float) -> int:
        """Log that time has passed to `stamp` [s]."""
        return self._write(Record(kind="tick", t_event=stamp, source="memory", payload={"log": FORMAT}))

    def write_deformation(self, deformation: Deformation) -> int:
        """Log a loop closure."""
        arrays = {
            "stamps": np.ascontiguousarray(deformation.stamps, dtype=np.float64),
            "T_new_old": np.ascontiguousarray(deformation.T_new_old, dtype=np.float64),
            **{_EVIDENCE + name: np.ascontiguousarray(array) for name, array in deformation.evidence.items()},
        }
        newest = float(arrays["stamps"].max(initial=0.0))
        payload = {"log": FORMAT}
        return self._write(Record(kind="deform", t_event=newest, source="memory", payload=payload, blob=save(arrays)))

    def check(self) -> None:
        """Refuse to go on if an entry did not reach the disk.

        Raises:
            StoreError: then the layers hold more than the log.
        """
        while self._on_the_way:
            ticket = self._on_the_way[0]
            try:
                ticket.wait(0.0)
            except TimeoutError:
                return
            except StoreError as error:
                raise StoreError(f"what was observed could not be logged; open the memory again: {error}") from error
            self._on_the_way.popleft()

    @property
    def is_acknowledged(self) -> bool:
        """True once all entries are on the disk."""
        self.check()
        return not self._on_the_way

    def _write(self, record: Record) -> int:
        ticket = self.store.write(record)
        self._on_the_way.append(ticket)
        self.last_id = ticket.id
        self.checksum = _extended(self.checksum, [ticket.id])
        return ticket.id


def log_checksum(db: Connection, after: int, until: int) -> int:
    """CRC-32 of the ids of the entries in (after, until] that are believed: it tells which went into a layer."""
    sql = f"SELECT id FROM records WHERE {IS_BELIEVED} AND id > ? AND id <= ? ORDER BY id"
    return _extended(0, [row[0] for row in db.execute(sql, (after, until))])


def last_entry(db: Connection) -> int:
    """The id of the newest entry, 0 if there is none."""
    return int(db.execute(f"SELECT coalesce(max(id), 0) FROM records WHERE {_IS_ENTRY}").fetchone()[0])


def entry_ids(db: Connection, until: int) -> list[int]:
    """The ids of all entries up to one, believed or not, in order."""
    sql = f"SELECT id FROM records WHERE {_IS_ENTRY} AND id <= ? ORDER BY id"
    return [row[0] for row in db.execute(sql, (until,))]


def entries(db: Connection, after: int) -> Iterator[Record]:
    """The entries after an id that are believed, in order."""
    sql = f"SELECT id FROM records WHERE {IS_BELIEVED} AND id > ? ORDER BY id"
    for (entry_id,) in db.execute(sql, (after,)).fetchall():
        yield from select_records(db, [entry_id])


def apply(record: Record, layers: Sequence[Layer]) -> None:
    """Do to the layers what the entry says was done.

    Raises:
        InputError: if the entry is damaged.
    """
    if record.kind == "frame":
        observation = unpack(record)
        for layer in layers:
            layer.observe(observation)
    elif record.kind == "tick":
        for layer in layers:
            layer.tick(record.t_event)
    else:
        deformation = deformation_of(record)
        for layer in layers:
            layer.deform(deformation)


def deformation_of(record: Record) -> Deformation:
    """The loop closure that an entry tells of.

    Raises:
        InputError: if the entry is damaged.
    """
    try:
        arrays = load(record.blob or b"")
        stamps, T_new_old = arrays["stamps"], arrays["T_new_old"]
        if {stamps.dtype, T_new_old.dtype} != {np.dtype(np.float64)}:
            raise ValueError(f"moves of type {T_new_old.dtype} at stamps of type {stamps.dtype}")
        evidence = {name.removeprefix(_EVIDENCE): array for name, array in arrays.items() if name.startswith(_EVIDENCE)}
        return Deformation(stamps, T_new_old, evidence)
    except (SafetensorError, KeyError, ValueError) as error:
        raise InputError(f"the deformation of record {record.id} is damaged: {error}") from error


def _extended(checksum: int, ids: Sequence[int]) -> int:
    return zlib.crc32(np.asarray(ids, dtype="<i8").tobytes(), checksum)
