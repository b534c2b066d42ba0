"""What was tried, and what came of it: plans that worked, plans that failed and why, programs that people taught.

After MINDSTORES (Chari et al., arXiv 2501.19318: experiences as state, task, plan, outcome), RAP (Kagaya et al., arXiv
2402.03610: retrieval by several keys at once) and HELPER (Sarch et al., EMNLP 2023: language-program pairs that grow
with use, repairs filed under the error that they repair). Everything is a record of the log: withdrawn or purged, it
is forgotten here too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from embmem.encoders import HashingEncoder
from embmem.encoders.protocols import TextEncoder
from embmem.protocols import Store, Ticket
from embmem.records import Query, Record

KINDS = ("experience", "program")
MAX_TEXT = 4000  # characters of a field
MAX_STEPS = 200
_MOST = 2**31 - 1
# What is quoted, and names such as table_3; the apostrophe of "can't" quotes nothing.
_NAME = re.compile(r"""(?<!\w)(["'`])[^"'`]*\1(?!\w)|\w*[\d_]\w*""")
_NO_WORD = re.compile(r"[^\w#]+")


@dataclass(frozen=True)
class Experience:
    """One attempt at a task."""

    task: str
    plan: tuple[str, ...]  # the steps as text
    ok: bool
    state: str = ""  # what was seen when it began, in words
    reason: str = ""  # why it failed
    repaired: str = ""  # the error after which this was tried

    def __post_init__(self) -> None:
        texts = (self.task, self.state, self.reason, self.repaired, *self.plan)
        if not self.task.strip() or len(self.plan) > MAX_STEPS or max(map(len, texts)) > MAX_TEXT:
            raise ValueError(
                f"need a task, at most {MAX_STEPS} steps and {MAX_TEXT} characters a text; got {self.task[:40]!r}, "
                f"{len(self.plan)} steps, up to {max(map(len, texts))} characters"
            )
        if any("\ud800" <= char <= "\udfff" for text in texts for char in text):
            raise ValueError(f"texts must be valid Unicode, got {texts!r:.200}")


class Remembered(NamedTuple):
    """An experience that came to mind."""

    experience: Experience
    score: float  # weighted mean of the cosines, at most 1
    why: str
    id: int  # of the record


@dataclass(frozen=True)
class KeyWeights:
    """How much each key of a question counts; only those that are asked by do."""

    task: float = 1.0
    plan: float = 0.5
    state: float = 0.5

    def __post_init__(self) -> None:
        if not (0.0 < self.task < math.inf and 0.0 <= self.plan < math.inf and 0.0 <= self.state < math.inf):
            raise ValueError(f"weights must be finite and not negative, that of the task positive, got {self}")


class ExperienceStore:
    """Experiences and taught programs in the record log, found by what they are like."""

    def __init__(
        self,
        store: Store,
        *,
        encoder: TextEncoder | None = None,
        weights: KeyWeights | None = None,
        n_cached: int = 4096,
    ) -> None:
        """On a store, which may hold other records as well.

        Args:
            store: the log.
            encoder: of texts to unit vectors; compares spellings if not given.
            weights: of the keys.
            n_cached: embeddings of texts that are held in RAM.
        """
        if n_cached < 1:
            raise ValueError(f"a cache needs room for a text, got n_cached={n_cached}")
        self.store, self.weights = store, weights or KeyWeights()
        self._encoder: TextEncoder = encoder or HashingEncoder()
        self._vectors: dict[str, np.ndarray] = {}
        self._n_cached = n_cached

    def add(self, experience: Experience, *, stamp: float, source: str = "robot") -> Ticket:
        """Remember an attempt of the time `stamp` [s], whether it worked or not."""
        keys = [f"error:{error_key(text)}" for text in (experience.reason, experience.repaired) if text]
        said = (experience.task, experience.reason)
        return self.store.write(_record("experience", experience, stamp, source, tuple(dict.fromkeys(keys)), said))

    def teach(self, phrase: str, program: Sequence[str], *, stamp: float, source: str = "person") -> Ticket:
        """Remember what a phrase means as a program, step by step."""
        pair = Experience(phrase, tuple(program), ok=True)
        return self.store.write(_record("program", pair, stamp, source, (), (phrase,)))

    def similar(
        self, task: str, *, plan: Sequence[str] = (), state: str = "", ok: bool | None = None, k: int = 5
    ) -> list[Remembered]:
        """The `k` attempts most like this one; ties newest first.

        Args:
            task: in words.
            plan: steps that are considered; not compared if empty.
            state: what is seen now; not compared if empty.
            ok: only what worked, or only what failed.
            k: at most so many.
        """
        found = [(i, e) for i, e in self._read("experience") if ok is None or e.ok == ok]
        asked = {"task": (self.weights.task, task)}
        if plan:
            asked["plan"] = (self.weights.plan, "\n".join(plan))
        if state:
            asked["state"] = (self.weights.state, state)
        return self._rank(found, asked, k)

    def programs(self, phrase: str, *, k: int = 3) -> list[Remembered]:
        """The taught programs whose phrases are most like this one."""
        return self._rank(self._read("program"), {"task": (1.0, phrase)}, k)

    def repairs(self, error: str, *, task: str = "", k: int = 3, least: float = 0.5) -> list[Remembered]:
        """What worked after such an error, the very same error before similar ones.

        Args:
            error: as the world worded it; names in it do not count.
            task: what is being done, if it is to count too.
            k: at most so many.
            least: cosine that a similar error must have.
        """
        _check(k)
        key = error_key(error)
        found = [(i, e) for i, e in self._read("experience") if e.ok and e.repaired]
        if not found:
            return []
        alike = self._embed([error_key(e.repaired) for _, e in found]) @ self._embed([key])[0]
        same = np.array([error_key(e.repaired) == key for _, e in found])
        alike = np.where(same, 1.0, alike)
        fits = self._embed([e.task for _, e in found]) @ self._embed([task])[0] if task else np.zeros(len(found))
        order = sorted(np.flatnonzero(alike >= least).tolist(), key=lambda j: (-alike[j], -fits[j], -found[j][0]))
        return [
            Remembered(
                found[j][1], float(alike[j]), f"after {'the same' if same[j] else 'a similar'} error", found[j][0]
            )
            for j in order[:k]
        ]

    def _rank(
        self, found: list[tuple[int, Experience]], asked: dict[str, tuple[float, str]], k: int
    ) -> list[Remembered]:
        _check(k)
        if not found:
            return []
        total = sum(weight for weight, _ in asked.values())
        cosines = {
            key: self._embed([_text(e, key) for _, e in found]) @ self._embed([text])[0]
            for key, (_, text) in asked.items()
        }
        scores = sum((w / total * cosines[key] for key, (w, _) in asked.items()), np.zeros(len(found)))
        order = sorted(range(len(found)), key=lambda j: (-scores[j], -found[j][0]))[:k]
        why = [", ".join(f"{key} {c[j]:.2f}" for key, c in cosines.items()) for j in order]
        return [Remembered(found[j][1], float(scores[j]), w, found[j][0]) for j, w in zip(order, why, strict=True)]

    def _read(self, kind: str) -> list[tuple[int, Experience]]:
        """All that is believed, as (record id, experience); records of others are left out."""
        records = self.store.read(Query(kind=kind, k=_MOST))
        pairs = [(record.id, _experience(record.payload)) for record in records]
        return [(i, e) for i, e in pairs if i is not None and e is not None]

    def _embed(self, texts: Sequence[str]) -> np.ndarray:
        """(n, d) unit vectors; an empty text is alike to nothing."""
        known = dict(self._vectors)
        new = [text for text in dict.fromkeys(texts) if text not in known]
        if new:
            vectors = np.asarray(self._encoder(new), dtype=np.float64)
            known |= {text: v * bool(text.strip()) for text, v in zip(new, vectors, strict=True)}
            self._vectors = dict(list(known.items())[-self._n_cached :])
        return np.array([known[text] for text in texts])


def error_key(error: str) -> str:
    """The error without the names in it, by which repairs are filed: `no way to #`."""
    return _NO_WORD.sub(" ", _NAME.sub("#", error.casefold())).strip()[:200]


def _check(k: int) -> None:
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")


def _text(experience: Experience, key: str) -> str:
    return "\n".join(experience.plan) if key == "plan" else str(getattr(experience, key))


def _record(
    kind: str, experience: Experience, stamp: float, source: str, keys: tuple[str, ...], said: tuple[str, ...]
) -> Record:
    payload = asdict(experience) | {"plan": list(experience.plan)}
    text = ": ".join(part for part in said if part)
    return Record(kind=kind, t_event=stamp, source=source, keys=keys, text=text, payload=payload)


def _experience(payload: Any) -> Experience | None:
    """None for a payload that is none: a file is untrusted, and other records may be of the same kind."""
    if not isinstance(payload, dict):
        return None
    plan, ok = payload.get("plan"), payload.get("ok")
    if not isinstance(plan, list) or not isinstance(ok, bool):
        return None
    texts = [payload.get(key) for key in ("task", "state", "reason", "repaired")]
    said = [text for text in (*texts, *plan) if isinstance(text, str)]
    if len(said) != len(texts) + len(plan):
        return None
    task, state, reason, repaired, *steps = said
    try:
        return Experience(task, tuple(steps), ok, state, reason, repaired)
    except ValueError:
        return None
