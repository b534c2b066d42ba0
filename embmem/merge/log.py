"""Sets of operations, their union, and the one order in which they are laid out.

The union is a join of sets that only grow: operations, origins of what was purged, what removed records had been
derived from, and how far each memory was heard of. It is therefore commutative, associative and idempotent (Shapiro et
al., Conflict-free replicated data types, SSS 2011); everything else is a function of the joined set.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from embmem.errors import InputError
from embmem.merge.operations import AFTER, Operation, Origin
from embmem.protocols import LayerState


class EmptyLayer(NamedTuple):
    """A layer that the operations are replayed into."""

    position: int  # among the layers
    settings: str  # JSON
    state: LayerState


@dataclass(eq=False)
class OperationLog:
    """What one or several memories wrote."""

    operations: dict[Origin, Operation] = field(default_factory=dict)
    purged: set[Origin] = field(default_factory=set)  # these never come back
    lineage: dict[Origin, frozenset[Origin]] = field(default_factory=dict)  # of removed records: derived from what
    vector: dict[str, int] = field(default_factory=dict)  # the highest id heard of, by memory
    same: dict[str, str] = field(default_factory=dict)  # of memories that share a frame, the first one; by memory
    layers: dict[str, EmptyLayer] = field(default_factory=dict)  # by kind, as they were before the first frame


def union(logs: Iterable[OperationLog]) -> OperationLog:
    """What all of them wrote, without what one of them has purged.

    A purge takes away what its source said in every memory that it knew of, up to where it knew it, and what came of
    that, also where another log still has it.

    Raises:
        InputError: if two logs have different records, or layers with different settings, under one name.
    """
    joined = OperationLog()
    for log in logs:
        _join_operations(joined.operations, log.operations)
        joined.purged |= log.purged
        for origin, parents in log.lineage.items():
            joined.lineage[origin] = joined.lineage.get(origin, frozenset()) | parents
        for memory, seq in log.vector.items():
            joined.vector[memory] = max(seq, joined.vector.get(memory, 0))
        for memory, seq in log.operations:
            joined.vector[memory] = max(seq, joined.vector.get(memory, 0))
        share_frame(joined.same, log.same)
        _join_layers(joined.layers, log.layers)
    _purge(joined)
    return joined


def ordered(log: OperationLog) -> list[Operation]:
    """The operations by event time, ties by origin; each memory in its own order, what links after what it links to.

    Raises:
        InputError: if links go in a circle.
    """
    by_memory: dict[str, list[Origin]] = {}
    for origin in sorted(log.operations):
        by_memory.setdefault(origin.memory, []).append(origin)
    waits: dict[Origin, int] = {}
    wakes: dict[Origin, list[Origin]] = {}
    for origins in by_memory.values():
        for before, origin in zip([None, *origins], origins, strict=False):
            needs = {to for _, to in log.operations[origin].links if to in log.operations}
            needs |= set() if before is None else {before}
            waits[origin] = len(needs)
            for need in needs:
                wakes.setdefault(need, []).append(origin)
    ready = [(log.operations[o].t_event, o) for o, n in waits.items() if n == 0]
    heapq.heapify(ready)
    found: list[Operation] = []
    while ready:
        _, origin = heapq.heappop(ready)
        found.append(log.operations[origin])
        for other in wakes.get(origin, ()):
            waits[other] -= 1
            if waits[other] == 0:
                heapq.heappush(ready, (log.operations[other].t_event, other))
    if len(found) < len(log.operations):
        stuck = min(o for o, n in waits.items() if n > 0)
        raise InputError(f"the links of record {stuck.seq} of memory {stuck.memory} go in a circle")
    return found


def share_frame(ours: dict[str, str], theirs: Mapping[str, str]) -> None:
    """Join two partitions of memories into those that share a frame, each given by the first member of its part."""
    for memory, first in theirs.items():
        a, b = ours.setdefault(memory, memory), ours.setdefault(first, first)
        for each in [e for e, its in ours.items() if its in (a, b)]:
            ours[each] = min(a, b)


def _join_operations(ours: dict[Origin, Operation], theirs: Mapping[Origin, Operation]) -> None:
    for origin, op in theirs.items():
        mine = ours.setdefault(origin, op)
        if mine is not op and mine.digest != op.digest:
            raise InputError(
                f"two different records are record {origin.seq} of memory {origin.memory}: a copy of it was written "
                "to; merge only one of the two"
            )


def _join_layers(ours: dict[str, EmptyLayer], theirs: Mapping[str, EmptyLayer]) -> None:
    for kind, layer in theirs.items():
        mine = ours.get(kind, layer)
        if json.loads(mine.settings) != json.loads(layer.settings):
            raise InputError(
                f"the memories have layer {kind!r} with different settings, {mine.settings} and {layer.settings}: a "
                "merged layer has one; build one of the memories again with the settings of the other"
            )
        newer = max(mine, layer, key=lambda each: (each.state.version, each.settings))
        ours[kind] = newer._replace(position=min(mine.position, layer.position))


def _purge(log: OperationLog) -> None:
    """Take away what was purged, and what came of it."""
    dead = set(log.purged)
    purges = [op for op in log.operations.values() if op.kind == "purge"]
    scopes = [(op.payload.get("purged"), dict(op.knew)) for op in purges]
    if scopes:
        for origin, op in log.operations.items():
            if op.kind != "purge" and any(
                op.source == source and origin.seq <= knew.get(origin.memory, 0) for source, knew in scopes
            ):
                dead.add(origin)
    if dead:
        _add_what_came_of_it(log, dead)
    for origin in dead:
        log.operations.pop(origin, None)
        log.lineage.pop(origin, None)
    for origin in [o for o in log.lineage if o in log.operations]:  # its own links tell it
        del log.lineage[origin]
    log.purged = dead


def _add_what_came_of_it(log: OperationLog, dead: set[Origin]) -> None:
    children: dict[Origin, list[Origin]] = {}
    for origin, op in log.operations.items():
        for relation, to in op.links:
            if relation in AFTER:
                children.setdefault(to, []).append(origin)
    for origin, parents in log.lineage.items():
        for parent in parents:
            children.setdefault(parent, []).append(origin)
    waiting = list(dead)
    while waiting:
        for child in children.get(waiting.pop(), ()):
            if child not in dead:
                dead.add(child)
                waiting.append(child)
