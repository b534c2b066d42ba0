"""The decision loop of the language planner, against a real server that answers well, badly or with malice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from chat_server import asked, chat_server
from tiny_home import TidyRules, TinyHome

from embmem.experience import ExperienceStore
from embmem.policies.actions import (
    Ask,
    Go,
    Look,
    Open,
    Outcome,
    Pick,
    Place,
    Recall,
    Step,
    StepPlanner,
    Stop,
    WhereIs,
)  # fmt: skip
from embmem.policies.world_state import WorldState, describe
from embmem.store import RecordStore

pytest.importorskip("openai")

from language_runs import TASK, answer, planner, run

from embmem.policies.language.client import ChatModel
from embmem.policies.language.critic import LanguageCritic, Verdict
from embmem.policies.language.planner import Limits
from embmem.policies.language.prompt import Situation

WAY: list[list[Step]] = [
    [Go("fridge_1")],
    [Open("fridge_1")],
    [Pick("milk"), Go("table_1"), Place("milk", "table_1")],
    [Stop("done")],
]


def test_a_good_model_does_the_task_and_every_token_is_counted(tmp_path: Path) -> None:
    home, rules = TinyHome(), TidyRules()
    with chat_server(tmp_path, [answer(*steps) for steps in WAY]) as (url, log):
        agent = planner(url, rules)
        assert isinstance(agent, StepPlanner)
        assert run(agent, home) == [step for steps in WAY for step in steps]
        assert len(asked(log)) == 4
    assert home.on["milk"] == "table_1"
    assert {d.by for d in agent.decisions} == {"model"}
    assert sum(d.tokens for d in agent.decisions) == agent.usage.tokens == 4 * 110
    assert rules.n_asked == 0


def test_a_refused_answer_goes_back_as_an_error_and_the_next_one_may_be_taken(tmp_path: Path) -> None:
    answers = [answer(Pick("milk")), {"content": "hm"}, answer(Go("fridge_1")), answer(Stop())]
    with chat_server(tmp_path, answers) as (url, log):
        agent = planner(url)
        assert run(agent, TinyHome()) == [Go("fridge_1"), Stop()]
        prompts = [request["messages"][1]["content"] for request in asked(log)]
    assert "refused" not in prompts[0]
    assert 'nobody knows where \\"milk\\" is' in prompts[1] or "nothing is called" in prompts[1]
    assert "no JSON object" in prompts[2]
    assert "refused" not in prompts[3]
    assert [len(d.refused) for d in agent.decisions] == [2, 0]


def test_only_the_sound_beginning_of_a_plan_is_taken(tmp_path: Path) -> None:
    steps: list[Step] = [Go("table_1"), Pick("mug"), Pick("mug"), Stop()]
    with chat_server(tmp_path, [answer(*steps), answer(Stop("enough"))]) as (url, log):
        assert run(planner(url), TinyHome()) == [Go("table_1"), Pick("mug"), Stop("enough")]
        assert len(asked(log)) == 2


def test_a_plan_ends_where_something_fails(tmp_path: Path) -> None:
    home = TinyHome()
    home.is_open["fridge_1"] = False
    plan = answer(Go("table_1"), Pick("mug"), Go("shelf_1"), Place("mug", "shelf_1"))
    with chat_server(tmp_path, [plan, answer(Stop())]) as (url, log):
        agent = planner(url)
        agent.begin("put the mug on shelf_1")
        agent.notice(Look(), home.do(Look()))
        assert agent.next() == Go("table_1")
        agent.notice(Go("table_1"), home.do(Go("table_1")))
        assert agent.next() == Pick("mug")
        agent.notice(Pick("mug"), Outcome(False, "it slipped"))
        assert agent.next() == Stop()
        assert '"worked":false,"said":"it slipped"' in asked(log)[1]["messages"][1]["content"]


def test_what_led_nowhere_twice_is_not_tried_a_third_time(tmp_path: Path) -> None:
    with chat_server(tmp_path, [answer(Go("table_1"))]) as (url, _):
        agent = planner(url)
        agent.begin("go")
        agent.notice(Look(), TinyHome().do(Look()))
        for _ in range(2):
            assert agent.next() == Go("table_1")
            agent.notice(Go("table_1"), Outcome(False, "somebody stands in the way"))
        assert isinstance(agent.next(), Stop)
    assert "2 times in the very same situation" in agent.decisions[-1].why


def test_after_silence_the_rules_finish_the_task_alone_and_the_next_task_asks_again(tmp_path: Path) -> None:
    with chat_server(tmp_path, [{"status": 500, "body": ""}]) as (url, log):
        agent = planner(url, TidyRules(), limits=Limits(patience=2))
        run(agent, TinyHome())
        assert len(asked(log)) == 2
        run(agent, TinyHome())
        assert len(asked(log)) == 4


def test_a_task_has_a_budget_of_requests(tmp_path: Path) -> None:
    with chat_server(tmp_path, [answer(Look())]) as (url, log):
        agent = planner(url, limits=Limits(calls=2))
        assert run(agent, TinyHome())[:2] == [Look(), Look()]
        assert len(asked(log)) == 2
        assert "2 requests were made" in agent.decisions[-1].why


class PlainTools:
    """A memory that knows where one thing is."""

    def __init__(self) -> None:
        self.n_asked = 0

    def places(self) -> Sequence[str]:
        return ("desk_1", "hall")

    def answer(self, step: Step, state: WorldState) -> Outcome | None:
        self.n_asked += 1
        return Outcome(True, "the book is on shelf_1") if isinstance(step, Recall | WhereIs) else None

    def remember(self, task: str, budget_tokens: int) -> str:
        return '{"remembered":"the milk is cold"}'


def test_questions_are_answered_from_memory_and_do_not_reach_the_world(tmp_path: Path) -> None:
    home, tools = TinyHome(), PlainTools()
    steps: list[Step] = [Recall("book"), WhereIs("book"), Go("desk_1"), Ask("why?"), Stop()]
    answers = [answer(step) for step in steps]
    with chat_server(tmp_path, answers) as (url, log):
        agent = planner(url, tools=tools)
        assert run(agent, home) == [Go("desk_1"), Ask("why?"), Stop()]
        prompts = [request["messages"][1]["content"] for request in asked(log)]
    assert tools.n_asked == 2
    assert "the milk is cold" in prompts[0]
    assert "the book is on shelf_1" in prompts[1]
    assert [type(step) for step in home.steps] == [Go, Go, Ask, Stop]


def test_a_model_that_only_asks_is_told_to_act_and_then_left(tmp_path: Path) -> None:
    tools = PlainTools()
    with chat_server(tmp_path, [answer(Recall("book"))]) as (url, log):
        agent = planner(url, TidyRules(), tools=tools, limits=Limits(questions=3, replans=1))
        agent.begin(TASK)
        agent.notice(Look(), TinyHome().do(Look()))
        agent.next()
        assert tools.n_asked == 3
        assert len(asked(log)) == 5
    assert agent.decisions[0].by == "rules"
    assert "enough asking" in agent.decisions[0].why


class Vetoes:
    """A critic that likes nothing."""

    def __init__(self) -> None:
        self.judged: list[Step] = []

    def judge(self, situation: Situation, step: Step) -> Verdict:
        self.judged.append(step)
        return Verdict(False, "I do not like it")


def test_a_critic_that_vetoes_everything_never_stops_the_first_step(tmp_path: Path) -> None:
    critic = Vetoes()
    plans = [answer(*(step for steps in WAY[i:] for step in steps)) for i in (0, 1)]
    plans += [answer(Pick("milk"), Stop()), answer(Go("table_1"), Stop()), answer(Place("milk", "table_1"), Stop()),
              answer(Stop("done"))]  # fmt: skip
    home = TinyHome()
    with chat_server(tmp_path, plans) as (url, log):
        agent = planner(url, critic=critic)
        run(agent, home)
        assert "I do not like it" in asked(log)[1]["messages"][1]["content"]
    assert home.on["milk"] == "table_1"
    assert critic.judged
    assert {d.by for d in agent.decisions} == {"model"}


@pytest.mark.parametrize(
    ("said", "keep"),
    [
        ({"content": '{"keep": false, "reason": "it is empty"}'}, False),
        ({"content": '<think>hm</think>```json\n{"keep": false, "reason": "gone"}\n```'}, False),
        ({"content": '{"keep": true, "reason": ""}'}, True),
        ({"content": "no"}, True),
        ({"content": '{"keep": "no", "reason": ""}'}, True),
        ({"status": 500, "body": ""}, True),
        ({"refusal": "no"}, True),
    ],
)
def test_a_critic_without_a_usable_answer_keeps_the_step(tmp_path: Path, said: dict[str, Any], keep: bool) -> None:
    with chat_server(tmp_path, [said]) as (url, _):
        critic = LanguageCritic(ChatModel("m", base_url=url, api_key_env=None, retries=0, timeout=1.0))
        assert critic.judge(Situation(TASK, WorldState()), Look()).keep is keep


def test_what_the_critic_asks_is_counted_too(tmp_path: Path) -> None:
    answers = [answer(Go("table_1"), Pick("mug"), Stop()), {"content": '```json\n{"keep": true, "reason": ""}\n```'}]
    with chat_server(tmp_path, answers) as (url, _):
        critic = LanguageCritic(ChatModel("critic", base_url=url, api_key_env=None, retries=0))
        agent = planner(url, critic=critic)
        run(agent, TinyHome())
    assert agent.usage.tokens == sum(d.tokens for d in agent.decisions) == 3 * 110
    assert (agent.model.usage.n_calls, critic.model.usage.n_calls) == (1, 2)


class Far:
    """Maps on which the hall cannot be reached and the table is far away."""

    def way(self, place: str) -> float | None:
        return float("inf") if place == "hall" else None

    def reach(self, name: str) -> float | None:
        return 3.0 if name == "mug" else None


def test_geometry_has_the_last_word(tmp_path: Path) -> None:
    answers = [answer(Go("hall")), answer(Go("table_1"), Pick("mug")), answer(Stop())]
    with chat_server(tmp_path, answers) as (url, log):
        home = TinyHome()
        agent = planner(url, geometry=Far(), tools=PlainTools())
        assert run(agent, home) == [Go("table_1"), Stop()]
        prompts = [request["messages"][1]["content"] for request in asked(log)]
    assert "there is no way to" in prompts[1]
    assert "the arm reaches 1.2 m" in prompts[2]


def test_experience_comes_back_in_later_tasks(tmp_path: Path) -> None:
    store = ExperienceStore(RecordStore())
    with chat_server(tmp_path, [answer(Go("table_1")), answer(Go("table_1")), answer(Stop("done"))]) as (url, log):
        agent = planner(url, experience=store, clock=lambda: 1.0)
        agent.begin("go to the table")
        agent.notice(Look(), TinyHome().do(Look()))
        agent.notice(agent.next(), Outcome(False, "a chair_3 is in the way"))
        agent.notice(agent.next(), Outcome(True))
        agent.finish(True)
        agent.begin("go to the table")
        agent.next()
        prompts = [request["messages"][1]["content"] for request in asked(log)]
    assert "earlier attempts" not in prompts[0]
    assert "earlier attempts" in prompts[2]
    assert '"worked":true' in prompts[2]
    assert [r.experience.plan for r in store.repairs("a chair_9 is in the way")] == [("go(table_1)",)]


def test_no_text_of_the_world_is_too_broken_to_be_remembered(tmp_path: Path) -> None:
    store = ExperienceStore(RecordStore())
    with chat_server(tmp_path, [answer(Go("table_1"))]) as (url, _):
        agent = planner(url, experience=store, clock=lambda: 1.0)
        agent.begin("go to the \ud800 table" + "x" * 5000)
        agent.notice(Look(), TinyHome().do(Look()))
        agent.notice(agent.next(), Outcome(False, "a \udfff is in the way" + "x" * 5000))
        agent.notice(agent.next(), Outcome(True))
        agent.finish(False, "\ud800")
    assert [r.experience.ok for r in store.similar("go to the table", k=2)] == [False, True]


def test_one_that_remembers_knows_in_the_next_task_where_things_are(tmp_path: Path) -> None:
    with chat_server(tmp_path, [answer(Go("hall")), answer(Stop())]) as (url, _):
        for remembers, knows in ((True, "shelf_1 in hall"), (False, "not known")):
            agent = planner(url, remembers=remembers)
            agent.begin("look around")
            home = TinyHome()
            agent.notice(Go("hall"), home.do(Go("hall")))
            agent.begin("something else")
            assert describe(agent.state, "book") == knows
