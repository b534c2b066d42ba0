"""Meaning in the voxel map: speed of text queries, cost of the payload, and how good the answers are.

    python benchmarks/semantic.py [--houses N] [--part score|payload|houses|text] [--json FILE]

Scores: ten million voxels in a plane of blocks, 64 a block, 10,000 prototypes of length 384; the peers have a vector a
voxel. Payload: noisy frames of 640x480, minimum of repeated runs for each. Houses: tours with synthetic embeddings
(see semantic_houses.py), intervals by bootstrap over houses. Times are CPU seconds of one thread.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rendering import free_poses, make_renderer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from semantic_houses import CATEGORIES, ask, tour
from semantic_queries import ABSENT, PRESENT

from embmem.encoders import MiniLMEncoder
from embmem.errors import MissingExtraError, import_extra
from embmem.maps import VoxelMap
from embmem.maps.voxels.blocks import UNKNOWN, VOLUME, BlockPool, pack
from embmem.maps.voxels.meaning.block_lists import BlockLists
from embmem.maps.voxels.meaning.payload import CHANNELS, Payload
from embmem.maps.voxels.meaning.prototypes import PrototypeTable
from embmem.observation import Intrinsics, Observation
from embmem.sim_envs.house import LABELS, build_mesh, make_house
from embmem.sim_envs.metrics.statistics import bootstrap_mean
from embmem.sim_envs.noise import CameraNoise

DIM, N_PROTOTYPES, PER_BLOCK, THRESHOLD = 384, 10_000, 64, 0.21
SIZES = (1_000_000, 10_000_000)
PEER_SIZE = 1_000_000  # ten million vectors would take 15 GB
Row = dict[str, Any]


def cpu_ms(call: Callable[[], Any], n: int = 7) -> float:
    """The least CPU time [ms] of n calls."""
    times = []
    for _ in range(n):
        begin = time.process_time()
        call()
        times.append(time.process_time() - begin)
    return 1e3 * min(times)


def row(
    name: str, ours: float, *, goal: float | None = None, peer: float | None = None, peer_name: str = "none"
) -> Row:
    """A result for the table and the file; goals are upper bounds."""
    return {
        "name": name, "ours": ours, "peer": peer, "peer_name": peer_name, "ratio": peer / ours if peer else None,
        "goal": f"<= {goal:g}" if goal else "none set", "met": ours <= goal if goal else True,
    }  # fmt: skip


def plane_of_voxels(n: int, rng: np.random.Generator) -> BlockPool:
    """A floor of n occupied voxels, 64 a block, with things of 6 x 6 blocks and a tenth of strays."""
    n_blocks = n // PER_BLOCK
    side = int(np.ceil(np.sqrt(n_blocks)))
    x, y = np.divmod(np.arange(n_blocks), side)
    keys = np.array([pack(int(a) - side // 2, int(b) - side // 2, 0) for a, b in zip(x, y, strict=True)])
    cells = np.full((n_blocks, VOLUME), UNKNOWN)
    cells[:, 3::8] = 60  # one layer
    pool = BlockPool.from_rows(keys, cells, np.zeros(n_blocks))
    owner = (x // 6 * 131 + y // 6 * 7919) % N_PROTOTYPES
    stray = rng.random((n_blocks, PER_BLOCK)) < 0.1
    pool.add_channel("prototype", np.uint16)[:n_blocks, 3::8] = (owner[:, None] + stray) % N_PROTOTYPES + 1
    return pool


def score_rows(rng: np.random.Generator) -> list[Row]:
    """Queries against the voxels of a large map, ours and the peers'."""
    table = PrototypeTable(DIM, N_PROTOTYPES, merge_cosine=1.0)
    for _ in range(0, N_PROTOTYPES, 500):
        table.assign(rng.normal(size=(500, DIM)), 0.0)
    noise = rng.normal(size=DIM)
    query = (table.direction[0] + 0.5 * noise / np.linalg.norm(noise)).astype(np.float32)
    query /= np.linalg.norm(query)
    peers = peer_times(table, query)
    BlockLists("prototype").select(plane_of_voxels(PER_BLOCK, rng), table.scores(query), THRESHOLD)  # compiles
    rows = []
    for n in SIZES:
        pool, lists = plane_of_voxels(n, rng), BlockLists("prototype")

        def select(threshold: float, pool: BlockPool = pool, lists: BlockLists = lists) -> int:
            scores = np.append(np.float32(0.0), table.scores(query))
            return len(lists.select(pool, scores, threshold)[0])

        begin = time.process_time()
        select(THRESHOLD)
        rows.append(
            row(f"{n:.0e} voxels: lists of the blocks, once after loading [ms]", 1e3 * (time.process_time() - begin))
        )
        for threshold, goal in ((THRESHOLD, 20.0), (0.05, None), (-1.0, None)):
            name = f"{n:.0e} voxels scored, {select(threshold):,} of them >= {threshold:g} [ms]"
            ours = cpu_ms(partial(select, threshold))
            compared = peers if n == PEER_SIZE and goal else [("none", None)]
            rows += [row(name, ours, goal=goal, peer=peer, peer_name=peer_name) for peer_name, peer in compared]
    return rows


def peer_times(table: PrototypeTable, query: np.ndarray) -> list[tuple[str, float | None]]:
    """(name, CPU ms) of peers that keep a vector for each of a million voxels and return those above the threshold."""
    features = table.direction[np.arange(PEER_SIZE) % N_PROTOTYPES]
    times: list[tuple[str, float | None]] = [(f"numpy features @ query, {PEER_SIZE:.0e} x {DIM}",
              cpu_ms(lambda: np.flatnonzero(features @ query >= THRESHOLD), 3))]  # fmt: skip
    try:
        faiss = import_extra("faiss", "dev")
    except MissingExtraError:
        return [*times, ("faiss-cpu is not installed", None)]
    faiss.omp_set_num_threads(1)
    index = faiss.IndexFlatIP(DIM)
    index.add(features)
    return [*times, ("faiss IndexFlatIP.range_search", cpu_ms(lambda: index.range_search(query[None], THRESHOLD), 3))]


def noisy_frames(n: int) -> list[Observation]:
    """Frames of 640x480 in a house, with noise of a depth camera and an embedding for every segment."""
    house, k, rng = make_house(21), Intrinsics.from_fov(640, 480, 79.0), np.random.default_rng(0)
    renderer, noise, frames = make_renderer(house, build_mesh(house)), CameraNoise(), []
    for i, T in enumerate(free_poses(house, n)):
        seen = renderer.render(T, k)
        embeddings = {int(v): np.random.default_rng(int(v)).normal(size=DIM) for v in np.unique(seen.instance) if v > 0}
        depth = noise.apply(seen.depth, rng)
        frames.append(Observation(float(i), T, k, depth, seen.rgb, seen.semantic, seen.instance, LABELS, embeddings))
    return frames


def payload_rows(n_frames: int = 20) -> list[Row]:
    """Time of a frame with each channel, over that without; minimum of five runs for every frame, then the mean."""
    frames = noisy_frames(n_frames)

    def frame_ms(channels: tuple[str, ...]) -> float:
        times = []
        for _ in range(6):  # the first compiles, and meets new pages
            table = PrototypeTable(DIM) if "prototype" in channels else None
            voxels = VoxelMap(payload=Payload(channels, prototypes=table) if channels else None)
            run = []
            for frame in frames:
                begin = time.process_time()
                voxels.observe(frame)
                run.append(time.process_time() - begin)
            times.append(run)
        return 1e3 * float(np.mean(np.min(times[1:], axis=0)))

    bare = frame_ms(())
    rows = [row("frame of 640x480, occupancy only [ms]", bare)]
    for channels in (*((name,) for name in CHANNELS), CHANNELS):
        goal = 3.0 if channels == CHANNELS else None
        rows.append(row(f"payload {', '.join(channels)}: a frame more [ms]", frame_ms(channels) - bare, goal=goal))
    return rows


def quality_rows(name: str, results: list[dict[str, float]], rng: np.random.Generator) -> list[Row]:
    """Shares with intervals over houses; each counts `top` out of `bottom` where `of` is not 0."""
    for r in results:
        r["asked"], r["known"] = 1.0, r["absent"] + r["present"]  # in the house but not seen: neither
    rows = []
    for share, top, bottom, of in (
        ("answers that are right", "right", "answers", ("asked",)),
        ("things seen that are found", "found", "things", ("asked",)),
        ("first answer right, of what was seen", "first_is_right", "asked", ("present",)),
        ("abstentions that are right", "absent", "asked", ("abstained", "known")),
        ("absent categories abstained on", "abstained", "asked", ("absent",)),
    ):
        chosen = [r for r in results if all(r[key] for key in of)]
        values = [np.arange(int(r[bottom])) < r[top] for r in chosen]
        houses = np.repeat([r["house"] for r in chosen], [len(v) for v in values])
        found = bootstrap_mean(np.concatenate(values).astype(np.float64), houses, rng=rng, n=2000)
        interval = f"[{found.low:.3f}, {found.high:.3f}]"
        rows.append(row(f"{name}: {share}, 95 % {interval}, n = {len(houses)}", found.mean))
    errors = [r["error"] for r in results if np.isfinite(r["error"])]
    return [*rows, row(f"{name}: median distance from the middle of the thing [m]", float(np.median(errors)))]


def house_rows(n_houses: int, rng: np.random.Generator) -> list[Row]:
    """Answers to noisy vectors of all categories, whether the house has them or not."""
    vectors = {name: v / np.linalg.norm(v) for name, v in zip(CATEGORIES, rng.normal(size=(999, DIM)), strict=False)}
    tours = [tour(seed, vectors, n_rooms=6, max_steps=250) for seed in range(300, 300 + n_houses)]
    asked = {name: v + 0.5 * rng.normal(size=DIM) / np.sqrt(DIM) for name, v in vectors.items()}
    return quality_rows("synthetic vectors", ask(tours, asked, lambda name: name), rng)


def text_rows(n_houses: int, rng: np.random.Generator, console: Console) -> list[Row]:
    """Answers to words of a small text encoder, where segments are embedded by the name of their category."""
    try:
        encoder = MiniLMEncoder()
    except MissingExtraError as error:
        console.print(f"text: left out, {error}")
        return []
    vectors = dict(zip(CATEGORIES, encoder(CATEGORIES), strict=True))
    texts = {**PRESENT, **dict.fromkeys(ABSENT, "")}
    scores = encoder(list(PRESENT)) @ encoder(CATEGORIES).T
    own = scores[np.arange(len(PRESENT)), [CATEGORIES.index(name) for name in PRESENT.values()]]
    rank = (scores > own[:, None]).sum(axis=1)
    rows = [row(f"MiniLM: {len(PRESENT)} paraphrases, category among the first {k} of {len(CATEGORIES)}",
                float(np.mean(rank < k))) for k in (1, 3)]  # fmt: skip
    tours = [tour(seed, vectors, n_rooms=6, max_steps=250) for seed in range(300, 300 + n_houses)]
    asked = dict(zip(texts, encoder(list(texts)), strict=True))
    return rows + quality_rows("MiniLM", ask(tours, asked, texts.__getitem__), rng)


def main() -> None:
    """Print the table and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--houses", type=int, default=8)
    parser.add_argument("--part", choices=("score", "payload", "houses", "text"), nargs="*")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    console, rng = Console(), np.random.default_rng(0)
    parts: dict[str, Callable[[], list[Row]]] = {
        "score": lambda: score_rows(rng),
        "payload": payload_rows,
        "houses": lambda: house_rows(arguments.houses, rng),
        "text": lambda: text_rows(arguments.houses, rng, console),
    }
    rows = [each for name in arguments.part or parts for each in parts[name]()]
    table = Table(title="Meaning in the voxel map")
    for heading in ("what", "ours", "goal", "peer", "ratio"):
        table.add_column(heading, justify="left" if heading in ("what", "peer") else "right")
    for each in rows:
        goal = each["goal"] + ("" if each["met"] else " MISSED")
        peer = each["peer_name"] + (f" {each['peer']:.1f}" if each["peer"] else "")
        ratio = f"{each['ratio']:.0f} x" if each["ratio"] else "-"
        table.add_row(escape(each["name"]), f"{each['ours']:.3f}", goal, escape(peer), ratio)
    console.print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
