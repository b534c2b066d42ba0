"""Words that send a robot somewhere, as the places that they name in their order: by rule, or by a language model.

"First go to the kitchen, then to the red mug on the table" has two stops. A text without such joints is one stop as it
stands: what it means is for the memory to find out. Whatever a model answers is checked; it is shown the words of the
operator alone, nothing that was seen in the world.
"""

from __future__ import annotations

import logging
import re
from typing import Any

from embmem.driving import Stop
from embmem.policies.language.client import ChatModel
from embmem.policies.language.fence import Fence
from embmem.policies.language.grammar import GrammarError, read_object
from embmem.policies.language.wire import ModelError
from embmem.search.quoting import is_plain, quote

logger = logging.getLogger("embmem.policies.language")
MOST_STOPS = 8
MOST_WORDS = 1000  # characters of a text
_MOST_LETTERS = 120  # of a stop that a model names
_JOINT = re.compile(
    r"\s*(?:[.;]\s+|,?\s+(?:and\s+)?(?:then|after that|afterwards|finally|lastly)\b,?\s*|\n+)", re.IGNORECASE
)
_LEAD = re.compile(
    r"^(?:(?:please|first|next|then|now|finally|afterwards|after that|and|so),?\s+"
    r"|(?:can|could|would|will) you (?:please )?"
    r"|(?:i (?:want|need|would like) you to)\s+"
    r"|(?:go|drive|move|navigate|head|walk|come|return|travel|get|run)(?:\s+back)?(?:\s+(?:over|up|along))?"
    r"\s+(?:to|towards?|into|in front of|next to|near|by)\s+|(?:find|visit|approach|look for|search for|show me)\s+"
    r"|(?:to|towards)\s+(?=the\b|my\b|a\b|an\b))",
    re.IGNORECASE,
)
_ARTICLE = re.compile(r"^(?:the|a|an)\s+(?=\S)", re.IGNORECASE)


class RuleStopReader:
    """Reads stops by the joints between them; the verbs that lead to a place are left out."""

    def read(self, words: str) -> tuple[Stop, ...]:
        """The stops in the order of the words; more than `MOST_STOPS` are none."""
        parts = [_bare(part) for part in _JOINT.split(words[:MOST_WORDS])]
        stops = tuple(Stop(part) for part in parts if part)
        return stops if len(stops) <= MOST_STOPS else ()


class LanguageStopReader:
    """Reads stops with a model, and by rule where it has no usable answer.

    Args:
        model: that is asked.
        rules: read what it cannot.
        retries: further answers, after one that was refused.
        seed: of the fence around the words.
    """

    def __init__(
        self, model: ChatModel, *, rules: RuleStopReader | None = None, retries: int = 1, seed: int = 0
    ) -> None:
        if retries < 0:
            raise ValueError(f"retries must be >= 0, got {retries}")
        self._model, self._rules, self._retries, self._seed = model, rules or RuleStopReader(), retries, seed

    def read(self, words: str) -> tuple[Stop, ...]:
        """The stops in the order of the words."""
        why = ""
        for _ in range(1 + self._retries if words.strip() else 0):
            try:
                return read_stops(self._model.complete(self._messages(words, why), stops_schema()).text)
            except ModelError as error:
                why = str(error)
                break  # the client has tried again already
            except ValueError as error:
                why = str(error)
        logger.warning("stops %s", quote({"by": "rules", "why": why[:400]}))
        return self._rules.read(words)

    def _messages(self, words: str, problem: str) -> list[dict[str, str]]:
        """The request; a problem is what was wrong with the answer before, in our own words."""
        shown = words[:MOST_WORDS]
        fence = Fence(self._seed, shown)
        system = (
            "An operator tells a robot in words where to go. List the places or things that it should drive to, in "
            "the order in which it should reach them, each as a short phrase that finds it in a memory of what was "
            f"seen, e.g. 'red mug on the kitchen table'. At most {MOST_STOPS}. Nothing else is done, so leave out "
            f"whatever is not a place to drive to. {fence.rule}"
        )
        user = fence.wrap("order", shown) + (f"\nYour last answer was refused: {problem}" if problem else "")
        return [{"role": "system", "content": system}, {"role": "user", "content": user}]


def stops_schema() -> dict[str, Any]:
    """JSON schema of an answer."""
    stop = {"type": "string"}
    return {
        "type": "object",
        "properties": {"stops": {"type": "array", "items": stop}},
        "required": ["stops"],
        "additionalProperties": False,
    }


def read_stops(text: str) -> tuple[Stop, ...]:
    """The stops of an answer, whole or not at all.

    Raises:
        ValueError: saying what is wrong with it.
    """
    try:
        found = read_object(text)
    except GrammarError as error:
        raise ValueError(str(error)) from None
    stops = found.get("stops")
    if set(found) != {"stops"} or not isinstance(stops, list) or not 1 <= len(stops) <= MOST_STOPS:
        raise ValueError(f"expected an object with 1 to {MOST_STOPS} stops and nothing else")
    for i, stop in enumerate(stops):
        if not isinstance(stop, str) or not stop.strip() or len(stop) > _MOST_LETTERS or not all(map(is_plain, stop)):
            raise ValueError(f"stop {i}: expected a phrase of at most {_MOST_LETTERS} plain characters")
    return tuple(Stop(stop.strip()) for stop in stops)


def _bare(part: str) -> str:
    """A part without the words that only lead to its place."""
    text = part.strip().strip(".?!;,").strip()
    while (match := _LEAD.match(text)) and match.end() < len(text):
        text = text[match.end() :].strip()
    return _ARTICLE.sub("", text)  # "mug" is the name of a category, "the mug" is not
