"""The client of language models, against a real HTTP server that answers badly."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from chat_server import asked, chat_server

from embmem.errors import FileVersionError, InputError

pytest.importorskip("openai")

from embmem.policies.language.cache import ResponseCache, request_key
from embmem.policies.language.client import ChatModel
from embmem.policies.language.usage import Usage
from embmem.policies.language.wire import ModelError

HELLO = [{"role": "user", "content": "hello"}]
SCHEMA = {"type": "object", "properties": {}, "additionalProperties": False}
GOOD = {"content": "{}"}
waits: list[float] = []


def model(url: str, **settings: Any) -> ChatModel:
    waits.clear()
    arguments = {"api_key_env": None, "timeout": 1.0, "sleep": waits.append} | settings
    return ChatModel("m", base_url=url, **arguments)


def test_a_request_carries_the_settings_the_schema_and_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "sk-very-secret")
    with chat_server(tmp_path, [GOOD]) as (url, log):
        reply = model(url, api_key_env="SOME_KEY", seed=3, max_tokens=77).complete(HELLO, SCHEMA)
    (request,) = asked(log)
    assert (reply.text, reply.prompt_tokens, reply.completion_tokens) == ("{}", 100, 10)
    assert request["path"] == "/v1/chat/completions"
    assert request["key"] == "Bearer sk-very-secret"
    assert request["messages"] == HELLO
    assert (request["temperature"], request["seed"], request["max_tokens"], request["model"]) == (0.0, 3, 77, "m")
    assert request["response_format"]["json_schema"]["schema"] == SCHEMA


@pytest.mark.parametrize(
    ("answer", "kind", "n_tries"),
    [
        ({"status": 500, "body": "boom"}, "server error", 3),
        ({"status": 429, "body": "slow down"}, "rate limit", 3),
        ({"status": 401, "body": "who are you"}, "refused", 1),
        ({"status": 302, "body": "", "headers": {"Location": "http://127.0.0.1:9/"}}, "refused", 1),
        ({"status": 400, "body": "what"}, "not understood", 1),
        ({"body": "this is no JSON"}, "malformed", 3),
        ({"body": "[" * 100_000}, "malformed", 3),
        ({"body": json.dumps({"choices": []})}, "malformed", 3),
        ({"body": json.dumps({"choices": [{"message": {"content": 7}}]})}, "malformed", 3),
        ({"body": "x" * 1000, "cut": 10}, "unreachable", 3),
        ({"repeat": ["word ", 1_000_000]}, "too long", 1),
        ({"body": "\x1f\x8b", "headers": {"Content-Encoding": "gzip"}}, "too long", 1),
        ({"status": 500, "body": "x" * 3_000_000}, "too long", 1),
    ],
)  # fmt: skip
def test_every_bad_answer_is_one_kind_of_error(tmp_path: Path, answer: dict[str, Any], kind: str, n_tries: int) -> None:
    with chat_server(tmp_path, [answer]) as (url, log):
        chat = model(url)
        with pytest.raises(ModelError) as error:
            chat.complete(HELLO)
        assert error.value.kind == kind
        assert len(asked(log)) == n_tries
    assert chat.usage == Usage(n_retries=n_tries - 1, n_failed=1)


@pytest.mark.parametrize("answer", [{"hang": 30.0}, {"drip": ["headers", 0.05]}, {"drip": ["body", 0.05]}])
def test_a_server_that_hangs_or_drips_costs_no_more_than_the_timeout(tmp_path: Path, answer: dict[str, Any]) -> None:
    with chat_server(tmp_path, [{**answer, "content": "x" * 1000}]) as (url, _):
        chat = model(url, timeout=0.4, retries=0)
        start = time.monotonic()
        with pytest.raises(ModelError):
            chat.complete(HELLO)
        assert time.monotonic() - start < 5.0


def test_nobody_there_is_an_error_too() -> None:
    with pytest.raises(ModelError, match="unreachable"):
        model("http://127.0.0.1:9/v1", retries=1).complete(HELLO)
    assert waits == [0.5]


def test_retries_wait_longer_each_time_and_as_the_server_asks_within_bounds(tmp_path: Path) -> None:
    bad = [{"status": 503, "body": ""}, {"status": 429, "body": "", "headers": {"Retry-After": "7"}},
           {"status": 429, "body": "", "headers": {"Retry-After": "3600"}},
           {"status": 500, "body": "", "headers": {"Retry-After": "soon"}}]  # fmt: skip
    with chat_server(tmp_path, [*bad, GOOD]) as (url, _):
        chat = model(url, retries=4, longest_wait=20.0)
        assert chat.complete(HELLO).text == "{}"
    assert waits == [0.5, 7.0, 20.0, 4.0]
    assert chat.usage.n_retries == 4


@pytest.mark.parametrize("understands", [["json_object", "text"], ["text"]])
def test_a_server_that_knows_no_schema_is_asked_more_simply_from_then_on(
    tmp_path: Path, understands: list[str]
) -> None:
    with chat_server(tmp_path, [{**GOOD, "understands": understands}]) as (url, log):
        chat = model(url)
        assert chat.complete(HELLO, SCHEMA).text == "{}"
        n_first = len(asked(log))
        assert chat.complete(HELLO, SCHEMA).text == "{}"
        assert len(asked(log)) == n_first + 1
    assert chat.form == understands[0]


@pytest.mark.parametrize("charset", ["punycode", "utf-16", "no-such-charset"])
def test_an_answer_is_utf_8_whatever_its_header_says(tmp_path: Path, charset: str) -> None:
    """Python knows charsets that take minutes to decode a megabyte."""
    headers = {"Content-Type": f"application/json; charset={charset}"}
    with chat_server(tmp_path, [{"content": '{"a": "é-"}', "headers": headers}]) as (url, _):
        assert model(url).complete(HELLO).text == '{"a": "é-"}'


def test_a_refusal_is_a_reply_without_text(tmp_path: Path) -> None:
    with chat_server(tmp_path, [{"refusal": "I will not", "content": None}]) as (url, _):
        reply = model(url).complete(HELLO)
    assert (reply.text, reply.refusal) == ("", "I will not")


def test_tokens_and_cost_are_counted_also_where_the_server_lies_about_them(tmp_path: Path) -> None:
    lies: list[Any] = [{"prompt_tokens": -5, "completion_tokens": 10**12}, "many", {"prompt_tokens": True}]
    with chat_server(tmp_path, [GOOD, *({"content": "{}", "usage": lie} for lie in lies)]) as (url, _):
        chat = model(url, prices=(2.0, 10.0))
        chat.complete(HELLO)
        assert chat.usage == Usage(n_calls=1, prompt_tokens=100, completion_tokens=10, cost=(200.0 + 100.0) / 1e6)
        for _ in lies:
            before = chat.usage
            chat.complete(HELLO)
            assert 0 < (chat.usage - before).tokens < 20


def test_a_spent_budget_ends_the_asking(tmp_path: Path) -> None:
    with chat_server(tmp_path, [GOOD]) as (url, log):
        chat = model(url, max_total_tokens=150)
        chat.complete(HELLO)
        chat.complete(HELLO)
        with pytest.raises(ModelError, match="budget"):
            chat.complete(HELLO)
        assert len(asked(log)) == 2


def test_the_same_request_is_asked_once_and_answered_again_without_a_server(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite"
    with chat_server(tmp_path, [{"content": "first"}, {"content": "second"}]) as (url, log):
        chat = model(url, cache=ResponseCache(path))
        assert [chat.complete(HELLO).text for _ in range(3)] == ["first"] * 3
        assert chat.complete(HELLO, SCHEMA).text == "second"
        assert len(asked(log)) == 2
        assert (chat.usage.n_calls, chat.usage.n_cached, chat.usage.cached_tokens) == (2, 2, 220)
    later = model(url, cache=ResponseCache(path), offline=True)
    assert later.complete(HELLO) == chat.complete(HELLO)
    with pytest.raises(ModelError, match="not cached"):
        later.complete([{"role": "user", "content": "something else"}])
    others: list[dict[str, Any]] = [
        {"temperature": 0.5}, {"seed": 1}, {"max_tokens": 9}, {"limit_name": "max_completion_tokens"}, {"form": "text"},
    ]  # fmt: skip
    for other in others:
        with pytest.raises(ModelError, match="not cached"):
            model(url, cache=ResponseCache(path), offline=True, **other).complete(HELLO)


def test_the_cache_keeps_the_newest_and_no_damaged_entry(tmp_path: Path) -> None:
    cache = ResponseCache(tmp_path / "answers.sqlite", max_entries=3)
    for i in range(5):
        cache.put(request_key({"n": i}), {"text": str(i)})
    assert [cache.get(request_key({"n": i})) for i in range(5)] == [None, None, {"text": "2"}, {"text": "3"},
                                                                   {"text": "4"}]  # fmt: skip
    assert len(cache) == 3
    cache.close()
    with sqlite3.connect(tmp_path / "answers.sqlite") as db:
        db.execute("UPDATE answers SET answer = '[{]'")
    db.close()
    again = ResponseCache(tmp_path / "answers.sqlite")
    assert again.get(request_key({"n": 4})) is None
    again.close()


def test_two_processes_may_create_the_cache_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one makes the file between any two looks at it."""
    path, connect, n_created = tmp_path / "answers.sqlite", sqlite3.connect, list[bool]()

    class Raced(sqlite3.Connection):
        """A connection that is not alone."""

        def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
            if sql == "PRAGMA user_version" and not n_created:
                db = connect(path, timeout=0.0)
                with suppress(sqlite3.OperationalError):  # the file is held
                    db.executescript(
                        "CREATE TABLE answers (number INTEGER PRIMARY KEY, key TEXT UNIQUE, answer TEXT);"
                        f"PRAGMA application_id = {0x656D6C63}; PRAGMA user_version = 1;"
                    )
                n_created.append(True)
                db.close()
            return super().execute(sql, *arguments)

    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: connect(*a, factory=Raced, **k))
    cache = ResponseCache(path)
    assert n_created
    cache.put("k", {"text": "x"})
    assert cache.get("k") == {"text": "x"}
    cache.close()


def test_the_cache_refuses_files_of_others(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database at all, but long enough to be read as a header of one " * 10)
    with pytest.raises(InputError, match="not a cache"):
        ResponseCache(tmp_path / "text")
    db = sqlite3.connect(tmp_path / "other")
    db.execute("CREATE TABLE a (b)")
    db.close()
    with pytest.raises(InputError, match="somebody else"):
        ResponseCache(tmp_path / "other")
    ResponseCache(tmp_path / "newer").close()
    db = sqlite3.connect(tmp_path / "newer")
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(FileVersionError, match="99"):
        ResponseCache(tmp_path / "newer")
    with pytest.raises(InputError, match="folder"):
        ResponseCache(tmp_path / "nowhere" / "answers")


def test_a_key_that_is_missing_is_named_and_one_that_is_there_never_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_KEY", raising=False)
    with pytest.raises(InputError, match="NO_KEY"):
        model("http://127.0.0.1:9/v1", api_key_env="NO_KEY")
    monkeypatch.setenv("SOME_KEY", "sk-very-secret")
    said = json.dumps({"error": {"message": "wrong key sk-very-secret"}})
    with chat_server(tmp_path, [{"status": 401, "body": said}]) as (url, _):
        with pytest.raises(ModelError, match=r"wrong key \*\*\*") as error:
            model(url, api_key_env="SOME_KEY").complete(HELLO)
        assert "sk-very-secret" not in str(error.value)


@pytest.mark.parametrize(
    "wrong", [{"form": "xml"}, {"timeout": 0.0}, {"retries": -1}, {"prices": (1.0,)}, {"offline": True}]
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"need|limits|offline"):
        model("http://127.0.0.1:9/v1", **wrong)
