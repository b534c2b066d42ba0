"""What an instruction says of turns and junctions: a small grammar of phrases, no learning.

The grammar was written with the texts of Map2Seq's seen dev split at hand; it has seen no other.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

Turn = Literal["L", "R"]

NUMBERS = {
    "a": 1, "one": 1, "another": 1, "two": 2, "both": 2, "couple": 2, "three": 3, "four": 4, "five": 5, "six": 6,
    "first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6, "double": 2,
}  # fmt: skip
_NUMBER = r"\d(?:st|nd|rd|th)?|" + "|".join(sorted(NUMBERS, key=len, reverse=True))
_FILL = r"(?:\w+(?:-\w+)? ){0,3}?"
_NOUN = r"(?:traffic ?lights?|stop ?lights?|lights?|intersections?|crossings?|crossroads?|stop signs?|sets? of lights|sets?|t-intersections?|side streets?|cross streets?|junctions?|corners?|one)"  # noqa: E501
_VERBS = r"turn|turning|make|making|take|taking|hang|hanging|bear|veer|veering|go|going|head|heading|keep|hook"
_BETWEEN = r"(?:(?:a|an|the|your|another|sharp|slight|hard|very|immediate|immediately|quick|next|first|second|third|last|final|1st|2nd|3rd|possible|to|all|way|off) )*"  # noqa: E501
TURN = re.compile(
    rf"\b(?:{_VERBS}) {_BETWEEN}(left|right)\b(?! (?:through|past|across|side|hand side))"
    r"|\b(?:and|then) (left|right)(?= (?:at|onto) )"
)
NOT = re.compile(r"\b(?:do not|don't|dont|without|ignore|instead of|not) (?:\w+ ){0,2}$")
AROUND = re.compile(r"\bu-?turn|\bturn (?:back )?around\b")
PASS = re.compile(
    rf"\b(?:through|thru|past|pass|passing|passes|cross|crossing|across|ignore|straight at)\b {_FILL}(?:({_NUMBER}) )?(?:more |other |next |full |sets? of |traffic |stop )*{_NOUN}\b"  # noqa: E501
)
AT = re.compile(
    rf"\b(?:at|to|reach|reaching|until|til|hit|see|in|into|before|on) {_FILL}(?:({_NUMBER}) )?(?:more |next |following |set of |sets of |traffic |stop |large |main |4-way |3-way |four-way |t )*{_NOUN}\b"  # noqa: E501
)
STOP = re.compile(r"\bstop(?! ?(?:light|sign))\w*\b|\bdestination\b")


@dataclass
class Leg:
    """What is done up to a turn, or up to the end."""

    n_pass: int  # junctions that are gone through
    turn: Turn | None  # None: the last leg
    text: str = ""


@dataclass(frozen=True)
class Program:
    """An instruction as legs; the last has no turn."""

    legs: tuple[Leg, ...]
    stops_at_junction: bool

    @property
    def symbols(self) -> str:
        """The crossings as `Crossing.symbol` writes them: S for each that is passed, L and R for turns."""
        return "".join("S" * leg.n_pass + (leg.turn or "") for leg in self.legs) + "S" * self.stops_at_junction


@dataclass
class _State:
    n_pass: int = 0
    ordinal: int = 0
    begin: int = 0
    legs: list[Leg] = field(default_factory=list)

    def close(self, turn: Turn | None, text: str, end: int) -> None:
        n = max(self.n_pass, self.ordinal - 1)
        self.legs.append(Leg(min(n, 8), turn, text[self.begin : end]))
        self.n_pass, self.ordinal, self.begin = 0, 0, end


def normalised(text: str) -> str:
    """Lower case, one kind of apostrophe, single spaces, punctuation as words of its own."""
    text = text.lower().replace("\u2019", "'").replace("right-hand", "righthand").replace("left-hand", "lefthand")
    text = re.sub(r"([.,;:!?()\"])", r" \1 ", text)
    return re.sub(r"\s+", " ", text).strip()


def parse(text: str) -> Program:
    """The program of an instruction."""
    text = normalised(text)
    found = [
        (m.start(), m.end(), kind, m)
        for kind, p in (("turn", TURN), ("pass", PASS), ("at", AT))
        for m in p.finditer(text)
    ]
    state, covered = _State(), 0
    for begin, end, kind, m in sorted(found, key=lambda f: (f[0], f[2] != "turn")):
        if begin < covered and kind != "turn":
            continue
        if kind == "turn":
            if NOT.search(text[max(0, begin - 24) : begin]):
                continue
            covered = _at_turn(state, text, m)
        elif kind == "pass":
            _pass(state, m)
        else:
            _at(state, m)
        covered = max(covered, end)
    rest = text[state.begin :]
    state.close(None, text, len(text))
    stop = STOP.search(rest)
    return Program(tuple(state.legs), bool(stop and _AT_JUNCTION.search(rest[stop.start() :])))


_WHERE = r"in|at|inside|just past|right past|past|after|just after|right after|once through|across"
_AT_JUNCTION = re.compile(rf"^\w+ (?:\w+ ){{0,3}}?(?:{_WHERE}) (?:\w+ ){{0,4}}?{_NOUN}\b")


def _at_turn(state: _State, text: str, m: re.Match[str]) -> int:
    """A turn; `take the second left` and `turn left at the third light` say how many junctions lie before it.

    Returns where the phrase ends.
    """
    after = AT.match(text, m.end() + 1)
    if after is not None:
        state.ordinal = max(state.ordinal, _count(after.group(1), default=0))
    inner = re.search(rf"\b({_NUMBER}) (?:\w+ )?(?:left|right)$", m.group(0))
    if inner is not None and inner.group(1) not in ("a", "another", "one"):
        state.ordinal = max(state.ordinal, _count(inner.group(1), default=0))
    state.close("L" if m.group(0).endswith("left") else "R", text, m.end())
    return m.end() if after is None else after.end()


def _pass(state: _State, m: re.Match[str]) -> None:
    number = m.group(1)
    n = _count(number, default=1)
    is_ordinal = number is not None and (number[-2:] in ("st", "nd", "rd", "th") or number in _ORDINALS)
    if is_ordinal and n > 1:
        state.n_pass = max(state.n_pass + 1, n)
    else:
        state.n_pass += n


def _at(state: _State, m: re.Match[str]) -> None:
    n = _count(m.group(1), default=0)
    if n > 1 and n <= state.n_pass:  # counted from where the last count ended
        n += state.n_pass
    state.ordinal = max(state.ordinal, n)


_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")


def _count(number: str | None, *, default: int) -> int:
    if number is None:
        return default
    return int(number[0]) if number[0].isdigit() else NUMBERS[number]
