"""Routes in words: several ways to say each part; some are kept from training, words and all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from embmem.policies.instructions.steps import Step

Split = Literal["train", "held_out"]
SPLITS: tuple[Split, ...] = ("train", "held_out")

# {room} and {landmark} are names, {turn} and {side} left or right.
WAYS: dict[str, dict[Split, tuple[str, ...]]] = {
    "leave": {
        "train": ("leave the {room}", "exit the {room}", "walk out of the {room}", "go out of the {room}"),
        "held_out": ("step out of the {room}", "get out of the {room}", "depart from the {room}"),
    },
    "leave near": {
        "train": (
            "leave the {room} by the door next to the {landmark}",
            "exit the {room} through the doorway near the {landmark}",
            "go out of the {room} by the door at the {landmark}",
        ),
        "held_out": (
            "use the door beside the {landmark} to get out of the {room}",
            "step out of the {room} via the opening close to the {landmark}",
        ),
    },
    "door": {
        "train": (
            "take the door next to the {landmark}", "go through the door near the {landmark}",
            "walk through the doorway at the {landmark}",
        ),
        "held_out": ("use the door beside the {landmark}", "pick the opening close to the {landmark}"),
    },
    "turn": {
        "train": ("turn {turn}", "go {turn}", "take a {turn}"),
        "held_out": ("make a {turn}", "head {turn}", "bear {turn}"),
    },
    "straight": {
        "train": ("go straight ahead", "walk straight on"),
        "held_out": ("keep straight", "carry on directly ahead"),
    },
    "cross": {
        "train": ("go through the {room}", "walk along the {room}", "cross the {room}"),
        "held_out": ("traverse the {room}", "proceed across the {room}", "make your way through the {room}"),
    },
    "pass": {
        "train": ("walk past the {landmark}", "pass the {landmark}", "go by the {landmark}"),
        "held_out": ("continue beyond the {landmark}", "head past the {landmark}"),
    },
    "pass side": {
        "train": (
            "pass the {landmark} on your {side}", "walk past the {landmark} on the {side}",
            "go by the {landmark} on your {side}",
        ),
        "held_out": ("keep the {landmark} to your {side}", "with the {landmark} on your {side} continue"),
    },
    "enter": {
        "train": ("enter the {room}", "go into the {room}", "walk into the {room}"),
        "held_out": ("step inside the {room}", "head into the {room}", "come into the {room}"),
    },
    "stop": {
        "train": ("stop in front of the {landmark}", "stop at the {landmark}", "wait by the {landmark}"),
        "held_out": (
            "halt facing the {landmark}", "come to rest before the {landmark}", "end up next to the {landmark}",
        ),
    },
}  # fmt: skip
NAMES: dict[str, dict[Split, tuple[str, ...]]] = {
    "corridor": {"train": ("corridor", "hallway"), "held_out": ("hall", "passage")},
    "living room": {"train": ("living room",), "held_out": ("lounge", "sitting room")},
    "office": {"train": ("office",), "held_out": ("study",)},
    "refrigerator": {"train": ("refrigerator", "fridge"), "held_out": ("icebox", "fridge")},
    "sofa": {"train": ("sofa",), "held_out": ("couch",)},
    "bookshelf": {"train": ("bookshelf", "bookcase"), "held_out": ("shelf of books", "bookshelf")},
    "wardrobe": {"train": ("wardrobe",), "held_out": ("closet",)},
    "washbasin": {"train": ("washbasin",), "held_out": ("wash basin", "washbasin")},
}
JOINTS: dict[Split, tuple[str, ...]] = {
    "train": (". ", ", then ", " and "),
    "held_out": ("; ", ", next ", ". after that "),
}


def say(steps: Sequence[Step], rng: np.random.Generator, split: Split = "train") -> str:
    """The steps in one sentence or several, every part worded at random.

    Raises:
        ValueError: if there are no steps.
    """
    if not steps:
        raise ValueError("nothing to say: a route needs at least a stop")
    words = ""
    for step in steps:
        words += (_any(JOINTS[split], rng) if words else "") + _part(step, rng, split)
    sentences = [s[:1].upper() + s[1:] for s in words.split(". ")]
    return ". ".join(sentences) + "."


def _part(step: Step, rng: np.random.Generator, split: Split) -> str:
    key: str = step.kind
    if step.kind == "leave" and step.landmark is not None:
        key = "leave near"
    elif step.kind == "turn" and step.turn == "straight":
        key = "straight"
    elif step.kind == "pass" and step.side is not None:
        key = "pass side"
    way = _any(WAYS[key][split], rng)
    names = {"room": step.room, "landmark": step.landmark}
    said = {what: _any(NAMES.get(name, {}).get(split, (name,)), rng) for what, name in names.items() if name}
    return way.format(**said, turn=step.turn, side=step.side)


def _any(choices: tuple[str, ...], rng: np.random.Generator) -> str:
    return choices[int(rng.integers(len(choices)))]
