"""Facts as a graph for networkx, and repeated facts as one."""

from __future__ import annotations

import math
from collections.abc import Iterable

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

    What has a value is an attribute of its node, a list where there are several. Edges carry the four times [s], an end
    that is not known is None (JSON has no infinity), so that `networkx.node_link_data` of the graph is JSON.
    """
    graph = nx.MultiDiGraph()
    for fact in facts:
        graph.add_node(fact.subject)
        if fact.object is None:
            node = graph.nodes[fact.subject]
            node.setdefault(fact.predicate, []).append(fact.value)
            continue
        times = {name: getattr(fact, name) for name in ("valid_at", "invalid_at", "created_at", "expired_at")}
        graph.add_edge(
            fact.subject, fact.object, key=fact.predicate, predicate=fact.predicate, source=fact.source,
            confidence=fact.confidence, ids=list(fact.ids),
            **{name: time if math.isfinite(time) else None for name, time in times.items()},
        )  # fmt: skip
    for _, attributes in graph.nodes(data=True):
        for name, values in attributes.items():
            if len(values) == 1:
                attributes[name] = values[0]
    return graph
