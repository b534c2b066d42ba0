"""Told routes as choices from room to room: a learned policy with attention over its memory against its peers.

    python benchmarks/instructions_learned.py [--quick] [--checkpoints FOLDER] [--json FILE]

The shipped policies of `embmem train train=houses`, attention, recurrent and none of equal size, of all seeds that all
three have, in houses and wordings that nobody trained on; all meet the same episodes. **Hidden** are the routes after a
tour of which no word and no look tells which door to take; the **control** are goals in the room of the start, where
nobody needs a memory. Success is to stop in front of the goal within the choices that there are; SPL weighs it by the
way, which tells who knew from who tried door after door. Intervals are 95 % bootstraps over seeds and episodes, paired.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from learned import interval, measure, policies, teacher
from rich.console import Console
from rich.table import Table

from embmem.policies.learned.checkpoints import SHIPPED, load_policy
from embmem.sim_envs.instructions.token_world import HouseWorld

EPISODES, QUICK = 256, 64  # a policy
HOUSES = {"first_house": 40_000, "n_houses": 12, "per_house": 16, "split": "held_out", "mumbled": 0.0, "missed": 0.0}
SIZES = {"houses": {"rooms": [4, 6], "tour": 9, "steps": 7}, "larger houses": {"rooms": [8, 8], "tour": 15, "steps": 8}}
ENOUGH = 0.9  # success of a peer in a control, from which on nobody is held back by seeing


def rows_of(name: str, world: HouseWorld, folder: Path, *, is_control: bool, fair: dict[str, bool]) -> Any:
    """The rows of one test; `fair` says of which peer the control holds, which comes before."""
    scores = measure(policies(folder, "houses"), world)
    best = teacher(world)
    ours = scores["attention"]
    mask = np.ones(world.n, np.bool_) if is_control else ours["hidden"][0] > 0
    rows = []
    for peer in ("recurrent", "none"):
        for what in ("success", "spl", "followed"):
            gain = interval(ours[what] - scores[peer][what], mask)
            mean, other = interval(ours[what], mask), interval(scores[peer][what], mask)
            goal, met = "none", True
            if is_control and what == "success":
                fair[peer] = met = gain[1] <= 0.0 <= gain[2] or other[0] >= ENOUGH
                goal = f"difference includes 0, or peer >= {ENOUGH}"
            elif what != "followed" and not is_control:
                goal, met = "difference > 0, and its control holds", gain[1] > 0 and fair[peer]
            rows.append({
                "name": f"{name}, {'in view' if is_control else 'hidden'}: {what}", "ours": mean[0],
                "interval": mean[1:], "peer": other[0], "peer_interval": other[1:], "peer_name": peer,
                "ratio": mean[0] / other[0] if other[0] else None, "difference": gain, "goal": goal, "met": bool(met),
                "teacher": float(best[mask].mean()), "seeds": len(ours[what]), "episodes": int(mask.sum()),
            })  # fmt: skip
    return rows


def costs(folder: Path) -> list[dict[str, Any]]:
    """CPU minutes of training and size of every kind of policy."""
    rows: list[dict[str, Any]] = []
    for memory, seeds in policies(folder, "houses").items():
        loaded = [load_policy(path) for path in seeds.values()]
        minutes = float(np.mean([made_by["cpu_seconds"] for _, made_by in loaded])) / 60.0
        size = float(loaded[0][0].n_parameters())
        for what, value, goal, met in (
            ("CPU minutes of training", minutes, "<= 5", minutes <= 5.0),
            ("parameters", size, "none", True),
        ):
            rows.append({
                "name": f"houses, {memory}: {what}", "ours": value, "peer": None, "peer_name": "none", "ratio": None,
                "goal": goal, "met": met,
            })  # fmt: skip
    return rows


def show(rows: list[dict[str, Any]], console: Console) -> None:
    """The rows as a table."""
    table = Table("test", "attention", "peer", "", "difference", "teacher", "met")
    for row in rows:
        met = "yes" if row["met"] else "NO"
        if "difference" not in row:
            table.add_row(row["name"], f"{row['ours']:.3g}", "", "", "", "", met)
            continue
        spans = [[row[key], *row[span]] for key, span in (("ours", "interval"), ("peer", "peer_interval"))]
        ours, peer, gain = ("{:.3f} ({:.3f} - {:.3f})".format(*span) for span in (*spans, row["difference"]))
        table.add_row(row["name"], ours, peer, row["peer_name"], gain, f"{row['teacher']:.3f}", met)
    console.print(table)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} episodes a policy, not {EPISODES}")
    parser.add_argument("--checkpoints", type=Path, default=SHIPPED, help="folder of policies; default: the shipped")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    fair: dict[str, bool] = {}
    n = QUICK if arguments.quick else EPISODES
    for name, size in SIZES.items():
        for is_control in (True, False):
            settings: dict[str, Any] = {**HOUSES, **size, "in_view": float(is_control), "toured": 1.0}
            world = HouseWorld(n, **settings)
            rows += rows_of(name, world, arguments.checkpoints, is_control=is_control, fair=fair)
    rows += costs(arguments.checkpoints)
    show(rows, Console(width=160))
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
