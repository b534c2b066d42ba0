"""The egocentric grid memory map and the top-down semantic map against simpler ways to do the same.

    python benchmarks/grid_memories.py [--quick] [--houses N] [--json FILE]

Egocentric grid: a landmark shown by 2 of 60 patches of a cell, read by relevance to the instruction, against mean and
maximum pooling (see grid_reading.py; random vectors stand for an encoder's), and what turning the world changes.
Semantic map: tours through embedded houses with a Kinect's noise and a detector that errs. The truth is what perfect
images of the same poses show: the centroid of a thing's visible cells; things of one category that touch are one, as
they are on a map. The peer counts labelled points in cells, without free space and votes. Questions are answered by
rules from the text of the map alone; right is what the true boxes of the things say. Intervals are 95 % bootstrap
over houses; times are CPU seconds of one core.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from grid_houses import RESOLUTION, NaiveMap, Truth, match, things_seen, toured
from grid_questions import is_right, questions
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from embmem.maps.semantic_map import SemanticMap
from embmem.maps.semantic_map.annotation import annotate
from embmem.maps.semantic_map.draw import draw
from embmem.sim_envs.metrics.statistics import bootstrap_mean

NAIVE = "points counted in cells"


@dataclass(eq=False)
class Figures:
    """Of each house, by name of the figure; ours and the naive map's."""

    ours: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    naive: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))


def one_house(seed: int, n_rooms: int, steps: int, figures: Figures) -> None:
    """Tour a house, keep what both maps and the rules make of it."""
    house, world, frames = toured(seed, n_rooms, steps)
    semantic, naive, truth = SemanticMap(), NaiveMap(), Truth()
    spent = {"ours": 0.0, "naive": 0.0}
    n = 0
    for frame in frames:
        n += 1
        perfect = world.truth()
        truth.add(frame, perfect.depth, perfect.instance)
        spent["ours"] += _seconds(semantic.observe, frame)
        spent["naive"] += _seconds(naive.observe, frame)
    seen = things_seen(house, truth)
    notes = annotate(semantic)
    pairs = [(label.category, np.array([label.x, label.y])) for label in notes.labels]
    for figure, labels, key in ((figures.ours, pairs, "ours"), (figures.naive, naive.labels(), "naive")):
        matched = match(seen, labels)
        errors = [float(np.linalg.norm(thing.centroid - label)) / RESOLUTION for thing, label in matched]
        figure["error"].append(float(np.mean(errors)))
        figure["error95"].append(float(np.percentile(errors, 95)))
        figure["recall"].append(len(matched) / len(seen))
        figure["precision"].append(len(matched) / max(len(labels), 1))
        single = things_seen(house, truth, joined=False)
        figure["single recall"].append(len(match(single, labels)) / len(single))
        figure["ms"].append(1e3 * spent[key] / max(n, 1))
    agent, text = semantic.agent, notes.text()
    answers: dict[str, list[bool]] = defaultdict(list)
    for question in questions(seen, agent) if agent is not None else []:
        answers[question.kind].append(is_right(question, text))
    for kind, right in answers.items():
        figures.ours[kind].append(float(np.mean(right)))
        figures.ours[f"n {kind}"].append(float(len(right)))
    figures.ours["draw"].append(1e3 * _seconds(draw, semantic))
    figures.ours["words"].append(float(len(text.split())))


def bytes_over_steps(steps: int) -> tuple[float, float]:
    """(bytes after all steps over those after the first 100, of ours and of a map that keeps its frames)."""
    kept = list(toured(3, 3, 100)[2])
    semantic, history, first = SemanticMap(), 0.0, (0.0, 0.0)
    for step in range(steps):
        frame = replace(kept[step % len(kept)], stamp=float(step))
        semantic.observe(frame)
        history += float(sum(image.nbytes for image in (frame.depth, frame.semantic) if image is not None))
        if step == len(kept) - 1:
            semantic.channels()
            first = semantic.stats()["bytes"], history
    semantic.channels()
    return semantic.stats()["bytes"] / first[0], history / first[1]


def grid_rows(*, quick: bool) -> list[dict[str, Any]]:
    """The rows of the egocentric grid."""
    import torch
    from grid_reading import accuracy, equivariance

    torch.set_num_threads(1)
    figures = {} if quick else {name: accuracy(name, steps=2500, n_test=4000) for name in ("relevance", "mean", "max")}
    changed, largest, n = equivariance(20 if quick else 500)
    return [
        *(
            row("ego grid: landmark in 2 of 60 patches", figures["relevance"], goal=">= 0.97", peer=figures[peer],
                peer_name=f"{peer} pooling")
            for peer in ("mean", "max") if peer in figures
        ),
        row(f"ego grid: of {n} patches in another cell after right angles", float(changed), goal="<= 0"),
        row("ego grid: largest change after any turn and shift", largest, goal="<= 1e-6"),
    ]  # fmt: skip


def map_rows(figures: Figures, grown: tuple[float, float]) -> list[dict[str, Any]]:
    """The rows of the semantic map."""
    ours, naive = figures.ours, figures.naive

    def both(name: str, key: str, goal: str) -> dict[str, Any]:
        return row(name, _mean(ours[key]), goal=goal, peer=_mean(naive[key]), peer_name=NAIVE, span=_span(ours[key]))

    def asked(name: str, key: str) -> dict[str, Any]:
        n = round(sum(ours[f"n {key}"]))
        return row(f"questions: {name} ({n})", _mean(ours[key]), goal=">= 0.9", span=_span(ours[key]))

    return [
        both("semantic map: label off its thing [cells], mean", "error", "<= 2"),
        both("semantic map: label off its thing [cells], 95 %", "error95", "none set"),
        both("semantic map: things with a label", "recall", ">= 0.95"),
        both("semantic map: the same, touching things apart", "single recall", "none set"),
        both("semantic map: labels with a thing", "precision", "none set"),
        asked("what is nearest", "nearest"),
        asked("what is left, right of", "beside"),
        asked("before, behind, left of me", "of me"),
        row("semantic map: bytes after 300 steps / after 100", grown[0], goal="<= 1.01", peer=grown[1],
            peer_name="frames kept"),
        both("semantic map: CPU ms a frame of 192 x 144", "ms", "none set"),
        row("annotated map: CPU ms a picture", _mean(ours["draw"]), goal="none set"),
        row("annotated map: words of text", _mean(ours["words"]), goal="none set"),
    ]  # fmt: skip


def row(
    name: str,
    ours: float,
    *,
    goal: str,
    peer: float | None = None,
    peer_name: str = "none",
    span: list[float] | None = None,
) -> dict[str, Any]:
    """One row of the JSON file."""
    met = True
    if goal != "none set":
        sign, limit = goal.split()
        met = ours <= float(limit) if sign == "<=" else ours >= float(limit)
    result = {
        "name": name, "ours": ours, "peer": peer, "peer_name": peer_name, "ratio": ours / peer if peer else None,
        "goal": goal, "met": bool(met),
    }  # fmt: skip
    return result if span is None else {**result, "interval": span}


def _mean(values: list[float]) -> float:
    return float(np.mean(values))


def _span(values: list[float]) -> list[float]:
    interval = bootstrap_mean(np.array(values), rng=np.random.default_rng(0))
    return [interval.low, interval.high]


def _seconds(call: Callable[..., Any], *arguments: Any) -> float:
    begin = time.process_time()
    call(*arguments)
    return time.process_time() - begin


def _table(rows: list[dict[str, Any]], title: str) -> Table:
    table = Table(title=title)
    for heading in ("figure", "ours", "peer", "peer is", "goal", "met"):
        table.add_column(heading, justify="left" if heading in ("figure", "peer is") else "right")
    for each in rows:
        ours = f"{each['ours']:.3g}"
        if "interval" in each:
            ours += " ({:.3g} - {:.3g})".format(*each["interval"])
        peer = "" if each["peer"] is None else f"{each['peer']:.3g}"
        table.add_row(escape(each["name"]), ours, peer, each["peer_name"], each["goal"], "yes" if each["met"] else "no")
    return table


def main() -> None:
    """Print the table and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two small houses; nothing is trained")
    parser.add_argument("--houses", type=int, default=20)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    n_houses, n_rooms, steps = (2, 3, 120) if arguments.quick else (arguments.houses, 6, 400)
    figures = Figures()
    one_house(2, 3, 30, Figures())  # compiles
    for seed in range(1, n_houses + 1):
        one_house(seed, n_rooms, steps, figures)
    rows = grid_rows(quick=arguments.quick) + map_rows(figures, bytes_over_steps(300))
    Console().print(_table(rows, f"Grid memories, {n_houses} houses, cells of {RESOLUTION} m"))
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
