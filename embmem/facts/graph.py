"""Facts as a graph for networkx, and repeated facts as one."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import networkx as nx

from embmem.facts.statements import Fact, what_of


def coalesced(facts: Iterable[Fact]) -> list[Fact]:
    """Facts that say the same one after the other as one (Boehlen et al., VLDB 1996), by event time.

    For facts of one belief time, as `FactMemory.history(belief_time=...)` returns them. The one that comes out has the
    source and the confidence of the latest part; it was created with the part that was known first, and expires with
    the one that changes first.
    """
    open_ends: dict[tuple[tuple[str, str, str], float], Fact] = {}
    found: dict[int, Fact] = {}  # by the first record
    for fact in sorted(facts, key=lambda f: (f.valid_at, f.invalid_at, f.ids)):
        about = (fact.subject, fact.predicate, what_of(fact.object, fact.value))
        before = open_ends.pop((about, fact.valid_at), None)
        merged = fact
        if before is not None:
            merged = fact._replace(
                valid_at=before.valid_at, created_at=min(before.created_at, fact.created_at),
                expired_at=min(before.expired_at, fact.expired_at), ids=before.ids + fact.ids,
            )  # fmt: skip
        found[merged.ids[0]] = open_ends[(about, merged.invalid_at)] = merged
    return sorted(found.values(), key=lambda f: (f.valid_at, f.invalid_at, f.ids))


def fact_graph(facts: Iterable[Fact]) -> nx.MultiDiGraph:
    """Entities as nodes, facts about two of them as edges with the predicate as key.

    What has a value is in the attribute `values` of its node, by predicate, a list where there are several. Edges carry
    the four times [s], an end that is not known as None (JSON has no infinity), `said_by`, `confidence` and the `ids`
    of the records; `networkx.node_link_data` of the graph is JSON.
    """
    graph = nx.MultiDiGraph()
    values: dict[str, dict[str, list[Any]]] = {}
    for fact in facts:
        if fact.object is None:
            values.setdefault(fact.subject, {}).setdefault(fact.predicate, []).append(fact.value)
            continue
        times = {name: getattr(fact, name) for name in ("valid_at", "invalid_at", "created_at", "expired_at")}
        graph.add_edge(
            fact.subject, fact.object, key=fact.predicate, said_by=fact.source, confidence=fact.confidence,
            ids=list(fact.ids), **{name: time if math.isfinite(time) else None for name, time in times.items()},
        )  # fmt: skip
    for subject, told in values.items():
        graph.add_node(subject, values={name: each if len(each) > 1 else each[0] for name, each in told.items()})
    return graph
