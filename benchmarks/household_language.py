"""Household tasks by planner and memory: rules, and a scripted stand-in for a language model; same days for all.

The stand-in (`reading_model.py`) runs behind a real server in another process and sees nothing but the prompt. Where
its answers are of no use the rules of the robot decide, as they would for any model; the rows say how often.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from chat_server import chat_server

from embmem.policies.household.language import HouseholdLanguagePlanner
from embmem.policies.household.memory import HouseholdMemory
from embmem.policies.household.planner import RulePlanner
from embmem.policies.language.client import ChatModel
from embmem.policies.language.planner import Limits
from embmem.sim_envs.household.task import HouseholdPlanner, HouseholdTask

# Things that the short-term memory holds, and whether there is a long-term one.
MEMORIES = {"neither": (0, False), "short-term": (20, False), "long-term": (0, True), "both": (20, True)}
LIMITS = Limits(budget_tokens=5000)
Rows = list[dict[str, Any]]


def play_both(level: str, *, seeds: range, n_tasks: int, n_rooms: int = 6) -> dict[str, Rows]:
    """Rows by "rules, MEMORY" and "language, MEMORY"; a day in a home of its own for each seed, `session`."""
    task = HouseholdTask(name=f"household_{level}", level=level, per_session=n_tasks, n_rooms=n_rooms)
    with _stand_in() as model:
        planners: dict[str, HouseholdPlanner] = {}
        for name, (short_term, long_term) in MEMORIES.items():
            memory = partial(HouseholdMemory, short_term=short_term, long_term=long_term)
            planners[f"rules, {name}"] = RulePlanner(memory)
            planners[f"language, {name}"] = HouseholdLanguagePlanner(model, memory, limits=LIMITS)
        rows: dict[str, Rows] = {name: [] for name in planners}
        for seed in seeds:
            for row in task.play(planners, seed=seed, index=0, n=n_tasks, on_row=lambda row: None):
                rows[row["agent"]].append({"model_tokens": 0, "by_model": 0.0, **row, "session": seed})
    return rows


@contextmanager
def _stand_in() -> Iterator[ChatModel]:
    script = [{"calls": [str(Path(__file__).parent), "reading_model", "decide"], "usage": {}}]
    with tempfile.TemporaryDirectory() as folder, chat_server(Path(folder), script) as (url, _):
        yield ChatModel("scripted", base_url=url, api_key_env=None)
