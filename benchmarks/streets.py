"""Street navigation, E1 to E7: what replays, what follows instructions, what a memory of landmarks adds.

    python benchmarks/streets.py [--only e2 e3] [--quick] [--vectors FILE] [--json FILE]

Needs the public data below $EMBMEM_DATA_DIR. Goals are published figures; a missed one is reported as missed. E4, E5
and E7 happen in the semi-synthetic world of `embmem.sim_envs.street.landmarks`, so only differences inside it mean
anything; these rows have no goal but the sign of a paired difference: met if its 95 % interval lies above 0. Every seed
has landmarks, noise and an order of episodes of its own. Intervals are bootstrap, over episodes, but in E5 over tours,
which are few: somewhat too narrow. The full run takes about forty minutes of one core, `--quick` a few.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from metric_conformance import compare
from rich.console import Console
from rich.table import Table

from embmem.policies.street.memory import Parts, StreetMemory
from embmem.policies.street.ranked import RankedStreetAgent
from embmem.policies.street.remembering import RememberingStreetAgent
from embmem.policies.street.rule import RuleStreetAgent
from embmem.policies.street.simple import ForwardStreetAgent, GoldStreetAgent
from embmem.sim_envs.metrics.graph import read_street_graph
from embmem.sim_envs.metrics.statistics import Interval, bootstrap_mean, mcnemar, paired_difference
from embmem.sim_envs.street.episodes import SPLITS
from embmem.sim_envs.street.landmarks import DIM
from embmem.sim_envs.street.perception import Perception
from embmem.sim_envs.street.task import FollowInstructions, street_folder
from embmem.sim_envs.street.tours import LandmarkTour

Row = dict[str, Any]
FORWARD = {
    "map2seq_seen": (0.50, 40.4, 37.9),
    "map2seq_unseen": (0.75, 37.9, 37.2),
    "touchdown_unseen": (1.38, 42.6, 32.4),
}  # TC %, SPD hops, KPA %: published
RULE = {"map2seq_seen": (14.4, 12.3), "map2seq_unseen": (11.9, 13.5), "touchdown_unseen": (6.4, 30.1)}
TRAINED = {"map2seq_seen": (42.25, 8.02), "map2seq_unseen": (27.88, 10.71), "touchdown_unseen": (11.50, 25.89)}
PARTS = ("octree", "graph", "short_term", "long_term")
BUDGET = 300  # records of the long term
SEEDS = 5
COSTS = (("records", 1, "records"), ("log_bytes", 1e3, "kB of log"), ("bytes", 1e3, "kB of graph and short term"))
NOISE = {
    "no noise": Perception(miss=0.0, false_alarm=0.0, bearing=0.0, distance=0.0, embedding=0.0),
    "more noise": Perception(miss=0.5, false_alarm=0.15, bearing=20.0, distance=0.4, embedding=0.8),
}  # besides the published one, which is the default


def row(name: str, ours: float, peer: float | None, peer_name: str, *, met: bool | None, **more: Any) -> Row:
    """One line of the result."""
    ratio = ours / peer if peer else None
    return {"name": name, "ours": ours, "peer": peer, "peer_name": peer_name, "ratio": ratio, "met": met, **more}


def e1(vectors: Path | None) -> list[Row]:
    """Metric conformance, where the vectors are at hand."""
    if vectors is None:
        return []
    graph = read_street_graph(street_folder(None) / "graph")
    compared = compare(json.loads(vectors.read_text()), graph)
    values = [value for value in compared if value.expected is not None]  # None: the published code failed there
    wrong = sum(not value.is_match for value in values)
    return [row("E1 values that differ", wrong, 0.0, "published code", met=wrong == 0, goal=0, n=len(values))]


def play(task: FollowInstructions, agents: Mapping[str, Any], sessions: int, n: int, seed: int = 0) -> list[Row]:
    """The rows of some sessions."""
    rows: list[Row] = []
    for index in range(sessions):
        rows += task.play(agents, seed=seed, index=index, n=n, on_row=lambda _: None)
    return rows


def means(rows: list[Row], agent: str) -> dict[str, Interval]:
    """Mean of the measures of one agent, with intervals over episodes."""
    own = [r for r in rows if r["agent"] == agent]
    rng = np.random.default_rng(0)
    return {
        key: bootstrap_mean(np.array([float(r[key]) for r in own]), rng=rng)
        for key in ("success", "velma/spd_hops", "velma/kpa")
    }


def e2(n: int) -> list[Row]:
    """Replays of the gold routes and the forward baseline, to the digit that is printed."""
    rows = []
    for split in SPLITS:
        task = FollowInstructions(split=split, max_steps=90, per_session=n)
        played = play(task, {"gold": GoldStreetAgent(), "forward": ForwardStreetAgent()}, 1, n)
        gold, forward = means(played, "gold"), means(played, "forward")
        arrived = round(gold["success"].mean * n)
        rows.append(row(f"E2 {split} gold routes that arrive", arrived, n, "all", met=arrived == n, goal=n))
        digits = {"success": (100, 2, 0), "velma/spd_hops": (1, 1, 1), "velma/kpa": (100, 1, 2)}
        for key, (scale, digit, i) in digits.items():
            ours, printed = scale * forward[key].mean, FORWARD[split][i]
            same = abs(ours - printed) <= 0.5001 * 10**-digit if n == 800 else None
            rows.append(row(f"E2 {split} forward {key}", round(ours, 3), printed, "published", met=same, goal=printed))
    return rows


def e3(n: int) -> list[Row]:
    """Words and map alone: the rule agent, and the ranker that never saw a route of the region it is judged in."""
    rows = []
    for split in SPLITS:
        task = FollowInstructions(split=split, per_session=n)
        played = play(task, {"rule": RuleStreetAgent(), "ranked": RankedStreetAgent(split)}, 1, n)
        for agent, peers, who in (("rule", RULE, "untuned rule agent"), ("ranked", TRAINED, "trained, no image")):
            own = means(played, agent)
            tc, spd = own["success"], own["velma/spd_hops"]
            goal_tc, goal_spd = peers[split]
            span = [100 * tc.low, 100 * tc.high]
            better = bool(100 * tc.mean > goal_tc), bool(spd.mean < goal_spd)
            has_goal = agent == "ranked" and split.endswith("unseen")
            about = {"n": n, "split": split}
            name = f"E3 {split} {agent}"
            met = better if has_goal else (None, None)
            rows.append(row(f"{name} TC %", 100 * tc.mean, goal_tc, who, met=met[0], interval=span, **about))
            spread = [spd.low, spd.high]
            rows.append(row(f"{name} SPD hops", spd.mean, goal_spd, who, met=met[1], interval=spread, **about))
    return rows


def variants(split: str) -> dict[str, Any]:
    """mem4nav whole, without each part, with tokens, and with a long term of few records."""
    whole: dict[str, Any] = {"mem4nav": RememberingStreetAgent(split)}
    for part in PARTS:
        whole[f"no {part}"] = RememberingStreetAgent(split, parts=Parts(**{part: False}))
    whole["token"] = RememberingStreetAgent(split, parts=Parts(token_dim=256))
    whole["budget"] = RememberingStreetAgent(split, parts=Parts(most=BUDGET))
    return whole


def tours(task: LandmarkTour, agents: Mapping[str, Any], seeds: int) -> list[Row]:
    """One tour a seed: its landmarks, order and noise are its own."""
    rows: list[Row] = []
    for seed in range(seeds):
        rows += [{**r, "session": seed} for r in play(task, agents, 1, task.per_session, seed=seed)]
    return rows


def differences(title: str, rows: list[Row], reference: str, *, by_tour: bool) -> list[Row]:
    """The reference minus every other agent, paired by episode; p is McNemar's, of episodes as if independent."""
    rng, out = np.random.default_rng(0), []
    own = {name: [r for r in rows if r["agent"] == name] for name in dict.fromkeys(r["agent"] for r in rows)}
    sessions = [r["session"] for r in own[reference]] if by_tour else None
    for name, others in own.items():
        if name == reference:
            continue
        for key, scale, sign in (("success", 100, 1), ("velma/spd_hops", 1, -1)):
            a, b = (np.array([float(r[key]) for r in part]) for part in (own[reference], others))
            gap = paired_difference(scale * sign * a, scale * sign * b, sessions, rng=rng)
            label = "TC points gained" if key == "success" else "SPD hops saved"
            more: Row = {"interval": [gap.low, gap.high], "n": len(a), "seeds": len({r["session"] for r in others})}
            more |= {"ours_mean": scale * float(a.mean()), "peer_mean": scale * float(b.mean())}
            if key == "success":
                more["p"] = mcnemar(a > 0, b > 0)
            met = bool(gap.low > 0)
            out.append(row(f"{title} {reference} against {name}: {label}", gap.mean, None, name, met=met, **more))
    return out


def costs(title: str, rows: list[Row]) -> list[Row]:
    """What the memory of each agent takes at the end of a tour: records and kilobytes."""
    out = []
    for name in dict.fromkeys(r["agent"] for r in rows if "memory" in r):
        ends = {r["session"]: r["memory"] for r in rows if r["agent"] == name}  # the last episode of each tour
        for key, scale, unit in (
            ("records", 1, "records"),
            ("log_bytes", 1e3, "kB of log"),
            ("bytes", 1e3, "kB of RAM"),
        ):
            mean = float(np.mean([memory[key] for memory in ends.values()])) / scale
            out.append(row(f"{title} {name}: {unit} at the end", mean, None, "", met=None))
    return out


def e4(split: str, n: int, seeds: int) -> list[Row]:
    """Noisy landmarks, memory empty at every start: the parts, and how much noise it bears."""
    whole = {"words only": RankedStreetAgent(split), **variants(split)}
    rows = tours(LandmarkTour(split=split, per_session=n), whole, seeds)
    out = differences(f"E4 {split}", rows, "mem4nav", by_tour=False)
    few = {name: whole[name] for name in ("words only", "mem4nav")}
    for level, noise in NOISE.items():
        rows = tours(LandmarkTour(split=split, per_session=max(1, n // 2), perception=noise), few, seeds)
        out += differences(f"E4 {split}, {level}", rows, "mem4nav", by_tour=False)
    return out


def e5(split: str, n: int, seeds: int) -> list[Row]:
    """Persistent tours: kept against cleared, also by the episode's place in the tour, parts, noise, and bytes."""
    agents = {"cleared": RememberingStreetAgent(split, remembers=False), **variants(split)}
    rows = tours(LandmarkTour(split=split, per_session=n, keeps_memory=True), agents, seeds)
    out = differences(f"E5 {split}", rows, "mem4nav", by_tour=True)
    third = max(1, n // 3)
    for k in range(3):
        part = [r for r in rows if k * third <= r["episode"] < (k + 1) * third and r["agent"] in ("mem4nav", "cleared")]
        out += differences(f"E5 {split} episodes {k * third + 1}-{(k + 1) * third}", part, "mem4nav", by_tour=True)
    return out + costs(f"E5 {split}", rows)


def e6(n: int) -> list[Row]:
    """Inserts, look-ups, bytes, and whether the answers are those of an exact search."""
    rng, memory = np.random.default_rng(0), StreetMemory(Parts(graph=False, short_term=False))
    names = rng.normal(size=(max(1, n // 8), DIM))
    units = names[rng.integers(len(names), size=n)] + 0.6 * rng.normal(size=(n, DIM))
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    points = rng.uniform(-2500, 2500, (n, 2))
    writes, reads, found = [], [], []
    for i in range(n):
        begin = time.process_time()
        memory.write(points[i], units[i], float(i), points[i])
        writes.append(time.process_time() - begin)
    for i in rng.integers(n, size=200):
        cue = names[rng.integers(len(names))]
        cue = cue / np.linalg.norm(cue)
        begin = time.process_time()
        told = memory.read(cue, points[i])
        reads.append(time.process_time() - begin)
        inside = (np.abs(points - points[i]) <= memory.parts.reach).all(axis=1) & (units @ cue >= memory.parts.similar)
        best = np.flatnonzero(inside)[np.argsort(-(units @ cue)[inside], kind="stable")][: memory.parts.k]
        wanted = {tuple(points[j]) for j in best}
        found.append(len(wanted & {r.position for r in told}) / len(wanted) if wanted else 1.0)
    recall = float(np.mean(found))
    return [
        row(f"E6 write ms, {n} sightings", 1e3 * float(np.median(writes)), None, "", met=None),
        row(f"E6 look-up ms, {n} sightings", 1e3 * float(np.median(reads)), None, "", met=None),
        row("E6 look-up p99 ms", 1e3 * float(np.percentile(reads, 99)), None, "", met=None),
        row("E6 recall@3 against exact search", recall, 1.0, "all rows", met=recall >= 0.99, goal=0.99),
    ]


def e7(split: str, n: int, seeds: int) -> list[Row]:
    """Pushed into a wrong street once an episode: who finds the goal all the same, and what memory adds to that."""
    agents = {
        "walking back": RankedStreetAgent(split),
        "going on blindly": RankedStreetAgent(split, recovers=False),
        **{name: agent for name, agent in variants(split).items() if name != "budget"},
    }
    rows = tours(LandmarkTour(split=split, per_session=n, n_shoves=1, max_steps=80), agents, seeds)
    two = [r for r in rows if r["agent"] in ("walking back", "going on blindly")]
    title = f"E7 {split}"
    return differences(title, two, "walking back", by_tour=False) + differences(title, rows, "mem4nav", by_tour=False)


def main() -> None:
    """Run what is asked for, show it, write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[f"e{i}" for i in range(1, 8)])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--split", default="map2seq_unseen", choices=list(SPLITS), help="of E4, E5 and E7")
    parser.add_argument("--tour", type=int, default=None, help="episodes a tour in E5, of which E4 and E7 take half")
    parser.add_argument("--seeds", type=int, default=None, help="seeds of E4 and E7, tours of E5")
    parser.add_argument("--vectors", type=Path)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    q, seeds = args.quick, args.seeds or (2 if args.quick else SEEDS)
    tour = args.tour or (24 if q else 100)
    steps: dict[str, Callable[[], list[Row]]] = {
        "e1": lambda: e1(args.vectors),
        "e2": lambda: e2(40 if q else 800),
        "e3": lambda: e3(40 if q else 800),
        "e4": lambda: e4(args.split, tour // 2, seeds),
        "e5": lambda: e5(args.split, tour, seeds),
        "e6": lambda: e6(2_000 if q else 20_000),
        "e7": lambda: e7(args.split, tour // 2, seeds),
    }
    rows: list[Row] = []
    for name in args.only:
        rows += steps[name]()
        if args.json is not None:  # after each, so that what is done is kept
            args.json.write_text(json.dumps([{"goal": None, **line} for line in rows], indent=1, default=float))
    show(rows)


def show(rows: list[Row]) -> None:
    """The rows as a table."""
    table = Table(title="streets")
    for column in ("what", "ours", "95 %", "peer", "whose", "met"):
        table.add_column(column)
    for line in rows:
        span = line.get("interval")
        table.add_row(
            line["name"],
            f"{line['ours']:.4g}",
            "" if span is None else f"{span[0]:.2f} .. {span[1]:.2f}",
            "" if line["peer"] is None else f"{line['peer']:.4g}",
            line["peer_name"],
            {True: "yes", False: "no", None: ""}[line["met"]],
        )
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
