"""A language model that reads told routes into steps; it is checked afterwards, and rules read what it cannot."""

from __future__ import annotations

import logging
from typing import Any

from embmem.policies.instructions.parsing import LANDMARK_NAMES, ROOM_NAMES, Parser
from embmem.policies.instructions.steps import KINDS, SIDES, TURNS, Step
from embmem.policies.language.client import ChatModel
from embmem.policies.language.fence import Fence
from embmem.policies.language.grammar import GrammarError, read_object
from embmem.policies.language.wire import ModelError
from embmem.search.quoting import quote

logger = logging.getLogger("embmem.policies.language")
MOST_STEPS = 30
MOST_WORDS = 2000  # characters of a route that a model is shown
ROOMS = tuple(sorted(set(ROOM_NAMES.values())))
LANDMARKS = tuple(sorted(set(LANDMARK_NAMES.values())))
_ABOUT = {"room": ROOMS, "landmark": LANDMARKS, "turn": TURNS, "side": SIDES}


def route_schema() -> dict[str, Any]:
    """JSON schema of an answer: a closed list of steps with closed vocabularies."""
    fields: dict[str, Any] = {"kind": {"type": "string", "enum": list(KINDS)}}
    for name, values in _ABOUT.items():
        fields[name] = {"type": ["string", "null"], "enum": [*values, None]}
    step = {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}
    return {
        "type": "object",
        "properties": {"steps": {"type": "array", "items": step}},
        "required": ["steps"],
        "additionalProperties": False,
    }


class LanguageParser:
    """Reads routes with a model, for an `InstructionAgent`.

    Args:
        model: that is asked.
        rules: read what the model gives no usable answer to.
        retries: further answers, after one that was refused.
        seed: of the fence around the words.
    """

    def __init__(self, model: ChatModel, *, rules: Parser | None = None, retries: int = 1, seed: int = 0) -> None:
        if retries < 0:
            raise ValueError(f"retries must be >= 0, got {retries}")
        self.model, self._rules, self._retries, self._seed = model, rules or Parser(), retries, seed

    def parse(self, words: str) -> tuple[Step, ...]:
        """The steps in the order of the words; those of the rules where the model has no usable answer."""
        if not words.strip():
            return ()
        why = ""
        for _ in range(1 + self._retries):
            try:
                steps = read_steps(self.model.complete(self._messages(words, why), route_schema()).text)
            except ModelError as error:
                why = str(error)
                break  # the client has tried again already
            except ValueError as error:
                why = str(error)
                continue
            logger.info("route %s", quote({"by": "model", "steps": len(steps)}))
            return steps
        logger.warning("route %s", quote({"by": "rules", "why": why[:400]}))
        return self._rules.parse(words)

    def _messages(self, words: str, problem: str) -> list[dict[str, str]]:
        """The request; a problem is what was wrong with the answer before, in our own words."""
        shown = words[:MOST_WORDS]
        fence = Fence(self._seed, shown)
        kinds = (
            "leave (out of room, perhaps by the door near landmark), door (through the door near landmark), turn, "
            "cross (through room), pass (by landmark, perhaps on a side), enter (into room), "
            "stop (in front of landmark)"
        )
        system = (
            f"A route through a house was told in words. Write it as steps in the order of the words: {kinds}. "
            f"Rooms: {', '.join(ROOMS)}. Landmarks: {', '.join(LANDMARKS)}. Use the nearest of these names; "
            f"fields that a step does not need are null. The last step is the only stop. {fence.rule}"
        )
        user = fence.wrap("route", shown) + (f"\nYour last answer was refused: {problem}" if problem else "")
        return [{"role": "system", "content": system}, {"role": "user", "content": user}]


def read_steps(text: str) -> tuple[Step, ...]:
    """The steps of an answer, whole or not at all.

    Raises:
        ValueError: saying what is wrong with it.
    """
    try:
        items = read_object(text).get("steps")
    except GrammarError as error:
        raise ValueError(str(error)) from None
    if not isinstance(items, list) or not 1 <= len(items) <= MOST_STEPS:
        raise ValueError(f"expected an object with 1 to {MOST_STEPS} steps")
    steps = tuple(_read_step(item, i) for i, item in enumerate(items))
    if [i for i, step in enumerate(steps) if step.kind == "stop"] != [len(steps) - 1]:
        raise ValueError("the last step must be the only stop")
    return steps


def _read_step(item: Any, i: int) -> Step:
    if not isinstance(item, dict) or not set(item) <= {"kind", *_ABOUT} or item.get("kind") not in KINDS:
        raise ValueError(f"step {i}: expected kind, room, landmark, turn and side")
    about = {name: item.get(name) for name in _ABOUT}
    for name, value in about.items():
        if value is not None and value not in _ABOUT[name]:
            raise ValueError(f"step {i}: {name} is none of those that exist")
    needed = {"leave": "room", "cross": "room", "enter": "room"}.get(item["kind"])
    if needed is not None and about[needed] is None:
        raise ValueError(f"step {i}: {item['kind']} needs a room")
    return Step(item["kind"], **about)
