"""The words of a text, as SQLite's full-text search sees them, so that both stores match and score alike."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Sequence
from functools import lru_cache

# Word for word that of the table `texts` of a memory file.
TOKENIZE = "porter unicode61 remove_diacritics 2"


def count_words(documents: Sequence[tuple[str, str]]) -> list[dict[str, int]]:
    """How often each word (its stem) is in each document, a text and its names."""
    found: list[dict[str, int]] = [{} for _ in documents]
    with contextlib.closing(sqlite3.connect(":memory:")) as db:
        db.execute(f"CREATE VIRTUAL TABLE texts USING fts5(text, names, content='', tokenize='{TOKENIZE}')")
        db.execute("CREATE VIRTUAL TABLE words USING fts5vocab(texts, 'instance')")
        rows = [(i, *document) for i, document in enumerate(documents) if any(document)]
        db.executemany("INSERT INTO texts (rowid, text, names) VALUES (?, ?, ?)", rows)
        for word, i, n in db.execute("SELECT term, doc, count(*) FROM words GROUP BY term, doc"):
            found[i][word] = n
    return found


@lru_cache(maxsize=65536)
def hash_of(kind: str, name: str) -> int:
    """64 bits with a sign that stand for a name of a kind, such as "entity" or "word"."""
    digest = hashlib.blake2b(name.encode(), digest_size=8, person=kind.encode()).digest()
    return int.from_bytes(digest, "little", signed=True)
