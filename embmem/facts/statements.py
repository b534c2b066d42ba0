"""What is said about an entity, as a record of the log and back, and what follows from it: a fact with four times."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from embmem.records import Link, Record

KINDS = ("fact", "retraction")  # of records
MAX_NAME = 1024  # characters, as of every name in the log
_JSON = json.JSONEncoder(sort_keys=True, allow_nan=False)


@dataclass(frozen=True)
class Statement:
    """Somebody says that from `valid_at` on something holds, or does not hold any more.

    A retraction without object and value is about all that `predicate` says of `subject`.
    """

    subject: str  # name of an entity, e.g. "mug-3"
    predicate: str  # e.g. "in"
    object: str | None = None  # name of another entity, e.g. "kitchen" ...
    value: Any = None  # ... or a JSON value, e.g. "open", 0.4, True
    valid_at: float = math.nan  # [s] event time, from when on; must be given
    until: float = math.inf  # [s] to when, where that is known already; exclusive
    source: str = "robot"
    confidence: float = 1.0  # [0, 1]
    evidence: tuple[int, ...] = ()  # ids of records that it was derived from: if they go, it goes
    is_retraction: bool = False

    def __post_init__(self) -> None:
        what_of(self.object, self.value)
        for name in (self.subject, self.predicate, *([] if self.object is None else [self.object])):
            if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME:
                raise ValueError(f"names must be text of 1 to {MAX_NAME} characters, got {str(name)[:40]!r}")
        if self.object is not None and self.value is not None:
            raise ValueError(f"a fact has an object or a value, got {self.object!r} and {self.value!r}")
        if self.object is None and self.value is None and not self.is_retraction:
            raise ValueError(f"say what {self.subject!r} {self.predicate!r} is: an object or a value")
        if not math.isfinite(self.valid_at):
            raise ValueError(f"valid_at must be a finite stamp [s], got {self.valid_at}")
        if not self.valid_at < self.until or (self.is_retraction and self.until != math.inf):
            raise ValueError(f"until must come after valid_at, and a retraction has none; got {self.until}")

    @property
    def what(self) -> str:
        """The object or the value as a text that is equal for equal ones; empty if there is neither."""
        return what_of(self.object, self.value)

    def record(self, *, is_many: bool = False) -> Record:
        """As it goes into the log; others may hold beside one of many."""
        payload: dict[str, Any] = {"subject": self.subject, "predicate": self.predicate}
        if self.object is not None:
            payload["object"] = self.object
        if self.value is not None:
            payload["value"] = self.value
        if is_many:
            payload["many"] = True
        named = (self.subject,) if self.object is None else (self.subject, self.object)
        said = self.object if self.value is None else self.value
        words = [self.subject, *(["no longer"] if self.is_retraction else []), self.predicate]
        return Record(
            kind=KINDS[self.is_retraction], t_event=self.valid_at, source=self.source, entities=named,
            keys=(f"fact:{self.subject}"[:MAX_NAME],), text=" ".join([*words, *([] if said is None else [str(said)])]),
            payload=payload, confidence=self.confidence, valid=(self.valid_at, self.until),
            links=tuple(Link("from", i) for i in self.evidence),
        )  # fmt: skip


class Fact(NamedTuple):
    """What held from `valid_at` to `invalid_at`, as it was believed from `created_at` to `expired_at`.

    Ends are exclusive, inf is "until now". The four times are those of Zep (Rasmussen et al., arXiv 2501.13956,
    section 2.2.3); other than there, none of them is ever written over: they follow from the log.
    """

    subject: str
    predicate: str
    object: str | None
    value: Any
    valid_at: float  # [s] event time
    invalid_at: float  # [s] event time
    created_at: float  # [s] belief time, the ingest time of the log
    expired_at: float  # [s] belief time
    source: str
    confidence: float
    ids: tuple[int, ...]  # of the records that say so, by event time

    @property
    def what(self) -> Any:
        """The object or the value."""
        return self.object if self.value is None else self.value


def what_of(object: str | None, value: Any) -> str:
    """An object or a value as a text that is equal for equal ones; 1 and 1.0 are equal, 1 and True are not."""
    if object is not None:
        return f"o{object}"
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    try:
        return f"v{_JSON.encode(value)}"
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"a value must be JSON: {error}") from error


def said_by(payload: Any, *, is_retraction: bool) -> tuple[str, str, str, bool] | None:
    """Subject, predicate, what and whether it is one of many; None for a payload that is no statement.

    A file is untrusted, and other records may be of the same kind.
    """
    if not isinstance(payload, dict):
        return None
    subject, predicate = payload.get("subject"), payload.get("predicate")
    object, value = payload.get("object"), payload.get("value")
    names = (subject, predicate) if object is None else (subject, predicate, object)
    if not all(isinstance(name, str) and 0 < len(name) <= MAX_NAME for name in names):
        return None
    if (object is not None and value is not None) or (object is None and value is None and not is_retraction):
        return None
    try:
        return str(subject), str(predicate), what_of(object, value), payload.get("many") is True
    except ValueError:
        return None


def from_what(what: str) -> tuple[str | None, Any]:
    """Object and value again."""
    return (what[1:], None) if what.startswith("o") else (None, json.loads(what[1:]) if what else None)
