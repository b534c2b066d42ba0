"""Records in the order of time."""

from __future__ import annotations

from embmem.records import Query, Record
from embmem.search.finder import Finder
from embmem.search.plan import HANDFUL, Gathering, Plan
from embmem.search.words import Words
from embmem.store.rows import select_records
from embmem.store.schema import Connection
from embmem.store.select import conditions


def newest(db: Connection, query: Query) -> list[Record]:
    """At most `query.k` records that pass the filters, of `text` any word, newest event first; ties newest id first."""
    plan = Plan()
    finder = Finder(db, conditions(query, db), plan, Gathering(limit=HANDFUL))
    if query.text is not None and not finder.knows("text"):
        words = Words(db, query.text, plan, is_ranking=False)
        finder.is_meant = words.hold
    return select_records(db, finder.newest(query.k).tolist())
