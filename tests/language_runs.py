"""A language planner at work in a tiny home."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from tiny_home import TinyHome

from embmem.policies.actions import Go, Step, StepPlanner, Stop, verb
from embmem.policies.language.client import ChatModel
from embmem.policies.language.planner import LanguagePlanner

TASK = "put the milk into table_1"


def answer(*steps: Step, thought: str = "so be it") -> dict[str, Any]:
    written = [{"action": verb(type(step))} | asdict(step) for step in steps]
    return {"content": json.dumps({"thought": thought, "steps": written})}


def planner(url: str, fallback: StepPlanner | None = None, **settings: Any) -> LanguagePlanner:
    chat = ChatModel("m", base_url=url, api_key_env=None, timeout=0.5, retries=0, sleep=lambda _: None)
    return LanguagePlanner(chat, fallback, **settings)


def run(agent: LanguagePlanner, home: TinyHome, task: str = TASK, *, most: int = 25) -> list[Step]:
    """The steps until it stops."""
    agent.begin(task)
    agent.notice(Go("kitchen"), home.do(Go("kitchen")))
    steps: list[Step] = []
    while len(steps) < most and not (steps and isinstance(steps[-1], Stop)):
        steps.append(agent.next())
        agent.notice(steps[-1], home.do(steps[-1]))
    return steps
