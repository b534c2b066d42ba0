"""The learned policy in front of the street memory, in persistent tours (E5): memory kept, cleared, a GRU, no memory.

    python benchmarks/streets_learned.py [--quick] [--tour N] [--tours N] [--split S] [--json FILE]

Needs the public data below $EMBMEM_DATA_DIR. All shipped policies walk the same tours as the modular planner of
`street/mem4nav`. Differences are paired by episode; intervals are bootstrap over tours, all seeds of a tour together:
few tours, so they are somewhat too narrow. A row is met if its interval lies above 0. As everywhere in this world of
landmarks, only differences mean anything.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from streets import play, row, show

from embmem.policies.learned.checkpoints import SHIPPED
from embmem.policies.street.learned import LearnedStreetAgent
from embmem.policies.street.remembering import RememberingStreetAgent
from embmem.sim_envs.metrics.statistics import bootstrap_mean, paired_difference
from embmem.sim_envs.street.tours import LandmarkTour

Row = dict[str, Any]
MEASURES = (("success", 100.0, 1, "TC points gained"), ("velma/spd_hops", 1.0, -1, "SPD hops saved"))


def agents(split: str) -> dict[str, Any]:
    """Every shipped policy, attention with its memory kept and cleared, and the modular planner."""
    found: dict[str, Any] = {
        "modular": RememberingStreetAgent(split),
        "modular, cleared": RememberingStreetAgent(split, remembers=False),
    }
    for file in sorted(SHIPPED.glob("streets-*.safetensors")):
        _, memory, seed = file.stem.split("-")
        found[f"{memory} {seed}"] = LearnedStreetAgent(file.stem)
        if memory == "attention":
            found[f"cleared {seed}"] = LearnedStreetAgent(file.stem, remembers=False)
    return found


def values(rows: list[Row], kind: str, key: str, seeds: set[str]) -> np.ndarray:
    """(n,) of each episode, the mean over the seeds of a kind of policy."""
    names = [kind] if kind.startswith("modular") else [f"{kind} {seed}" for seed in sorted(seeds)]
    return np.mean([[float(r[key]) for r in rows if r["agent"] == name] for name in names], axis=0)


def compare(title: str, rows: list[Row]) -> list[Row]:
    """Each kind on its own, then attention with its memory kept against the others, over the seeds that both have."""
    rng, out = np.random.default_rng(0), []
    seeds: dict[str, set[str]] = {}
    for name in dict.fromkeys(r["agent"] for r in rows):
        if not name.startswith("modular"):
            seeds.setdefault(name.split()[0], set()).add(name.split()[1])
    sessions = [r["session"] for r in rows if r["agent"] == "modular"]
    for kind in ("modular", "modular, cleared", *seeds):
        for key, scale, _, _ in MEASURES:
            own = bootstrap_mean(scale * values(rows, kind, key, seeds.get(kind, set())), sessions, rng=rng)
            name = "TC %" if key == "success" else "SPD hops"
            more = {"interval": [own.low, own.high], "seeds": len(seeds.get(kind, (0,)))}
            out.append(row(f"{title} {kind} {name}", own.mean, None, "", met=None, **more))
    for other in (*(kind for kind in seeds if kind != "attention"), "modular"):
        shared = seeds["attention"] & seeds.get(other, seeds["attention"])
        for key, scale, sign, label in MEASURES:
            a, b = (scale * sign * values(rows, kind, key, shared) for kind in ("attention", other))
            gap = paired_difference(a, b, sessions, rng=rng)
            more = {"interval": [gap.low, gap.high], "seeds": len(shared), "n": len(a)}
            name = f"{title} attention against {other}: {label}"
            out.append(row(name, gap.mean, None, other, met=bool(gap.low > 0), **more))
    return out


def main() -> None:
    """Walk the tours, show the rows, write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--split", default="map2seq_unseen")
    parser.add_argument("--tour", type=int, default=None, help="episodes a tour")
    parser.add_argument("--tours", type=int, default=None)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    n = args.tour or (20 if args.quick else 100)
    task = LandmarkTour(split=args.split, per_session=n, keeps_memory=True)
    rows = play(task, agents(args.split), args.tours or (1 if args.quick else 5), n)
    out = compare(f"E5 {args.split}", rows)
    show(out)
    if args.json is not None:
        args.json.write_text(json.dumps([{"goal": None, **line} for line in out], indent=1, default=float))


if __name__ == "__main__":
    main()
