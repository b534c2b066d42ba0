"""Routes that are drawn from a street map and told in sentences made by rule, and a small town to draw from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import networkx as nx
import numpy as np
from jaxtyping import Bool

from embmem.maps.streets import StreetMap
from embmem.maps.streets.legs import Crossing, crossings
from embmem.sim_envs.street.episodes import StreetEpisode
from embmem.sim_envs.street.landmarks import PLAIN

SAMPLED = "map2seq_sampled"  # begins as Map2Seq does, with a free step
_FIRST = ("Corner", "Blue", "Union", "Golden", "Maria's", "Hudson", "Little", "Grand", "Silver", "Lucky", "Tony's")
_SECOND = ("Bagels", "Market", "Cafe", "Pharmacy", "Pizza", "Books", "Tavern", "Deli", "Optical", "Nails", "Sushi")
NAMES = tuple(f"{first} {second}" for first in _FIRST for second in _SECOND)
_COUNTS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight")
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")
_NOUNS = ("light", "intersection", "crossing", "set of lights", "traffic light")
_BEGIN = ("Go straight", "Walk straight", "Head down the street", "Proceed forward", "Continue")
_TURN_NOW = ("turn {side}", "take a {side}", "make a {side}", "go {side}")
_WHERE = ("", " with {mark} on the corner", " at {mark}", ". There is {mark} on the corner", "")
_PASS = ("pass {mark} on the {side}", "go past {mark}", "walk by {mark} on your {side}")
_STOP = (
    "Stop in front of {mark}", "Stop just past {mark} on the {side}", "Stop right before {mark} on your {side}",
    "Your destination is {mark} on the {side}", "Stop next to {mark}", "Stop when you are between {mark} and {other}",
)  # fmt: skip


@dataclass(frozen=True)
class Lengths:
    """Hops of sampled routes, which are shortest ways."""

    least: int = 34
    most: int = 44


def sample_routes(
    streets: StreetMap, is_free: Bool[np.ndarray, " n"], n: int, rng: np.random.Generator, lengths: Lengths
) -> list[StreetEpisode]:
    """Shortest ways over free places alone, told by rule.

    Raises:
        ValueError: if the free places have too few of them.
    """
    places = np.flatnonzero(is_free & (streets.n_exits > 0))
    found: list[StreetEpisode] = []
    for _ in range(50 * n):
        if len(found) == n or not len(places):
            break
        route = _route(streets, int(rng.choice(places)), lengths, rng)
        if route is None or not is_free[list(route)].all():
            continue
        heading = float(round(streets.heading(route[0], route[1])))
        found.append(StreetEpisode(f"sampled {len(found)}", SAMPLED, describe(streets, route, rng), route, heading))
    if len(found) < n:
        raise ValueError(f"the free places have only {len(found)} of {n} routes of {lengths}")
    return found


def _route(
    streets: StreetMap, start: int, lengths: Lengths, rng: np.random.Generator
) -> tuple[int, ...] | None:  # fmt: skip
    hops = streets.hops_from(start, most=lengths.most)
    ends = np.flatnonzero(hops >= lengths.least)
    if not len(ends):
        return None
    path = [int(rng.choice(ends))]
    while path[-1] != start:
        before = [p for _, p in streets.exits(path[-1]) if hops[p] == hops[path[-1]] - 1]
        if not before:
            return None
        path.append(before[int(rng.integers(len(before)))])
    return tuple(path[::-1])


def describe(streets: StreetMap, route: Sequence[int], rng: np.random.Generator) -> str:
    """A route in words: turns, counts and landmarks, some of it left out, as people do."""
    parts = crossings(streets, route)
    if parts and parts[-1].last >= len(route) - 1:
        parts = parts[:-1]
    sentences, n_passed = [_draw(rng, _BEGIN)], 0
    for c in parts:
        if c.symbol == "S":
            n_passed += 1
            continue
        sentences.append(_turn(c, n_passed, rng))
        n_passed = 0
    sentences.append(_last(n_passed, rng))
    return ". ".join(sentence[0].upper() + sentence[1:] for sentence in sentences) + "."


def _turn(crossing: Crossing, n_passed: int, rng: np.random.Generator) -> str:
    noun, side = _draw(rng, _NOUNS), "left" if crossing.symbol == "L" else "right"
    turn = _draw(rng, _TURN_NOW).format(side=side)
    where = _draw(rng, _WHERE).format(mark=_mark(rng))
    way = _draw(rng, _PASS).format(mark=_mark(rng), side=_side(rng)) + " and " if rng.random() < 0.3 else ""
    if n_passed > 7 or rng.random() < 0.25:  # not counted
        return f"{way}{turn} at the {noun}{where}"
    if n_passed and rng.random() < 0.5:
        return f"{way}go through {_COUNTS[n_passed]} {_many(noun, n_passed)} and {turn} at the next {noun}{where}"
    return f"{way}{turn} at the {_ORDINALS[n_passed]} {noun}{where}"


def _last(n_passed: int, rng: np.random.Generator) -> str:
    stop = _draw(rng, _STOP).format(mark=_mark(rng), other=_mark(rng), side=_side(rng))
    if 0 < n_passed <= 7 and rng.random() < 0.7:
        noun = _draw(rng, _NOUNS)
        return f"go through {_COUNTS[n_passed]} {_many(noun, n_passed)}. {stop}"
    return stop


def _many(noun: str, n: int) -> str:
    if n == 1:
        return noun
    return "sets of lights" if noun.startswith("set") else f"{noun}s"


def _mark(rng: np.random.Generator) -> str:
    return _draw(rng, NAMES) if rng.random() < 0.7 else f"a {_draw(rng, PLAIN)}"


def _side(rng: np.random.Generator) -> str:
    return _draw(rng, ("left", "right"))


def _draw(rng: np.random.Generator, choices: Sequence[str]) -> str:
    return choices[int(rng.integers(len(choices)))]


def made_up_town(n: int, hops: int = 4) -> StreetMap:
    """`n` streets each way, `hops` places of 10 m from a crossing to the next; a place is named by where it lies."""
    most = (n - 1) * hops
    graph = nx.grid_2d_graph(most + 1, most + 1)
    graph.remove_nodes_from([p for p in list(graph) if p[0] % hops and p[1] % hops])
    names = sorted(graph)
    number = {name: i for i, name in enumerate(names)}
    exits = [
        (number[a], float(np.degrees(np.arctan2(b[0] - a[0], b[1] - a[1])) % 360), number[b])
        for a in names
        for b in sorted(graph[a])
    ]
    return StreetMap.from_exits([str(name) for name in names], np.array(names, dtype=float) * 10.0, exits)
