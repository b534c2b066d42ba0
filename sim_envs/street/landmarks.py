"""A semi-synthetic world of landmarks: what the instructions mention, placed on the graph along their gold routes.

There are no pictures here. A phrase of an instruction is put beside the part of its route that the clause describes:
between the turns before and after it, at the corner if it is said to be at a corner, near the goal if the last
sentence names it; a few places off by chance. So a landmark lies where the writer may have seen it, not where it is.
Only comparisons inside this world mean anything.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.spatial import cKDTree

from embmem.maps.streets import StreetMap
from embmem.maps.streets.legs import bearing, crossings
from embmem.policies.street.words import TURN
from embmem.sim_envs.street.episodes import StreetEpisode

DIM = 64
JITTER = 2  # places that a landmark may lie off
SIDE = 12.0  # [m] from the middle of the street
PLAIN = (
    "bike rental", "bus stop", "subway entrance", "parking garage", "parking lot", "playground", "church", "school",
    "park", "garden", "bank", "hotel", "museum", "library", "gas station", "scaffolding", "fire hydrant", "mailbox",
    "awning", "fence", "bridge", "construction", "dumpster", "mural", "bench", "tree", "flag", "theater", "hospital",
)  # fmt: skip
_NOT_NAMES = {
    "a", "after", "ahead", "almost", "an", "and", "as", "at", "bear", "before", "begin", "by", "continue",
    "cross", "destination", "do", "don't", "first", "follow", "for", "go", "head", "if", "immediately", "in",
    "it", "just", "keep", "left", "make", "move", "next", "on", "once", "orient", "pass", "past", "proceed",
    "right", "second", "shortly", "start", "stop", "straight", "take", "that", "the", "then", "there",
    "third", "this", "to", "turn", "walk", "when", "with", "you", "your",
}  # fmt: skip
_NAME = re.compile(r"\b[A-Z0-9][\w'&.-]*(?: (?:[A-Z0-9&][\w'&.-]*|of|the|and|de|&))*")
_PLAIN = re.compile(rf"\b(?:{'|'.join(PLAIN)})\b")


@dataclass(frozen=True)
class Mention:
    """A landmark phrase of an instruction."""

    phrase: str
    leg: int  # how many turns are told before it
    share: float  # [0, 1], how far into its leg's words
    is_last: bool  # in the last sentence
    is_corner: bool
    side: int  # 1 right, -1 left, 0 not said


@dataclass(frozen=True, eq=False)
class LandmarkWorld:
    """Landmarks on the map."""

    phrases: tuple[str, ...]
    xy: Float[np.ndarray, "n 2"]  # [m]
    embeddings: Float[np.ndarray, "n d"]  # unit rows

    def __post_init__(self) -> None:
        object.__setattr__(self, "_tree", cKDTree(self.xy))

    def near(self, point: Float[np.ndarray, "2"], radius: float) -> list[int]:
        """Landmarks within a radius [m], in the order of their numbers."""
        tree: cKDTree = self._tree  # type: ignore[attr-defined]
        return sorted(tree.query_ball_point(point, radius))


def embed(phrase: str) -> Float[np.ndarray, " d"]:
    """A unit vector that every occurrence of a phrase shares and no other phrase comes near; there is no encoder."""
    seed = int.from_bytes(hashlib.sha256(phrase.encode()).digest()[:8], "little")
    vector = np.random.default_rng(seed).normal(size=DIM)
    return vector / np.linalg.norm(vector)


def mentions(text: str) -> list[Mention]:
    """The landmark phrases of an instruction, in order: proper names, and plain things from a list."""
    last = max((m.end() for m in re.finditer(r"[.!?]\s", text.rstrip())), default=0)
    turns = [m.end() for m in TURN.finditer(text.lower())]
    marks = [0, *turns, len(text)]
    found = []
    for m in sorted([*_names(text), *((m.start(), m.group(0)) for m in _PLAIN.finditer(text.lower()))]):
        begin, phrase = m
        leg = sum(begin >= turn for turn in turns)
        low, high = marks[leg], marks[leg + 1]
        around = text[max(0, begin - 40) : begin + len(phrase) + 40].lower()
        side = 1 if re.search(r"\bright\b", around) else -1 if re.search(r"\bleft\b", around) else 0
        share = (begin - low) / max(1, high - low)
        found.append(Mention(phrase.lower(), leg, share, begin >= last, "corner" in around, side))
    return found


def _names(text: str) -> list[tuple[int, str]]:
    names = []
    for m in _NAME.finditer(text):
        words = m.group(0).split()
        begin = m.start()
        while words and words[0].lower().strip(".'") in _NOT_NAMES:
            begin += len(words.pop(0)) + 1
        while words and (words[-1].lower().strip(".'") in _NOT_NAMES or words[-1].islower()):
            words.pop()
        phrase = " ".join(words).rstrip(".,'-")
        if len(phrase) > 2 and not re.fullmatch(r"\d+\w{0,2}", phrase):
            names.append((begin, phrase))
    return names


def place_landmarks(streets: StreetMap, episodes: Sequence[StreetEpisode], rng: np.random.Generator) -> LandmarkWorld:
    """All landmarks of some instructions, where their gold routes have them; one that stands there already is kept."""
    phrases: list[str] = []
    points: list[np.ndarray] = []
    seen: set[tuple[str, int]] = set()
    for episode in episodes:
        for mention in mentions(episode.text):
            at = _index(streets, episode, mention, rng)
            place = episode.route[at]
            side = mention.side or int(rng.choice((-1, 1)))
            if (mention.phrase, place) in seen:
                continue
            seen.add((mention.phrase, place))
            behind = episode.route[max(0, at - 1)]
            ahead = bearing(streets, behind, place if at else episode.route[1])
            angle = np.radians(ahead + 90 * side)
            phrases.append(mention.phrase)
            points.append(streets.xy[place] + SIDE * np.array([np.sin(angle), np.cos(angle)]))
    embeddings = np.array([embed(phrase) for phrase in phrases]).reshape(-1, DIM)
    return LandmarkWorld(tuple(phrases), np.array(points).reshape(-1, 2), embeddings)


def _index(streets: StreetMap, episode: StreetEpisode, mention: Mention, rng: np.random.Generator) -> int:
    """Where on its route a landmark is put."""
    route = episode.route
    turns = [c.last for c in crossings(streets, route) if c.symbol != "S"]
    marks = [0, *turns, len(route) - 1]
    leg = min(mention.leg, len(marks) - 2)
    jitter = int(rng.integers(-JITTER, JITTER + 1))
    if mention.is_last:
        at = len(route) - 1
    elif mention.is_corner:
        at = marks[leg + 1]
    else:
        at = round(marks[leg] + mention.share * (marks[leg + 1] - marks[leg]))
    return int(np.clip(at + jitter, 0, len(route) - 1))
