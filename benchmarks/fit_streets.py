"""Fits the street rankers that the package brings: python benchmarks/fit_streets.py [--seed N] [--out FOLDER]

Map2Seq unseen dev is judged by what was fitted on the routes of seen dev that share no place with any of its routes.
Map2Seq seen dev and Touchdown's unseen dev are cut into five regions by k-means of the starts; the ranker of a region
is fitted on the routes of the other regions that share no place with any route that starts in it. About ten minutes
of one core, most of it Touchdown's.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from embmem.policies.street.ranked import WEIGHTS
from embmem.policies.street.weights import save_rankers
from embmem.sim_envs.street.episodes import read_split
from embmem.sim_envs.street.files import read_streets
from embmem.sim_envs.street.folds import cross_fitted
from embmem.sim_envs.street.task import street_folder


def main() -> None:
    """Fit and save all rankers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    parser.add_argument("--splits", nargs="*", default=["map2seq_unseen", "map2seq_seen", "touchdown_unseen"])
    args = parser.parse_args()
    folder = street_folder(None)
    streets = read_streets(folder / "graph")
    args.out.mkdir(parents=True, exist_ok=True)
    for split in args.splits:
        episodes = read_split(folder, split, streets)
        is_held_out = split == "map2seq_unseen"
        more = read_split(folder, "map2seq_seen", streets) if is_held_out else ()
        made = cross_fitted(streets, episodes, k=1 if is_held_out else 5, seed=args.seed, more=more)
        save_rankers(args.out / f"{split}.safetensors", made)
        Console().print(f"{split}: {made.about}")


if __name__ == "__main__":
    main()
