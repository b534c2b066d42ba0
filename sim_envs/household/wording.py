"""Sentences of a household and their paraphrases, by rule: what is asked for, and what is told in passing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_PUT = ("Put", "Place", "Bring", "Move", "Carry")
_POLITE = ("{}.", "Please {}.", "Could you {}?", "I would like you to {}.", "Can you please {}?", "{}, please.")
_JOINTS = (". Then ", ". After that, ", ". Next, ", ", then ", ". Afterwards, ")
_BACK = ("back where you took it from", "back where it was", "to where it was", "back to its old place")


def pick(rng: np.random.Generator, choices: Sequence[str]) -> str:
    """One of them."""
    return str(choices[int(rng.integers(len(choices)))])


def listed(phrases: Sequence[str]) -> str:
    """`a, b and c`."""
    return phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} and {phrases[-1]}"


def spoken(name: str) -> str:
    """`the red mug` of `red_mug`."""
    return "the " + name.replace("_", " ")


def spot(category: str, room: str, *, is_container: bool, rng: np.random.Generator) -> str:
    """`on the coffee table in the living room`."""
    preposition = "into" if is_container else pick(rng, ("on", "onto", "to"))
    return f"{preposition} the {category} in the {room}"


def clause(things: Sequence[str], where: str, rng: np.random.Generator, *, may_front: bool = True) -> str:
    """`put the red mug on the sofa in the living room`, in lower case; the place may come first."""
    verb = pick(rng, _PUT).lower()
    if may_front and where.startswith(("on ", "into ")) and rng.random() < 0.2:
        return f"{where}, {verb} {listed(things)}"
    return f"{verb} {listed(things)} {where}"


def asked(sentence: str, rng: np.random.Generator) -> str:
    """A clause as a request."""
    return capital(pick(rng, _POLITE).format(sentence))


def in_sequence(sentences: Sequence[str], rng: np.random.Generator) -> str:
    """Clauses one after the other, in one or in several sentences."""
    text = sentences[0]
    for i, sentence in enumerate(sentences[1:]):
        is_last = i == len(sentences) - 2
        joint = ", and finally " if is_last and len(sentences) > 2 and rng.random() < 0.3 else pick(rng, _JOINTS)
        text += joint + sentence
    return capital(pick(rng, ("{}.", "First, {}.", "Please {}.", "Could you first {}?")).format(text))


def back(thing: str, rng: np.random.Generator) -> str:
    """A thing is to return to where it was."""
    return f"{pick(rng, ('put', 'bring', 'return'))} {thing} {pick(rng, _BACK)}"


def condition(thing: str, state: str, then: str, otherwise: str, rng: np.random.Generator) -> str:
    """`If the plate is dirty, ...; otherwise ...`."""
    form = pick(
        rng, ("If {} is {}, {}; otherwise {}.", "If {} is {}, {}. Otherwise, {}.", "In case {} is {}, {}, else {}.")
    )
    return form.format(thing, state, then, otherwise)


def capital(text: str) -> str:
    """The text with a capital at its beginning."""
    return text[:1].upper() + text[1:]


# What makes one of several things somebody's own: how it is told, how it is asked for. {} is the noun.
OWN: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("{thing} is my favourite.", "Of all of them I like {thing} best, it is my favourite."), ("my favourite {noun}",)),
    (("{thing} was a gift from my sister.", "My sister gave me {thing} as a gift."),
     ("the {noun} that my sister gave me", "my gift {noun} from my sister")),
    (("{thing} is a souvenir from my trip to Italy.", "I brought {thing} home from my trip to Italy."),
     ("my souvenir {noun} from Italy", "the {noun} from my trip to Italy")),
    (("{thing} belonged to my grandmother.", "I inherited {thing} from my grandmother."),
     ("my grandmother's {noun}", "the {noun} that belonged to my grandmother")),
    (("{thing} brings me luck, I take it to every exam.",), ("my lucky {noun}", "the {noun} that brings me luck")),
)  # fmt: skip

# Routines: their names, and how they are asked for.
ROUTINES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("morning routine", ("Set everything up for my morning routine.", "Could you prepare my morning routine?")),
    ("afternoon tea", ("Prepare everything for my afternoon tea.", "Can you set up my afternoon tea, as usual?")),
    ("movie night", ("Get everything ready for my movie night.", "Could you set up for movie night?")),
    ("reading hour", ("Arrange my things for the reading hour as I like it.", "Please prepare my reading hour.")),
    ("work session", ("Set up my work session.", "Could you arrange everything for my work session?")),
    ("evening guests", ("Make things ready for my evening guests.", "Can you prepare for evening guests as usual?")),
)
_REMARKS = (
    "That is how I like it for my {}.", "I usually keep it like this for my {}.", "I do so for my {}.",
    "This is what it takes for my {}.",
)  # fmt: skip


def own_telling(thing: str, remark: str, errand: str, rng: np.random.Generator) -> str:
    """An errand somebody once gave, with the remark that tells what a thing means to them."""
    return f"{asked(errand, rng)} {capital(remark.format(thing=thing))}"


def routine_telling(errands: Sequence[str], name: str, rng: np.random.Generator) -> str:
    """Errands somebody once gave, with the remark that they are a routine."""
    return f"{in_sequence(errands, rng)} {pick(rng, _REMARKS).format(name)}"
