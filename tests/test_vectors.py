"""The vector index against brute force in float64: filters, ties, removals, growth, threads."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embmem.search import row_kernels
from embmem.search import vector_kernels as kernels
from embmem.search.vectors import VectorIndex
from embmem.search.window import EVERYWHERE, Window


@dataclass
class Rows:
    """What was put into an index."""

    ids: np.ndarray
    embeddings: np.ndarray  # float16
    stamps: np.ndarray
    positions: np.ndarray

    def index(self, *, batch: int = 10**9, **arguments: Any) -> VectorIndex:
        index = VectorIndex(self.embeddings.shape[1], **arguments)
        for begin in range(0, len(self.ids), batch):
            part = slice(begin, begin + batch)
            index.append(self.ids[part], self.embeddings[part], self.stamps[part], self.positions[part])
        return index

    def cosines(self, query: np.ndarray) -> np.ndarray:
        wide = self.embeddings.astype(np.float64)
        norms = np.linalg.norm(wide, axis=1)
        return np.where(norms > 0, wide @ query / np.where(norms > 0, norms, 1.0) / np.linalg.norm(query), 0.0)

    def inside(self, window: Window) -> np.ndarray:
        inside = (self.stamps >= window.since) & (self.stamps < window.until)
        if window.near is not None:
            inside &= ((self.positions - window.near) ** 2).sum(axis=1) <= window.radius**2
        if window.box is not None:
            inside &= ((self.positions >= window.box[0]) & (self.positions <= window.box[1])).all(axis=1)
        return inside


def made_rows(rng: np.random.Generator, n: int, dim: int, *, lattice: bool = False) -> Rows:
    """Random rows; on a lattice many embeddings, stamps and places are equal and lie on the edges of windows."""
    if lattice:
        embeddings = rng.integers(-1, 2, (n, dim)).astype(np.float16)
        stamps, positions = rng.integers(0, 6, n).astype(float), rng.integers(-3, 4, (n, 3)).astype(float)
    else:
        embeddings = (rng.standard_normal((n, dim)) * 10.0 ** rng.uniform(-3, 3, (n, 1))).astype(np.float16)
        stamps, positions = rng.uniform(0, 6, n), rng.uniform(-3, 3, (n, 3))
    positions[rng.random(n) < 0.2] = np.nan
    return Rows(np.cumsum(rng.integers(1, 4, n)), embeddings, stamps, positions)


def check(found: Any, rows: Rows, query: np.ndarray, k: int, allowed: np.ndarray, least: float = -1.0) -> None:
    """The k best by brute force: the same cosines, and where cosines tie the newest ids."""
    cosines = rows.cosines(query)
    clear = allowed & (cosines > least + 1e-12)
    assert len(found.ids) >= min(k, int(clear.sum()))
    assert len(found.ids) <= min(k, int((allowed & (cosines > least - 1e-12)).sum()))
    expected = np.sort(cosines[allowed])[::-1][: len(found.ids)]
    np.testing.assert_allclose(found.cosines, expected, rtol=0, atol=1e-12)
    at = np.searchsorted(rows.ids, found.ids)
    np.testing.assert_array_equal(rows.ids[at], found.ids)
    assert allowed[at].all()
    assert len(set(at.tolist())) == len(at)
    np.testing.assert_allclose(found.cosines, cosines[at], rtol=0, atol=1e-12)
    keys = list(zip((-found.cosines).tolist(), (-found.ids).tolist(), strict=True))
    assert keys == sorted(keys)


windows = st.sampled_from(
    [
        EVERYWHERE,
        Window(since=1.0, until=4.0),
        Window(near=np.array([1.0, 0.0, -1.0]), radius=2.0),
        Window(near=np.zeros(3), radius=0.0),
        Window(near=np.zeros(3)),
        Window(box=np.array([[-1.0, -1.0, -3.0], [2.0, 1.0, 0.0]]), until=3.0),
        Window(box=np.array([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])),
        Window(near=np.ones(3), radius=3.0, box=np.array([[-np.inf] * 3, [1.0, np.inf, np.inf]]), since=2.0),
    ]
)


@given(
    seed=st.integers(0, 2**32), n=st.integers(1, 400), dim=st.integers(1, 70), k=st.integers(1, 500),
    window=windows, lattice=st.booleans(), chosen=st.sampled_from(["all", "few", "most", "mask"]),
    least=st.sampled_from([-1.0, 0.0, 0.3]),
)  # fmt: skip
def test_a_search_equals_brute_force_under_every_filter(
    seed: int, n: int, dim: int, k: int, window: Window, lattice: bool, chosen: str, least: float
) -> None:
    rng = np.random.default_rng(seed)
    rows = made_rows(rng, n, dim, lattice=lattice)
    index = rows.index(batch=int(rng.integers(1, n + 1)))
    query, allowed = rng.standard_normal(dim), rows.inside(window)
    ids = None
    if chosen != "all":
        ids = rng.integers(0, rows.ids[-1] + 3, 5 if chosen == "few" else 2 * n)
        allowed &= np.isin(rows.ids, ids)
    if ids is not None and chosen == "mask":
        mask = np.zeros(rows.ids[-1] - 1, np.bool_)
        mask[ids[ids < len(mask)]] = True
        allowed &= rows.ids < len(mask)
        ids = mask
    check(index.search(query, k, window=window, ids=ids, min_similarity=least), rows, query, k, allowed, least)
    found, places = index.select(window, ids=ids)
    np.testing.assert_array_equal(found, rows.ids[allowed])
    np.testing.assert_array_equal(places, np.column_stack([rows.positions, rows.stamps])[allowed])


@given(seed=st.integers(0, 2**32))
def test_removed_rows_are_not_found_until_they_are_restored_and_erased_ones_never(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = made_rows(rng, 200, 8)
    index, query = rows.index(), rng.standard_normal(8)
    gone, erased = rng.choice(rows.ids, 120), rng.choice(rows.ids, 30)
    assert index.remove(gone) == len(set(gone.tolist()))
    index.remove(erased, erase=True)
    assert index.remove(np.concatenate([gone, erased])) == 0
    stays = ~np.isin(rows.ids, np.concatenate([gone, erased]))
    assert len(index) == np.count_nonzero(stays)
    check(index.search(query, 20), rows, query, 20, stays)
    check(index.search(query, 20, with_removed=True), rows, query, 20, ~np.isin(rows.ids, erased))
    back = gone[:50]
    assert index.restore(back) == len(set(back.tolist()) - set(erased.tolist()))
    stays |= np.isin(rows.ids, back) & ~np.isin(rows.ids, erased)
    check(index.search(query, 20), rows, query, 20, stays)
    assert len(index) == np.count_nonzero(stays)


@given(seed=st.integers(0, 2**32), dim=st.integers(3, 40))
def test_equal_embeddings_tie_and_the_newest_comes_first(seed: int, dim: int) -> None:
    rng = np.random.default_rng(seed)
    rows = made_rows(rng, 300, dim)
    rows.embeddings[rng.random(300) < 0.5] = rows.embeddings[0]
    same = rows.ids[(rows.embeddings == rows.embeddings[0]).all(axis=1)]
    for k in (7, 100):
        found = rows.index().search(rows.embeddings[0].astype(float), k)
        expected = np.sort(same)[::-1][:k]
        np.testing.assert_array_equal(found.ids[: len(expected)], expected)


@given(seed=st.integers(0, 2**32), dim=st.integers(1, 1500), spike=st.booleans())
def test_no_code_errs_by_more_than_its_bound(seed: int, dim: int, spike: bool) -> None:
    rng = np.random.default_rng(seed)
    x, query = rng.standard_normal((20, dim)).astype(np.float32), rng.standard_normal(dim)
    if spike:
        x[:, 0] *= 1e3
        query[0] *= 1e3
    stride = (dim + 31) // 32 * 32
    codes, factors = np.empty((20, stride), np.int8), np.empty((20, 2), np.float32)
    kernels.encode(x, codes, factors)
    unit, integers, (step, error) = kernels.prepare(query, stride)
    product = codes.astype(np.int64) @ integers.astype(np.int64)
    assert np.abs(product).max() < 2**31
    cosines = (x.astype(float) @ unit) / np.linalg.norm(x.astype(float), axis=1)
    assert (np.abs(cosines - product * factors[:, 0].astype(float) * step) <= factors[:, 1] + error).all()


def test_rows_go_on_across_slabs_and_clusters_are_searched_exactly() -> None:
    rng = np.random.default_rng(0)
    n, dim = 2 * row_kernels.ROWS + 100, 16
    rows = made_rows(rng, n, dim)
    centres = rng.standard_normal((20, dim))
    rows.embeddings = (centres[rng.integers(0, 20, n)] + 0.05 * rng.standard_normal((n, dim))).astype(np.float16)
    index = rows.index(batch=row_kernels.ROWS - 7)
    for k in (1, 10, 5000):
        query = centres[k % 20] + 0.1 * rng.standard_normal(dim)
        check(index.search(query, k), rows, query, k, np.ones(n, np.bool_))
        window = Window(near=np.zeros(3), radius=0.5, since=1.0)
        found = index.search(query, k, window=window)
        check(found, rows, query, k, rows.inside(window))
        assert "cells" in found.how


def test_originals_that_are_fetched_give_the_same_answer() -> None:
    rng = np.random.default_rng(1)
    rows = made_rows(rng, 500, 24)
    asked = []

    def fetch(ids: np.ndarray) -> np.ndarray:
        asked.append(len(ids))
        return rows.embeddings[np.searchsorted(rows.ids, ids)]

    index, query = rows.index(fetch=fetch), rng.standard_normal(24)
    ours, theirs = index.search(query, 5), rows.index().search(query, 5)
    np.testing.assert_array_equal(ours.ids, theirs.ids)
    np.testing.assert_array_equal(ours.cosines, theirs.cosines)
    assert asked[0] < 50
    assert index.nbytes < rows.index().nbytes


def test_what_is_not_fit_is_refused_and_nothing_is_added() -> None:
    rows = made_rows(np.random.default_rng(2), 10, 4)
    index = rows.index()
    good = {
        "ids": np.array([1000]), "embeddings": np.ones((1, 4)), "stamps": np.zeros(1), "positions": np.zeros((1, 3)),
    }  # fmt: skip
    bad: list[dict[str, Any]] = [
        {"embeddings": np.full((1, 4), np.nan)}, {"embeddings": np.full((1, 4), 1e6)}, {"embeddings": np.ones((1, 5))},
        {"embeddings": np.ones(4)}, {"embeddings": np.ones((1, 4), int)}, {"embeddings": np.ones((2, 4))},
        {"stamps": np.array([np.nan])}, {"stamps": np.zeros(2)}, {"positions": np.full((1, 3), np.inf)},
        {"positions": np.zeros((1, 2))}, {"ids": rows.ids[-1:]}, {"ids": np.array([-1])},
    ]  # fmt: skip
    for part in bad:
        with pytest.raises(ValueError, match=r".+"):
            index.append(**{**good, **part})
    assert len(index) == 10
    index.append(**good)
    assert len(index) == 11
    for query in (np.zeros(4), np.full(4, np.nan), np.ones(5), np.ones((1, 4)), np.array([np.inf, 0, 0, 0])):
        with pytest.raises(ValueError, match="query"):
            index.search(query, 1)
    with pytest.raises(ValueError, match="k must"):
        index.search(np.ones(4), 0)
    for window in ({"radius": -1.0}, {"near": np.full(3, np.nan)}, {"box": np.zeros(3)}, {"since": np.nan}):
        with pytest.raises(ValueError, match=r"near|box|need"):
            Window(**window)
    with pytest.raises(ValueError, match="dimension"):
        VectorIndex(0)


def test_an_empty_index_and_zero_vectors_answer() -> None:
    index = VectorIndex(3)
    assert len(index.search(np.ones(3), 5).ids) == 0
    assert index.last_id == -1
    assert len(index.select(EVERYWHERE)[0]) == 0
    index.append(np.arange(2), np.zeros((2, 3)), np.zeros(2), np.full((2, 3), np.nan))
    found = index.search(np.ones(3), 5)
    assert found.ids.tolist() == [1, 0]
    assert found.cosines.tolist() == [0.0, 0.0]


def test_searches_while_another_thread_appends_see_a_whole_prefix() -> None:
    rng = np.random.default_rng(3)
    n, dim = 3 * row_kernels.ROWS, 8
    rows = made_rows(rng, n, dim)
    rows.positions = np.zeros((n, 3))
    rows.embeddings[:] = 1.0
    index = VectorIndex(dim)

    def write() -> None:
        for begin in range(0, n, 500):
            part = slice(begin, begin + 500)
            index.append(rows.ids[part], rows.embeddings[part], rows.stamps[part], rows.positions[part])

    writer = threading.Thread(target=write)
    writer.start()
    newest = -1
    window = Window(near=np.zeros(3), radius=1.0)
    while writer.is_alive():
        for chosen in (EVERYWHERE, window):
            before = len(index)
            found = index.search(np.ones(dim), 3, window=chosen)
            # All rows are equal, so the newest of those that are seen come first: they are the last of a prefix.
            at = np.searchsorted(rows.ids, found.ids)
            assert len(at) == 0 or (at[0] + 1 >= before and (np.diff(at) == -1).all())
            assert newest <= (int(found.ids[0]) if len(at) else -1)
            newest = int(found.ids[0]) if len(at) else newest
    writer.join()
    assert len(index) == n
