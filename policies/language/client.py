"""A chat model behind any endpoint that speaks OpenAI's API: hosted, vLLM, Ollama, llama.cpp."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from embmem.errors import StoreError
from embmem.policies.language.cache import ResponseCache, request_key
from embmem.policies.language.endpoint import Endpoint
from embmem.policies.language.usage import Usage
from embmem.policies.language.wire import FORMS, ModelError, Reply, from_cache, read_body, response_format, to_cache

logger = logging.getLogger("embmem.policies.language")
_TRY_AGAIN = ("timeout", "unreachable", "rate limit", "server error", "malformed")
_BACKOFF = 0.5  # [s] before the first retry, doubled for each further one


class ChatModel:
    """One model at one endpoint, with retries, limits, a cache and a count of what it cost.

    Args:
        model: its name at the endpoint.
        base_url: of the endpoint, e.g. `http://localhost:11434/v1`; if not given that of the environment variable
            OPENAI_BASE_URL, or OpenAI's own.
        api_key_env: environment variable that holds the key; None for a server that needs none.
        temperature: of sampling; None leaves it to the server.
        max_tokens: of an answer.
        limit_name: what the server calls that limit; some hosted models want `max_completion_tokens`.
        seed: of sampling, for servers that take one.
        timeout: [s] for one try, whatever the server does.
        retries: after an answer that is missing or is no answer of the API.
        longest_wait: [s] between two tries, also where the server asks for more.
        max_bytes: of an answer.
        max_total_tokens: after which nothing is asked any more.
        prices: (prompt, completion) of a million tokens.
        form: how JSON is asked for; a server that does not know it is asked in the next simpler one from then on.
        cache: of answers; None asks every time.
        offline: answer from the cache only.
        sleep: waits between tries.

    Raises:
        InputError: if the variable that should hold the key is empty.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key_env: str | None = "OPENAI_API_KEY",
        temperature: float | None = 0.0,
        max_tokens: int = 600,
        limit_name: str = "max_tokens",
        seed: int | None = 0,
        timeout: float = 30.0,
        retries: int = 2,
        longest_wait: float = 20.0,
        max_bytes: int = 1 << 20,
        max_total_tokens: int | None = None,
        prices: Sequence[float] = (0.0, 0.0),
        form: str = "json_schema",
        cache: ResponseCache | None = None,
        offline: bool = False,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if not model or form not in FORMS or len(prices) != 2 or min(prices) < 0 or retries < 0:
            raise ValueError(f"need a model, a form of {FORMS}, two prices, retries >= 0: {model}, {form}, {prices}")
        if not (0 < timeout < math.inf and max_tokens >= 1 and max_bytes >= 1 and longest_wait >= 0):
            raise ValueError(f"limits must be positive: {timeout=}, {max_tokens=}, {max_bytes=}, {longest_wait=}")
        if offline and cache is None:
            raise ValueError("offline needs a cache to answer from")
        self.model, self.form, self.cache, self.offline = model, form, cache, offline
        self._first_form = form  # what was wanted; what the server turns out to know does not change a request's key
        self.base_url = base_url or os.environ.get("OPENAI_BASE_URL", "") or "https://api.openai.com/v1"
        self.usage = Usage()
        self._retries, self._longest_wait, self._sleep = retries, longest_wait, sleep
        self._max_total, self._prices = max_total_tokens, (float(prices[0]), float(prices[1]))
        settings = {"temperature": temperature, limit_name: max_tokens, "seed": seed}
        self._settings = {name: value for name, value in settings.items() if value is not None}
        self._endpoint: Any = None
        if not offline:
            self._endpoint = Endpoint(self.base_url, api_key_env, timeout=timeout, max_bytes=max_bytes)

    def complete(self, messages: Sequence[Mapping[str, str]], schema: Mapping[str, Any] | None = None) -> Reply:
        """The model's answer, from the cache if it has answered this very request before.

        Args:
            messages: each with `role` and `content`.
            schema: JSON schema that the answer is asked to follow. Whether it does is for the caller to check.

        Raises:
            ModelError: if there is no answer.
        """
        request = {"model": self.model, "messages": [dict(m) for m in messages], **self._settings}
        how = {"base_url": self.base_url, "schema": schema, "form": self._first_form}
        key = request_key({**request, **how})
        cached = self._remembered(key)
        if cached is not None:
            self.usage += Usage(n_cached=1, cached_tokens=cached.prompt_tokens + cached.completion_tokens)
            return cached
        if self.offline:
            raise ModelError("not cached", "this request was never answered, and asking is switched off")
        if self._max_total is not None and self.usage.prompt_tokens + self.usage.completion_tokens >= self._max_total:
            raise ModelError("budget", f"{self._max_total} tokens are spent")
        reply = self._ask(request, schema)
        if self.cache is not None:
            try:
                self.cache.put(key, to_cache(reply))
            except StoreError as error:  # a full disk does not make the answer wrong
                logger.warning("an answer was not kept: %s", error)
        return reply

    def _remembered(self, key: str) -> Reply | None:
        """The cached answer; a cache that cannot be read has none."""
        try:
            return None if self.cache is None else from_cache(self.cache.get(key))
        except StoreError as error:
            logger.warning("the cache of answers is not used: %s", error)
            return None

    def _ask(self, request: dict[str, Any], schema: Mapping[str, Any] | None) -> Reply:
        """The answer after as many tries as are allowed."""
        wait, n_tries = _BACKOFF, 0
        while True:
            try:
                reply = self._try(request, schema)
            except ModelError as error:
                if error.kind not in _TRY_AGAIN or n_tries >= self._retries:
                    self.usage += Usage(n_failed=1)
                    raise
                self.usage += Usage(n_retries=1)
                self._sleep(min(max(wait, error.wait), self._longest_wait))
                wait, n_tries = 2.0 * wait, n_tries + 1
            else:
                prompt, completion = reply.prompt_tokens, reply.completion_tokens
                cost = (self._prices[0] * prompt + self._prices[1] * completion) / 1e6
                self.usage += Usage(n_calls=1, prompt_tokens=prompt, completion_tokens=completion, cost=cost)
                return reply

    def _try(self, request: dict[str, Any], schema: Mapping[str, Any] | None) -> Reply:
        """One request; again in a simpler form if the server does not understand this one."""
        forms = FORMS[-1:] if schema is None else FORMS[FORMS.index(self.form) :]
        for form in forms:
            try:
                body = self._endpoint.post({**request, **response_format(form, schema)})
            except ModelError as error:
                if error.kind != "not understood" or form == forms[-1]:
                    raise
            else:
                self.form = form if schema is not None else self.form
                break
        return read_body(body, request["messages"])
