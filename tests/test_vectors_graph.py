"""The graph proposes and the index disposes: recall against exact search, filters, growth, what makes it unused."""

from __future__ import annotations

import numpy as np
import pytest

from embmem.search.vectors import VectorIndex
from embmem.search.window import Window

pytest.importorskip("usearch")
N, DIM = 4000, 32


@pytest.fixture(autouse=True)
def _small_scans_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    """At this size a scan is always the better way; let the graph be asked all the same."""
    monkeypatch.setattr("embmem.search.vectors._WORTH", 2)


def clustered(rng: np.random.Generator, n: int) -> np.ndarray:
    """Rows of 40 clusters in an 8-dimensional part of the space, and noise."""
    basis, centres = rng.standard_normal((8, DIM)), rng.standard_normal((40, 8))
    low = centres[rng.integers(0, 40, n)] + 0.4 * rng.standard_normal((n, 8))
    return low @ basis + 0.2 * rng.standard_normal((n, DIM))


def filled(embeddings: np.ndarray, *, graph: int = 0) -> VectorIndex:
    """An index of rows 0, 1, ... at stamps 0, 1, ...; the first `graph` of them linked."""
    index = VectorIndex(DIM)
    for begin, end in ((0, graph), (graph, len(embeddings))):
        ids = np.arange(begin, end)
        positions = np.column_stack([ids % 10, ids % 7, np.zeros(end - begin)]).astype(float)
        index.append(ids, embeddings[begin:end], ids.astype(float), positions)
        if end == graph:
            index.grow_graph(least_rows=1)
    return index


def recall(index: VectorIndex, exact: VectorIndex, queries: np.ndarray, how: str, **arguments: object) -> float:
    """Recall@10 of searches that all went the way `how`."""
    shares = []
    for query in queries:
        found, truth = (each.search(query, 10, **arguments) for each in (index, exact))  # type: ignore[arg-type]
        assert found.how.startswith(how)
        shares.append(np.isin(truth.ids, found.ids).mean())
        both = np.isin(found.ids, truth.ids)
        np.testing.assert_array_equal(found.cosines[both], truth.cosines[np.isin(truth.ids, found.ids)])
    return float(np.mean(shares))


def test_recall_of_clustered_rows_is_what_is_promised_with_and_without_a_tail_and_filters() -> None:
    rng = np.random.default_rng(0)
    both = clustered(rng, N + 50)
    embeddings, queries = both[:N], both[N:]
    exact = filled(embeddings)
    mask = rng.random(N) < 0.5
    for linked in (N, N - 700):
        index = filled(embeddings, graph=linked)
        assert recall(index, exact, queries, "graph") >= 0.98
        assert recall(index, exact, queries, "graph", ids=mask) >= 0.98
        assert recall(index, exact, queries, "graph", window=Window(since=N / 4)) >= 0.98
        gone = rng.choice(N, 500)
        index.remove(gone)
        exact.remove(gone)
        assert recall(index, exact, queries, "graph") >= 0.98
        exact.restore(gone)


def test_filters_that_leave_few_rows_are_answered_exactly() -> None:
    rng = np.random.default_rng(1)
    embeddings = clustered(rng, N)
    index, exact = filled(embeddings, graph=N), filled(embeddings)
    query = embeddings[:5] + 0.1
    few = np.zeros(N, np.bool_)
    few[::200] = True
    assert recall(index, exact, query, "exact", ids=few) == 1.0
    assert recall(index, exact, query, "exact", window=Window(since=N - 50.0)) == 1.0
    assert recall(index, exact, query, "exact", window=Window(near=np.zeros(3), radius=0.5)) == 1.0
    assert len(index.search(query[0], N).ids) == N


def test_a_graph_that_misses_is_not_used() -> None:
    rng = np.random.default_rng(2)
    index = VectorIndex(384)
    ids = np.arange(N)
    index.append(ids, rng.standard_normal((N, 384)), ids.astype(float), np.full((N, 3), np.nan))
    assert index.grow_graph(least_rows=1)
    assert index.graph is not None
    assert index.graph.expansion is None or index.graph.expansion >= 512
    if index.graph.expansion is None:
        assert index.search(rng.standard_normal(384), 10).how.startswith("exact")


def test_the_same_rows_make_the_same_graph() -> None:
    embeddings = clustered(np.random.default_rng(3), 1000)
    graphs = [filled(embeddings, graph=1000).graph for _ in range(2)]
    assert graphs[0] is not None
    assert graphs[1] is not None
    assert graphs[0].save() == graphs[1].save()


def test_below_the_break_even_there_is_no_graph_and_erasing_drops_it() -> None:
    embeddings = clustered(np.random.default_rng(4), 1000)
    index = filled(embeddings)
    assert not index.grow_graph()
    assert index.graph is None
    index = filled(embeddings, graph=1000)
    index.remove(np.array([5000]), erase=True)
    assert index.graph is not None
    index.remove(np.array([5]), erase=True)
    assert index.graph is None
    assert 5 not in index.search(embeddings[5], 10, with_removed=True).ids
