"""Which walk an instruction means: a conditional logit over all walks that the map allows.

P(walk | text) = softmax over walks of w . edits + (u + W phi_end(text)) . places + (v + V phi_begin(text)) . ways +
b[hops]: McFadden's conditional logit (Frontiers in Econometrics, 1974) with weights of the walk's end and direction
that the words modulate. It is convex, so a fit is the same wherever it is made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize
from scipy.sparse import csr_matrix

from embmem.policies.street.features import EDITS, N_LENGTHS, PLACES, WAYS, Features
from embmem.policies.street.words import Program, normalised

N_END, N_BEGIN = 40, 30  # words of the end and of the beginning that are looked at
_E, _P, _W = len(EDITS), len(PLACES), len(WAYS)


@dataclass(frozen=True, eq=False)
class Ranker:
    """Weights of a fit; see the head of the module."""

    words: dict[str, int]  # of the end
    openings: dict[str, int]  # of the beginning
    edits: Float[np.ndarray, " e"]
    places: Float[np.ndarray, "p v1"]  # the last column weighs without words
    ways: Float[np.ndarray, "w v2"]
    lengths: Float[np.ndarray, " h"]

    def scores(self, features: Features, text: str, program: Program) -> Float[np.ndarray, " n"]:
        """Log probabilities of the walks."""
        end = _vector(end_words(text, program), self.words)
        begin = _vector(begin_words(text), self.openings)
        score = (
            features.edits @ self.edits
            + features.places @ (self.places @ end)
            + features.ways @ (self.ways @ begin)
            + self.lengths[np.minimum(features.hops.astype(int), N_LENGTHS - 1)]
        )
        score = score - score.max()
        return np.asarray(score - np.log(np.exp(score).sum()))


@dataclass(frozen=True, eq=False)
class Example:
    """An instruction with the features of its walks and which one is meant."""

    text: str
    program: Program
    features: Features
    gold: int


def end_words(text: str, program: Program) -> list[str]:
    """Words and pairs of words from the last turn on, and from the last sentence on with a mark."""
    last = program.legs[-1].text.split()[-N_END:]
    sentence = [s for s in normalised(text).split(" . ") if s.strip(" .")][-1:] or [""]
    marked = [f"^{word}" for word in _grams(sentence[0].split()[-N_END:])]
    return [*_grams(last), *marked]


def begin_words(text: str) -> list[str]:
    """Words and pairs of words of the beginning."""
    return _grams(normalised(text).split()[:N_BEGIN])


def fit(examples: Sequence[Example], *, l2: float = 1.0, l2_words: float = 12.0, min_count: int = 5) -> Ranker:
    """The ranker that makes the meant walks most probable.

    Args:
        examples: what to learn from.
        l2: of the weights without words, per unit variance.
        l2_words: of the weights of words.
        min_count: texts that a word must occur in.
    """
    ends = [end_words(e.text, e.program) for e in examples]
    begins = [begin_words(e.text) for e in examples]
    words, openings = _vocabulary(ends, min_count), _vocabulary(begins, min_count)
    phi, psi = _matrix(ends, words), _matrix(begins, openings)
    problem = _Problem.stacked(examples, phi, psi)
    n = _E + _P * phi.shape[1] + _W * psi.shape[1] + N_LENGTHS
    strength = problem.split(np.full(n, l2_words))
    strength[0][:] = l2
    strength[1][:, -1] = strength[2][:, -1] = strength[3][:] = l2
    penalty = np.concatenate([part.ravel() for part in strength])
    found = minimize(problem.loss, np.zeros(n), args=(penalty,), jac=True, method="L-BFGS-B", options={"maxiter": 150})
    edits, places, ways, lengths = problem.split(found.x)
    return Ranker(words, openings, edits, places, ways, lengths)


@dataclass(frozen=True, eq=False)
class _Problem:
    """The rows of all walks of all examples, one below the other."""

    edits: np.ndarray
    places: np.ndarray
    ways: np.ndarray
    hops: np.ndarray
    first: np.ndarray  # row of each example's first walk
    owner: np.ndarray  # example of each row
    gold: np.ndarray  # rows
    phi: csr_matrix
    psi: csr_matrix

    @classmethod
    def stacked(cls, examples: Sequence[Example], phi: csr_matrix, psi: csr_matrix) -> _Problem:
        """All examples, with the words of their ends and beginnings."""
        sizes = [len(e.features.hops) for e in examples]
        first = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        stack = [
            np.concatenate([getattr(e.features, k) for e in examples]) for k in ("edits", "places", "ways", "hops")
        ]
        hops = np.minimum(stack[3].astype(int), N_LENGTHS - 1)
        gold = first + np.array([e.gold for e in examples])
        owner = np.repeat(np.arange(len(examples)), sizes)
        return cls(stack[0], stack[1], stack[2], hops, first, owner, gold, phi, psi)

    def split(self, flat: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The parts of a vector of all weights."""
        shapes = ((_E,), (_P, self.phi.shape[1]), (_W, self.psi.shape[1]), (N_LENGTHS,))
        ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
        return tuple(part.reshape(s) for part, s in zip(np.split(flat, ends[:-1]), shapes, strict=True))  # type: ignore[return-value]

    def loss(self, flat: np.ndarray, penalty: np.ndarray) -> tuple[float, np.ndarray]:
        """Negative log likelihood with its gradient."""
        edits, places, ways, lengths = self.split(flat)
        by_place, by_way = self.phi @ places.T, self.psi @ ways.T
        score = self.edits @ edits + lengths[self.hops]
        score += np.einsum("ij,ij->i", self.places, by_place[self.owner])
        score += np.einsum("ij,ij->i", self.ways, by_way[self.owner])
        top = np.maximum.reduceat(score, self.first)
        odds = np.exp(score - top[self.owner])
        total = np.add.reduceat(odds, self.first)
        loss = float((np.log(total) + top - score[self.gold]).sum() + 0.5 * (penalty * flat**2).sum())
        error = odds / total[self.owner]
        error[self.gold] -= 1
        in_places = np.add.reduceat(self.places * error[:, None], self.first, axis=0)
        in_ways = np.add.reduceat(self.ways * error[:, None], self.first, axis=0)
        gradient = np.concatenate(
            [
                self.edits.T @ error,
                (self.phi.T @ in_places).T.ravel(),
                (self.psi.T @ in_ways).T.ravel(),
                np.bincount(self.hops, error, N_LENGTHS),
            ]
        )
        return loss, gradient + penalty * flat


def _grams(words: Sequence[str]) -> list[str]:
    return [*words, *(f"{a} {b}" for a, b in pairwise(words))]


def _vocabulary(texts: Sequence[Sequence[str]], min_count: int) -> dict[str, int]:
    counts = Counter(word for words in texts for word in set(words))
    kept = sorted(word for word, n in counts.items() if n >= min_count)
    return {word: i for i, word in enumerate(kept)}


def _vector(words: Sequence[str], vocabulary: dict[str, int]) -> Float[np.ndarray, " v1"]:
    """1 for each word that is known, and 1 at the end."""
    vector = np.zeros(len(vocabulary) + 1)
    vector[[vocabulary[word] for word in words if word in vocabulary]] = 1
    vector[-1] = 1
    return vector


def _matrix(texts: Sequence[Sequence[str]], vocabulary: dict[str, int]) -> csr_matrix:
    return csr_matrix(np.array([_vector(words, vocabulary) for words in texts]))
