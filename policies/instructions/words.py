"""Nouns and cues of told routes, as a person would list them who has read some of them."""

from __future__ import annotations

# What rooms and furniture are called; the first word is the category that cameras and maps use.
ROOMS: tuple[tuple[str, ...], ...] = (
    ("corridor", "hallway"), ("living room",), ("kitchen",), ("bathroom",), ("bedroom",), ("office",),
    ("dining room",), ("storage room",), ("laundry room",), ("playroom",), ("library",),
)  # fmt: skip
LANDMARKS: tuple[tuple[str, ...], ...] = (
    ("bed",), ("wardrobe",), ("dresser",), ("desk",), ("office chair",), ("bookshelf", "bookcase"), ("sofa",),
    ("armchair",), ("coffee table",), ("tv stand",), ("sideboard",), ("cupboard",), ("dining table",),
    ("kitchen counter",), ("sink",), ("stove",), ("refrigerator", "fridge"), ("toilet",), ("washbasin",),
    ("bathtub",), ("bathroom cabinet",), ("washing machine",), ("shoe cabinet",), ("console table",),
    ("storage rack",), ("workbench",), ("toy chest",), ("bench",), ("piano",), ("coat rack",), ("nightstand",),
)  # fmt: skip
# Further names that people use; not in the routes that training sees.
MORE_NAMES: dict[str, str] = {
    "couch": "sofa", "lounge": "living room", "sitting room": "living room", "hall": "corridor",
    "passage": "corridor", "study": "office", "closet": "wardrobe", "icebox": "refrigerator",
    "shelf of books": "bookshelf", "wash basin": "washbasin",
}  # fmt: skip

# Cues, looked for in the words before a noun, the first that is found decides.
LEAVES = ("leave", "exit", "out of", "from the")
STOPS = ("stop", "wait", "halt", "end", "rest")
PASSES = ("past", "pass", "by the", "beyond", "on your", "on the", "to your")
ENTERS = ("enter", "into", "inside")
CROSSES = ("through", "along", "cross", "across", "traverse")
DOORS = ("door", "doorway", "opening")
STRAIGHT = ("straight", "directly ahead")
