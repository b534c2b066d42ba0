"""A scene graph that is remembered as facts comes back as it was, at any time."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from embmem.facts import FactMemory
from embmem.maps.scene_graph import SceneGraph, Things
from embmem.maps.scene_graph.remembered import MANY_VALUED, SOURCE, relations_then, remember_relations
from embmem.store import RecordStore
from embmem.store.amend import withdraw

NAMES = ("mug", "table", "lamp", "shelf")


def random_graph(rng: np.random.Generator) -> nx.DiGraph:
    """Up to eight things in two rooms: each on or in something, some beside each other."""
    graph = nx.DiGraph()
    for room in range(2):
        graph.add_node(f"room:{room}", name="kitchen" if room else "hall", confidence=1.0)
    things = [f"thing:{i}" for i in range(8) if rng.random() < 0.8]
    for i, thing in enumerate(things):
        graph.add_node(thing, name=str(rng.choice(NAMES)), confidence=float(rng.uniform(0.5, 1.0)))
        carrier = str(rng.choice(["room:0", "room:1", *things[:i]]))
        graph.add_edge(thing, carrier, relation="in" if carrier.startswith("room") else str(rng.choice(["on", "in"])))
        for other in things[:i]:
            if rng.random() < 0.3 and not graph.has_edge(thing, other):
                graph.add_edge(thing, other, relation=str(rng.choice(["next to", "part of"])))
    return graph


def told(graph: nx.DiGraph) -> tuple[dict[str, str], set[tuple[str, str, str]]]:
    return dict(graph.nodes(data="name")), {(a, b, edge["relation"]) for a, b, edge in graph.edges(data=True)}


@pytest.mark.parametrize("seed", range(5))
def test_the_graph_of_any_moment_comes_back(seed: int) -> None:
    rng = np.random.default_rng(seed)
    facts = FactMemory(RecordStore(clock=iter(range(100, 10_000)).__next__), many_valued=MANY_VALUED)
    graphs, written = [random_graph(rng) for _ in range(8)], []
    for i, graph in enumerate(graphs):
        written.append(remember_relations(graph, facts, stamp=10.0 * i))
        assert remember_relations(graph, facts, stamp=10.0 * i + 5.0) == []  # nothing has changed
        assert told(relations_then(facts)) == told(graph)
    for i, graph in enumerate(graphs):
        assert told(relations_then(facts, event_time=10.0 * i + 3.0)) == told(graph)
        (last,) = facts.store.get([written[i][-1]])
        assert last.t_ingest is not None
        assert told(relations_then(facts, belief_time=last.t_ingest)) == told(graph)
    withdraw(facts.store, [i for ids in written[4:] for i in ids])
    assert told(relations_then(facts)) == told(graphs[3])


def test_what_a_scene_graph_layer_finds_is_remembered() -> None:
    corners = [[[0, 0, 0], [1.4, 0.8, 0.7]], [[0.5, 0.3, 0.7], [0.6, 0.4, 0.8]], [[3, 0, 0], [3.1, 0.1, 0.1]]]
    scene, facts = SceneGraph(), FactMemory(RecordStore(), many_valued=MANY_VALUED)
    for i in range(2):
        box = np.array(corners, dtype=np.float64)
        box[1] += [0.0, 0.0, 4.0 * i]  # the mug is taken off the table
        scene.update([], Things(np.arange(3), ("table", "mug", "ball"), box, np.full(3, 10.0 * i), np.ones(3)))
        remember_relations(scene.networkx(), facts, stamp=10.0 * i)
    (on,) = facts.facts(object="thing:0", event_time=5.0)
    assert (on.subject, on.predicate, on.valid_at, on.invalid_at) == ("thing:1", "on", 0.0, 10.0)
    assert facts.facts(object="thing:0") == []
    assert {f.value for f in facts.facts(predicate="is a")} >= {"table", "mug", "ball"}


def test_only_changes_are_written_and_other_sources_are_left_alone() -> None:
    facts = FactMemory(RecordStore(), many_valued=MANY_VALUED)
    graph = nx.DiGraph()
    graph.add_node("thing:1", name="mug", confidence=0.75)
    graph.add_node("room:0", name="kitchen")
    graph.add_edge("thing:1", "room:0", relation="in")
    assert len(remember_relations(graph, facts, stamp=1.0)) == 3
    facts.assert_fact("thing:2", "in", "room:0", valid_at=1.5, source="anna")
    graph.add_node("room:3", name="hall")
    graph.remove_edge("thing:1", "room:0")
    graph.add_edge("thing:1", "room:3", relation="in")
    assert len(remember_relations(graph, facts, stamp=2.0)) == 2  # a name and a place; the old place ends by itself
    graph.remove_node("thing:1")
    assert len(remember_relations(graph, facts, stamp=3.0)) == 2
    assert facts.facts("thing:1") == []
    (before,) = facts.facts("thing:1", "in", event_time=2.5)
    assert (before.object, before.valid_at, before.invalid_at, before.confidence) == ("room:3", 2.0, 3.0, 0.75)
    assert [f.source for f in facts.facts("thing:2")] == ["anna"]
    assert "thing:2" not in relations_then(facts, source=SOURCE)


def test_a_graph_of_the_past_and_a_memory_that_is_not_made_for_it_are_refused() -> None:
    facts = FactMemory(RecordStore(), many_valued=MANY_VALUED)
    graph = nx.DiGraph()
    graph.add_node("room:0", name="kitchen")
    remember_relations(graph, facts, stamp=5.0)
    graph.nodes["room:0"]["name"] = "hall"
    with pytest.raises(ValueError, match="in the order of time"):
        remember_relations(graph, facts, stamp=5.0)
    with pytest.raises(ValueError, match="'next to' is many-valued"):
        remember_relations(graph, FactMemory(RecordStore()), stamp=6.0)
