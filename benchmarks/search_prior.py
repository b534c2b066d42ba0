"""Trains the prior of `embmem.maps.search_prior` on generated homes and measures it on others.

    python benchmarks/search_prior.py [--houses N] [--write] [--json FILE]

A case is a home of which some rooms that lie together were visited: most of what stands in them is on the map, and the
prior is asked for each category that is somewhere but not on the map. Told are the mean log-likelihood of the right
cells, against a uniform prior over what was not seen and against the same table that is told no categories; and how
many cells of 2 m are searched until one that holds the thing, in the order of the prior (ties and the uniform order
are drawn). Homes for training and for measuring have different seeds; the same seeds give the same weights. `--write`
puts the weights where the package loads them.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from safetensors.numpy import save

from embmem.maps.search_prior import CELL, SIDE, WEIGHTS, CoarseMap, SearchPrior, uniform
from embmem.sim_envs.house import LABELS, House, make_house
from embmem.sim_envs.metrics.statistics import bootstrap_mean

CATEGORIES = LABELS[5:]  # without the structure of the house
NUMBER = {name: i for i, name in enumerate(CATEGORIES)}
FIRST_TRAIN, FIRST_TEST = 20_000, 90_000  # seeds
CASES = 4  # a home
SHOWN = (0.97, 0.85)  # share of furniture and of small things in visited rooms that is on the map
STEPS, BATCH, DECAY = 300, 64, 3e-4


@dataclass(frozen=True, eq=False)
class Case:
    """What is known of a home, and where the things that are not on the map are."""

    known: CoarseMap
    hidden: np.ndarray  # (8, 8, c) 1 where a thing of the category is that is not on the map


def cases_of(house: House, rng: np.random.Generator) -> list[Case]:
    """`CASES` ways to know a part of a home."""
    places = [(NUMBER[f.category], (f.x0 + f.x1) / 2, (f.y0 + f.y1) / 2, f.room, 0) for f in house.furniture]
    places += [(NUMBER[o.category], float(o.position[0]), float(o.position[1]), o.room, 1) for o in house.objects]
    things = np.array(places)
    cases = []
    for _ in range(CASES):
        visited = _visited(house, rng)
        is_shown = np.isin(things[:, 3], visited) & (rng.random(len(things)) < np.take(SHOWN, things[:, 4].astype(int)))
        rects = np.array([(r.x0, r.y0, r.x1, r.y1) for r in house.rooms if r.id in visited])
        middle = (rects[:, :2].min(axis=0) + rects[:, 2:].max(axis=0)) / 2.0
        origin = middle - 0.5 * SIDE * CELL
        known = CoarseMap(origin, _covered(rects, origin), CATEGORIES, _planes(things[is_shown], origin))
        cases.append(Case(known, _planes(things[~is_shown], origin)))
    return cases


def _visited(house: House, rng: np.random.Generator) -> list[int]:
    """Rooms that lie together, at least one and not all."""
    beside: dict[int, set[int]] = {room.id: set() for room in house.rooms}
    for door in house.doors:
        beside[door.room_a].add(door.room_b)
        beside[door.room_b].add(door.room_a)
    visited = [int(rng.choice(sorted(beside)))]
    for _ in range(int(rng.integers(0, len(house.rooms) - 1))):
        border = sorted(set().union(*(beside[room] for room in visited)) - set(visited))
        if border:
            visited.append(int(rng.choice(border)))
    return visited


def _covered(rects: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """(8, 8) share of each cell that the rectangles cover; they do not overlap."""
    edges = origin[:, None] + CELL * np.arange(SIDE + 1)
    parts = [
        np.clip(np.minimum(rects[:, 2 + i, None], edges[i, 1:]) - np.maximum(rects[:, i, None], edges[i, :-1]), 0, None)
        for i in (0, 1)
    ]
    shares: np.ndarray = np.einsum("nx,ny->yx", parts[0], parts[1]) / CELL**2
    return np.minimum(shares, 1.0)


def _planes(things: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """(8, 8, c) 1 where a thing has its middle."""
    planes = np.zeros((SIDE, SIDE, len(CATEGORIES)))
    columns, rows = np.floor((things[:, 1:3] - origin) / CELL).astype(int).T
    is_in = (rows >= 0) & (rows < SIDE) & (columns >= 0) & (columns < SIDE)
    planes[rows[is_in], columns[is_in], things[is_in, 0].astype(int)] = 1.0
    return planes


def draw_cases(first: int, n: int) -> list[Case]:
    """The cases of n homes of three to eight rooms, from the seed `first` on."""
    return [case for seed in range(first, first + n) for case in cases_of(make_house(seed, 3 + seed % 6), _rng(seed))]


def train(cases: list[Case], *, blind: bool = False) -> SearchPrior:
    """The table of highest likelihood with a little weight decay; if `blind` it is told no categories."""
    features = torch.from_numpy(np.stack([case.known.features() for case in cases]).reshape(len(cases), -1, _width()))
    hidden = torch.from_numpy(np.stack([case.hidden for case in cases]).reshape(len(cases), SIDE**2, -1))
    features, hidden = features.float(), hidden.float()
    if blind:
        features[..., : 2 * len(CATEGORIES)] = 0.0
    weights = torch.zeros(_width(), len(CATEGORIES), requires_grad=True)
    optimiser = torch.optim.Adam([weights], lr=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    rng = _rng(0)
    for _ in range(STEPS):
        batch = torch.from_numpy(rng.choice(len(cases), min(BATCH, len(cases)), replace=False))
        right = hidden[batch]
        scores = torch.log_softmax(features[batch] @ weights, dim=1)
        is_asked = right.sum(1) > 0
        likelihood = torch.logsumexp(scores.masked_fill(right == 0, -1e9), dim=1)[is_asked].mean()
        loss = -likelihood + DECAY * (weights**2).sum()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    # what is measured is what the file keeps
    return SearchPrior(CATEGORIES, weights.detach().numpy().astype(np.float16).astype(np.float64))


def measure(cases: list[Case], prior: SearchPrior | None, *, blind: bool = False) -> tuple[list[float], list[float]]:
    """(log-likelihood, cells searched) of each question; None is the uniform prior."""
    likelihoods, searched = [], []
    rng = _rng(1)
    for case in cases:
        known = case.known
        if blind:
            known = CoarseMap(known.origin, known.explored, CATEGORIES, np.zeros_like(known.present))
        for number in np.flatnonzero(case.hidden.any(axis=(0, 1))).tolist():
            told = uniform(known) if prior is None else prior(known, CATEGORIES[number])
            right = case.hidden[..., number].ravel() > 0
            probability = 0.999 * told.probability.ravel() + 0.001 / SIDE**2  # no prior is caught at zero
            likelihoods.append(float(np.log(probability[right].sum())))
            order = np.lexsort((rng.random(SIDE**2), -probability))
            searched.append(float(np.argmax(right[order]) + 1))
    return likelihoods, searched


def write(prior: SearchPrior, path: Path) -> None:
    """The weights in half precision with the names of the categories."""
    names = np.frombuffer("\n".join(prior.categories).encode(), dtype=np.uint8).copy()
    path.write_bytes(save({"weights": prior.weights.astype(np.float16), "categories": names}))


def _width() -> int:
    return 2 * len(CATEGORIES) + 4


def _rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def main() -> None:
    """Train, measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--houses", type=int, default=200, help="to train on; a quarter as many to measure on")
    parser.add_argument("--write", action="store_true", help=f"write the weights to {WEIGHTS.name}")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    training, held_out = draw_cases(FIRST_TRAIN, arguments.houses), draw_cases(FIRST_TEST, arguments.houses // 4)
    prior = train(training)
    ours = measure(held_out, prior)
    peers = {
        "uniform over what was not seen": measure(held_out, None),
        "told no categories": measure(held_out, train(training, blind=True), blind=True),
    }
    rows: list[dict[str, Any]] = []
    for i, (name, sign) in enumerate((("log-likelihood of the right cells", 1), ("cells of 2 m searched", -1))):
        for peer_name, peer in peers.items():
            a, b = float(np.mean(ours[i])), float(np.mean(peer[i]))
            gain = bootstrap_mean(sign * (np.array(ours[i]) - np.array(peer[i])), rng=_rng(2))
            rows.append(
                {"name": f"search prior: {name}", "ours": a, "peer": b, "peer_name": peer_name, "ratio": a / b,
                 "goal": "better", "met": bool(gain.low > 0), "gain": [gain.low, gain.high]}
            )  # fmt: skip
    table = Table(title=f"Search prior: {len(ours[0])} questions in {len(held_out) // CASES} homes never trained on")
    for heading in ("figure", "ours", "peer", "peer is", "better by (95 %)", "met"):
        table.add_column(heading)
    for each in rows:
        gain_text = "{:.2f} - {:.2f}".format(*each["gain"])
        values = (each["name"], f"{each['ours']:.3f}", f"{each['peer']:.3f}", each["peer_name"], gain_text)
        table.add_row(*values, "yes" if each["met"] else "no")
    Console().print(table)
    if arguments.write:
        write(prior, WEIGHTS)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
