"""Learned policies with and without memory, of equal size, in mazes that nobody trained on.

    python benchmarks/learned.py [--quick] [--tasks TASK ...] [--retrain TASK ...] [--checkpoints FOLDER] [--json FILE]

Evaluates the shipped policies (of these tasks), or those of a folder that `embmem train` has filled, called
`<task>-<memory>-<seed>`, of as many seeds as there are. All policies of a task meet the same episodes. `hidden` are the
errands, or pictures, whose first goal was seen and is not in view when it is given: where memory matters. A control are
those of one goal that is in view: nobody needs a memory, so all must do alike: the whole interval of the difference
within 0.1 of 0, so that a wide one shows nothing. Each test has its own control: only where it holds is the difference
on `hidden` one of memory, and the goal asks for both. An interval is 95 % bootstrap over seeds and episodes: seeds are
drawn, and within each its episodes; a difference is paired by seed and episode. CPU minutes are of the training, told
by the file. `--retrain` trains the first seed of each kind of policy of these tasks (`all`: every one that is there)
again by the settings in its file, and compares what comes out, in the world that its file tells.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra.utils import instantiate
from rich.console import Console
from rich.table import Table

from embmem.policies.learned.checkpoints import SHIPPED, load_policy
from embmem.policies.learned.imitation import evaluate
from embmem.policies.learned.networks import MEMORIES
from embmem.policies.learned.tokens import TokenWorld
from embmem.policies.learned.training import run_training
from embmem.sim_envs.maze import ImageGoalWorld, MazeWorld
from embmem.sim_envs.maze.instructions import KINDS

EPISODES, QUICK = 512, 128  # a policy
TEST_SEED = [1 << 31, 6]  # no training has such a generator
N_RESAMPLES = 2000


ALIKE = 0.1  # of success: two that differ by less are alike
CONTROL = "control of "
TASK = {"size": 5, "n_landmarks": 5, "tour": 14, "steps": 12, "kinds": ["named", "back"]}  # configs/train/errands.yaml
PICTURES = {"size": 5, "tour": 14, "steps": 12, "n_goals": 1}  # configs/train/image_goal.yaml, but one picture
LARGER = {"size": 7, "tour": 28, "steps": 24}


def worlds(n: int) -> dict[str, tuple[str, TokenWorld]]:
    """Name of each test: the task of its policies, its world; before a test comes its control."""
    changes: dict[str, dict[str, Any]] = {
        "errands": {},
        "errands in new words": {"is_held_out": True},
        "errands in larger mazes": LARGER,
        "errands, ways taken away": {"with_ways": False},
    }
    tests: dict[str, tuple[str, TokenWorld]] = {}
    for name, change in changes.items():
        settings = {**TASK, **change}
        tests[CONTROL + name] = "errands", MazeWorld(n, **{**settings, "kinds": ["named"], "in_view": 1.0})
        tests[name] = "errands", MazeWorld(n, **settings)
    for name, change in {"pictures": {}, "pictures in larger mazes": LARGER}.items():
        tests[CONTROL + name] = "image_goal", ImageGoalWorld(n, **{**PICTURES, **change}, in_view=1.0)
        tests[name] = "image_goal", ImageGoalWorld(n, **{**PICTURES, **change})
    return tests


def policies(folder: Path, task: str) -> dict[str, dict[int, Path]]:
    """The files of a task by memory and seed, of the seeds that all kinds of memory that are there have."""
    found = {
        memory: {
            int(path.stem.rsplit("-", 1)[1]): path for path in sorted(folder.glob(f"{task}-{memory}-*.safetensors"))
        }
        for memory in MEMORIES
    }
    found = {memory: seeds for memory, seeds in found.items() if seeds}
    common = set.intersection(*(set(seeds) for seeds in found.values())) if found else set()
    return {memory: {seed: seeds[seed] for seed in sorted(common)} for memory, seeds in found.items() if common}


def interval(values: np.ndarray, mask: np.ndarray) -> list[float]:
    """Mean, low and high of values (s, n) where `mask` (n,), seeds and episodes drawn anew."""
    rng, values = np.random.default_rng(0), values[:, mask]
    n_seeds, n = len(values), values.shape[1]
    means = []
    for _ in range(N_RESAMPLES):
        rows = rng.integers(n_seeds, size=n_seeds)
        means.append(values[rows[:, None], rng.integers(n, size=(n_seeds, n))].mean())
    low, high = np.percentile(means, [2.5, 97.5])
    return [float(values.mean()), float(low), float(high)]


def measure(files: dict[str, dict[int, Path]], world: TokenWorld) -> dict[str, dict[str, np.ndarray]]:
    """Scores (s, n) of every kind of policy on the same episodes."""
    result = {}
    for memory, seeds in files.items():
        networks = [load_policy(path)[0] for path in seeds.values()]
        scores = [evaluate(network, world, np.random.default_rng(TEST_SEED)) for network in networks]
        result[memory] = {name: np.stack([score[name] for score in scores]) for name in scores[0]}
    return result


def teacher(world: TokenWorld) -> np.ndarray:
    """(n,) success of the teacher on these episodes."""
    world.reset(np.random.default_rng(TEST_SEED))
    for _ in range(world.n_steps):
        world.step(world.expert().argmax(axis=1))
    return np.asarray(world.scores()["success"])


def are_alike(gain: list[float]) -> bool:
    """Whether a difference is shown to be small, by all of its interval."""
    return -ALIKE <= gain[1] <= gain[2] <= ALIKE


def rows_of(
    name: str, scores: dict[str, dict[str, np.ndarray]], best: np.ndarray, fair: dict[str, bool]
) -> list[dict[str, Any]]:
    """The rows of one test: attention against each peer; `fair` says of which its control holds, which comes before."""
    ours = scores["attention"]["success"]
    is_control = name.startswith(CONTROL)
    mask = np.ones(len(best), np.bool_) if is_control else scores["attention"]["hidden"][0] > 0
    rows = []
    for peer in [memory for memory in scores if memory != "attention"]:
        gain = interval(ours - scores[peer]["success"], mask)
        mean, other = interval(ours, mask), interval(scores[peer]["success"], mask)
        goal, met = "difference > 0, and its control holds", gain[1] > 0 and fair.get(peer, False)
        if is_control:
            fair[peer] = met = are_alike(gain)
            goal = f"|difference| <= {ALIKE}, by the whole interval"
        elif name == "errands, ways taken away":
            goal, met = "none", True
        rows.append({
            "name": f"{name}, {'in view' if is_control else 'hidden'}: success",
            "ours": mean[0], "interval": mean[1:], "peer": other[0], "peer_interval": other[1:], "peer_name": peer,
            "ratio": mean[0] / other[0] if other[0] else None, "difference": gain, "goal": goal, "met": met,
            "teacher": float(best[mask].mean()), "seeds": len(ours), "episodes": int(mask.sum()),
        })  # fmt: skip
    return rows


def by_kind(name: str, scores: dict[str, dict[str, np.ndarray]], console: Console) -> None:
    """A table of the errands by kind, hidden goals only."""
    table = Table("errand", *(f"{memory}" for memory in scores), title=f"{name}, hidden, by kind")
    for k, kind in enumerate(KINDS):
        if kind not in TASK["kinds"]:  # type: ignore[operator]
            continue
        told = []
        for values in scores.values():
            mask = (values["kind"][0] == k) & (values["hidden"][0] > 0)
            told.append("{:.3f} ({:.3f} - {:.3f})".format(*interval(values["success"], mask)))
        table.add_row(kind, *told)
    console.print(table)


def costs(files: dict[str, dict[int, Path]], task: str) -> list[dict[str, Any]]:
    """CPU minutes of training and size of every kind of policy."""
    rows = []
    for memory, seeds in files.items():
        loaded = [load_policy(path) for path in seeds.values()]
        minutes = float(np.mean([made_by["cpu_seconds"] for _, made_by in loaded])) / 60.0
        size = float(loaded[0][0].n_parameters())
        rows += [
            {"name": f"{task}, {memory}: CPU minutes of training", "ours": minutes, "peer": None, "peer_name": "none",
             "ratio": None, "goal": "<= 5", "met": minutes <= 5.0},
            {"name": f"{task}, {memory}: parameters", "ours": size, "peer": None, "peer_name": "none", "ratio": None,
             "goal": "none", "met": True},
        ]  # fmt: skip
    return rows


def retrained(folder: Path, tasks: list[str], n: int, console: Console) -> list[dict[str, Any]]:
    """The first seed of each kind of policy, trained again as its file says, beside what the file holds."""
    rows = []
    there = sorted({path.stem.rsplit("-", 2)[0] for path in folder.glob("*-*-*.safetensors")})
    for path in [path for task in there if task in tasks or "all" in tasks for path in first_seeds(folder, task)]:
        old, made_by = load_policy(path)
        with tempfile.TemporaryDirectory() as out:
            again = Path(out) / "again.safetensors"
            run_training(config={**made_by, "out": str(again), "log": None, "overwrite": False}, console=console)
            new, told = load_policy(again)
        world = instantiate({**made_by["train"]["world"], "n": n})
        success = [evaluate(net, world, np.random.default_rng(TEST_SEED))["success"][None] for net in (new, old)]
        gain = interval(success[0] - success[1], np.ones(n, np.bool_))
        rows.append({
            "name": f"{path.stem}, trained again: success", "ours": float(success[0].mean()),
            "peer": float(success[1].mean()), "peer_name": "shipped", "ratio": None, "difference": gain,
            "goal": f"|difference| <= {ALIKE}, by the whole interval", "met": are_alike(gain),
            "bit_equal": all(torch.equal(a, b) for a, b in zip(new.parameters(), old.parameters(), strict=True)),
            "cpu_minutes": told["cpu_seconds"] / 60.0,
        })  # fmt: skip
    return rows


def first_seeds(folder: Path, task: str) -> list[Path]:
    """The file of the lowest seed of each kind of memory."""
    found = [sorted(folder.glob(f"{task}-{memory}-*.safetensors")) for memory in MEMORIES]
    return [paths[0] for paths in found if paths]


def show(rows: list[dict[str, Any]], console: Console) -> None:
    """The rows as a table."""
    table = Table("test", "attention", "peer", "", "difference", "teacher", "met")
    for row in rows:
        if "difference" not in row or "interval" not in row:
            peer = "" if row["peer"] is None else f"{row['peer']:.3g}"
            gain = "{:.3f} ({:.3f} - {:.3f})".format(*row["difference"]) if "difference" in row else ""
            table.add_row(
                row["name"], f"{row['ours']:.3g}", peer, row["peer_name"], gain, "", "yes" if row["met"] else "NO"
            )
            continue
        spans = [[row[key], *row[span]] for key, span in (("ours", "interval"), ("peer", "peer_interval"))]
        ours, peer, gain = ("{:.3f} ({:.3f} - {:.3f})".format(*span) for span in (*spans, row["difference"]))
        table.add_row(
            row["name"], ours, peer, row["peer_name"], gain, f"{row['teacher']:.3f}", "yes" if row["met"] else "NO"
        )
    console.print(table)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} episodes a policy, not {EPISODES}")
    parser.add_argument(
        "--checkpoints", type=Path, default=SHIPPED, help="folder of policies; default: the shipped ones"
    )
    parser.add_argument("--tasks", nargs="*", default=["errands", "image_goal"], help="default: errands image_goal")
    parser.add_argument(
        "--retrain", nargs="+", default=[], metavar="TASK", help="train the first seeds of these again, or of all"
    )
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    console, rows = Console(width=160), []
    fair: dict[str, bool] = {}
    n = QUICK if arguments.quick else EPISODES
    tests = {name: test for name, test in worlds(n).items() if test[0] in arguments.tasks}
    for name, (task, world) in tests.items():
        files = policies(arguments.checkpoints, task)
        if "attention" not in files:
            console.print(f"{name}: no seed of which every kind of policy is in {arguments.checkpoints}")
            continue
        scores = measure(files, world)
        rows += rows_of(name, scores, teacher(world), fair)
        if name == "errands":
            by_kind(name, scores, console)
        if name in ("errands", "pictures"):
            rows += costs(files, task)
    rows += retrained(arguments.checkpoints, arguments.retrain, n, console)
    show(rows, console)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
