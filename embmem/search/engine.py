"""One answer from everything that a query asks for.

Filters narrow: what passes all of them is a candidate. If words or an embedding are asked for, a candidate must hold
one of the words or reach `min_similarity`; with both, one of the two suffices. Each ranking that is asked for (words,
embedding, distance, links, and recency where it has a weight) brings its best candidates, all of these are ranked by
every one, and the rankings are fused. Where nothing ranks, the newest come first.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from embmem.protocols import Answer, Ranking
from embmem.records import Hit, Query, Record
from embmem.search.embeddings import Embeddings, unit_of
from embmem.search.finder import Finder
from embmem.search.fuse import DEPTH, Fused, diverse, fuse
from embmem.search.plan import Gathering, Plan
from embmem.search.rankings import BY_WEIGHT, Rankings, asked, gathering
from embmem.search.why import DETAILS, explain_hit
from embmem.store.rows import select_records
from embmem.store.schema import Connection
from embmem.store.select import conditions


def search(
    db: Connection,
    embeddings: Embeddings,
    query: Query,
    ranking: Ranking,
    *,
    drive: str | None = None,
    with_blobs: bool = True,
) -> Answer:
    """The best records in one state of the database, with what speaks for each and how they were found.

    Args:
        db: where.
        embeddings: of the same store.
        query: what is asked.
        ranking: how rankings are fused.
        drive: the filter whose index is read first, "" for none; the planner chooses if not given.
        with_blobs: whether the records come with their images and the like.

    Raises:
        ValueError: if the query or the ranking asks for what cannot be, such as a negative radius.
    """
    plan = Plan()
    if query.k == 0:
        return Answer([])
    names = asked(query, ranking)
    rankings = _rankings(db, embeddings, query, plan, gathering(names, drive))
    every = names + [name for name in BY_WEIGHT if ranking.weights.get(name) and name not in names]
    weights = {"recency": 1.0, **ranking.weights} if names == ["recency"] else ranking.weights
    n = max(DEPTH, 4 * query.k) if len(every) > 1 or ranking.diversity else query.k
    pool = np.unique(np.concatenate([rankings.bring(name, n) for name in names]))
    if not len(pool):
        return Answer([], tuple(plan.lines), rankings.why_nothing())
    fused = fuse(rankings.scored(pool, every), fusion=ranking.fusion, weights=weights)
    plan.note(f"{' + '.join(every)}: {len(pool)} candidates ranked")
    rows = np.arange(min(query.k, len(fused)))
    if ranking.diversity:
        rows = diverse(fused, query.k, ranking.diversity, partial(select_records, db, with_blobs=False))
    best = fused.take(rows)
    records = select_records(db, best.ids.tolist(), with_blobs=with_blobs)
    hits = [_hit(best, row, record, query, rankings.now) for row, record in enumerate(records)]
    plan.note(f"{len(hits)} records read")
    return Answer(hits, tuple(plan.lines))


def _rankings(db: Connection, embeddings: Embeddings, query: Query, plan: Plan, order: Gathering) -> Rankings:
    found = conditions(query, db)
    unit = None if query.embedding is None else unit_of(query.embedding)
    if unit is not None:
        found = found.without("text")  # an embedding may stand in for the words
    rankings = Rankings(db, embeddings, query, unit, plan)
    found.values |= {} if rankings.match is None else {"match": rankings.match}
    rankings.attach(Finder(db, found, plan, order), found.hops)
    return rankings


def _hit(fused: Fused, row: int, record: Record, query: Query, now: float) -> Hit:
    matches = fused.matches(row)
    detail = {DETAILS[name][0]: DETAILS[name][1] * match.score for name, match in matches.items()}
    return Hit(
        score=float(fused.scores[row]),
        why=explain_hit(matches, text=query.text or "", age=now - record.t_event),
        layer="store",
        stamp=record.t_event,
        position=record.where,
        record=record,
        detail=detail,
    )
