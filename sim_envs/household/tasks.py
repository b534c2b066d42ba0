"""What is asked of the robot: instructions with the goals that they mean, drawn for a house as it stands.

Goals come from the world's own symbols and never from the words. Levels follow KARMA (Wang et al., 2024): one
pick-and-place; several in sequence; several with conditions and with references that only the day, the home or a
memory can resolve. `personal` follows MEMENTO (Kwon et al., 2025).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from embmem.sim_envs.household import wording
from embmem.sim_envs.household.names import is_fixed
from embmem.sim_envs.household.places import kind_of
from embmem.sim_envs.household.world import ROOM_FOR, Household

LEVELS = ("single", "composite", "complex", "personal")
LARGEST = 4  # things of "everything on the table"


@dataclass(frozen=True)
class Goal:
    """A thing is on or in any of these receptacles."""

    thing: str
    receptacles: frozenset[str]

    def holds(self, on: Mapping[str, str]) -> bool:
        """Whether it is so."""
        return on.get(self.thing) in self.receptacles


@dataclass(frozen=True)
class Assignment:
    """An instruction and what it means."""

    level: str
    form: str  # which of the forms of the level, e.g. "other"
    text: str
    goals: tuple[Goal, ...]
    told: tuple[str, ...] = ()  # keys of the tellings that it takes
    origins: Mapping[str, str] = field(default_factory=dict)  # where things are to go back to


@dataclass(frozen=True)
class Personal:
    """What was told: texts by key, with the forms in which each is asked for and what it means."""

    key: str
    telling: str
    thing: str | None  # of "my favourite mug" ...
    asked: tuple[str, ...]
    goals: tuple[Goal, ...] = ()  # ... or of a routine


class Drawer:
    """Draws assignments for a world as it stands, without changing it."""

    def __init__(self, world: Household, rng: np.random.Generator) -> None:
        self.world, self.rng = world, rng

    def movable(self) -> list[str]:
        """Things that can be carried and are not in a hand, sorted."""
        w = self.world
        return sorted(t for t, where in w.on.items() if where in w.places.receptacles and not is_fixed(w.category[t]))

    def things(self, n: int) -> list[str]:
        """`n` different ones."""
        return [str(t) for t in self.rng.permutation(self.movable())[:n]]

    def spot(self, *, avoid: tuple[str, ...] = ()) -> tuple[str, frozenset[str]]:
        """(words, receptacles) of a place with room that has none of the things yet."""
        w = self.world
        groups: dict[tuple[str, str], list[str]] = {}
        for name, room in w.places.receptacles.items():
            groups.setdefault((w.places.categories[name], kind_of(room).replace("_", " ")), []).append(name)
        taken = {w.on[t] for t in avoid}
        load = {name: sum(where == name for where in w.on.values()) for name in w.places.receptacles}
        usable = [
            key for key, names in groups.items()
            if not taken & set(names) and max(load[n] for n in names) + len(avoid) + 2 <= ROOM_FOR
        ]  # fmt: skip
        category, room = usable[int(self.rng.integers(len(usable)))]
        names = groups[category, room]
        words = wording.spot(category, room, is_container=names[0] in w.is_open, rng=self.rng)
        return words, frozenset(names)

    def errand(self, things: list[str], *, may_front: bool = True) -> tuple[str, tuple[Goal, ...]]:
        """A clause that sends things to one spot."""
        words, names = self.spot(avoid=tuple(things))
        text = wording.clause([wording.spoken(t) for t in things], words, self.rng, may_front=may_front)
        return text, tuple(Goal(t, names) for t in things)

    def single(self) -> Assignment:
        """One thing to one place."""
        text, goals = self.errand(self.things(1))
        return Assignment("single", "single", wording.asked(text, self.rng), goals)

    def composite(self) -> Assignment:
        """Two or three errands, each of one or two things."""
        n = int(self.rng.integers(2, 4))
        things = self.things(n + 1)
        groups = [things[:2], *([t] for t in things[2:])]
        drawn = [self.errand(groups[i]) for i in self.rng.permutation(n)]
        text = wording.in_sequence([words for words, _ in drawn], self.rng)
        return Assignment("composite", "sequence", text, tuple(g for _, goals in drawn for g in goals))

    def complex(self, last: Assignment | None, before: Mapping[str, str]) -> Assignment:
        """One of the forms below; those that the house or the day does not allow are passed over.

        Args:
            last: what was asked before.
            before: where things were before that.
        """
        forms: list[Callable[[], Assignment | None]] = [
            self.other, self.condition, self.everything, self.beside, lambda: self.back(last, before),
        ]  # fmt: skip
        for i in self.rng.permutation(len(forms)):
            assignment = forms[int(i)]()
            if assignment is not None:
                return assignment
        return self.composite()

    def other(self) -> Assignment | None:
        """One of exactly two things of a kind here, the other one there."""
        pairs: dict[str, list[str]] = {}
        for thing in self.movable():
            pairs.setdefault(self.world.category[thing], []).append(thing)
        all_of = list(self.world.category.values())
        twos = sorted(c for c, things in pairs.items() if len(things) == 2 and all_of.count(c) == 2)
        if not twos:
            return None
        category = twos[int(self.rng.integers(len(twos)))]
        one, two = (str(t) for t in self.rng.permutation(pairs[category]))
        first, goals = self.errand([one], may_front=False)
        words, names = self.spot(avoid=(one, two))
        said = wording.pick(self.rng, ("the other one", f"the other {category}"))
        text = wording.asked(f"{first} and {said} {words}", self.rng)
        return Assignment("complex", "other", text, (*goals, Goal(two, names)))

    def condition(self) -> Assignment | None:
        """A dirty thing into the sink, a clean one elsewhere."""
        w = self.world
        sinks = [name for name, c in w.places.categories.items() if c == "sink"]
        from_sink = [t for t in self.movable() if w.state.get(t) in ("dirty", "clean") and w.on[t] not in sinks]
        if not sinks or not from_sink:
            return None
        thing = from_sink[int(self.rng.integers(len(from_sink)))]
        words, names = self.spot(avoid=(thing,))
        sink = wording.spot("sink", "kitchen", is_container=True, rng=self.rng)
        text = wording.condition(
            wording.spoken(thing), "dirty", wording.clause(["it"], sink, self.rng, may_front=False),
            wording.clause(["it"], words, self.rng, may_front=False), self.rng,
        )  # fmt: skip
        goal = Goal(thing, frozenset(sinks) if w.state[thing] == "dirty" else names)
        return Assignment("complex", "condition", text, (goal,))

    def everything(self) -> Assignment | None:
        """All that is on one piece of furniture, of which there is one in that kind of room."""
        w = self.world
        keys = {n: (w.places.categories[n], kind_of(room)) for n, room in w.places.receptacles.items()}
        alone = [n for n in keys if list(keys.values()).count(keys[n]) == 1 and n not in w.is_open]
        on = {n: [t for t in self.movable() if w.on[t] == n] for n in alone}
        usable = sorted(n for n, things in on.items() if 2 <= len(things) <= LARGEST)
        if not usable:
            return None
        source = usable[int(self.rng.integers(len(usable)))]
        words, names = self.spot(avoid=tuple(on[source]))
        category, room = keys[source]
        said = f"{wording.pick(self.rng, ('everything', 'all things'))} {wording.pick(self.rng, ('on', 'from'))} "
        said += f"the {category} in the {room.replace('_', ' ')}"
        text = wording.asked(wording.clause([said], words, self.rng, may_front=False), self.rng)
        return Assignment("complex", "everything", text, tuple(Goal(t, names) for t in on[source]))

    def beside(self) -> Assignment | None:
        """A thing to where another thing is, wherever that may be."""
        one, two = self.things(2)
        if self.world.on[one] == self.world.on[two]:
            return None
        load = sum(where == self.world.on[two] for where in self.world.on.values())
        if load >= ROOM_FOR:
            return None
        verb = wording.pick(self.rng, ("put", "place", "bring"))
        text = wording.asked(f"{verb} {wording.spoken(one)} where {wording.spoken(two)} is", self.rng)
        return Assignment("complex", "beside", text, (Goal(one, frozenset({self.world.on[two]})),))

    def back(self, last: Assignment | None, before: Mapping[str, str]) -> Assignment | None:
        """What was moved before goes back."""
        moved = [g.thing for g in last.goals if before.get(g.thing) != self.world.on[g.thing]] if last else []
        if not moved:
            return None
        thing = moved[int(self.rng.integers(len(moved)))]
        text = wording.asked(wording.back(wording.spoken(thing), self.rng), self.rng)
        goal = Goal(thing, frozenset({before[thing]}))
        return Assignment("complex", "back", text, (goal,), origins={thing: before[thing]})

    def personal(self, tellings: tuple[Personal, ...]) -> Assignment:
        """Something that was told: one thing of somebody's own, a routine that is due, or two such requests."""
        n = 2 if self.rng.random() < 0.3 else 1
        due = [each for each in tellings if not (each.goals and all(goal.holds(self.world.on) for goal in each.goals))]
        chosen = [due[int(i)] for i in self.rng.permutation(len(due))[:n]]
        texts: list[str] = []
        goals: list[Goal] = []
        for each in chosen:
            said = wording.pick(self.rng, each.asked)
            if each.thing is None:
                texts.append(said)
                goals += each.goals
                continue
            words, names = self.spot(avoid=(each.thing,))
            texts.append(wording.asked(wording.clause([said], words, self.rng, may_front=False), self.rng))
            goals.append(Goal(each.thing, names))
        form = "joint" if n > 1 else "routine" if chosen[0].thing is None else "own"
        text = wording.pick(self.rng, (" ", " Additionally, ", " After that, ")).join(texts)
        return Assignment("personal", form, text, tuple(goals), told=tuple(each.key for each in chosen))


def draw_tellings(world: Household, rng: np.random.Generator, n: int) -> tuple[Personal, ...]:
    """About `n` tellings: half about things of which there are several, half routines; no thing is in two of them."""
    drawer = Drawer(world, rng)
    by_category: dict[str, list[str]] = {}
    for thing in drawer.movable():
        by_category.setdefault(world.category[thing], []).append(thing)
    several = [things for category, things in sorted(by_category.items()) if len(things) > 1]
    tellings: list[Personal] = []
    used: set[str] = set()
    owns = [wording.OWN[int(i)] for i in rng.permutation(len(wording.OWN))]
    for (remarks, asked), i in zip(owns[: (n + 1) // 2], rng.permutation(len(several)), strict=False):
        thing = several[int(i)][int(rng.integers(len(several[int(i)])))]
        used.add(thing)
        errand, _ = drawer.errand([thing], may_front=False)
        text = wording.own_telling(wording.spoken(thing), wording.pick(rng, remarks), errand, rng)
        noun = world.category[thing]
        key = f"telling:{len(tellings)}"
        tellings.append(Personal(key, text, thing, tuple(form.format(noun=noun) for form in asked)))
    for i in rng.permutation(len(wording.ROUTINES))[: n // 2]:
        name, asked = wording.ROUTINES[int(i)]
        free = [t for t in drawer.things(len(world.on)) if t not in used][:3]
        if len(free) < 3:
            break
        used.update(free)
        errands = [drawer.errand(group, may_front=False) for group in (free[:2], free[2:])]
        text = wording.routine_telling([words for words, _ in errands], name, rng)
        goals = tuple(g for _, each in errands for g in each)
        tellings.append(Personal(f"telling:{len(tellings)}", text, None, asked, goals))
    return tuple(tellings)
