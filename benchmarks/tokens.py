"""How many facts come back from a compressed token, beside overwriting, averaging and other ways to fill its bytes.

    python benchmarks/tokens.py [--quick] [--steps N] [--json FILE] [--png FILE]

A fact is a unit vector of 256 numbers, asked for by an independent cue of 256 numbers (with noise of length 0.1). Of n
facts written, a fact counts as recovered when, of 1,000 candidate facts that were not in training, it is the nearest
to the answer by cosine. All methods keep 256 numbers of 4 bytes. Kinds of facts: `curved`, near a curved sheet of 12
dimensions; `random`, without structure: nothing can be learned; `sentences`, MiniLM embeddings of what stands where
(extra `text`; 384 numbers, other objects and places than in training).

The peers: `overwrite` answers the last fact, `mean` the running mean; `holographic` binds by convolution and adds up
(Plate 1995); `axes` is ours with steps=0, principal axes without any learning; `packed` is no token at all: signs of
random projections of each cue and fact, as many bits for each as the same bytes allow, and a search through them.
Intervals are 95 % over repeats (normal). Times are CPU milliseconds of one thread.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from embmem.errors import EmbmemError
from embmem.tokens import TokenCompressor, fit

DIM, TOKEN, CANDIDATES, NOISE = 256, 256, 1000, 0.1
COUNTS = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64)
OBJECTS = [
    "mug", "book", "lamp", "phone", "plate", "towel", "bottle", "knife", "pillow", "remote", "hammer", "wallet",
    "kettle", "plant", "basket", "scarf", "clock", "umbrella", "stapler", "guitar", "helmet", "radio", "candle",
    "mirror", "blanket", "camera", "spoon", "brush", "vase", "laptop",
]  # fmt: skip
COLOURS = ["red", "blue", "green", "white", "black", "yellow", "brown", "grey"]
STATES = ["broken", "clean", "dirty", "new", "small", "large", "half empty", "expensive"]
PLACES = [
    "drawer", "shelf", "table", "sink", "sofa", "bed", "wardrobe", "desk", "chair", "cupboard", "windowsill", "box",
    "bench", "stove", "fridge", "bathtub", "rug", "counter", "stool", "cabinet", "trolley", "hook", "rack", "crate",
    "nightstand",
]  # fmt: skip
SIDES = ["left", "right", "upper", "lower", "nearest", "farthest", "first", "last"]
ROOMS = ["kitchen", "bedroom", "office", "garage", "hallway", "bathroom", "cellar", "attic"]
Pairs = tuple[np.ndarray, np.ndarray]  # facts and cues, unit rows


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length one, float32."""
    return (rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)).astype(np.float32)


def curved(m: int, world: int, rng: np.random.Generator, intrinsic: int = 12) -> np.ndarray:
    """Unit vectors near a curved sheet; `world` chooses the sheet."""
    shape = np.random.default_rng(world)
    inner = 1.5 / np.sqrt(intrinsic) * shape.normal(size=(intrinsic, 64))
    outer = shape.normal(size=(64, DIM)) / 8.0
    return unit(np.tanh(rng.normal(size=(m, intrinsic)) @ inner) @ outer + 0.02 * rng.normal(size=(m, DIM)))


def sentences(rng: np.random.Generator) -> tuple[Pairs, Pairs]:
    """Training and test pairs of sentences that share no object, no kind of place."""
    from embmem.encoders import MiniLMEncoder

    encoder = MiniLMEncoder()
    sets: list[Pairs] = []
    for objects, places in ((OBJECTS[:15], PLACES[:13]), (OBJECTS[15:], PLACES[13:])):
        facts = [f"a {state} {colour} {thing}" for state in STATES for colour in COLOURS for thing in objects]
        cues = [f"what is on the {side} {place} in the {room}" for side in SIDES for place in places for room in ROOMS]
        n = min(len(facts), len(cues))
        chosen = [[texts[i] for i in rng.permutation(len(texts))[:n]] for texts in (facts, cues)]
        sets.append((encoder(chosen[0]), encoder(chosen[1])))
    return sets[0], sets[1]


def datasets(quick: bool, rng: np.random.Generator) -> dict[str, tuple[Pairs, Pairs]]:
    """Training and test pairs by kind of facts; what cannot be made here is left out with a line that says so."""
    m = 3000 if quick else 10_000
    kinds: dict[str, tuple[Pairs, Pairs]] = {
        "curved": (_curved_pairs(m, rng), _curved_pairs(2 * CANDIDATES, rng)),
        "random": (_random_pairs(m, rng), _random_pairs(2 * CANDIDATES, rng)),
    }
    try:
        kinds["sentences"] = sentences(rng)
    except EmbmemError as error:
        Console().print(f"sentences are left out: {error}")
    return kinds


def _curved_pairs(m: int, rng: np.random.Generator) -> Pairs:
    return curved(m, 0, rng), curved(m, 1, rng, intrinsic=24)


def _random_pairs(m: int, rng: np.random.Generator) -> Pairs:
    return unit(rng.normal(size=(m, DIM))), unit(rng.normal(size=(m, DIM)))


def holographic(facts: np.ndarray, cues: np.ndarray, queries: np.ndarray, means: Pairs) -> np.ndarray:
    """Circular convolution of what is left of cue and fact without the training means, added up, and correlation."""
    size = facts.shape[1]
    keys, asked = (np.fft.rfft(unit(rows - means[1])) for rows in (cues, queries))
    memory = (keys * np.fft.rfft(facts - means[0])).sum(0)
    return means[0] + np.fft.irfft(memory * asked.conj(), size)


def packed(facts: np.ndarray, cues: np.ndarray, queries: np.ndarray, candidates: np.ndarray, means: Pairs) -> Any:
    """For each query, which candidate has the nearest signs to those of the entry with the nearest cue signs."""
    bits = max(1, TOKEN * 32 // len(facts) // 2)
    rng = np.random.default_rng(0)
    project = rng.normal(size=(facts.shape[1], min(bits, 2048))).astype(np.float32)

    def signs(rows: np.ndarray, mean: np.ndarray) -> np.ndarray:
        return np.sign((rows - mean) @ project)

    entry = (signs(queries, means[1]) @ signs(cues, means[1]).T).argmax(1)
    return (signs(facts, means[0])[entry] @ signs(candidates, means[0]).T).argmax(1)


def curve(
    compressors: dict[str, TokenCompressor], train: Pairs, test: Pairs, counts: tuple[int, ...], repeats: int
) -> dict[str, dict[int, list[float]]]:
    """Shares of recovered facts by method and number written, one a repeat."""
    rng, means = np.random.default_rng(1), (train[0].mean(0), train[1].mean(0))
    shares: dict[str, dict[int, list[float]]] = {}
    for n in counts:
        for _ in range(repeats):
            candidates = test[0][rng.permutation(len(test[0]))[:CANDIDATES]]
            facts, cues = candidates[:n], test[1][rng.permutation(len(test[1]))[:n]]
            queries = unit(cues + NOISE / np.sqrt(cues.shape[1]) * rng.normal(size=cues.shape))
            answers = {name: c.read(c.summarise(facts, cues), queries) for name, c in compressors.items()}
            answers |= {
                "overwrite": np.repeat(facts[-1:], n, axis=0),
                "mean": np.repeat(facts.mean(0, keepdims=True), n, axis=0),
                "holographic": holographic(facts, cues, queries, means),
            }
            found = {name: (answer @ candidates.T).argmax(1) for name, answer in answers.items()}
            found["packed"] = packed(facts, cues, queries, candidates, means)
            for name, rows in found.items():
                shares.setdefault(name, {}).setdefault(n, []).append(float((rows == np.arange(n)).mean()))
    return shares


def best_ms(call: Callable[[], Any], repeats: int = 200) -> float:
    """The fastest of many calls, CPU milliseconds."""
    times = []
    for _ in range(repeats):
        begin = time.process_time_ns()
        call()
        times.append(time.process_time_ns() - begin)
    return min(times) / 1e6


def costs(compressor: TokenCompressor, test: Pairs) -> list[dict[str, Any]]:
    """Rows of speed, inversion error and norm."""
    facts, cues = test
    token = compressor.summarise(facts[:16], cues[:16])

    def write_and_read() -> None:
        compressor.read(compressor.write(token, facts[0], cues[0]), cues[0])

    ms, error = best_ms(write_and_read), compressor.inversion_error(facts[:64], cues[:64])
    longest, grown = 0.0, compressor.empty()
    for fact, cue in zip(facts[:1000], cues[:1000], strict=True):
        grown = compressor.write(grown, fact, cue)
        longest = max(longest, float(np.linalg.norm(grown)))
    summary = {n: best_ms(partial(compressor.summarise, facts[:n], cues[:n]), 10) for n in (16, 64)}
    return [
        row("token: write + read, d = 256, 6 blocks in ms", ms, goal="<= 1", met=ms <= 1.0),
        row("token: inversion error", error, goal="<= 1e-5", met=error <= 1e-5),
        row("token: longest in 1,000 writes", longest, goal=f"<= {compressor.bound:.0f} (proven)",
            met=longest <= compressor.bound),
        *(row(f"token: summary of {n} facts in ms", each, goal="none set", met=True) for n, each in summary.items()),
    ]  # fmt: skip


def row(
    name: str, ours: float, *, goal: str, met: bool, peer: float | None = None, peer_name: str = "none"
) -> dict[str, Any]:
    """One row of the JSON file."""
    ratio = ours / peer if peer else None
    return {
        "name": name, "ours": ours, "peer": peer, "peer_name": peer_name, "ratio": ratio, "goal": goal,
        "met": bool(met),
    }  # fmt: skip


def curve_rows(kind: str, shares: dict[str, dict[int, list[float]]]) -> list[dict[str, Any]]:
    """A row for each number of facts and each peer; the goal is to beat overwriting and averaging beyond one fact."""
    rows = []
    for name in ("overwrite", "mean", "holographic", "axes", "packed"):
        for n, values in shares["ours"].items():
            gain = np.array(values) - np.array(shares[name][n])
            low = gain.mean() - 1.96 * gain.std(ddof=1) / np.sqrt(len(gain))
            held = name in ("overwrite", "mean") and n > 1
            rows.append(
                row(f"{kind}: facts recovered of {n}", float(np.mean(values)), peer=float(np.mean(shares[name][n])),
                    peer_name=name, goal="more than the peer" if held else "none set", met=not held or low > 0.0)
            )  # fmt: skip
    return rows


def show(kind: str, shares: dict[str, dict[int, list[float]]], console: Console) -> None:
    """The capacity curve as a table."""
    table = Table(title=f"{kind}: share of n facts recovered among {CANDIDATES} candidates, from {TOKEN} numbers")
    table.add_column("n", justify="right")
    for name in shares:
        table.add_column(name, justify="right", no_wrap=True)
    for n in shares["ours"]:
        cells = []
        for values in (by_n[n] for by_n in shares.values()):
            half = 1.96 * np.std(values, ddof=1) / np.sqrt(len(values))
            cells.append(f"{np.mean(values):.2f}±{half:.2f}")
        table.add_row(str(n), *cells)
    console.print(table)


def plot(curves: dict[str, dict[str, dict[int, list[float]]]], path: Path) -> None:
    """The curves, one panel a kind of facts."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5 * len(curves), 4), layout="constrained")
    for axes, (kind, shares) in zip(np.atleast_1d(figure.subplots(1, len(curves))), curves.items(), strict=True):
        for name, by_n in shares.items():
            axes.plot(list(by_n), [np.mean(v) for v in by_n.values()], marker=".", label=name)
        axes.set(title=kind, xlabel="facts written", ylabel="share recovered", ylim=(0, 1.05))
    axes.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Print the tables and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer counts, repeats and steps")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--png", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    steps = (50 if arguments.quick else 300) if arguments.steps is None else arguments.steps
    console, curves, rows = Console(), {}, []
    for kind, (train, test) in datasets(arguments.quick, np.random.default_rng(0)).items():
        compressors = {}
        for name, n_steps in (("ours", steps), ("axes", 0)):
            compressors[name] = TokenCompressor(train[0].shape[1], token_dim=TOKEN)
            begin = time.process_time()
            losses = fit(compressors[name], *train, rng=np.random.default_rng(0), steps=n_steps)
            seconds = time.process_time() - begin
            if losses:
                last = np.mean(losses[-50:])
                console.print(
                    f"{kind}: {n_steps} steps took {seconds:.0f} CPU s, mean cycle loss of the last {last:.3f}"
                )
        counts, repeats = (COUNTS[1::3], 8) if arguments.quick else (COUNTS, 30)
        curves[kind] = curve(compressors, train, test, counts, repeats)
        show(kind, curves[kind], console)
        rows += curve_rows(kind, curves[kind])
        if kind == "curved":
            rows += costs(compressors["ours"], test)
    for each in rows:
        if "token:" in each["name"] or not each["met"]:
            console.print(
                f"{each['name']}: {each['ours']:.3g} (goal {each['goal']}, {'met' if each['met'] else 'missed'})"
            )
    if arguments.png:
        plot(curves, arguments.png)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
