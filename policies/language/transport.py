"""HTTP to a server that may be slow, broken or hostile: an answer has a deadline and a largest size."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, TypeVar

from embmem.errors import import_extra

T = TypeVar("T")


class TooLongError(Exception):
    """An answer is larger than was allowed."""


def bounded_client(*, max_bytes: int, seconds: float) -> Any:
    """An HTTP client for `openai.OpenAI(http_client=...)`.

    Bodies end with a `TooLongError` after `max_bytes` as they come over the wire, and after `seconds`; redirects are
    not followed, and answers are asked for uncompressed, so that a small one cannot unfold into a huge one.
    """
    openai = import_extra("openai", "llm")
    stream_type = _bounded_stream_type(_httpx(openai))

    def bound(response: Any) -> None:
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding != "identity":
            raise TooLongError(f"the answer is compressed ({encoding[:20]}), which was not asked for")
        response.encoding = "utf-8"  # as JSON is; Python knows charsets that take minutes to decode
        response.stream = stream_type(response.stream, max_bytes, time.monotonic() + seconds)

    return openai.DefaultHttpxClient(
        event_hooks={"response": [bound]}, follow_redirects=False, headers={"Accept-Encoding": "identity"}
    )


def within(seconds: float, call: Callable[[], T]) -> T:
    """What the call returns or raises, if it does within so many seconds; else it is left behind in its thread.

    Raises:
        TimeoutError: if it has not ended by then.
    """
    result: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            result.append(call())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="language model", daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not result:
        raise TimeoutError(f"no answer within {seconds:g} s")
    return result[0]


def _httpx(openai: ModuleType) -> ModuleType:
    """The HTTP library that this version of openai is built on."""
    base = openai.DefaultHttpxClient.__mro__[1]
    return sys.modules[base.__module__.partition(".")[0]]


def _bounded_stream_type(httpx: ModuleType) -> type:
    class Bounded(httpx.SyncByteStream):  # type: ignore[misc, name-defined]
        """A body that ends in time, or raises."""

        def __init__(self, stream: Any, max_bytes: int, deadline: float) -> None:
            self._stream, self._left, self._deadline = stream, max_bytes, deadline

        def __iter__(self) -> Iterator[bytes]:
            for chunk in self._stream:
                self._left -= len(chunk)
                if self._left < 0:
                    raise TooLongError("the answer is longer than was allowed")
                if time.monotonic() > self._deadline:
                    raise TooLongError("the answer did not end in time")
                yield chunk

        def close(self) -> None:
            self._stream.close()

    return Bounded
