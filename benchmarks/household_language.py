"""Household tasks with a scripted stand-in for a language model, with and without memory: success, steps, tokens.

The model (`reading_model.py`) runs behind a real server in another process and sees nothing but the prompt; what it
cannot do, the rules of the robot do not do for it either, unless its answers are of no use. See `planners.py`.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from chat_server import chat_server

from embmem.policies.household.language import HouseholdLanguagePlanner
from embmem.policies.household.memory import HouseholdMemory
from embmem.policies.language.client import ChatModel
from embmem.policies.language.planner import Limits
from embmem.sim_envs.house import make_house
from embmem.sim_envs.household.days import plan_day, run_chore
from embmem.sim_envs.metrics.statistics import Interval, bootstrap_mean

# Things that the short-term memory holds, and whether there is a long-term one.
MEMORIES = {"both": (20, True), "long-term": (0, True), "short-term": (20, False), "neither": (0, False)}


def run_level(level: str, *, seeds: range, n_tasks: int, n_rooms: int = 6) -> dict[str, dict[str, Any]]:
    """By memory: success, steps, tokens and requests a task with the days as clusters, and who decided how often."""
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in MEMORIES}
    deciders: dict[str, Counter[str]] = {name: Counter() for name in MEMORIES}
    script = [{"calls": [str(Path(__file__).parent), "reading_model", "decide"], "usage": {}}]
    with tempfile.TemporaryDirectory() as folder, chat_server(Path(folder), script) as (url, _):
        for seed in seeds:
            day = plan_day(make_house(seed, n_rooms), level, n_tasks, np.random.default_rng(seed))
            for name, (short_term, long_term) in MEMORIES.items():
                chat = ChatModel("scripted", base_url=url, api_key_env=None)
                memory = partial(HouseholdMemory, short_term=short_term, long_term=long_term)
                planner = HouseholdLanguagePlanner(chat, memory, limits=Limits(budget_tokens=5000))
                planner.reset(day.world.places.rooms)
                planner.watch(day.sights, [(each.key, each.telling) for each in day.tellings])
                for chore in day.chores:
                    before = chat.usage
                    row = run_chore(day.world, chore, planner)
                    used = chat.usage - before
                    rows[name].append({**row, "day": seed, "tokens": used.tokens, "requests": used.n_calls})
                    deciders[name].update(d.by for d in planner.planner.decisions)
    return {name: _summary(rows[name]) | {"by": dict(deciders[name])} for name in MEMORIES}


def _summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    days = [row["day"] for row in rows]

    def mean(key: str) -> Interval:
        return bootstrap_mean(np.array([float(row[key]) for row in rows]), days, rng=np.random.default_rng(0))

    return {key: mean(key) for key in ("success", "spl", "steps", "tokens", "requests")}
