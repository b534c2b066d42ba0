"""Instructions of a household as requests, by rule: what is to be moved, where to, under which condition.

The grammar knows sentence forms, not vocabularies: whatever stands between a verb and a preposition names things, what
follows it a place. What has neither is a `Routine`, which only somebody who was told before can follow.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Thing:
    """What a phrase calls for; `phrase` is as it was said."""

    kind: str  # named, it, other, personal, everything
    words: tuple[str, ...]  # e.g. ("red", "mug"); none for "it"
    phrase: str


@dataclass(frozen=True)
class Spot:
    """Where to: a receptacle by words, perhaps in a kind of room; or `back`; or where another thing is."""

    words: tuple[str, ...] = ()
    room: tuple[str, ...] = ()
    is_back: bool = False
    beside: Thing | None = None


@dataclass(frozen=True)
class Move:
    """Bring things to a spot, in this order."""

    things: tuple[Thing, ...]
    spot: Spot
    source: Spot | None = None  # of "everything on the table"


@dataclass(frozen=True)
class If:
    """Do `then` if the thing is in the state, else `otherwise`."""

    thing: Thing
    state: str
    then: tuple[Move, ...]
    otherwise: tuple[Move, ...]


@dataclass(frozen=True)
class Routine:
    """What somebody calls by a name of their own."""

    phrase: str


Request: TypeAlias = Move | If | Routine

_LEAD = re.compile(
    r"^(?:(?:please|first|then|next|finally|and|also|afterwards|after that|lastly|now|so|additionally),?\s+"
    r"|(?:can|could|would|will) you (?:please )?(?:first )?|i would like you to |i want you to |i need you to )",
    re.IGNORECASE,
)
_VERB = r"(?:put|place|move|bring|carry|take|set|lay|return|get)"
_TO = r"(?:onto|on top of|on|into|inside|in|over to|to)"
_DET = r"(?:the|my|our|a|an|another|its|where)\s+"
_SENTENCE = re.compile(r"(?<=[.?!;])\s+|,?\s+(?:and\s+)?then\s+|,?\s+after that,?\s+|,\s+and finally\s+", re.IGNORECASE)
_MOVE = re.compile(
    rf"^{_VERB}\s+(?P<things>.+?)(?<!belonged)(?<!belongs)\s+(?P<to>back\b.*|{_TO}\s+{_DET}.+|where\s+.+)$",
    re.IGNORECASE,
)
_FRONTED = re.compile(rf"^(?P<to>{_TO}\s+[^,]+),\s+(?P<rest>{_VERB}\s+.+)$", re.IGNORECASE)
_IF = re.compile(r"^(?:if|in case)\s+(?P<thing>.+?)\s+(?:is|are)\s+(?P<state>\w+),\s+(?P<then>.+)$", re.IGNORECASE)
_ELSE = re.compile(r"[,;]\s*(?:otherwise|or else|else|if not),?\s+", re.IGNORECASE)
_WHERE = re.compile(r"^(?:to\s+)?where\s+(?P<thing>.+?)\s+(?:is|lies|stands)$", re.IGNORECASE)
_BACK = re.compile(
    r"^back\b|^(?:to\s+)?where\s+(?:it\s+(?:was|came from|belongs)|you\s+\w+\s+it\b)|^to its old place", re.IGNORECASE
)
_EVERYTHING = re.compile(
    r"^(?:everything|all things)\s+(?:that\s+(?:is|lies|stands)\s+)?(?P<source>(?:on|in|from)\s+(?:the|my)\s+[\w ]+?"
    rf"(?:\s+in\s+(?:the|my)\s+[\w ]+?)?)\s+(?P<to>{_TO}\s+(?:the|my)\s+.+)$",
    re.IGNORECASE,
)
_ROOM = re.compile(r"^(?P<spot>.+?)\s+(?:in|of)\s+(?:the|my)\s+(?P<room>[\w ]+)$", re.IGNORECASE)
_ARTICLE = re.compile(r"^(?:the|a|an|my|our|that|this)\s+", re.IGNORECASE)
_AND = re.compile(r"\s*,\s*(?:and\s+)?|\s+and\s+|\s+as well as\s+", re.IGNORECASE)
_JOINED = re.compile(rf"\s+and\s+(?=(?:the other|{_VERB}\b))", re.IGNORECASE)
_MEANT = re.compile(r"\b(?:my|that|which|from|for|i)\b", re.IGNORECASE)


def parse(instruction: str) -> list[Request]:
    """The requests of an instruction in its order; what is no request of this kind is a `Routine`."""
    requests: list[Request] = []
    for sentence in _SENTENCE.split(_joined_otherwise(instruction)):
        text = _bare(sentence)
        if text:
            requests += _requests(text)
    return requests


def noun_phrases(text: str) -> list[tuple[str, ...]]:
    """Every "the red mug" of a text as words, in its order: up to the next verb, preposition, comma or full stop."""
    found = re.findall(r"\bthe\s+((?:\w+\s?)+?)(?=\s*(?:[,.;!?]|$|\b(?:is|are|was|were|and|as|that|which|"
                       r"on|onto|in|into|inside|to|from|for|of|next|with)\b))", text, re.IGNORECASE)  # fmt: skip
    return [_words(phrase) for phrase in found]


def _joined_otherwise(instruction: str) -> str:
    """One sentence of "If ..., do this. Otherwise, do that."."""
    return re.sub(r"[.;]\s+(otherwise|if not),?\s+", r", \1 ", instruction, flags=re.IGNORECASE)


def _bare(sentence: str) -> str:
    text = sentence.strip().rstrip(".?!;,").strip()
    text = re.sub(r",?\s+please$", "", text, flags=re.IGNORECASE)
    while match := _LEAD.match(text):
        text = text[match.end() :]
    return text


def _requests(text: str) -> list[Request]:
    if match := _IF.match(text):
        then, *otherwise = _ELSE.split(match["then"], maxsplit=1)
        return [If(_thing(match["thing"]), match["state"].lower(), _moves(then), _moves(" ".join(otherwise)))]
    moves = _moves(text)
    return list(moves) if moves else [Routine(text)]


def _moves(text: str) -> tuple[Move, ...]:
    """The moves of a sentence: "put A on B and the other one on C" are two of them; none if it is no such sentence."""
    text = _bare(text)
    if match := _FRONTED.match(text):
        text = f"{match['rest']} {match['to']}"
    clauses = _JOINED.split(text)
    moves: list[Move] = []
    for clause in clauses:
        whole = clause if re.match(_VERB + r"\b", clause, re.IGNORECASE) else f"put {clause}"
        match = _MOVE.match(whole) if moves or whole == clause else None
        if match is None:
            return _moves_of_one(text) if len(clauses) > 1 else ()
        moves.append(_move(match["things"], match["to"]))
    return tuple(moves)


def _moves_of_one(text: str) -> tuple[Move, ...]:
    match = _MOVE.match(text)
    return () if match is None else (_move(match["things"], match["to"]),)


def _move(things: str, to: str) -> Move:
    if match := _EVERYTHING.match(f"{things} {to}"):
        source = re.sub(r"^from\b", "on", match["source"], flags=re.IGNORECASE)
        return Move((Thing("everything", (), "everything"),), _spot(match["to"]), _spot(source))
    return Move(tuple(_thing(phrase) for phrase in _AND.split(things) if phrase.strip()), _spot(to))


def _thing(phrase: str) -> Thing:
    said = phrase.strip()
    low = said.lower()
    if low in ("it", "them", "that", "both"):
        return Thing("it", (), said)
    if match := re.match(r"^the other(?:\s+(?!one\b)(.+)|\s+one)?$", low):
        return Thing("other", _words(match[1] or ""), said)
    if low.startswith(("everything", "all i need", "what i need")) or _MEANT.search(low):
        return Thing("personal", _words(_ARTICLE.sub("", said)), said)
    return Thing("named", _words(_ARTICLE.sub("", said)), said)


def _spot(to: str) -> Spot:
    low = to.strip().lower()
    if _BACK.match(low):
        return Spot(is_back=True)
    if match := _WHERE.match(low):
        return Spot(beside=_thing(match["thing"]))
    place = re.sub(rf"^{_TO}\s+", "", low)
    room: tuple[str, ...] = ()
    if match := _ROOM.match(place):
        place, room = match["spot"], _words(match["room"])
    return Spot(_words(_ARTICLE.sub("", place)), room)


def _words(phrase: str) -> tuple[str, ...]:
    return tuple(re.findall(r"[\w'-]+", phrase.lower()))
