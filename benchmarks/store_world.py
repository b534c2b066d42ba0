"""The records of a robot that walks through a building for a month, for the benchmark of the store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from embmem.records import Query, Record

DIM = 384
SIZE = np.array([52.0, 31.0])  # [m] of the building
ROOMS = 40
SPAN = 30 * 86_400.0  # [s]
NAMES = 400  # categories of things
WORDS = 20_000
CLUSTERS = 2_000
LATENT = 40  # dimensions in which embeddings differ by more than noise
CHUNK = 20_000  # records made together


@dataclass(frozen=True)
class World:
    """What the records are drawn from."""

    way_points: np.ndarray  # (m, 2) [m]
    basis: np.ndarray  # (LATENT, DIM)
    centres: np.ndarray  # (CLUSTERS, LATENT)
    name_chances: np.ndarray  # (NAMES,)
    word_chances: np.ndarray  # (WORDS,)


def make_world(seed: int = 0) -> World:
    """A building, what stands in it, and the words that are used."""
    rng = np.random.default_rng(seed)
    rooms = rng.uniform([2.0, 2.0], SIZE - 2.0, (ROOMS, 2))
    zipf = [1.0 / np.arange(1, n + 1) for n in (NAMES, WORDS)]
    return World(
        rooms[rng.integers(0, ROOMS, 4000)], rng.standard_normal((LATENT, DIM)) / 6.0,
        rng.standard_normal((CLUSTERS, LATENT)), *(chances / chances.sum() for chances in zipf),
    )  # fmt: skip


def embeddings(world: World, cluster: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(n, DIM) float16 unit vectors around the centres of clusters."""
    latent = world.centres[cluster] + 0.3 * rng.standard_normal((len(cluster), LATENT))
    vectors = latent @ world.basis + 0.3 * rng.standard_normal((len(cluster), DIM))
    return (vectors / np.linalg.norm(vectors, axis=1)[:, None]).astype(np.float16)


def records(world: World, n: int, seed: int = 1) -> Iterator[list[Record]]:
    """n records in chunks; the same ones, but closer in time, whatever n is."""
    rng = np.random.default_rng(seed)
    for begin in range(0, n, CHUNK):
        m = min(CHUNK, n - begin)
        stamps = np.sort((begin + rng.uniform(0, m, m)) * SPAN / n)
        place = stamps / SPAN * (len(world.way_points) - 1.0)
        at, share = place.astype(int), (place % 1.0)[:, None]
        xy = (1 - share) * world.way_points[at] + share * world.way_points[at + 1]
        positions = np.column_stack([xy + 1.5 * rng.standard_normal((m, 2)), rng.uniform(0.0, 2.2, m)])
        things = rng.choice(NAMES, (m, 2), p=world.name_chances)
        words = rng.choice(WORDS, (m, 6), p=world.word_chances)
        vectors = embeddings(world, (things[:, 0] * 5 + rng.integers(0, 5, m)) % CLUSTERS, rng)
        kinds, sources = rng.choice(3, m, p=[0.8, 0.15, 0.05]), rng.choice(3, m, p=[0.7, 0.2, 0.1])
        confidence = rng.uniform(0.3, 1.0, m)
        yield [
            Record(
                kind=("view", "note", "event")[kinds[i]], t_event=float(stamps[i]), t_ingest=float(stamps[i]) + 0.1,
                source=("camera", "microphone", "user")[sources[i]], place=f"room{at[i] % ROOMS}",
                position=positions[i], entities=tuple({f"thing{name}" for name in things[i]}),
                text=" ".join(f"w{word}" for word in words[i]), embedding=vectors[i], confidence=float(confidence[i]),
            )
            for i in range(m)
        ]  # fmt: skip


def queries(world: World, n: int, seed: int = 2) -> dict[str, list[Query]]:
    """n queries of each sort: single ones, then mixed ones. Things and words are asked for as often as they occur."""
    rng = np.random.default_rng(seed)
    names = rng.choice(NAMES, n, p=world.name_chances)
    words = rng.choice(WORDS, (n, 2), p=world.word_chances)
    texts = [" ".join(f"w{word}" for word in pair) for pair in words]
    vectors = embeddings(world, (names * 5) % CLUSTERS, rng).astype(np.float32)
    places = np.column_stack([world.way_points[rng.integers(0, len(world.way_points), n)], np.full(n, 1.0)])
    stamps = rng.uniform(0.1, 0.9, n) * SPAN
    sources, kinds = rng.choice(["camera", "microphone", "user"], n), rng.choice(["view", "note", "event"], n)

    def each(**fields: Sequence[Any]) -> list[Query]:
        return [Query(**{name: values[i] for name, values in fields.items()}) for i in range(n)]

    half = np.array([2.0, 2.0, 1.0])
    near, entity, embedding = list(places), [f"thing{name}" for name in names], list(vectors)
    since, radius = stamps.tolist(), [2.0] * n
    return {
        "near 2 m": each(near=near, radius=radius),
        "box 4 x 4 x 2 m": each(box=[np.stack([p - half, p + half]) for p in places]),
        "one hour": each(since=since, until=[s + 3600.0 for s in since]),
        "entity": each(entity=entity),
        "words": each(text=texts),
        "source and kind": each(source=sources.tolist(), kind=kinds.tolist()),
        "place": each(place=[f"room{i}" for i in rng.integers(0, ROOMS, n)]),
        "embedding": each(embedding=embedding),
        "near + since + embedding": each(near=near, radius=radius, since=since, embedding=embedding),
        "words + near": each(text=texts, near=near, radius=[5.0] * n),
        "entity + as of + embedding": each(entity=entity, as_of=since, embedding=embedding),
    }
