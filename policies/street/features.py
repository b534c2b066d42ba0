"""How well a walk fits an instruction, as numbers that a linear model weighs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from embmem.maps.streets import StreetMap
from embmem.maps.streets.legs import Crossing, bearing, crossings, hops_ahead
from embmem.policies.street.candidates import Candidates
from embmem.policies.street.words import Program

SLIGHT, SHARP = 25.0, 60.0  # [degrees] of bend
FLOW = 60.0  # [degrees] between a way and the car that photographed it, below which one walks with the traffic

# What an alignment of the told crossings with the walked ones counts.
EDITS = (
    "S=S", "S~bend", "S~turn", "turn=turn", "turn~bend", "turn~S", "turn~other",
    "extra S first", "extra S middle", "extra S last", "extra bend", "extra turn", "extra turn at the end",
    "missing S first", "missing S middle", "missing S last", "missing turn", "exact", "exact turns",
)  # fmt: skip
PLACES = (
    "at crossing", "turn+1", "turn+2", "turn+3", "turn+4", "turn+5", "straight+1", "straight+2", "straight+3",
    "straight+4", "straight+5", "next-1", "next-2", "next-3", "next-4", "first fifth", "second fifth", "third fifth",
    "fourth fifth", "last fifth", "far from both",
)  # fmt: skip
WAYS = ("with traffic", "starts with traffic", "starts ahead", "crossings")
N_LENGTHS = 48  # one number a length in hops
_EDIT = {name: i for i, name in enumerate(EDITS)}
_PLACE = {name: i for i, name in enumerate(PLACES)}


@dataclass(frozen=True, eq=False)
class Features:
    """Of all candidates of an instruction."""

    edits: Float[np.ndarray, "n e"]  # as `EDITS`
    places: Float[np.ndarray, "n p"]  # as `PLACES`: where the walk ends
    ways: Float[np.ndarray, "n w"]  # as `WAYS`
    hops: Float[np.ndarray, " n"]


def featurise(streets: StreetMap, program: Program, found: Candidates, heading: float) -> Features:
    """The features of all candidates.

    Args:
        streets: the map.
        program: what the instruction says of turns.
        found: the walks.
        heading: where the walker looks at the start [degrees].
    """
    told = _told(program)
    edits, places, ways = [], [], []
    trunk_id, parts, flow = -1, [], np.zeros(0)
    for t, end in zip(found.trunk.tolist(), found.end.tolist(), strict=True):
        trunk = found.trunks[t]
        if t != trunk_id:
            trunk_id, parts, flow = t, crossings(streets, trunk), _flow(streets, trunk)
        passed = [c for c in parts if c.first <= end]
        if passed and passed[-1].last + 2 > end:  # the walk ends before its direction is clear
            passed[-1:] = crossings_from(streets, trunk[: end + 1], passed[-1].first)
        walked = "".join(_letter(c.bend) for c in passed)
        ends_soon = bool(passed) and passed[-1].last >= end - 1
        edits.append(_edits(told, walked, ends_soon))
        places.append(_place(streets, trunk, end, passed[-1] if passed else None))
        first = bearing(streets, trunk[0], trunk[min(1, end)])
        ahead = abs((first - heading + 180) % 360 - 180) < 90
        ways.append((flow[:end].mean(), flow[0], float(ahead), float(len(passed))))
    return Features(np.array(edits), np.array(places), np.array(ways), found.end.astype(float))


def crossings_from(streets: StreetMap, path: tuple[int, ...], first: int) -> list[Crossing]:
    """The crossings of a path from an index on, where a crossing begins."""
    return [c for c in crossings(streets, path) if c.first >= first]


def _letter(bend: float) -> str:
    """S, or l, r for a bend, or L, R for a turn."""
    if abs(bend) < SLIGHT:
        return "S"
    letter = "l" if bend < 0 else "r"
    return letter.upper() if abs(bend) > SHARP else letter


def _told(program: Program) -> str:
    """The symbols of a program with the last leg after a bar."""
    *turns, last = program.legs
    body = "".join("S" * leg.n_pass + (leg.turn or "") for leg in turns)
    return body + "|" + "S" * (last.n_pass + program.stops_at_junction)


def _flow(streets: StreetMap, path: tuple[int, ...]) -> np.ndarray:
    """Of each step of a path, whether it goes with the traffic: as the car did that took the picture."""
    headings = np.array([bearing(streets, a, b) for a, b in pairwise(path)])
    return (np.abs((headings - streets.yaw[list(path[:-1])] + 180) % 360 - 180) < FLOW).astype(float)


def _place(streets: StreetMap, trunk: tuple[int, ...], end: int, last: Crossing | None) -> np.ndarray:
    """Where between two crossings a walk ends."""
    row = np.zeros(len(PLACES))
    since = end if last is None else end - last.last
    ahead = hops_ahead(streets, trunk[end - 1], trunk[end])
    if last is not None and since <= 0:
        row[_PLACE["at crossing"]] = 1
        return row
    is_turn = last is not None and abs(last.bend) >= SLIGHT
    if since <= 5 and last is not None:
        row[_PLACE[f"{'turn' if is_turn else 'straight'}+{since}"]] = 1
    if 1 <= ahead <= 4:
        row[_PLACE[f"next-{ahead}"]] = 1
    fifth = min(4, int(5 * since / (since + ahead)))
    row[_PLACE["first fifth"] + fifth] = 1
    row[_PLACE["far from both"]] = float(since > 4 and ahead > 4)
    return row


@lru_cache(maxsize=20_000)
def _edits(told: str, walked: str, ends_soon: bool) -> np.ndarray:
    """Counts of `EDITS` in the cheapest alignment; of equally cheap ones that with the fewest gaps at the front."""
    body, _, tail = told.partition("|")
    text = body + tail
    last_turn = len(body)
    first_turn = next((i for i, symbol in enumerate(text) if symbol != "S"), len(text))
    n, m = len(text), len(walked)
    cost = np.zeros((n + 1, m + 1))
    for i in range(1, n + 1):
        cost[i, 0] = cost[i - 1, 0] + (1.0 if text[i - 1] == "S" else 2.0)
    for j in range(1, m + 1):
        cost[0, j] = cost[0, j - 1] + (1.0 if walked[j - 1] in "Slr" else 2.0)
    for i in range(1, n + 1):
        for j in range(1, m + 1):
            cost[i, j] = min(
                cost[i - 1, j - 1] + _substitution(text[i - 1], walked[j - 1])[1],
                cost[i, j - 1] + (1.0 if walked[j - 1] in "Slr" else 2.0),
                cost[i - 1, j] + (1.0 if text[i - 1] == "S" else 2.0),
            )
    row = np.zeros(len(EDITS))
    i, j = n, m
    while i or j:
        leg = "first" if i <= first_turn < n else "last" if i >= last_turn else "middle"
        if i and j and cost[i, j] == cost[i - 1, j - 1] + _substitution(text[i - 1], walked[j - 1])[1]:
            row[_EDIT[_substitution(text[i - 1], walked[j - 1])[0]]] += 1
            i, j = i - 1, j - 1
        elif j and cost[i, j] == cost[i, j - 1] + (1.0 if walked[j - 1] in "Slr" else 2.0):
            letter = walked[j - 1]
            turn = "extra turn at the end" if ends_soon and j == m else "extra turn"
            row[_EDIT[f"extra S {leg}" if letter == "S" else "extra bend" if letter in "lr" else turn]] += 1
            j -= 1
        else:
            row[_EDIT[f"missing S {leg}" if text[i - 1] == "S" else "missing turn"]] += 1
            i -= 1
    row[_EDIT["exact"]] = float(cost[n, m] < 1)
    turns = [text.replace("S", ""), walked.replace("S", "").replace("l", "").replace("r", "")]
    row[_EDIT["exact turns"]] = float(turns[0] == turns[1])
    return row


def _substitution(told: str, walked: str) -> tuple[str, float]:
    """What it is to walk one crossing where another was told, and its cost."""
    if told == "S":
        return ("S=S", 0.0) if walked == "S" else ("S~bend", 0.4) if walked in "lr" else ("S~turn", 2.5)
    if walked == "S":
        return "turn~S", 2.0
    if walked.upper() != told:
        return "turn~other", 3.5
    return ("turn=turn", 0.0) if walked == told else ("turn~bend", 0.3)
