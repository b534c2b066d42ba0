"""Relations that were told: worked conflicts, and the local update against the full one."""

from __future__ import annotations

import copy

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_scene_graph import two_storeys

from embmem.maps.scene_graph import RELATIONS, SceneGraph
from embmem.maps.scene_graph.told import ONE_OF, Mention, Statement, ToldGraph

WORDS = ("mug", "table", "sink", "shelf", "box", "lamp", "book", "cat")
VECTORS = {word: np.random.default_rng(i).normal(size=24) for i, word in enumerate(WORDS)}


def mention(word: str) -> Mention:
    return Mention(word, VECTORS[word])


def said(subject: str, relation: str, target: str, stamp: float, confidence: float = 1.0) -> Statement:
    return Statement(mention(subject), relation, mention(target), stamp, confidence)


def told(graph: ToldGraph) -> set[tuple[str, str, str]]:
    return {(graph.names[a], relation, graph.names[b]) for a, relation, b in graph.edges}


def test_a_thing_is_where_it_was_said_to_be_last() -> None:
    graph = ToldGraph()
    graph.tell([said("mug", "on", "table", 1.0), said("mug", "next to", "book", 1.0)])
    graph.tell([said("mug", "in", "sink", 5.0)])
    assert told(graph) == {("mug", "in", "sink"), ("mug", "next to", "book")}
    assert "table" not in graph.names.values()  # nothing is known of it any more
    graph.tell([said("mug", "on", "shelf", 3.0)])  # older than what is known
    assert told(graph) == {("mug", "in", "sink"), ("mug", "next to", "book")}
    graph.tell([said("book", "on", "mug", 6.0)])
    assert told(graph) == {("mug", "in", "sink"), ("book", "on", "mug")}


def test_a_ring_breaks_at_its_oldest_relation() -> None:
    graph = ToldGraph()
    graph.tell([said("mug", "in", "box", 1.0)])
    graph.tell([said("box", "in", "shelf", 2.0)])
    graph.tell([said("shelf", "in", "mug", 3.0)])
    assert told(graph) == {("box", "in", "shelf"), ("shelf", "in", "mug")}


def test_what_means_the_same_is_the_same_node_of_the_map() -> None:
    levels, things = two_storeys()
    scene = SceneGraph()
    scene.update(levels, things)
    g = scene.networkx()
    graph = ToldGraph()
    graph.add(g, {key: VECTORS[g.nodes[key]["name"]] for key in ("thing:0", "thing:2")}, stamp=0.0)
    near = Mention("cup", VECTORS["mug"] + 0.05 * VECTORS["cat"])
    graph.tell([Statement(near, "on", mention("table"), 1.0)])
    assert set(graph.edges) == {("thing:2", "on", "thing:0")}
    graph.tell([Statement(near, "in", mention("box"), 2.0)])
    assert set(graph.names) == {"thing:0", "thing:2", "told:0"}


stories = st.lists(
    st.tuples(
        st.sampled_from(WORDS), st.sampled_from(RELATIONS), st.sampled_from(WORDS), st.integers(0, 12),
        st.sampled_from([0.5, 1.0]), st.booleans(),
    ),
    max_size=12,
)  # fmt: skip


@settings(max_examples=40)
@given(stories, st.integers(1, 3), st.integers(1, 4))
def test_the_local_update_equals_the_full_one(
    story: list[tuple[str, str, str, int, float, bool]], hops: int, n_similar: int
) -> None:
    graph = ToldGraph(hops=hops, n_similar=n_similar)
    batch: list[Statement] = []
    for subject, relation, target, stamp, confidence, is_last in story:
        batch.append(said(subject, relation, target, float(stamp), confidence))
        if not is_last:
            continue
        graph.tell(batch)
        batch = []
        full = copy.deepcopy(graph)
        full.resolve()
        assert full.edges == graph.edges
        assert full.names == graph.names
        places = [a for a, relation, _ in graph.edges if relation in ONE_OF]
        assert len(places) == len(set(places))
        assert all(a in graph.names and b in graph.names for a, _, b in graph.edges)


@settings(max_examples=30)
@given(stories)
def test_the_local_update_equals_the_full_one_taken_in_at_once(
    story: list[tuple[str, str, str, int, float, bool]],
) -> None:
    graph, full = ToldGraph(), ToldGraph()
    full._within = lambda keys: set(full.names)  # type: ignore[method-assign]
    for subject, relation, target, stamp, confidence, _ in story:
        for each in (graph, full):
            each.tell([said(subject, relation, target, float(stamp), confidence)])
        assert (graph.edges, graph.names) == (full.edges, full.names)


def test_what_is_looked_at_does_not_grow_with_the_graph() -> None:
    looked_at = []
    for n in (60, 400):
        rng = np.random.default_rng(0)
        graph = ToldGraph()
        vectors = rng.normal(size=(n, 32))
        names = [Mention(f"thing {i}", vectors[i]) for i in range(n)]
        graph.tell([Statement(names[i], "on", names[i // 3], float(i)) for i in range(1, n)])
        looked_at.append(graph.tell([Statement(names[n - 1], "on", names[7], 1e6)]))
        assert len(graph.edges) == n - 1
    assert looked_at[1] < 4 * looked_at[0]
    assert looked_at[1] < 150


def test_bad_statements_leave_the_graph_as_it_was() -> None:
    graph = ToldGraph()
    graph.tell([said("mug", "on", "table", 1.0)])
    before = copy.deepcopy(graph)
    bad = [
        said("mug", "under", "table", 2.0), said("mug", "on", "table", np.nan),
        Statement(Mention("mug", np.zeros(24)), "on", mention("table"), 1.0),
        Statement(Mention("mug", np.full(24, np.nan)), "on", mention("table"), 1.0),
        Statement(Mention("mug", np.ones(23)), "on", mention("table"), 1.0), said("mug", "on", "table", 2.0, 1.5),
    ]  # fmt: skip
    for statement in bad:
        with pytest.raises(ValueError, match=r"cannot take in|no direction|one length"):
            graph.tell([said("lamp", "on", "shelf", 1.0), statement])
        assert (graph.edges, graph.names) == (before.edges, before.names)
    scene = nx.DiGraph()
    scene.add_node("thing:0", name="cat")
    for key, vector, stamp in (("thing:0", np.zeros(24), 1.0), ("thing:0", np.ones(3), 1.0), ("x", np.ones(24), 1.0),
                               ("thing:0", np.ones(24), np.nan)):  # fmt: skip
        with pytest.raises(ValueError, match=r"no direction|one length|finite stamp"):
            graph.add(scene, {key: vector}, stamp=stamp)
        assert (graph.edges, graph.names) == (before.edges, before.names)
    with pytest.raises(ValueError, match="hops"):
        ToldGraph(hops=0)
