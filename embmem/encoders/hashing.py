"""Texts as hashed n-grams: no weights, the same numbers on every machine."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Float

BATCH = 1 << 16  # characters hashed together, which bounds the working memory; a longer text alone
WORD_WEIGHTS = (1.0, 0.5)  # of single words and of pairs
CHARS = (3, 4, 5)  # lengths of the n-grams inside a word and its two borders
CHAR_WEIGHT = 0.5  # with half of it, one misspelt name in six (of a house's categories) is not the nearest any more
BASE = 0x9E3779B97F4A7C15  # odd, so it has an inverse modulo 2**64
INVERSE = pow(BASE, -1, 1 << 64)
_NO_WORD = re.compile(r"[\W_]+")


class HashingEncoder:
    """A text as the signed counts of its words, word pairs and character 3- to 5-grams in `dim` buckets.

    Signs make the cosine of two texts that of their full n-gram counts, in expectation (Weinberger et al., Feature
    hashing for large scale multitask learning, ICML 2009). Counts are dampened by a root. It compares spellings, not
    meanings: it forgives typos and endings, and knows no synonym. Only additions, products and roots in a fixed order
    are used, so the numbers are the same on every machine, bit for bit (of one Unicode version).
    """

    def __init__(self, dim: int = 384) -> None:
        if dim < 1:
            raise ValueError(f"dim must be at least 1, got {dim}")
        self.dim = dim

    def __call__(self, texts: Sequence[str]) -> Float[np.ndarray, "n d"]:
        """One unit vector a text, float32. All texts without a letter or digit share one."""
        n_chars = np.cumsum([0, *(len(text) + 1 for text in texts)])
        bounds = np.unique(np.searchsorted(n_chars[1:] // BATCH, np.arange(n_chars[-1] // BATCH + 2)))
        batches = [self._encode(texts[start:stop]) for start, stop in pairwise(bounds.tolist())]
        return np.concatenate([np.empty((0, self.dim), np.float32), *batches])

    def _encode(self, texts: Sequence[str]) -> np.ndarray:
        rows, hashes, weights = _features(["", *texts])  # the empty one stands in where signs cancel out
        order = np.lexsort((hashes, rows))
        rows, hashes, weights = rows[order], hashes[order], weights[order]
        is_first = np.append(True, (rows[1:] != rows[:-1]) | (hashes[1:] != hashes[:-1]))
        counts = np.diff(np.append(np.flatnonzero(is_first), len(rows)))
        rows, hashes = rows[is_first], hashes[is_first]
        signed = np.where(hashes >> np.uint64(63), 1.0, -1.0) * weights[is_first] * np.sqrt(counts)
        bucket = (hashes % np.uint64(self.dim)).astype(np.int64)
        size = (len(texts) + 1) * self.dim
        vectors = np.bincount(rows * self.dim + bucket, signed, size).reshape(-1, self.dim)
        is_empty = ~vectors.any(axis=1)
        vectors[is_empty] = vectors[0]
        lengths = np.sqrt(np.cumsum(vectors * vectors, axis=1)[:, -1:])  # a sum in order, unlike `np.sum`
        return (vectors / lengths).astype(np.float32)[1:]


def words(text: str) -> str:
    """Lower case words of letters and digits, one blank around each; a single blank if there is none."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return f" {_NO_WORD.sub(' ', folded).strip()} " if _NO_WORD.sub("", folded) else " "


def _features(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(m,) text, hash and weight of every n-gram; repeated ones repeat."""
    cleaned = [words(text) for text in texts]
    row = np.repeat(np.arange(len(texts)), [len(text) for text in cleaned])
    chars = np.frombuffer("".join(cleaned).encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint64)
    powers = np.cumprod(np.full(len(chars) + 1, BASE, np.uint64))
    inverses = np.cumprod(np.full(len(chars) + 1, INVERSE, np.uint64))
    prefix = np.append(np.uint64(0), np.cumsum(_mixed(chars) * powers[:-1]))  # of a polynomial modulo 2**64

    def hashed(start: np.ndarray, stop: np.ndarray, kind: int) -> np.ndarray:
        """Of the characters in [start, stop), wherever they stand."""
        return _mixed((prefix[stop] - prefix[start]) * inverses[start] + np.uint64(kind * BASE % (1 << 64)))

    blanks = np.flatnonzero(chars == ord(" "))
    found = []
    for n, weight in enumerate(WORD_WEIGHTS, start=1):
        start, stop = blanks[:-n], blanks[n:] + 1
        keep = row[start] == row[stop - 1]
        found.append((start[keep], hashed(start[keep], stop[keep], n), weight))
    n_blanks = np.append(0, np.cumsum(chars == ord(" ")))
    for n in CHARS:
        start = np.arange(max(len(chars) - n + 1, 0))
        stop = start + n
        keep = (row[start] == row[stop - 1]) & (n_blanks[stop - 1] == n_blanks[start + 1])  # none inside
        found.append((start[keep], hashed(start[keep], stop[keep], len(WORD_WEIGHTS) + n), CHAR_WEIGHT))
    alone = np.flatnonzero((chars == ord(" ")) & (np.bincount(row, minlength=len(texts))[row] == 1))
    found.append((alone, hashed(alone, alone + 1, 0), 1.0))
    return (
        np.concatenate([row[start] for start, *_ in found]),
        np.concatenate([hashes for _, hashes, _ in found]),
        np.concatenate([np.full(len(start), weight) for start, _, weight in found]),
    )


def _mixed(values: np.ndarray) -> np.ndarray:
    """Bits spread over all 64 (the finaliser of SplitMix64: Steele et al., OOPSLA 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
