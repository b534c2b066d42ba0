"""A toy of crafting: what to make is asked in words, how it is made has to be found out and depends on the biome.

Every item has, in every biome, one recipe of a material, a tool and a station, four of each: a guess is right once in
64. A failed attempt says what was wrong about it. During practice each item is tried a number of times per biome;
then everything is asked once more, in other words, and one attempt counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from embmem.experience import Experience, ExperienceStore, KeyWeights
from embmem.store import RecordStore

MATERIALS = ("oak", "granite", "iron", "wool")
TOOLS = ("saw", "chisel", "hammer", "needle")
STATIONS = ("workbench", "furnace", "loom", "anvil")
BIOMES = ("in the desert, sand and cactus all around", "in the swamp, water and vines all around")
ITEMS = (
    "pickaxe", "axe", "shovel", "hoe", "sword", "helmet", "chestplate", "leggings", "boots", "shield", "bow", "arrow",
    "bucket", "lantern", "ladder", "boat", "bed", "carpet", "banner", "chest",
)  # fmt: skip
PRACTISED = "craft {}"
ASKED = "please make me one {}"
PARTS = (MATERIALS, TOOLS, STATIONS)


@dataclass(frozen=True)
class Workshop:
    """The truth: a recipe an item and biome."""

    recipes: dict[tuple[str, str], tuple[str, str, str]]

    def attempt(self, item: str, biome: str, plan: tuple[str, ...]) -> str:
        """The first thing that is wrong about a plan; empty if nothing is."""
        for used, needed, what in zip(plan, self.recipes[item, biome], ("material", "tool", "station"), strict=True):
            if used != needed:
                return f"{used} is the wrong {what}"
        return ""


def make_workshop(rng: np.random.Generator) -> Workshop:
    """Recipes drawn at random."""
    recipes = {
        (item, biome): tuple(str(rng.choice(part)) for part in PARTS) for item in ITEMS for biome in BIOMES
    }  # fmt: skip
    return Workshop({key: (r[0], r[1], r[2]) for key, r in recipes.items()})


def propose(
    store: ExperienceStore | None, task: str, state: str, rng: np.random.Generator, *, failures: bool, k: int
) -> tuple[str, ...]:
    """A plan: what worked for the most similar task, or a guess that repeats nothing known to be wrong."""
    found = [] if store is None else store.similar(task, state=state, ok=None if failures else True, k=k)
    best = max((r.score for r in found), default=0.0)
    same = [r.experience for r in found if r.score > best - 0.01]
    for experience in same:
        if experience.ok:
            return experience.plan
    wrong = {(experience.reason.split()[-1], experience.reason.split()[0]) for experience in same}
    names = ("material", "tool", "station")
    left = [[p for p in part if (name, p) not in wrong] for part, name in zip(PARTS, names, strict=True)]
    return tuple(str(rng.choice(options)) for options in left)


def success(seed: int, *, kept: str, n_practice: int = 35, keys: str = "task and state") -> float:
    """Share of items and biomes that are made at the first attempt after practice.

    Args:
        seed: of recipes and guesses.
        kept: "all", "positives" or "none" of the experiences.
        n_practice: attempts at each item in each biome.
        keys: "task and state" or "task".
    """
    rng = np.random.default_rng(seed)
    workshop = make_workshop(rng)
    weights = KeyWeights(task=1.0, state=1.0)
    stores = {(i, b): ExperienceStore(RecordStore(), weights=weights) for i in ITEMS for b in BIOMES}
    everything = ExperienceStore(RecordStore(), weights=weights)
    for (item, biome), own in stores.items():
        for n in range(n_practice):
            store = None if kept == "none" else own
            plan = propose(store, PRACTISED.format(item), biome, rng, failures=kept == "all", k=n_practice)
            reason = workshop.attempt(item, biome, plan)
            tried = Experience(PRACTISED.format(item), plan, not reason, biome, reason)
            if reason == "" or kept == "all":
                own.add(tried, stamp=float(n))
                everything.add(tried, stamp=float(n))
            if reason == "":
                break
    n_made = 0
    for item in ITEMS:
        for biome in BIOMES:
            state = biome if keys == "task and state" else ""
            store = None if kept == "none" else everything
            plan = propose(store, ASKED.format(item), state, rng, failures=kept == "all", k=4 * n_practice)
            n_made += not workshop.attempt(item, biome, plan)
    return n_made / len(stores)
