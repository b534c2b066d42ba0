"""The scene graph of every moment: its relations as facts in the log, only what changed, and back again."""

from __future__ import annotations

import math
from collections.abc import Iterator

import networkx as nx

from embmem.facts import FactMemory, Statement
from embmem.facts.statements import KINDS
from embmem.records import Query, Record

MANY_VALUED = ("next to", "part of")  # what a `FactMemory` of scene graphs must declare
NAME = "is a"  # predicate of what a node is called
SOURCE = "scene graph"
_Told = tuple[str, str, str | None, str | None]  # subject, relation, node, name


def remember_relations(graph: nx.DiGraph, facts: FactMemory, *, stamp: float, source: str = SOURCE) -> list[int]:
    """Write what has changed in a scene graph since it was last remembered; returns the ids of the records.

    Every edge becomes a fact about two nodes ("thing:17", "on", "thing:4"), every name one with a value ("thing:17",
    "is a", "mug"). What is no longer there is retracted. Facts of other sources are left alone.

    Args:
        graph: as `SceneGraph.networkx` gives it.
        facts: where to; it must have been made with `many_valued=MANY_VALUED`.
        stamp: when the graph was like that [s].
        source: who says so; one for each robot.

    Raises:
        ValueError: if this source has said something at or after the stamp, or a relation is not declared many-valued.
    """
    for predicate in MANY_VALUED:
        if not facts.is_many(predicate):
            raise ValueError(f"{predicate!r} is many-valued; make the FactMemory with many_valued=MANY_VALUED")
    known = {
        (fact.subject, fact.predicate, fact.object, fact.value)
        for fact in facts.facts(event_time=stamp)
        if fact.source == source
    }
    there: dict[_Told, float] = {(node, NAME, None, name): 1.0 for node, name in graph.nodes(data="name")}
    for a, b, edge in graph.edges(data=True):
        confidence = min(graph.nodes[node].get("confidence", 1.0) for node in (a, b))
        there[(a, edge["relation"], b, None)] = confidence
    said = list(_changes(known, there, stamp, source))
    latest = max((r.t_event for kind in KINDS for r in _newest(facts, kind, source)), default=-math.inf)
    if said and latest >= stamp:
        raise ValueError(f"{source!r} has told of {latest} s already; scene graphs are remembered in the order of time")
    return facts.write_all(said)


def relations_then(
    facts: FactMemory, *, event_time: float = math.inf, belief_time: float = math.inf, source: str = SOURCE
) -> nx.DiGraph:
    """The nodes with their names and the relations as they were at a time [s], as was believed at another."""
    graph = nx.DiGraph()
    for fact in facts.facts(event_time=event_time, belief_time=belief_time):
        if fact.source == source and fact.predicate == NAME:
            graph.add_node(fact.subject, name=fact.value)
        elif fact.source == source and fact.object is not None:
            graph.add_edge(fact.subject, fact.object, relation=fact.predicate, since=fact.valid_at)
    return graph


def _changes(known: set[_Told], there: dict[_Told, float], stamp: float, source: str) -> Iterator[Statement]:
    """Retractions of what is gone, unless something else takes its place, and assertions of what is new."""
    replaced = {(subject, relation) for subject, relation, _, _ in there if relation not in MANY_VALUED}
    for subject, relation, node, name in sorted(known - set(there), key=str):
        if (subject, relation) not in replaced:
            yield Statement(subject, relation, node, name, stamp, source=source, is_retraction=True)
    for told in sorted(set(there) - known, key=str):
        subject, relation, node, name = told
        yield Statement(subject, relation, node, name, stamp, source=source, confidence=there[told])


def _newest(facts: FactMemory, kind: str, source: str) -> list[Record]:
    return facts.store.read(Query(kind=kind, source=source, k=1))
