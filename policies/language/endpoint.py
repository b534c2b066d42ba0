"""One request to an endpoint that speaks OpenAI's API; whatever goes wrong comes back as one kind of error."""

from __future__ import annotations

import os
import weakref
from typing import Any

from embmem.errors import InputError, import_extra
from embmem.policies.language.transport import TooLongError, bounded_client, within
from embmem.policies.language.wire import MAX_DETAIL, ModelError, asked_wait

_NOT_UNDERSTOOD = (400, 404, 415, 422, 501)  # what servers say that do not know a part of the request


class Endpoint:
    """A server with its key.

    Args:
        base_url: e.g. `http://localhost:11434/v1`.
        api_key_env: environment variable that holds the key; None for a server that needs none.
        timeout: [s] for a request, whatever the server does.
        max_bytes: of an answer.

    Raises:
        InputError: if the variable that should hold the key is empty.
    """

    def __init__(self, base_url: str, api_key_env: str | None, *, timeout: float, max_bytes: int) -> None:
        self._openai: Any = import_extra("openai", "llm")
        self._key, self._timeout = _api_key(api_key_env), timeout
        self._client = self._openai.OpenAI(
            api_key=self._key or "none",
            base_url=base_url,
            timeout=timeout,
            max_retries=0,
            http_client=bounded_client(max_bytes=max_bytes, seconds=timeout),
        )
        self.close = weakref.finalize(self, self._client.close)  # its connections

    def post(self, request: dict[str, Any]) -> str:
        """The body of the answer of the chat completions API.

        Raises:
            ModelError: if there is none.
        """
        openai, create = self._openai, self._client.chat.completions.with_raw_response.create
        try:
            return str(within(self._timeout, lambda: create(**request)).http_response.text)
        except openai.APIStatusError as error:
            raise self._of_status(error) from error
        except (openai.APITimeoutError, TimeoutError) as error:
            raise ModelError("timeout", f"no answer within {self._timeout:g} s") from error
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            kind = "too long" if isinstance(cause, TooLongError) else "unreachable"
            raise ModelError(kind, self._said(cause)) from error
        except TooLongError as error:
            raise ModelError("too long", str(error)) from error
        except Exception as error:  # of the HTTP library: bodies that break off or cannot be decoded
            raise ModelError("malformed", self._said(error)) from error

    def _of_status(self, error: Any) -> ModelError:
        """What a status means."""
        status, detail, wait = int(error.status_code), self._said(error), asked_wait(error.response.headers)
        if status in _NOT_UNDERSTOOD:
            return ModelError("not understood", detail)
        if status == 429:
            return ModelError("rate limit", detail, wait)
        return ModelError("server error", detail, wait) if status >= 500 else ModelError("refused", detail)

    def _said(self, error: BaseException) -> str:
        """What an error says, short and without the key."""
        text = " ".join(str(error).split()) or type(error).__name__
        return (text.replace(self._key, "***") if self._key else text)[:MAX_DETAIL]


def _api_key(variable: str | None) -> str:
    if variable is None:
        return ""
    key = os.environ.get(variable, "")
    if not key:
        raise InputError(f"the environment variable {variable} holds no key; set it, or set api_key_env to null")
    return key
