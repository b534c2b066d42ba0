"""What a language model may answer: a thought and a few steps of the closed grammar, checked before anything else.

The schema is made from the dataclasses of `embmem.policies.actions`, so there is one grammar and not two.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import cache
from typing import Annotated, Any, Literal, Union

from embmem.errors import EmbmemError, import_extra
from embmem.policies.actions import STEPS, Step, verb
from embmem.search.quoting import is_plain

MAX_ANSWER = 20_000  # characters that are read
MAX_THOUGHT = 1000
MAX_STEPS = 8
MAX_NAME = 120  # characters of a name
MAX_WORDS = 400  # characters of free text
_THOUGHTS = re.compile(r"^\s*<think>.*?</think>", re.DOTALL)  # as models write that reason
_FREE_TEXT = ("text", "question", "reason")  # fields that hold words, not names
_BRIEF = 160  # characters of an error that goes back to the model


class GrammarError(EmbmemError):
    """An answer is not in the grammar; the message says why, in words for the model, and quotes nothing of it."""


@dataclass(frozen=True)
class Plan:
    """An answer in the grammar. Whether its steps make sense is not known yet."""

    thought: str
    steps: tuple[Step, ...]


@cache
def schema() -> dict[str, Any]:
    """The JSON schema of an answer, in the part of the language that servers enforce."""
    return _strict(_model().model_json_schema())


def parse(answer: str) -> Plan:
    """The plan in an answer: JSON, bare or in a text around it; what a model thinks aloud before it does not count.

    Raises:
        GrammarError: if there is none, or more than one.
    """
    found = read_object(answer)
    pydantic = import_extra("pydantic", "llm")
    try:
        read = _model().model_validate(found)
    except pydantic.ValidationError as error:
        raise GrammarError(_brief(error)) from None
    return Plan(read.thought, tuple(_step(step) for step in read.steps))


def read_object(answer: str) -> dict[str, Any]:
    """The one JSON object in an answer; what a model thinks aloud before it does not count.

    Raises:
        GrammarError: if there is none, or more than one.
    """
    answer = _THOUGHTS.sub("", answer)
    if len(answer) > MAX_ANSWER:
        raise GrammarError(f"the answer has more than {MAX_ANSWER} characters")
    candidates = list(_objects(answer))
    if not candidates:
        raise GrammarError("the answer holds no JSON object")
    if len(candidates) > 1:
        raise GrammarError(f"the answer holds {len(candidates)} JSON objects; give one")
    return dict(candidates[0])


def help_text() -> str:
    """The grammar in words, for models that get no schema: one line a step."""
    lines = []
    for kind in STEPS:
        named = ", ".join(f'"{field.name}": "..."' for field in fields(kind))
        lines.append(f'{{"action": "{verb(kind)}"{", " + named if named else ""}}}  {kind.__doc__}')
    return "\n".join(lines)


@cache
def _model() -> Any:
    """The pydantic model of an answer, a union of steps told apart by `action`."""
    pydantic = import_extra("pydantic", "llm")
    config = pydantic.ConfigDict(extra="forbid", strict=True)

    def text(most: int, least: int = 0, check: Callable[[str], str] = _plain) -> Any:
        bounds = pydantic.Field(min_length=least, max_length=most)
        return Annotated[str, bounds, pydantic.AfterValidator(check)]

    models = []
    for kind in STEPS:
        named: dict[str, Any] = {"action": (Literal[verb(kind)], ...)}
        for field in fields(kind):
            is_free = field.name in _FREE_TEXT
            named[field.name] = (text(MAX_WORDS, int(kind.__name__ != "Stop")) if is_free else text(MAX_NAME, 1), ...)
        models.append(pydantic.create_model(kind.__name__, __config__=config, **named))
    step: Any = Annotated[Union[tuple(models)], pydantic.Field(discriminator="action")]  # noqa: UP007
    steps: Any = Annotated[list[step], pydantic.Field(min_length=1, max_length=MAX_STEPS)]
    thought = text(MAX_THOUGHT, check=_thought)
    return pydantic.create_model("Answer", __config__=config, thought=(thought, ...), steps=(steps, ...))


def _plain(text: str) -> str:
    """The text, if it can be shown as it is."""
    if not all(is_plain(char) or unicodedata.category(char) == "Zs" for char in text):
        raise ValueError("control and invisible characters are not allowed")
    return text


def _thought(text: str) -> str:
    """A thought is only ever logged, where it is quoted: an emoji with its selector is no reason to refuse a plan."""
    if any(unicodedata.category(char)[0] == "C" for char in text):
        raise ValueError("control characters are not allowed")
    return text


def _step(read: Any) -> Step:
    """The dataclass of a step that was read."""
    values = read.model_dump()
    kind = next(kind for kind in STEPS if verb(kind) == values["action"])
    return kind(**{field.name: values[field.name] for field in fields(kind)})


def _objects(text: str) -> Iterator[Any]:
    """The outermost JSON objects in a text, in order."""
    decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)
    start = text.find("{")
    while start >= 0:
        try:
            found, end = decoder.raw_decode(text, start)
        except RecursionError:
            return
        except ValueError:
            end = start + 1
        else:
            yield found
        start = text.find("{", end)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _brief(error: Any) -> str:
    """The first fault that was found, without what was given."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"] if isinstance(part, int) or part in _KEYS)
    return f"{where or 'answer'}: {first['msg']}"[:_BRIEF]


_KEYS = {"thought", "steps", *(field.name for kind in STEPS for field in fields(kind))}


def _strict(part: Any) -> Any:
    """A JSON schema with `anyOf` for a union, without titles and discriminators, as strict servers want it."""
    if isinstance(part, list):
        return [_strict(item) for item in part]
    if not isinstance(part, dict):
        return part
    kept = {key: _strict(value) for key, value in part.items() if key not in ("title", "discriminator", "oneOf")}
    return kept | ({"anyOf": _strict(part["oneOf"])} if "oneOf" in part else {})
