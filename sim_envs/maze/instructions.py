"""Instructions that name what was seen: kinds of errands, and the ways to say them."""

from __future__ import annotations

LANDMARKS = (
    "lamp", "chair", "plant", "clock", "sofa", "piano", "mirror", "desk", "stove", "bath", "shelf", "statue",
)  # fmt: skip

# {a} and {b} are landmarks. The last way of each kind is kept from training: words known, sentence new.
PHRASES = {
    "named": ("go to the {a}", "find the {a}", "walk back to where you saw the {a}", "find your way to the {a}"),
    "first": (
        "go to the place you saw first", "walk to the first thing you saw", "find what you saw first",
        "go back to the first thing you saw",
    ),
    "back": (
        "go to the {a} and come back", "find the {a} then return here", "walk to the {a} and return",
        "find the {a} and come back here",
    ),
    "then": (
        "go to the {a} then to the {b}", "find the {a} and then the {b}", "walk to the {a} then find the {b}",
        "find the {a} and then go to the {b}",
    ),
}  # fmt: skip
KINDS = tuple(PHRASES)
N_WORDS = 10  # longest instruction


def vocabulary() -> tuple[str, ...]:
    """All words that may be said; the landmarks come first."""
    said = {word for ways in PHRASES.values() for way in ways for word in way.split() if not word.startswith("{")}
    return LANDMARKS + tuple(sorted(said))


def phrase(kind: str, a: str, b: str, choice: float, *, is_held_out: bool) -> str:
    """One way to say the errand; `choice` in [0, 1) picks among those of training, or the one kept from it."""
    ways = PHRASES[kind]
    way = ways[-1] if is_held_out else ways[int(choice * (len(ways) - 1))]
    return way.format(a=a, b=b)
