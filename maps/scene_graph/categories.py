"""Household names: what is furniture, what things are kept in, and what a room is by its furniture.

Defaults that every constructor takes other values for. The lists are ours, written down from how homes are used.
"""

from __future__ import annotations

FURNITURE: tuple[str, ...] = (
    "armchair", "bathroom cabinet", "bathtub", "bed", "bench", "bookcase", "bookshelf", "cabinet", "chair",
    "chest of drawers", "closet", "coat rack", "coffee table", "console table", "couch", "counter", "crib", "cupboard",
    "curtain", "desk", "dining table", "dishwasher", "dresser", "fireplace", "fridge", "kitchen counter",
    "kitchen island", "mirror", "nightstand", "office chair", "oven", "piano", "picture", "rack", "radiator",
    "refrigerator", "rug", "shelf", "shoe cabinet", "shower", "sideboard", "sink", "sofa", "stool", "storage rack",
    "stove", "table", "toilet", "toy chest", "tv stand", "wall cabinet", "wall shelf", "wardrobe", "washbasin",
    "washing machine", "window", "workbench",
)  # fmt: skip

# What holds things inside of it: below its top they are "in" it, not "on" it.
CONTAINERS: tuple[str, ...] = (
    "bag", "basket", "bathroom cabinet", "bookcase", "bookshelf", "bowl", "box", "cabinet", "cardboard box",
    "chest of drawers", "closet", "cupboard", "dishwasher", "drawer", "fridge", "laundry basket", "microwave", "oven",
    "rack", "refrigerator", "shelf", "storage rack", "trash can", "wall cabinet", "wardrobe",
)  # fmt: skip

# Votes of the furniture in a room for what the room is.
ROOM_KINDS: dict[str, dict[str, float]] = {
    "kitchen": {"stove": 3, "refrigerator": 3, "fridge": 3, "kitchen counter": 2, "oven": 2, "dishwasher": 2,
                "sink": 1.5, "wall cabinet": 1, "cupboard": 0.5, "dining table": 0.3},
    "bathroom": {"toilet": 3, "bathtub": 3, "shower": 3, "washbasin": 2, "bathroom cabinet": 1.5,
                 "washing machine": 0.5},
    "bedroom": {"bed": 3, "wardrobe": 1.5, "nightstand": 1.5, "dresser": 1, "crib": 2},
    "living room": {"sofa": 1.5, "couch": 1.5, "tv stand": 2, "coffee table": 0.7, "piano": 1, "fireplace": 1,
                    "armchair": 0.5, "sideboard": 0.3},
    "dining room": {"dining table": 1.5, "sideboard": 0.7, "cupboard": 0.5, "chair": 0.1},
    "office": {"desk": 1.5, "office chair": 1, "bookshelf": 0.5},
    "library": {"bookshelf": 0.8, "armchair": 0.4},
    "playroom": {"toy chest": 3},
    "laundry room": {"washing machine": 1.6, "storage rack": 0.4, "bench": 0.2},
    "storage room": {"storage rack": 1, "workbench": 1.5},
    "corridor": {"shoe cabinet": 2, "coat rack": 2, "console table": 1.5, "mirror": 0.2},
}  # fmt: skip


def room_kind(furniture: dict[str, int]) -> tuple[str, float]:
    """What a room is by how many pieces of each furniture stand in it, and the share of the votes for that.

    ("room", 0.0) where nothing votes. A second piece of a kind counts half, as a second bed makes no second bedroom.
    """
    votes = {
        kind: sum(weight * (1 + 0.5 * (furniture[name] - 1)) for name, weight in table.items() if furniture.get(name))
        for kind, table in ROOM_KINDS.items()
    }
    total = sum(votes.values())
    if total == 0.0:
        return "room", 0.0
    best = max(votes, key=lambda kind: votes[kind])
    return best, votes[best] / total
