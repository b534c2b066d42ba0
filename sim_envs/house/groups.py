"""Furniture that belongs together: a bed with its nightstands, a table with its chairs, a kitchen run.

Group frame: like the frame of a piece (`furniture.py`), x along the wall, y into the room. Directions are numbered as
in `House`: 0 +x, 1 +y, 2 -x, 3 -y; the front of a group looks along +y.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from embmem.sim_envs.house.furniture import FURNITURE


@dataclass(frozen=True)
class Piece:
    """A piece of furniture in its group."""

    category: str
    width: float  # [m]
    depth: float  # [m]
    x: float = 0.0  # [m] of the corner of its footprint with the least x and y
    y: float = 0.0
    facing: int = 1


@dataclass(frozen=True)
class Group:
    """Pieces that are placed as one; the rectangle [0, width] x [0, depth] holds them all."""

    width: float
    depth: float
    pieces: tuple[Piece, ...]
    is_central: bool = False  # stands free instead of against a wall


CENTRAL = frozenset({"coffee table"})  # single pieces that stand free


def _piece(rng: np.random.Generator, category: str, x: float = 0.0, y: float = 0.0, facing: int = 1) -> Piece:
    kind = FURNITURE[category]
    low, high = (round(width * 20) for width in kind.width)
    return Piece(category, int(rng.integers(low, high, endpoint=True)) / 20, kind.depth, x, y, facing)


def _side_by_side(pieces: list[Piece], gap: float = 0.0) -> Group:
    placed, x = [], 0.0
    for piece in pieces:
        placed.append(Piece(piece.category, piece.width, piece.depth, round(x, 3), 0.0, piece.facing))
        x += piece.width + gap
    return Group(round(x - gap, 3), max(p.depth for p in placed), tuple(placed))


def _bed_groups(rng: np.random.Generator) -> list[Group]:
    left, right = _piece(rng, "nightstand"), _piece(rng, "nightstand")
    depth = FURNITURE["bed"].depth
    double, single = Piece("bed", 1.6, depth), Piece("bed", 0.9, depth)
    middle = Piece("bed", 1.4, depth)
    rows = [[left, double, right], [left, middle, right], [left, middle], [single, right], [single]]
    return [_side_by_side(row, 0.05) for row in (rows if rng.random() < 0.75 else rows[3:])]


def _desk_groups(rng: np.random.Generator) -> list[Group]:
    desk = _piece(rng, "desk")
    chair = FURNITURE["office chair"]
    x = round((desk.width - chair.width[0]) / 2, 3)
    seat = Piece("office chair", chair.width[0], chair.depth, x, desk.depth + 0.05, 3)
    return [Group(desk.width, seat.y + seat.depth, (desk, seat)), _side_by_side([desk])]


def _dining_groups(rng: np.random.Generator) -> list[Group]:
    """A table with chairs on its long sides, two to four of them."""
    table = FURNITURE["dining table"]
    width = 1.2 if rng.random() < 0.5 else 1.5
    chair_w, chair_d, gap = FURNITURE["chair"].width[0], FURNITURE["chair"].depth, 0.05
    row = chair_d + gap
    xs = [round(width * share - chair_w / 2, 3) for share in (0.27, 0.73)]
    behind = [Piece("chair", chair_w, chair_d, x, 0.0, 1) for x in xs]
    front = [Piece("chair", chair_w, chair_d, x, round(row + table.depth + gap, 3), 3) for x in xs]
    four = (Piece("dining table", width, table.depth, 0.0, row), *behind, *front)
    against_wall = (
        Piece("dining table", width, table.depth),
        *(Piece("chair", chair_w, chair_d, x, round(table.depth + gap, 3), 3) for x in xs),
    )
    return [
        Group(width, round(2 * row + table.depth, 3), four, True),
        Group(width, round(table.depth + row, 3), against_wall),
    ]


def _sofa_groups(rng: np.random.Generator) -> list[Group]:
    sofa, table = _piece(rng, "sofa"), _piece(rng, "coffee table")
    x = round((sofa.width - table.width) / 2, 3)
    # A body passes between the two: things on the sofa can be seen from there.
    before = Piece("coffee table", table.width, table.depth, x, sofa.depth + 0.65)
    return [Group(sofa.width, before.y + before.depth, (sofa, before)), _side_by_side([sofa])]


def _kitchen_groups(rng: np.random.Generator) -> list[Group]:
    """Runs of appliances and counters, with cabinets on the wall above the counters; the longest first."""
    fridge, stove, sink = (_piece(rng, category) for category in ("refrigerator", "stove", "sink"))
    counters = [_piece(rng, "kitchen counter") for _ in range(2)]
    runs = [
        [fridge, counters[0], stove, counters[1], sink],
        [fridge, counters[0], stove, sink],
        [counters[0], stove, sink],
        [stove, counters[0]],
    ]
    groups = []
    for run in runs:
        group = _side_by_side(run if rng.random() < 0.5 else run[::-1])
        depth = FURNITURE["wall cabinet"].depth
        hung = [Piece("wall cabinet", p.width, depth, p.x) for p in group.pieces if p.category == "kitchen counter"]
        groups.append(Group(group.width, group.depth, (*group.pieces, *hung)))
    return groups


def _washbasin_groups(rng: np.random.Generator) -> list[Group]:
    basin = _piece(rng, "washbasin")
    mirror = Piece("mirror", 0.5, FURNITURE["mirror"].depth, round((basin.width - 0.5) / 2, 3))
    return [Group(basin.width, basin.depth, (basin, mirror))]


_GROUPS = {
    "bed group": _bed_groups,
    "desk group": _desk_groups,
    "dining group": _dining_groups,
    "sofa group": _sofa_groups,
    "kitchen run": _kitchen_groups,
    "washbasin group": _washbasin_groups,
}


def groups(rng: np.random.Generator, name: str) -> list[Group]:
    """Variants of the group in order of preference; the name of a category gives that single piece."""
    if name in _GROUPS:
        return _GROUPS[name](rng)
    piece = _piece(rng, name)
    return [Group(piece.width, piece.depth, (piece,), name in CENTRAL)]
