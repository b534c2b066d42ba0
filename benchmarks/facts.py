"""Facts on two clocks: how often the answer is right when news comes late, and what an update and a question cost.

    python benchmarks/facts.py [--quick] [--json FILE]

Right means: equal to the world's own log. "now" asks after all news has come where each thing is at the end, "as of"
where it was at a random moment, "both clocks" where it was at a random moment as far as was known at another: there the
truth is what the log says without the news that had not come. The overwriting memory keeps what it heard last. Times
are CPU microseconds of one core, everything in RAM; the peer is a SQLite table of edge versions with four times and an
index by name. Answers of both are compared while they are timed.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from facts_worlds import DAY, Overwrite, SqlIntervals, World, house_world, random_world
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rows import row

from embmem.facts import FactMemory, Statement
from embmem.facts.fact_index import FactIndex
from embmem.facts.lines import ASSERTION, Said
from embmem.store import RecordStore

PLACES = 50
STATEMENTS = 20  # about a subject, in the timings
QUESTIONS = 4000


def scores(world: World, rng: np.random.Generator, *, delay: float, n: int) -> dict[str, list[float]]:
    """Shares of right answers (ours, overwriting) by kind of question."""
    news = world.news(rng, delay)
    arrivals = iter([t for t, _ in news])
    facts, overwrite = FactMemory(RecordStore(clock=lambda: next(arrivals))), Overwrite()
    facts.write_all(said for _, said in news)
    for _, said in news:
        overwrite.hear(said)
    subjects = sorted(world.log)
    right: dict[str, list[tuple[bool, bool]]] = {"now": [], "as of": [], "both clocks": []}
    for subject in subjects:
        truth = world.at(subject, world.end)
        right["now"].append((_answer(facts, subject, math.inf, math.inf) == truth, overwrite.at(subject) == truth))
    for _ in range(n):
        subject = subjects[rng.integers(len(subjects))]
        t, belief = float(rng.uniform(0, world.end)), float(rng.uniform(0, news[-1][0]))
        truth = world.at(subject, t)
        right["as of"].append((_answer(facts, subject, t, math.inf) == truth, overwrite.at(subject) == truth))
        known = [said for arrival, said in news if arrival <= belief and said.subject == subject]
        begun = [said for said in known if said.valid_at <= t]
        truth = max(begun, key=lambda said: said.valid_at).object if begun else None
        last = known[-1].object if known else None
        right["both clocks"].append((_answer(facts, subject, t, belief) == truth, last == truth))
    return {kind: np.mean(np.array(pairs), axis=0).tolist() for kind, pairs in right.items()}


def _answer(facts: FactMemory, subject: str, t: float, belief: float) -> str | None:
    found = facts.facts(subject, "in", event_time=t, belief_time=belief)
    return found[0].object if found else None


def accuracy(name: str, worlds: list[World], *, delay: float, n: int) -> list[dict[str, Any]]:
    """One row a kind of question, the mean over worlds."""
    each = [scores(world, np.random.default_rng(i), delay=delay, n=n) for i, world in enumerate(worlds)]
    rows = []
    for kind in each[0]:
        ours, peer = np.mean([s[kind] for s in each], axis=0).tolist()
        rows.append(row(f"{name}, {kind}: share right", ours, goal=">= 1.000", met=ours >= 1.0, peer=peer,
                        peer_name="overwriting"))  # fmt: skip
    return rows


def speed(n: int, per_subject: int) -> list[dict[str, Any]]:
    """Cost of an update and of questions among `n` statements that come out of order, ours and the peer's."""
    rng = np.random.default_rng(n)
    subjects = [f"thing-{i}" for i in rng.integers(0, max(n // per_subject, 1), n).tolist()]
    what = [f"room-{i}" for i in rng.integers(0, PLACES, n).tolist()]
    stamps = rng.permutation(n).astype(float).tolist()
    index, peer = FactIndex(), SqlIntervals()
    said = [
        Said(i + 1, subjects[i], "in", f"o{what[i]}", ASSERTION, stamps[i], math.inf, float(i), "robot", 1.0)
        for i in range(n)
    ]
    touched: list[int] = []
    update = _seconds(lambda: touched.extend(map(index.add, said))) / n
    heard = zip(subjects, what, stamps, range(n), strict=True)
    peers = _seconds(lambda: [peer.hear(s, "in", w, t, float(i)) for s, w, t, i in heard]) / n  # type: ignore[func-returns-value]
    name = f"{n:,} statements, {per_subject:,} a subject"
    rows = [
        row(f"{name}: update [us]", 1e6 * update, goal="<= 1 x peer", met=update <= peers, peer=1e6 * peers,
            peer_name="SQLite intervals"),
        row(f"{name}: edges touched by an update, mean", float(np.mean(touched)), goal="<= 3",
            met=bool(np.mean(touched) <= 3), peer=float(n), peer_name="all of them"),
    ]  # fmt: skip
    asked = rng.integers(0, n, QUESTIONS)
    questions = [(subjects[i], float(t)) for i, t in zip(asked, rng.uniform(0, n, QUESTIONS), strict=True)]
    for kind, beliefs in (("now", np.full(QUESTIONS, n + 1.0)), ("both clocks", rng.uniform(0, n, QUESTIONS))):
        times = [math.inf if kind == "now" else b for b in beliefs.tolist()]
        ours = _timed(lambda q, b: _ask(index, q, b), questions, times)
        theirs = _timed(lambda q, b: peer.at(q[0], "in", q[1], b), questions, beliefs.tolist())
        if ours[0] != theirs[0]:
            raise SystemExit(f"the two disagree about {kind} among {name}")
        rows.append(row(f"{name}: question, {kind} [us]", ours[1], goal="<= 2 x peer", met=ours[1] <= 2.0 * theirs[1],
                        peer=theirs[1], peer_name="SQLite intervals"))  # fmt: skip
    return rows


def _ask(index: FactIndex, question: tuple[str, float], belief: float) -> str | None:
    found = list(index.holding(index.keys(question[0], "in", None), question[1], belief))
    return found[0].object if found else None


def _timed(
    ask: Callable[[tuple[str, float], float], str | None], questions: list[tuple[str, float]], beliefs: list[float]
) -> tuple[list[str | None], float]:
    """The answers, and microseconds a question: the best of three."""
    answers: list[str | None] = []
    best = math.inf
    for _ in range(3):
        begin = time.process_time()
        answers = [ask(question, belief) for question, belief in zip(questions, beliefs, strict=True)]
        best = min(best, time.process_time() - begin)
    return answers, 1e6 * best / len(questions)


def through_the_log(n: int) -> list[dict[str, Any]]:
    """The whole way: statements into the log, a new index from the log, questions to it."""
    rng = np.random.default_rng(0)
    subjects, rooms = rng.integers(0, max(n // STATEMENTS, 1), n).tolist(), rng.integers(0, PLACES, n).tolist()
    stamps = rng.permutation(n).astype(float).tolist()
    store = RecordStore()
    statements = [
        Statement(f"thing-{s}", "in", f"room-{r}", valid_at=t) for s, r, t in zip(subjects, rooms, stamps, strict=True)
    ]
    writing = _seconds(lambda: FactMemory(store).write_all(statements)) / n
    facts = FactMemory(store)
    opening = _seconds(facts.facts)
    asking = _seconds(lambda: [facts.facts(f"thing-{s}", "in", event_time=t) for s, t in
                               zip(subjects[:QUESTIONS], stamps, strict=False)]) / min(n, QUESTIONS)  # fmt: skip
    name = f"{n:,} statements through the log"
    return [
        row(f"{name}: write [us]", 1e6 * writing, goal="none set", met=True),
        row(f"{name}: index from the log [s]", opening, goal="none set", met=True),
        row(f"{name}: question [us]", 1e6 * asking, goal="<= 100", met=asking <= 1e-4),
    ]


def _seconds(call: Callable[[], Any]) -> float:
    begin = time.process_time()
    call()
    return time.process_time() - begin


def main() -> None:
    """Print the table and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer worlds, at most 10^4 statements")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    n_worlds, n, sizes = (2, 200, [1_000, 10_000]) if arguments.quick else (20, 1000, [100_000, 1_000_000])
    rng = np.random.default_rng(0)
    worlds = [random_world(rng, subjects=60, changes=8) for _ in range(n_worlds)]
    houses = [house_world(seed, 30) for seed in range(max(n_worlds // 2, 1))]
    rows = [
        *accuracy("random streams", worlds, delay=10 * DAY, n=n),
        *accuracy("30 days of a house", houses, delay=3 * DAY, n=n),
        *(each for size in sizes for each in speed(size, STATEMENTS)),
        *speed(sizes[0], sizes[0]),
        *through_the_log(sizes[0]),
    ]
    table = Table(title="Facts on two clocks")
    for heading in ("figure", "ours", "peer", "peer is", "goal", "met"):
        table.add_column(heading, justify="left" if heading in ("figure", "peer is") else "right")
    for each in rows:
        peer = "" if each["peer"] is None else f"{each['peer']:,.3f}"
        table.add_row(escape(each["name"]), f"{each['ours']:,.3f}", peer, each["peer_name"], each["goal"],
                      "yes" if each["met"] else "no")  # fmt: skip
    Console().print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
