"""Words of a route into steps, by nouns and the cues around them; what is not understood is left out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from embmem.policies.instructions.steps import Step
from embmem.policies.instructions.words import (
    CROSSES,
    DOORS,
    ENTERS,
    LANDMARKS,
    LEAVES,
    MORE_NAMES,
    PASSES,
    ROOMS,
    STOPS,
    STRAIGHT,
)

_JOINTS = re.compile(r"[.;]|,|\band (?=\w+)|\b(?:then|next(?! to)|after that)\b")
ROOM_NAMES: dict[str, str] = {name: names[0] for names in ROOMS for name in names}
LANDMARK_NAMES: dict[str, str] = {name: names[0] for names in LANDMARKS for name in names}


@runtime_checkable
class RouteReader(Protocol):
    """Whoever makes steps of words."""

    def parse(self, words: str) -> tuple[Step, ...]:
        """The steps in the order of the words, a stop last if there is one; empty where nothing was understood."""


class Parser:
    """Reads routes by rule.

    Args:
        more: further names and the category that each means; `words.MORE_NAMES` by default.
    """

    def __init__(self, more: Mapping[str, str] = MORE_NAMES) -> None:
        rooms, landmarks = dict(ROOM_NAMES), dict(LANDMARK_NAMES)
        for name, category in more.items():
            if category not in (*rooms.values(), *landmarks.values()):
                raise ValueError(f"{name!r} should mean {category!r}, which is neither room nor landmark")
            (rooms if category in rooms.values() else landmarks)[name] = category
        self._rooms, self._landmarks = rooms, landmarks
        names = sorted([*rooms, *landmarks], key=len, reverse=True)
        self._nouns = re.compile(r"\b(" + "|".join(map(re.escape, names)) + r")\b")

    def parse(self, words: str) -> tuple[Step, ...]:
        """The steps in the order of the words; the last one is a stop if any landmark is named at the end."""
        clauses = [clause.strip() for clause in _JOINTS.split(words.lower()) if clause.strip()]
        steps = [step for clause in clauses if (step := self._step(clause)) is not None]
        last = next((i for i in range(len(steps) - 1, -1, -1) if steps[i].landmark is not None), None)
        if last is not None and last == len(steps) - 1 and steps[last].kind != "stop":
            steps[last] = Step("stop", landmark=steps[last].landmark)
        return tuple(step for i, step in enumerate(steps) if step.kind != "stop" or i == len(steps) - 1)

    def _step(self, clause: str) -> Step | None:
        """What one clause says."""
        nouns = self._nouns.findall(clause)
        room = next((self._rooms[n] for n in nouns if n in self._rooms), None)
        landmark = next((self._landmarks[n] for n in nouns if n in self._landmarks), None)
        bare = self._nouns.sub("it", clause)
        side = next((s for s in ("left", "right") if re.search(rf"\b{s}\b", bare)), None)
        if not nouns:
            turn = "straight" if _says(bare, STRAIGHT) else side
            return None if turn is None else Step("turn", turn=turn)
        if landmark is None:
            return _of_room(bare, room)
        if _says(bare, STOPS):
            return Step("stop", landmark=landmark)
        if room is not None:
            return Step("leave", room=room, landmark=landmark)
        if _says(bare, DOORS):
            return Step("door", landmark=landmark)
        return Step("pass", landmark=landmark, side=side) if _says(bare, PASSES) or side else None


def _of_room(bare: str, room: str | None) -> Step:
    if _says(bare, LEAVES):
        return Step("leave", room=room)
    if _says(bare, ENTERS) or not _says(bare, CROSSES):
        return Step("enter", room=room)
    return Step("cross", room=room)


def _says(clause: str, cues: Sequence[str]) -> bool:
    return any(re.search(rf"\b{cue}\b", clause) for cue in cues)
