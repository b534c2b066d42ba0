"""What people told in passing, found again when they refer to it: "the gift vase", "my morning routine".

A request often needs several earlier tellings. It is cut into its parts, each part is looked for by words and by
meaning among what was told in the same home, and the parts take turns in the answer, so that none crowds out another.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import zip_longest

import numpy as np

from embmem.protocols import Ranking, Store
from embmem.records import Hit, Query, Record

KIND = "told"
DEPTH = 20  # hits a part
# Where one request ends and the next begins: between sentences, and at words that say "next".
_CUT = re.compile(
    r"(?<=[.?!])\s+(?:(?:and|also|then|additionally|after that|afterwards|finally|next)\b,?\s*)*"
    r"|,?\s*(?:and\s+)?\b(?:then|after that|afterwards)\b,?\s*",
    re.IGNORECASE,
)
_FEWEST = 3  # words of a part
# Scaled scores, not ranks: chosen on MEMENTO's single-memory requests that are in no joint one (docs/households.md).
RANKING = Ranking(fusion="weighted", weights={"embedding": 1.0})

Encode = Callable[[Sequence[str]], np.ndarray]  # texts -> (n, d) unit vectors


def parts(request: str) -> list[str]:
    """The requests that a text is made of, in its order; the whole text if it cannot be cut."""
    cut = [part.strip(" ,") for part in _CUT.split(request)]
    return [part for part in cut if len(re.findall(r"\w+", part)) >= _FEWEST] or [request]


class Told:
    """Tellings in a store, which may hold other records as well."""

    def __init__(self, store: Store, encode: Encode | None = None, *, ranking: Ranking = RANKING) -> None:
        """On a store.

        Args:
            store: where tellings go.
            encode: of texts, e.g. `embmem.encoders.MiniLMEncoder()`; by words alone if not given.
            ranking: how words and meaning become one order.
        """
        self.store, self._encode, self.ranking = store, encode, ranking

    def tell(self, tellings: Iterable[tuple[str, str]], *, home: str, stamp: float, source: str = "user") -> list[int]:
        """Keep what was told, (key, text) each, at `stamp` [s] in a home; the ids of the records.

        Raises:
            ValueError: if a key or a text is not fit to be stored.
        """
        told = list(tellings)
        vectors = self._vectors([text for _, text in told])
        return self.store.write_all(
            Record(kind=KIND, t_event=stamp, source=source, place=home, keys=(key,), text=text, embedding=vector)
            for (key, text), vector in zip(told, vectors, strict=True)
        )

    def recall(self, request: str, *, home: str | None, k: int = 5) -> list[Hit]:
        """The `k` tellings that a request most likely refers to, the best of each of its parts first.

        `home` None looks in all of them.
        """
        return self.recall_parts(parts(request), home=home, k=k)

    def recall_parts(self, requests: Sequence[str], *, home: str | None, k: int = 5) -> list[Hit]:
        """The same where the parts are known."""
        lists = [
            self.store.search(Query(text=text, embedding=v, kind=KIND, place=home, k=max(k, DEPTH)), self.ranking).hits
            for text, v in zip(requests, self._vectors(requests), strict=True)
        ]
        found: dict[int, Hit] = {}
        for turn in zip_longest(*lists):
            for hit in turn:
                if hit is not None and hit.record is not None and hit.record.id is not None:
                    found.setdefault(hit.record.id, hit)
        return list(found.values())[:k]

    def _vectors(self, texts: Sequence[str]) -> list[np.ndarray | None]:
        return [None] * len(texts) if self._encode is None else list(self._encode(texts))
