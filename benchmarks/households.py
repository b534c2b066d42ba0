"""Household tasks with and without memory, questions about the past, and what a request refers to.

    python benchmarks/households.py [--quick] [--data FOLDER] [--json FILE]

**Houses**: the rule planner with the day's memory, with the home's, with both and with neither, on the same tasks of
four levels (KARMA's three, and personal ones after MEMENTO), five seeds, each with days in homes of its own. Intervals
are 95 % bootstraps over days; differences are paired by task. SPL is against the planner that knows everything.
**Planners**: rules and a scripted stand-in for a language model, which sees nothing but its prompt and stands behind a
real server, on the same tasks with and without memory; five homes.
**MEMENTO**: questions about its gold traces by memory; joint-memory requests by way of retrieval. How rankings are
fused was chosen on single-memory requests that are part of no joint one, see `memento_development`. MEMENTO's files
must lie below `$EMBMEM_DATA_DIR` (default ../shared/data); without them that part is left out.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from household_language import play_both
from rich.console import Console
from rich.table import Table
from rows import row

from embmem.policies.household.memory import HouseholdMemory
from embmem.policies.household.past import answer, answer_from_table
from embmem.policies.household.planner import RulePlanner
from embmem.policies.household.told import RANKING, Told, parts
from embmem.protocols import Ranking
from embmem.sim_envs.household.task import HouseholdPlanner, HouseholdTask
from embmem.sim_envs.household.tasks import LEVELS
from embmem.sim_envs.memento import MementoEpisode, read_memento, read_traces
from embmem.sim_envs.memento.questions import days_of, log_of, questions_of, table_of
from embmem.sim_envs.metrics.statistics import Interval, bootstrap_mean, mcnemar, paired_difference
from embmem.store import RecordStore

SEEDS = (11, 12, 13, 14, 15)
MEMORIES = {"neither": (0, False), "short-term": (20, False), "long-term": (0, True), "both": (20, True)}
CAPACITIES = (2, 5, 10, 20, 40)
MEASURES = ("success", "spl", "steps", "path_length", "tokens")
WINDOWS = {"full log": None, "last 30 steps": 30, "last 12 steps": 12}
RRF = Ranking(fusion="rrf", weights={"embedding": 1.0})
Rows = list[dict[str, Any]]


def play(level: str, planners: Mapping[str, HouseholdPlanner], days: int, n: int) -> dict[str, Rows]:
    """Rows by planner; `session` is unique over seeds."""
    task = HouseholdTask(name=f"household_{level}", level=level, per_session=n)
    rows: dict[str, Rows] = {name: [] for name in planners}
    for seed in SEEDS:
        for day in range(days):
            for line in task.play(planners, seed=seed, index=day, n=n, on_row=lambda _: None):
                rows[line["agent"]].append({**line, "session": f"{seed}/{day}"})
    return rows


def column(rows: Rows, measure: str) -> np.ndarray:
    """A measure of all rows."""
    return np.array([float(row[measure]) for row in rows])


def interval_of(rows: Rows, measure: str) -> Interval:
    """Mean and interval over days."""
    return bootstrap_mean(column(rows, measure), [r["session"] for r in rows], rng=np.random.default_rng(0))


def told(interval: Interval, digits: int = 2) -> str:
    """`0.95 [0.91, 0.98]`."""
    return f"{interval.mean:.{digits}f} [{interval.low:.{digits}f}, {interval.high:.{digits}f}]"


def levels(console: Console, days: int, n: int) -> Rows:
    """Every level by memory; the rows of the file, with paired differences to no memory."""
    found: Rows = []
    for level in LEVELS:
        planners = {
            k: RulePlanner(partial(HouseholdMemory, short_term=s, long_term=g)) for k, (s, g) in MEMORIES.items()
        }
        rows = play(level, planners, days, n)
        table = Table(
            "memory", "success", "SPL", "actions", "metres", "tokens a task", title=f"{level}, {len(rows['both'])}"
        )
        for name, own in rows.items():
            cells = [told(interval_of(own, m), 2 if m in ("success", "spl") else 1) for m in MEASURES]
            table.add_row(name, *cells)
            found += [_of_level(level, name, own, rows["neither"], measure) for measure in MEASURES]
        console.print(table)
        _kinds(console, rows)
    return found


def _of_level(level: str, name: str, own: Rows, reference: Rows, measure: str) -> dict[str, Any]:
    clusters = [r["session"] for r in own]
    mine, other = column(own, measure), column(reference, measure)
    difference = paired_difference(mine, other, clusters, rng=np.random.default_rng(0))
    goal, met = "none set", True
    if measure == "spl" and name == "both":
        goal, met = "paired interval above neither", difference.low > 0
    if measure == "success" and name == "both" and level in ("complex", "personal"):
        goal, met = "paired interval above neither", difference.low > 0
    mean = interval_of(own, measure)
    entry = row(
        f"{level}: {measure}, {name}", mean.mean, goal=goal, met=met, peer=float(other.mean()), peer_name="neither"
    )
    entry |= {"interval": [mean.low, mean.high], "difference": [difference.mean, difference.low, difference.high]}
    if measure == "success":
        entry["mcnemar_p"] = mcnemar(mine > 0, other > 0)
    return dict(entry)


def _kinds(console: Console, rows: dict[str, Rows]) -> None:
    """Success by form, where a level has several."""
    forms = sorted({r["kind"] for r in rows["both"]})
    if len(forms) < 2:
        return
    table = Table("success by form", *forms)
    for name, own in rows.items():
        groups = [[r for r in own if r["kind"] == form] for form in forms]
        table.add_row(name, *(f"{column(group, 'success').mean():.2f} of {len(group)}" for group in groups))
    console.print(table)


def capacities(console: Console, days: int, n: int) -> Rows:
    """How many things the short-term memory has to hold beside the long-term one."""
    planners = {str(c): RulePlanner(partial(HouseholdMemory, short_term=c)) for c in CAPACITIES}
    rows = play("complex", planners, days, n)
    table = Table("things in the short-term memory", "success", "SPL", "tokens a task", title="complex, both memories")
    found: Rows = []
    for name, own in rows.items():
        cells = [interval_of(own, measure) for measure in ("success", "spl", "tokens")]
        table.add_row(name, *(told(each, 0 if i == len(cells) - 1 else 2) for i, each in enumerate(cells)))
        found.append(row(f"complex: SPL with {name} things short-term", cells[1].mean, goal="none set", met=True))
    console.print(table)
    return found


def planners(console: Console, names: Sequence[str], seeds: range, n: int) -> Rows:
    """Rules and language by memory in one table, with paired differences to the same planner without memory."""
    found: Rows = []
    shown = ("success", "spl", "steps", "model_tokens", "by_model")
    for level in names:
        rows = play_both(level, seeds=seeds, n_tasks=n)
        title = f"{level}, {len(rows['rules, both'])} tasks: rules, and a stand-in for a language model"
        table = Table("planner, memory", "success", "SPL", "actions", "model tokens", "its decisions", "- neither")
        for name, own in rows.items():
            reference = rows[f"{name.split(', ')[0]}, neither"]
            entries = [_of_planner(level, name, own, reference, measure) for measure in shown]
            cells = [
                f"{e['ours']:{'.2f' if e['ours'] < 2 else ',.1f'}} [{e['interval'][0]:,.2f}, {e['interval'][1]:,.2f}]"
                for e in entries
            ]
            mean, low, high = entries[0]["difference"]
            table.add_row(name, *cells, f"{mean:+.2f} [{low:+.2f}, {high:+.2f}]")
            found += entries
        table.title = title
        console.print(table)
    return found


def _of_planner(level: str, name: str, own: Rows, reference: Rows, measure: str) -> dict[str, Any]:
    mean = interval_of(own, measure)
    other, sessions = column(reference, measure), [r["session"] for r in own]
    gain = paired_difference(column(own, measure), other, sessions, rng=np.random.default_rng(0))
    goal, met = "none set", True
    if name.endswith("both") and measure == "spl":
        goal, met = "paired interval above neither", gain.low > 0
    entry = row(f"{level}: {measure}, {name}", mean.mean, goal=goal, met=met, peer=float(other.mean()),
                peer_name="no memory")  # fmt: skip
    interval, difference = [mean.low, mean.high], [gain.mean, gain.low, gain.high]
    return {**entry, "interval": interval, "difference": difference}


def questions(console: Console, folder: Path) -> Rows:
    """Accuracy of 19 templates over days of three traces, by what is remembered."""
    acquired = read_memento(folder / "memory_acquisition_stage.json.gz")
    right: dict[str, list[bool]] = {**{name: [] for name in WINDOWS}, "state table": []}
    days = days_of(read_traces(folder / "gold_traces.tar.gz"), acquired)
    of_day: list[int] = []
    for i, day in enumerate(days):
        log, table = log_of(day), table_of(day)
        for question, truth in questions_of(day, np.random.default_rng(i)):
            of_day.append(i)
            for name, window in WINDOWS.items():
                right[name].append(answer(log if window is None else log[-window:], question) == truth)
            right["state table"].append(answer_from_table(table, question) == truth)
    goals = {"full log": 0.968, "last 30 steps": 0.704, "last 12 steps": 0.406, "state table": 0.072}
    shown = Table(
        "memory", "right", "of the source", title=f"MEMENTO traces: {len(of_day)} questions, {len(days)} days"
    )
    found = []
    for name, each in right.items():
        mean = bootstrap_mean(np.array(each, float), of_day, rng=np.random.default_rng(0))
        shown.add_row(name, told(mean, 3), f"{goals[name]:.3f}")
        is_goal = name == "full log"
        entry = row(f"MEMENTO questions: {name}", mean.mean, goal=">= 0.968" if is_goal else "below the full log",
                    met=mean.mean >= goals[name] if is_goal else mean.mean < float(np.mean(right["full log"])),
                    peer=goals[name], peer_name="earlier prototype")  # fmt: skip
        found.append({**entry, "interval": [mean.low, mean.high]})
    console.print(shown)
    return found


def joint_share(memory: Told, episodes: Sequence[MementoEpisode], k: int, *, home: bool, split: bool) -> float:
    """Share of the episodes of which all tellings that they need are among the first k."""
    found = []
    for e in episodes:
        requests = parts(e.instruction) if split else [e.instruction]
        hits = memory.recall_parts(requests, home=e.home if home else None, k=k)
        found.append(set(e.related) <= {hit.record.keys[0] for hit in hits if hit.record is not None})
    return float(np.mean(found))


def memento_development(folder: Path) -> tuple[list[MementoEpisode], list[MementoEpisode]]:
    """(single requests that are part of no joint one, pairs of them from one home as one request)."""
    joint = read_memento(folder / "joint_memory_utilization_stage_half.json.gz")
    evaluated = {key for e in joint for key in e.related}
    singles = [
        e for e in read_memento(folder / "single_memory_utilization_stage.json.gz") if not evaluated & set(e.related)
    ]
    rng = np.random.default_rng(0)
    pairs = []
    for home in sorted({e.home for e in singles}):
        own = [e for e in singles if e.home == home]
        order = rng.permutation(len(own))
        for a, b in zip(order[::2], order[1::2], strict=False):
            word = ("Then, ", "After that, ", "Additionally, ", "Also, ")[int(rng.integers(4))]
            second = own[b].instruction[0].lower() + own[b].instruction[1:]
            text = f"{own[a].instruction} {word}{second}"
            pairs.append(replace(own[a], instruction=text, related=own[a].related + own[b].related))
    return singles, pairs


def retrieval(console: Console, folder: Path) -> Rows:
    """Joint-memory requests by way of retrieval, beside the development set that chose the way."""
    from embmem.encoders import MiniLMEncoder

    encode = MiniLMEncoder()
    acquired = read_memento(folder / "memory_acquisition_stage.json.gz")
    joint = read_memento(folder / "joint_memory_utilization_stage_half.json.gz")
    singles, pairs = memento_development(folder)
    by_meaning, by_words = Told(RecordStore(), encode, ranking=RANKING), Told(RecordStore())
    for home in sorted({e.home for e in acquired}):
        own = [(e.id, e.instruction) for e in acquired if e.home == home]
        by_meaning.tell(own, home=home, stamp=0.0)
        by_words.tell(own, home=home, stamp=0.0)
    by_rank = Told(by_meaning.store, encode, ranking=RRF)
    ways = {
        "words, whole request, all homes": (by_words, False, False),
        "words, whole request, its home": (by_words, True, False),
        "words, parts, its home": (by_words, True, True),
        "words + meaning by rank, parts, its home": (by_rank, True, True),
        "words + meaning by score, parts, its home": (by_meaning, True, True),
    }
    table = Table(
        "way", "joint @2", "joint @5", "dev pairs @2", "@5", "dev single @1", title=f"MEMENTO, {len(joint)} joint"
    )
    shares = {}
    for name, (memory, is_home, is_split) in ways.items():
        ask = partial(joint_share, memory, home=is_home, split=is_split)
        shares[name] = (ask(joint, 2), ask(joint, 5))
        table.add_row(name, *(f"{s:.3f}" for s in (*shares[name], ask(pairs, 2), ask(pairs, 5), ask(singles, 1))))
    console.print(table)
    console.print(f"dev: {len(singles)} single requests that are part of no joint one, and {len(pairs)} pairs of them")
    plain, best = shares["words, whole request, all homes"], shares[list(ways)[-1]]
    return [
        row(f"MEMENTO joint retrieval @{k}", best[i], goal=f">= {goal}", met=best[i] >= goal,
            peer=plain[i], peer_name="plain BM25")
        for i, (k, goal) in enumerate(((2, 0.65), (5, 0.85)))
    ]  # fmt: skip


def main() -> None:
    """Print the tables and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one short day a seed")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("EMBMEM_DATA_DIR", "../shared/data")))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    console, found = Console(), list[Any]()
    days, n = (1, 5) if arguments.quick else (4, 10)
    found += levels(console, days, n)
    found += capacities(console, days, n)
    if arguments.quick:
        found += planners(console, LEVELS[:1], range(1, 3), 2)
    else:
        found += planners(console, LEVELS, range(1, 6), 4)
    folder = arguments.data / "memento"
    if folder.is_dir():
        found += questions(console, folder)
        found += retrieval(console, folder)
    else:
        console.print(f"no MEMENTO files at {folder}: that part is left out")
    goals = Table("figure", "ours", "peer", "peer is", "goal", "met")
    for each in found:
        if each["goal"] != "none set":
            peer = "" if each["peer"] is None else f"{each['peer']:.3f}"
            goals.add_row(
                each["name"],
                f"{each['ours']:.3f}",
                peer,
                each["peer_name"],
                each["goal"],
                "yes" if each["met"] else "no",
            )
    console.print(goals)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
