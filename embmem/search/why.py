"""What matched, in words a person reads."""

from __future__ import annotations

import json
from collections.abc import Mapping

from embmem.search.fuse import Match

MAX_QUERY = 60  # characters of a query that are repeated
UNITS = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"), (1.0, "s"))  # [s] each
# What a hit says in numbers: by ranking the name, and the sign that makes it positive.
DETAILS = {
    "text": ("bm25", 1.0), "embedding": ("cosine", 1.0), "near": ("distance", -1.0), "graph": ("hops", -1.0),
    "recency": ("age", -1.0), "confidence": ("confidence", 1.0),
}  # fmt: skip
ORDER = ("text", "embedding", "near", "graph", "confidence", "recency")


def explain_hit(matches: Mapping[str, Match], *, text: str = "", age: float | None = None) -> str:
    """One line, such as: text "red mug" BM25 3.10 (1st), 0.42 m away (3rd), 12 min old.

    Args:
        matches: by signal, with the scores that were fused: BM25, cosine, minus metres, minus hops, confidence, minus
            seconds; a signal of another name is given as its score.
        text: the words that were asked for.
        age: of the event [s], where no signal says it.
    """
    names = [*(name for name in ORDER if name in matches), *sorted(set(matches) - set(ORDER))]
    parts = [f"{_phrase(name, matches[name].score, text)} ({ordinal(matches[name].rank)})" for name in names]
    if age is not None and "recency" not in matches:
        parts.append(age_of(age))
    return ", ".join(parts)


def age_of(seconds: float) -> str:
    """E.g. "12 min old"; "in 3 h" for what is still to come."""
    return f"in {span(seconds)}" if seconds <= -1.0 else f"{span(seconds)} old"


def span(seconds: float) -> str:
    """The length of a time in the largest unit of which it has one, rounded down."""
    size, unit = next(((size, unit) for size, unit in UNITS if abs(seconds) >= size), UNITS[-1])
    return f"{int(abs(seconds) / size)} {unit}"


def ordinal(n: int) -> str:
    """1st, 2nd, 3rd, 4th, 11th, 21st."""
    suffix = "th" if n % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{suffix}"


def _phrase(name: str, score: float, text: str) -> str:
    if name == "text":
        short = text if len(text) <= MAX_QUERY else text[: MAX_QUERY - 3] + "..."
        return f"text {json.dumps(short, ensure_ascii=False)} BM25 {score:.2f}" if text else f"text BM25 {score:.2f}"
    if name == "embedding":
        return f"cosine {score:.2f}"
    if name == "near":
        return f"{-score:.2f} m away"
    if name == "graph":
        hops = round(-score)
        return f"{hops} link{'' if hops == 1 else 's'} away"
    if name == "recency":
        return age_of(-score)
    return f"{name} {score:.2f}"
