"""What a memory wrote, as operations that know where they were written first.

An operation is a record as it was written, and its origin: the memory and the id there. A merged file keeps the origin
of each record in its payload under `MERGED_FROM`, with what merging changed of it, so that it gives back the very
operations that it was made of.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from embmem.errors import InputError
from embmem.records import Link
from embmem.store.rows import MAX_METRES, Row

MERGED_FROM = "merged_from"
AFTER = frozenset({"from", "corrects"})  # relations along which a purge goes on
_JSON = json.JSONEncoder(allow_nan=False)
_X, _POSE, _PAYLOAD = slice(4, 7), 7, 9  # in the facts of a row


class Origin(NamedTuple):
    """Where a record was written first; sorts as the memories do."""

    memory: str  # uuid
    seq: int  # the id that it had there, >= 1


@dataclass(frozen=True, eq=False)
class Operation:
    """A record as its memory wrote it."""

    origin: Origin
    facts: tuple[Any, ...]  # as in `embmem.store.rows.Row`, the payload as `_JSON` writes it
    entities: tuple[str, ...]
    keys: tuple[str, ...]
    links: tuple[tuple[str, Origin], ...]
    vector: bytes | None
    t_ingest: float
    blob_digest: bytes | None = None
    read_blob: Callable[[], bytes | None] = field(default=lambda: None, repr=False)
    knew: tuple[tuple[str, int], ...] = ()  # of a purge: how far it had heard of each memory

    @property
    def kind(self) -> str:
        """Of the record."""
        return str(self.facts[0])

    @property
    def t_event(self) -> float:
        """[s]."""
        return float(self.facts[1])

    @property
    def source(self) -> str:
        """Who said so."""
        return str(self.facts[2])

    @cached_property
    def payload(self) -> dict[str, Any]:
        """Of the record."""
        return dict(json.loads(self.facts[_PAYLOAD]))

    @cached_property
    def digest(self) -> bytes:
        """Equal for equal operations."""
        kind, t_event, source, place, x, y, z, pose, text, payload, *rest = self.facts
        words = [*self.origin, kind, source, place, text, payload, self.entities, self.keys, self.links, self.knew]
        numbers = (t_event, self.t_ingest, *(float("nan") if v is None else v for v in (x, y, z)), *rest)
        found = hashlib.blake2b(json.dumps(words).encode(), digest_size=16)
        found.update(struct.pack(f"<{len(numbers)}d", *numbers))
        for part in (pose, self.vector, self.blob_digest):
            found.update(b"-" if part is None else struct.pack("<I", len(part)) + part)
        return found.digest()


@dataclass(frozen=True, eq=False)
class Placed:
    """What merging makes of an operation: facts that may have moved, and what is kept to undo that."""

    facts: tuple[Any, ...]
    kept: dict[str, Any]


def operation(
    row: Row,
    memory: str,
    origins: Mapping[int, Origin],
    vector: Mapping[str, int],
    read_blob: Callable[[], bytes | None],
) -> Operation:
    """The operation that a row of a memory file holds, its own or one that was merged into it.

    Args:
        row: with its blob.
        memory: uuid of the file.
        origins: of the ids that come from other memories.
        vector: how far other memories were heard of when the file was made.
        read_blob: reads the row's blob again.

    Raises:
        InputError: if what it says of its origin cannot be.
    """
    try:
        payload = json.loads(row.facts[_PAYLOAD])
        told = payload.pop(MERGED_FROM, None)
        origin = origins.get(row.id, Origin(memory, row.id))
        links = tuple(sorted((relation, origins.get(to, Origin(memory, to))) for relation, to in row.links))
        facts = list(row.facts)
        knew: tuple[tuple[str, int], ...] = ()
        if told is not None:
            facts, knew = _undone(facts, payload, told)
        elif row.facts[0] == "purge":
            knew = tuple(sorted({**vector, memory: row.id - 1}.items()))
        facts[_PAYLOAD] = _JSON.encode(payload) if payload else "{}"
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError, struct.error) as error:
        raise InputError(f"record {row.id} does not say where it comes from: {error!r}") from error
    digest = None if row.blob is None else hashlib.blake2b(row.blob, digest_size=16).digest()
    return Operation(
        origin, tuple(facts), tuple(sorted(row.entities)), tuple(sorted(row.keys)), links, row.vector,
        float(row.t_ingest or 0.0), digest, read_blob, knew,
    )  # fmt: skip


def checked_origin(memory: Any, seq: Any) -> Origin:
    """The origin, if it can be one.

    Raises:
        InputError: if it cannot.
    """
    if type(memory) is not str or not 0 < len(memory) <= 64 or type(seq) is not int or not 0 < seq < 1 << 62:
        raise InputError(f"{str((memory, seq))[:80]} is not the memory and the id that a record was merged from")
    return Origin(memory, seq)


def checked_horizon(memory: Any, seq: Any) -> tuple[str, int]:
    """A memory and the highest of its ids that was heard of, 0 if it has written nothing yet.

    Raises:
        InputError: if it cannot be.
    """
    return checked_origin(memory, seq + 1 if type(seq) is int else seq).memory, seq


def row_of(op: Operation, record_id: int, links: Mapping[Origin, int], placed: Placed | None) -> Row:
    """The operation as a row of a merged file, without its blob and without the checksum of what it says."""
    told: dict[str, Any] = {"memory": op.origin.memory, "seq": op.origin.seq}
    facts, payload = list(op.facts), op.payload
    if placed is not None:
        facts = list(placed.facts)
        payload = json.loads(facts[_PAYLOAD])
        told.update(placed.kept)
    if op.knew:
        told["knew"] = dict(op.knew)
    facts[_PAYLOAD] = _JSON.encode({**payload, MERGED_FROM: told})
    targets = tuple(Link(relation, links[to]) for relation, to in op.links)
    return Row(tuple(facts), op.entities, op.keys, targets, op.vector, None, 0, op.t_ingest, record_id)


def moved(op: Operation, pose: bytes | None, xyz: tuple[float, ...] | None) -> Placed:
    """The operation at another pose and position."""
    kept: dict[str, Any] = {}
    facts = list(op.facts)
    if facts[_POSE] is not None and pose is not None:
        kept["T_map_obs"] = list(struct.unpack("<16d", facts[_POSE]))
        facts[_POSE] = pose
    if facts[4] is not None and xyz is not None:
        kept["position"] = facts[_X]
        facts[_X] = xyz
    return Placed(tuple(facts), kept)


def silenced(op: Operation) -> Placed:
    """The operation, no longer an entry of the log that layers are replayed from."""
    payload = {name: value for name, value in op.payload.items() if name != "log"}
    kept, facts = {"payload": op.payload}, list(op.facts)
    facts[_PAYLOAD] = _JSON.encode(payload) if payload else "{}"
    return Placed(tuple(facts), kept)


def _undone(
    facts: list[Any], payload: dict[str, Any], told: dict[str, Any]
) -> tuple[list[Any], tuple[tuple[str, int], ...]]:
    """The facts as they were written, and what a purge knew."""
    if "T_map_obs" in told:
        facts[_POSE] = struct.pack("<16d", *_finite(told["T_map_obs"]))
    if "position" in told:
        x, y, z = _finite(told["position"])
        facts[_X] = [x, y, z]
    if "payload" in told:
        payload.clear()
        payload.update(told["payload"])
    knew = told.get("knew", {})
    return facts, tuple(sorted(checked_horizon(m, seq) for m, seq in knew.items()))


def _finite(values: Sequence[Any]) -> list[float]:
    numbers = [float(value) for value in values]
    if not all(abs(number) <= MAX_METRES for number in numbers):
        raise ValueError(f"{numbers} are no coordinates")
    return numbers
