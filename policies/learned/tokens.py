"""What a learned policy is told and where it learns: tokens in, action out, many episodes at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int


@dataclass(frozen=True, eq=False)
class Tokens:
    """What n agents are told at one moment. Tokens are whatever a memory gives back, of any kind, in any order.

    A token has a kind (landmark node, grid cell, long-term entry, ...), the word that names it and features. The
    first `Spec.n_now` features can be had by looking; the others only a memory knows (when it was first seen, ...).
    """

    words: Int[np.ndarray, "n l"]  # the instruction, 0 where it has ended
    kinds: Int[np.ndarray, "n m"]  # 0: no token here
    names: Int[np.ndarray, "n m"]  # word that names the token, 0: none
    features: Float[np.ndarray, "n m f"]
    is_visible: Bool[np.ndarray, "n m"]  # in view now; all others are remembered
    state: Float[np.ndarray, "n s"]  # of the agent itself: what is open around it, how it has moved, what time it is

    def arrays(self) -> dict[str, np.ndarray]:
        """The fields by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True, eq=False)
class WayTokens(Tokens):
    """Tokens that say by which action what they stand for is reached, over the known map."""

    ways: Int[np.ndarray, "n m"]  # the action plus one, 0: none


@dataclass(frozen=True)
class Spec:
    """The sizes that a network must have to act in a world, and the words that it is to know."""

    vocabulary: tuple[str, ...]  # word i + 1; 0 is no word, and what is not among them is the last number
    n_kinds: int
    n_now: int  # features that can be had by looking
    n_features: int
    n_state: int
    n_actions: int
    n_words: int  # longest instruction

    @property
    def n_ids(self) -> int:
        """Numbers that words may have, none and unknown included."""
        return len(self.vocabulary) + 2

    def encode(self, texts: Sequence[str]) -> Int[np.ndarray, "n l"]:
        """The words of each text as numbers, cut off at `n_words`."""
        numbers = {word: i + 1 for i, word in enumerate(self.vocabulary)}
        result = np.zeros((len(texts), self.n_words), dtype=np.int64)
        for row, text in zip(result, texts, strict=True):
            ids = [numbers.get(word, self.n_ids - 1) for word in text.lower().split()][: self.n_words]
            row[: len(ids)] = ids
        return result

    def as_json(self) -> dict[str, Any]:
        """Plain values; `Spec.from_json` takes them back."""
        told = {field.name: getattr(self, field.name) for field in fields(self)}
        return {**told, "vocabulary": list(self.vocabulary)}

    @classmethod
    def from_json(cls, told: Any) -> Spec:
        """The spec that `as_json` wrote.

        Raises:
            ValueError: if it is anything else.
        """
        names = {field.name for field in fields(cls)}
        if not isinstance(told, dict) or set(told) != names:
            raise ValueError(f"a spec has the fields {sorted(names)}, got {told!r:.200}")
        words = told["vocabulary"]
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise ValueError("the vocabulary of a spec must be a list of words")
        sizes = {name: told[name] for name in names - {"vocabulary"}}
        if any(type(size) is not int or not 0 <= size <= 100_000 for size in sizes.values()):
            raise ValueError(f"the sizes of a spec must be whole numbers from 0 to 100000, got {sizes}")
        return cls(vocabulary=tuple(words), **sizes)


@runtime_checkable
class TokenWorld(Protocol):
    """n episodes that run side by side, all for `n_steps` steps; those that have ended stand still."""

    n: int
    n_steps: int
    spec: Spec

    def reset(self, rng: np.random.Generator) -> Tokens:
        """Begin n new episodes; all randomness comes from `rng`."""

    def step(self, actions: Int[np.ndarray, " n"]) -> Tokens:
        """Act; what an agent does while it is shown around is ignored."""

    def expert(self) -> Float[np.ndarray, "n a"]:
        """How good an action is for the teacher: a distribution over its best ones, all 0 while not acting."""

    def scores(self) -> dict[str, np.ndarray]:
        """(n,) values of the episodes so far: at least `success` [0, 1]."""
