"""What the records of a memory tell about places: the way of the camera, and what somebody noted somewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from embmem.facts import Fact, FactMemory
from embmem.memory import Memory
from embmem.observation import Intrinsics
from embmem.occupancy import views
from embmem.records import Query, Record
from embmem.replay.observation_log import KINDS as LOG_KINDS
from embmem.store import RecordStore
from embmem.viewing.scene import Thing, Trajectory

Progress = Callable[[int, int], None]  # how much is done, of how much
Now = Callable[[Record], Record]  # a record with its place as the map has it now
_SILENT = ("view", "withdrawal", "correction", "purge", *LOG_KINDS)  # kinds that are no things
_NAME = "is a"  # predicate of what a node of the scene graph is called
_CHUNK = 1000  # records read at a time
_MAX_TEXT = 300  # characters


def trajectory_of(memory: Memory, most: int, progress: Progress) -> tuple[Trajectory | None, str]:
    """(the poses of the recorded views, what was left out); evenly chosen where there are more than `most`."""
    records, n = _chosen(memory, "kind = 'view'", most, progress) or (views(memory), 0)
    records = [record for record in records if record.T_map_obs is not None]
    if not records:
        return None, ""
    records.sort(key=lambda record: record.t_event)  # stable: of one moment in order of writing
    known = [intrinsics for record in reversed(records[-_CHUNK:]) if (intrinsics := _intrinsics(record)) is not None]
    poses = np.stack([record.T_map_obs for record in records if record.T_map_obs is not None]).astype(np.float64)
    stamps = np.array([record.t_event for record in records], dtype=np.float64)
    left_out = f"{len(records):,} of {n:,} views are shown, evenly chosen." if n > len(records) else ""
    return Trajectory(stamps, poses, known[0] if known else None), left_out


def noted(memory: Memory, most: int, progress: Progress, now: Now = lambda record: record) -> tuple[list[Thing], str]:
    """(the newest records with a place that are no views, as things, what was left out); `now` moves them on."""
    among = ", ".join(f"'{kind}'" for kind in _SILENT)
    found = _chosen(memory, f"x IS NOT NULL AND kind NOT IN ({among})", most, progress, is_even=False)
    if found is None:
        read = memory.store.read(Query(k=most))
        found = [record for record in read if record.kind not in _SILENT and record.where is not None], 0
    records, n = found
    left_out = f"{len(records):,} of {n:,} records with a place are shown, the newest." if n > len(records) else ""
    return [thing for record in records if (thing := _thing(now(record))) is not None], left_out


def with_facts(things: Sequence[Thing], memory: Memory) -> tuple[list[Thing], str]:
    """(the things with what is said of them, what was left out).

    The subject of a fact is a thing by its name, where only one is called so, by name and number ("mug-3"), or by its
    node of the scene graph ("thing:3").
    """
    if not isinstance(memory.store, RecordStore):
        return list(things), ""
    said: dict[str, list[Fact]] = {}
    nodes: dict[str, str] = {}  # of the scene graph, with their names
    for fact in FactMemory(memory.store).history(belief_time=np.inf):
        if fact.predicate == _NAME:
            nodes[fact.subject] = str(fact.what)
        else:
            said.setdefault(fact.subject.casefold(), []).append(fact)
    alike = Counter(thing.name.casefold() for thing in things)
    told, used = [], {node.casefold() for node in nodes}
    for thing in things:
        name, number = thing.name.casefold(), thing.id.rpartition(" ")[2]
        keys = [f"{name}-{number}", f"thing:{number}", *([name] if alike[name] == 1 else [])]
        used.update(keys)
        held = tuple(_held(fact, nodes) for key in keys for fact in said.get(key, ()))
        texts = {text for text, _, _ in held}
        told.append(replace(thing, held=held, facts=tuple(fact for fact in thing.facts if fact not in texts)))
    n = len(said.keys() - used)
    return (
        told,
        f"Facts about {n:,} name{'s' if n > 1 else ''} that no thing with a place has are not shown." if n else "",
    )


def _held(fact: Fact, nodes: Mapping[str, str]) -> tuple[str, float, float]:
    what = f"the {nodes[fact.object]}" if fact.object is not None and fact.object in nodes else fact.what
    return f"{fact.predicate} {what}"[:_MAX_TEXT], fact.valid_at, fact.invalid_at


def _chosen(
    memory: Memory, condition: str, most: int, progress: Progress, *, is_even: bool = True
) -> tuple[list[Record], int] | None:
    """(at most `most` records that are believed, how many there are); None where the store is no SQLite file."""
    store = memory.store
    if not isinstance(store, RecordStore):
        return None
    sql = f"SELECT id FROM records WHERE {condition} AND id NOT IN (SELECT record_id FROM hidden) ORDER BY t_event, id"
    with store.reading() as db:
        ids = [row[0] for row in db.execute(sql)]
    n = len(ids)
    if n > most:
        ids = [ids[i] for i in np.unique(np.linspace(0, n - 1, most).astype(int))] if is_even else ids[-most:]
    records: list[Record] = []
    for start in range(0, len(ids), _CHUNK):
        records += store.get(ids[start : start + _CHUNK])
        progress(len(records), len(ids))
    return records, n


def _intrinsics(record: Record) -> Intrinsics | None:
    """Those of a view; a file may say anything in their place."""
    stored = record.payload.get("intrinsics")
    names = ("width", "height", "fx", "fy", "cx", "cy")
    if not isinstance(stored, dict) or not all(isinstance(stored.get(name), (int, float)) for name in names):
        return None
    width, height, fx, fy, cx, cy = (stored[name] for name in names)
    if not (1 <= width < 1e6 and 1 <= height < 1e6 and 0 < fx < 1e6 and 0 < fy < 1e6 and abs(cx) + abs(cy) < 1e6):
        return None
    return Intrinsics(int(width), int(height), float(fx), float(fy), float(cx), float(cy))


def _thing(record: Record) -> Thing | None:
    where = record.where
    if where is None:
        return None
    name = ", ".join(record.entities) or record.text or record.kind
    why = f"{record.kind} by {record.source}" + (f": {record.text}" if record.text else "")
    return Thing(
        id=f"record {record.id}",
        name=name[:_MAX_TEXT],
        position=np.asarray(where, dtype=np.float64),
        confidence=float(record.confidence),
        first_seen=float(record.t_event),
        last_seen=float(record.t_event),
        why=why[:_MAX_TEXT],
        layer="records",
        room=record.place or "",
    )
