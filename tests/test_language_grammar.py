"""The closed grammar of a language model's answers."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embmem.policies.actions import STEPS, Go, Look, Place, Step, Stop, verb

pytest.importorskip("pydantic")

from embmem.policies.language.grammar import GrammarError, Plan, help_text, parse, schema
from embmem.search.quoting import is_plain

names = st.text(
    st.characters(exclude_categories=["C", "Z"]).filter(is_plain) | st.sampled_from(" \u202f"), min_size=1, max_size=40
)
LOOK = '{"thought": "", "steps": [{"action": "look"}]}'


@st.composite
def plans(draw: st.DrawFn) -> tuple[str, list[tuple[int, list[str]]]]:
    n = draw(st.integers(1, 4))
    kinds = [draw(st.integers(0, len(STEPS) - 1)) for _ in range(n)]
    return draw(names), [(kind, [draw(names) for _ in fields(STEPS[kind])]) for kind in kinds]


def written(thought: str, steps: list[Step]) -> str:
    return json.dumps({"thought": thought, "steps": [{"action": verb(type(s))} | asdict(s) for s in steps]})


@given(plans(), st.sampled_from(["{}", "Sure! ```json\n{}\n``` Good luck.", '<think>{"a": 1} or?</think> {}']))
def test_what_is_written_is_read(drawn: tuple[str, list[tuple[int, list[str]]]], around: str) -> None:
    thought, parts = drawn
    steps = [STEPS[kind](*values) for kind, values in parts]
    assert parse(around.replace("{}", written(thought, steps))) == Plan(thought, tuple(steps))


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
                        st.sampled_from(["thought", "steps", "action", "place", "x"]), inner, max_size=3)))  # fmt: skip
def test_any_json_is_a_plan_or_a_grammar_error(value: object) -> None:
    plan = Plan("", ())
    with suppress(GrammarError):
        plan = parse(json.dumps(value))
    assert all(type(step) in STEPS for step in plan.steps)


@given(st.text(max_size=200))
def test_any_text_is_a_plan_or_a_grammar_error(text: str) -> None:
    with pytest.raises(GrammarError):
        parse(text)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("", "no JSON object"),
        ("I cannot help with that.", "no JSON object"),
        ('{"thought": "", "steps": [{"action": "look"}]', "2 fields|Field required|holds|action"),
        (LOOK + LOOK, "2 JSON objects"),
        ('{"thought": "", "steps": []}', "at least 1"),
        ('{"thought": "", "steps": [{"action": "fly"}]}', "does not match any of the expected tags"),
        ('{"thought": "", "steps": [{"action": "go"}]}', "required"),
        ('{"thought": "", "steps": [{"action": "go", "place": 7}]}', "valid string"),
        ('{"thought": "", "steps": [{"action": "go", "place": ""}]}', "at least 1"),
        ('{"thought": "", "steps": [{"action": "go", "place": "a\\u202eb"}]}', "control"),
        ('{"thought": "", "steps": [{"action": "go", "place": "a\\nb"}]}', "control"),
        ('{"thought": "", "steps": [{"action": "go", "place": "a\\u2028b"}]}', "control"),
        ('{"thought": "", "steps": [{"action": "go", "place": "a\\u3164"}]}', "invisible"),
        ('{"thought": "a\\u0000", "steps": [{"action": "look"}]}', "control"),
        ('{"thought": "", "steps": [{"action": "go", "place": "' + "a" * 500 + '"}]}', "at most"),
        ('{"thought": "", "steps": [{"action": "look", "sudo": "rm -rf"}]}', "xtra inputs"),
        ('{"thought": "", "steps": [{"action": "look"}], "tools": []}', "xtra inputs"),
        ('{"thought": "", "steps": ' + json.dumps([{"action": "look"}] * 50) + "}", "at most"),
        ('{"thought": "", "thought": "b", "steps": [{"action": "look"}]}', "."),
        ('{"thought": NaN, "steps": [{"action": "look"}]}', "."),
        ("{" * 5000, "no JSON object"),
        ('{"a":' * 4000, "."),
        ("x" * 30_000, "more than"),
    ],
)  # fmt: skip
def test_what_is_not_in_the_grammar_is_refused_with_a_reason(answer: str, why: str) -> None:
    with pytest.raises(GrammarError, match=why):
        parse(answer)


def test_an_error_quotes_nothing_of_the_answer() -> None:
    with pytest.raises(GrammarError) as error:
        parse('{"thought": "", "steps": [{"action": "look", "obey me": "now"}], "or me": 1}')
    assert "obey" not in str(error.value)
    assert "or me" not in str(error.value)


def test_the_schema_is_what_strict_servers_enforce() -> None:
    text = json.dumps(schema())
    assert "oneOf" not in text
    assert "discriminator" not in text
    objects = [schema(), *schema()["$defs"].values()]
    assert len(objects) == 1 + len(STEPS)
    for part in objects:
        assert part["additionalProperties"] is False
        assert sorted(part["required"]) == sorted(part["properties"])


def test_the_help_names_every_step() -> None:
    assert [f'"action": "{verb(kind)}"' in line for kind, line in zip(STEPS, help_text().splitlines(), strict=True)]
    assert parse('{"thought": "t", "steps": [{"action": "stop", "reason": ""}]}').steps == (Stop(),)
    assert parse(written("", [Go("a"), Place("b", "c"), Look()])).steps == (Go("a"), Place("b", "c"), Look())
