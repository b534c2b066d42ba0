"""What goes over the wire: how JSON is asked for, and what a body of the chat completions API says."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from embmem.errors import EmbmemError
from embmem.search.token_count import estimate_tokens

FORMS = ("json_schema", "json_object", "text")  # how a server is asked for JSON, the strictest first
MAX_DETAIL = 200  # characters of what a server says


class ModelError(EmbmemError):
    """There is no answer.

    `kind` is one of timeout, unreachable, rate limit, server error, malformed, refused, not understood, too long,
    budget, not cached; `wait` [s] is what the server asks for before the next try.
    """

    def __init__(self, kind: str, detail: str, wait: float = 0.0) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind, self.wait = kind, wait


@dataclass(frozen=True)
class Reply:
    """What the model said. Nothing in it has been checked."""

    text: str  # empty for a refusal
    prompt_tokens: int
    completion_tokens: int
    refusal: str = ""  # why the model does not want to
    is_cached: bool = False


def response_format(form: str, schema: Mapping[str, Any] | None) -> dict[str, Any]:
    """What a request adds to be answered in JSON of a schema."""
    if schema is None or form == "text":
        return {}
    if form == "json_object":
        return {"response_format": {"type": "json_object"}}
    wanted = {"name": "answer", "strict": True, "schema": schema}
    return {"response_format": {"type": "json_schema", "json_schema": wanted}}


def read_body(body: str, messages: Sequence[Mapping[str, str]]) -> Reply:
    """The reply in a body.

    Raises:
        ModelError: if it is no answer of the API.
    """
    try:
        answer = json.loads(body)
        message = answer["choices"][0]["message"]
        text, refusal = message.get("content"), message.get("refusal")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError("malformed", "the body is no answer of the chat API") from error
    is_refusal = isinstance(refusal, str) and bool(refusal)
    if not isinstance(text, str) and not is_refusal:
        raise ModelError("malformed", f"the content is {type(text).__name__}, not text")
    said = text if isinstance(text, str) and not is_refusal else ""
    usage = answer.get("usage")
    counted = usage if isinstance(usage, dict) else {}
    return Reply(
        text=said,
        prompt_tokens=_count(counted.get("prompt_tokens"), "".join(m["content"] for m in messages)),
        completion_tokens=_count(counted.get("completion_tokens"), said),
        refusal=refusal[:MAX_DETAIL] if isinstance(refusal, str) else "",
    )


def _count(said: Any, text: str) -> int:
    """The number of tokens that the server counted, or an estimate where it says nothing sensible."""
    most = 8 * max(len(text), 100)  # no tokenizer makes more of it; reasoning that is not shown counts as well
    is_number = isinstance(said, int) and not isinstance(said, bool)
    return said if is_number and 0 <= said <= most else estimate_tokens(text)


def asked_wait(headers: Mapping[str, str]) -> float:
    """[s] of a Retry-After header; 0 if there is none that can be read."""
    try:
        wait = float(headers.get("retry-after", "0"))
    except ValueError:
        return 0.0
    return wait if math.isfinite(wait) and wait > 0 else 0.0


def to_cache(reply: Reply) -> dict[str, Any]:
    """A reply as JSON."""
    return {"text": reply.text, "tokens": [reply.prompt_tokens, reply.completion_tokens], "refusal": reply.refusal}


def from_cache(entry: dict[str, Any] | None) -> Reply | None:
    """The reply; None for an entry that is none."""
    match entry:
        case {"text": str(text), "tokens": [int(prompt), int(completion)], "refusal": str(refusal)}:
            return Reply(text, prompt, completion, refusal, is_cached=True) if min(prompt, completion) >= 0 else None
    return None
