"""Kinds of rooms: how wide they are, which a home of a given size has, what stands in them."""

from __future__ import annotations

import numpy as np

# Nominal width along the corridor [dm]; the depth is common to a row of rooms.
WIDTH: dict[str, tuple[int, int]] = {
    "living room": (52, 62),
    "kitchen": (31, 38),
    "bathroom": (21, 26),
    "bedroom": (34, 41),
    "office": (28, 35),
    "dining room": (35, 42),
    "storage room": (20, 25),
    "laundry room": (21, 26),
    "playroom": (32, 38),
    "library": (32, 40),
}
ROOM_KINDS: tuple[str, ...] = ("corridor", *WIDTH)

_FIRST = ["living room", "kitchen", "bathroom", "bedroom"]
_THEN = ["dining room", "bathroom", "storage room", "bedroom", "laundry room", "playroom", "library", "office"]
_MORE = {
    "bedroom": 0.36,
    "bathroom": 0.18,
    "office": 0.16,
    "living room": 0.08,
    "storage room": 0.07,
    "library": 0.05,
    "playroom": 0.05,
    "laundry room": 0.03,
    "dining room": 0.02,
}
_SECOND_KITCHEN = 20  # rooms from which a home has two kitchens


def choose_kinds(rng: np.random.Generator, n: int) -> list[str]:
    """The kinds of `n` >= 3 rooms that are not corridors, the most necessary first; one kitchen, in large homes two."""
    fifth_and_sixth = [str(kind) for kind in rng.permutation(["bedroom", "office"])]
    kinds = [*_FIRST, *fifth_and_sixth, *_THEN][:n]
    if n >= _SECOND_KITCHEN:
        kinds.append("kitchen")
    missing = n - len(kinds)
    if missing > 0:
        kinds += [str(kind) for kind in rng.choice(list(_MORE), size=missing, p=list(_MORE.values()))]
    return kinds


# What stands in a room, in the order of placing: (group of furniture, probability).
FURNISHING: dict[str, tuple[tuple[str, float], ...]] = {
    "living room": (
        ("sofa group", 1.0),
        ("tv stand", 1.0),
        ("bookshelf", 0.9),
        ("sideboard", 0.6),
        ("armchair", 0.7),
        ("bookshelf", 0.3),
        ("dining group", 0.3),
        ("piano", 0.2),
        ("wall shelf", 0.4),
        ("window", 1.0),
        ("window", 0.6),
        ("picture", 0.8),
        ("picture", 0.5),
    ),
    "kitchen": (
        ("kitchen run", 1.0),
        ("kitchen counter", 0.8),
        ("dining group", 0.8),
        ("cupboard", 0.7),
        ("wall shelf", 0.8),
        ("window", 1.0),
        ("picture", 0.3),
    ),
    "bathroom": (
        ("washbasin group", 1.0),
        ("toilet", 1.0),
        ("bathtub", 0.75),
        ("bathroom cabinet", 0.85),
        ("washing machine", 0.4),
        ("wall shelf", 0.5),
        ("window", 0.5),
    ),
    "bedroom": (
        ("bed group", 1.0),
        ("wardrobe", 1.0),
        ("dresser", 0.75),
        ("desk group", 0.3),
        ("bookshelf", 0.3),
        ("bench", 0.3),
        ("armchair", 0.2),
        ("window", 1.0),
        ("picture", 0.6),
        ("mirror", 0.4),
    ),
    "office": (
        ("desk group", 1.0),
        ("bookshelf", 1.0),
        ("bookshelf", 0.5),
        ("sideboard", 0.5),
        ("desk group", 0.25),
        ("armchair", 0.3),
        ("window", 1.0),
        ("picture", 0.6),
    ),
    "dining room": (
        ("dining group", 1.0),
        ("sideboard", 1.0),
        ("cupboard", 0.6),
        ("wall shelf", 0.3),
        ("window", 1.0),
        ("picture", 0.8),
    ),
    "storage room": (
        ("storage rack", 1.0),
        ("storage rack", 0.8),
        ("workbench", 0.7),
        ("storage rack", 0.4),
    ),
    "laundry room": (
        ("washing machine", 1.0),
        ("washing machine", 0.4),
        ("storage rack", 0.9),
        ("bench", 0.5),
        ("wall shelf", 0.4),
        ("window", 0.5),
    ),
    "playroom": (
        ("toy chest", 1.0),
        ("bookshelf", 0.9),
        ("coffee table", 0.7),
        ("bench", 0.6),
        ("sofa group", 0.4),
        ("window", 1.0),
        ("picture", 0.8),
    ),
    "library": (
        ("bookshelf", 1.0),
        ("bookshelf", 1.0),
        ("bookshelf", 0.9),
        ("desk group", 0.7),
        ("armchair", 1.0),
        ("coffee table", 0.5),
        ("window", 1.0),
    ),
    "corridor": (
        ("shoe cabinet", 0.9),
        ("console table", 0.7),
        ("bench", 0.3),
        ("coat rack", 0.8),
        ("mirror", 0.5),
        ("picture", 0.7),
        ("picture", 0.4),
    ),
}
