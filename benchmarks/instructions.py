"""Routes told in words: how they are understood, and how they are walked with and without memory.

    python benchmarks/instructions.py [--quick] [--routes N] [--out FOLDER] [--json FILE]

**Words**: routes drawn in houses of 6 to 12 rooms; the share of instructions that the rule parser reads without a
mistake, on wordings of training and held-out ones, with all names it has and with those of training only; and the share
of routes that the rules for matching find, from the words, in a house that is known perfectly.
**Walked**: the rendered task (`embmem eval task=instructions`), held-out wordings, houses of 8 rooms: the rule agent
with the memory of a tour and of the routes before, the same without any memory, the oracle, and three blind agents; the
agent with memory that knows only the names of training, and the one without that explores without listening (pull=0).
Intervals are 95 % bootstraps over houses, differences are paired by route. `--out` keeps the runs and takes them up.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table

from embmem.agent import Body
from embmem.cli.main import compose_config
from embmem.observation import Intrinsics
from embmem.policies.instructions.known import KnownHouse
from embmem.policies.instructions.matching import best_match
from embmem.policies.instructions.parsing import Parser
from embmem.sim_envs.house import House, make_house
from embmem.sim_envs.instructions.drawing import ToldRoute, draw_told_route
from embmem.sim_envs.instructions.perfect import known_perfectly
from embmem.sim_envs.instructions.wording import SPLITS, say
from embmem.sim_envs.metrics.statistics import Interval, bootstrap_mean, mcnemar, paired_difference
from embmem.sim_envs.runner import evaluate
from embmem.sim_envs.world import World

SEED = 1  # of the walked routes; thresholds were set looking at a house of seed 0
HOUSES_FROM = 500  # of the routes that are only read
PER_HOUSE = 4
MEASURES = ("success", "spl", "soft_spl", "vlnce/sr", "vlnce/spl", "vlnce/ndtw", "rooms/sr", "rooms/ndtw", "steps")
Rows = list[dict[str, Any]]


def row(name: str, ours: float, *, goal: str, met: bool, peer: float | None = None, peer_name: str = "none") -> Any:
    """One row of the JSON file."""
    ratio = ours / peer if peer else None
    return {
        "name": name, "ours": ours, "peer": peer, "peer_name": peer_name, "ratio": ratio, "goal": goal,
        "met": bool(met),
    }  # fmt: skip


def told_interval(interval: Interval, digits: int = 2) -> str:
    """`0.95 [0.91, 0.98]`."""
    return f"{interval.mean:.{digits}f} [{interval.low:.{digits}f}, {interval.high:.{digits}f}]"


def draw_routes(n_houses: int) -> list[tuple[int, House, ToldRoute]]:
    """(number of the house, the house, a route in it), about ten to a house."""
    found = []
    for i in range(n_houses):
        house = make_house(HOUSES_FROM + i, 6 + i % 7)
        camera = Intrinsics.from_fov(32, 24, 79.0)
        world = World(house, intrinsics=camera, body=Body(), rng=np.random.default_rng(i))
        rng = np.random.default_rng(i)
        drawn = (draw_told_route(world, house, rng) for _ in range(40))
        found += [(i, house, told) for told in drawn if told is not None]
    return found


def words(console: Console, n_houses: int) -> Rows:
    """How well instructions are read, and whether what was read leads there."""
    routes = draw_routes(n_houses)
    houses = [i for i, _, _ in routes]
    parsers = {"all names": Parser(), "names of training": Parser({})}
    table = Table("wordings", "parser", "read right", "way found", title=f"{len(routes)} routes, {n_houses} houses")
    found: Rows = []
    maps = {i: known_perfectly(house) for i, house, _ in routes}
    for split in SPLITS:
        said = [say(told.steps, np.random.default_rng(k), split) for k, (_, _, told) in enumerate(routes)]
        for name, parser in parsers.items():
            read = [parser.parse(text) for text in said]
            right = np.array([a == told.steps for a, (_, _, told) in zip(read, routes, strict=True)], float)
            led = np.array([_leads(maps[i], told, a) for a, (i, _, told) in zip(read, routes, strict=True)], float)
            means = [bootstrap_mean(v, houses, rng=np.random.default_rng(0)) for v in (right, led)]
            table.add_row(split, name, *(told_interval(mean, 3) for mean in means))
            for what, mean in zip(("read right", "way found"), means, strict=True):
                entry = row(f"words: {what}, {split}, {name}", mean.mean, goal="none set", met=True)
                found.append({**entry, "interval": [mean.low, mean.high]})
    console.print(table)
    return found


def _leads(house: KnownHouse, told: ToldRoute, steps: Sequence[Any]) -> bool:
    match = best_match(house, told.route.start, tuple(steps))
    return (
        match is not None
        and match.landmark is not None
        and (match.landmark.id, match.rooms) == (told.route.goal.id, told.route.rooms)
    )


def walk(out: Path, n: int, name: str, overrides: Sequence[str]) -> Rows:
    """The rows of one run, taken up where it stopped."""
    common = ["task=instructions", f"task.per_session={PER_HOUSE}", f"episodes={n}", f"seed={SEED}", "strips=false"]
    config = OmegaConf.to_container(compose_config("eval", [*common, *overrides]), resolve=True)
    if not isinstance(config, Mapping):
        raise TypeError(f"a configuration is a mapping, got {type(config).__name__}")
    return evaluate({str(key): value for key, value in config.items()}, out / name, workers=1)


def walked(console: Console, out: Path, n: int) -> Rows:
    """Success and likeness of the walked routes by agent; what the memory of a tour is worth."""
    rows = walk(out, n, "seeing", ["agent=[instructions/frontier,oracle,instructions/memory]"])
    rows += walk(
        out, n, "blind",
        ["agent=[forward,random,instructions/turns]", "task.tour=none", "world.intrinsics.width=32",
         "world.intrinsics.height=24", "world.rgb=false"],
    )  # fmt: skip
    parts = walk(out, n, "parts", ["agent=[instructions/plain,instructions/frontier]", "agents.frontier.pull=0"])
    rows += [{**r, "agent": {"frontier": "frontier, pull=0"}.get(r["agent"], r["agent"])} for r in parts]
    rows += walk(out, n, "learned", ["agent=[instructions/learned,instructions/learned_frontier]"])
    return walked_tables(console, rows)


def large(console: Console, out: Path, n: int) -> Rows:
    """The same with memory in houses of 16 rooms, where rooms of a kind are many."""
    wide = ["agent=[instructions/memory,oracle]", "task.n_rooms=16", "task.max_steps=400"]
    rows = walk(out, n, "large", wide)
    own = [r for r in rows if r["agent"] == "memory"]
    means = [bootstrap_mean(_column(own, m), _houses(own), rng=np.random.default_rng(0)) for m in MEASURES]
    table = Table(*MEASURES, title=f"with memory, 16 rooms: {len(own)} routes, {_n_houses(own)} houses")
    table.add_row(*(told_interval(mean) for mean in means))
    console.print(table)
    found: Rows = []
    for m, mean in zip(MEASURES, means, strict=True):
        entry = row(f"16 rooms: {m}, memory", mean.mean, goal="none set", met=True)
        found.append({**entry, "interval": [mean.low, mean.high]})
    return found


def walked_tables(console: Console, rows: Rows) -> Rows:
    """The tables and the rows of the file, of finished runs."""
    agents = {name: [r for r in rows if r["agent"] == name] for name in dict.fromkeys(r["agent"] for r in rows)}
    table = Table("agent", *MEASURES, title=f"{len(agents['memory'])} routes, {_n_houses(agents['memory'])} houses")
    found: Rows = []
    for name, own in agents.items():
        means = [bootstrap_mean(_column(own, m), _houses(own), rng=np.random.default_rng(0)) for m in MEASURES]
        digits = [0 if m == "steps" else 2 for m in MEASURES]
        table.add_row(name, *(told_interval(mean, d) for mean, d in zip(means, digits, strict=True)))
        for m, mean in zip(MEASURES, means, strict=True):
            entry = row(f"walked: {m}, {name}", mean.mean, goal="none set", met=True)
            found.append({**entry, "interval": [mean.low, mean.high]})
    console.print(table)
    for ours, peer in (("memory", "frontier"), ("learned", "learned_frontier")):
        found += difference_rows(console, agents, ours, peer)
    return found


def difference_rows(console: Console, agents: dict[str, Rows], with_memory: str, without: str) -> Rows:
    """What memory is worth to an agent, paired by route."""
    memory, none = agents[with_memory], agents[without]
    found: Rows = []
    pairs = Table(f"{with_memory} less {without}", "difference", "goal", "met")
    for m in MEASURES:
        ours, peer = _column(memory, m), _column(none, m)
        difference = paired_difference(ours, peer, _houses(memory), rng=np.random.default_rng(0))
        is_goal = m in ("success", "spl", "vlnce/spl", "vlnce/ndtw")
        met = difference.low > 0 if is_goal else True
        pairs.add_row(m, told_interval(difference), "above 0" if is_goal else "", ("no", "yes")[met] if is_goal else "")
        goal = "paired interval above 0" if is_goal else "none set"
        entry = row(f"walked: {m}, {with_memory} against {without}", float(ours.mean()), goal=goal, met=met,
                    peer=float(peer.mean()), peer_name="the same agent without memory")  # fmt: skip
        entry["difference"] = [difference.mean, difference.low, difference.high]
        if m == "success":
            entry["mcnemar_p"] = mcnemar(ours > 0, peer > 0)
        found.append(entry)
    console.print(pairs)
    return found


def _column(rows: Rows, measure: str) -> np.ndarray:
    return np.array([float(r[measure]) for r in rows])


def _houses(rows: Rows) -> list[int]:
    return [r["session"] for r in rows]


def _n_houses(rows: Rows) -> int:
    return len(set(_houses(rows)))


def main() -> None:
    """Print the tables and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="8 walked routes in two houses, words in four")
    parser.add_argument("--routes", type=int, default=80, help="that are walked")
    parser.add_argument("--out", type=Path, help="folder that keeps the runs")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    console = Console()
    found = words(console, 4 if arguments.quick else 24)
    n = 2 * PER_HOUSE if arguments.quick else arguments.routes
    with tempfile.TemporaryDirectory() as folder:
        out = arguments.out or Path(folder)
        found += walked(console, out, n)
        found += large(console, out, n // 2)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
