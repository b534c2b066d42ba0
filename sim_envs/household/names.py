"""What things are called in symbols, which furniture can be closed, and which states things have."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from embmem.sim_envs.house import OBJECTS, Furniture, House

# Furniture with doors: what is in it is seen and taken only while it is open. All others carry things openly.
CONTAINERS = (
    "refrigerator", "wardrobe", "wall cabinet", "cupboard", "bathroom cabinet", "toy chest", "shoe cabinet",
    "washing machine",
)  # fmt: skip
NO_RECEPTACLES = ("chair", "office chair")
# Where the small things of a home also are that its builder lays into the open only; a share of them is stored.
STORED: dict[str, tuple[str, ...]] = {
    "refrigerator": ("milk carton", "orange", "apple", "wine bottle", "jar"),
    "wardrobe": ("scarf", "hat", "handbag", "backpack", "blanket", "towel"),
    "wall cabinet": ("plate", "bowl", "glass", "mug", "cereal box"),
}
STORED_SHARE = 0.4
WASHED_IN: dict[
    str, tuple[str, ...]
] = {  # a receptacle cleans what it takes: the sink at once, the machine when closed
    "sink": ("mug", "glass", "plate", "bowl", "cooking pot", "frying pan", "cutting board", "wine glass", "lunch box"),
    "washing machine": ("towel", "blanket", "scarf"),
}
COOLED = ("milk carton", "wine bottle", "water bottle", "orange")  # cold once the refrigerator is closed on them
DIRTY_SHARE = 0.4
COLOURS = ("red", "blue", "green", "yellow", "white", "black", "orange", "purple", "brown", "grey", "pink", "striped")


def underscored(words: str) -> str:
    """`coffee table` as a name has it."""
    return words.replace(" ", "_")


def numbered(categories: Iterable[str]) -> list[str]:
    """`desk_1`, `desk_2` ... in the order given."""
    counts: dict[str, int] = {}
    names = []
    for category in categories:
        counts[category] = counts.get(category, 0) + 1
        names.append(f"{underscored(category)}_{counts[category]}")
    return names


def coloured(categories: Iterable[str], rng: np.random.Generator) -> list[str]:
    """`red_mug`, `blue_mug` ...: no two things of a category share a colour while there are colours left."""
    drawn: dict[str, list[str]] = {}
    counts: dict[str, int] = {}
    names = []
    for category in categories:
        order = drawn.setdefault(category, [str(c) for c in rng.permutation(COLOURS)])
        n = counts[category] = counts.get(category, 0) + 1
        colour = order[(n - 1) % len(order)]
        name = f"{colour}_{underscored(category)}"
        names.append(name if n <= len(order) else f"{name}_{n}")
    return names


def is_receptacle(piece: Furniture) -> bool:
    """Whether things can be put on or into it."""
    if piece.category in NO_RECEPTACLES:
        return False
    return len(piece.surfaces) > 0 or piece.category in CONTAINERS


def first_state(category: str, rng: np.random.Generator) -> str | None:
    """A state to begin with; None for what has none."""
    draw = rng.random()  # always one number, so that one category changes no other
    if any(category in washed for washed in WASHED_IN.values()):
        return "dirty" if draw < DIRTY_SHARE else "clean"
    return "warm" if category in COOLED else None


def stored_away(house: House, rng: np.random.Generator) -> dict[int, int]:
    """Things that stand in closed furniture instead of where the house has them: object id to furniture id."""
    pieces = {category: [f.id for f in house.furniture if f.category == category] for category in STORED}
    stored = {}
    for obj in house.objects:
        homes = [f for category, kept in STORED.items() if obj.category in kept for f in pieces[category]]
        draw, which = rng.random(), rng.random()
        if homes and draw < STORED_SHARE:
            stored[obj.id] = homes[int(which * len(homes))]
    return stored


def is_fixed(category: str) -> bool:
    """Whether nobody ever carries it."""
    return OBJECTS[category].move == 0.0
