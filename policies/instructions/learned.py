"""The agent that follows told routes by a trained policy: it chooses exits and things, the rest is walking."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float

from embmem.agent import Action, Body, Goal
from embmem.errors import import_extra
from embmem.memory import Memory
from embmem.policies.approach import Approach
from embmem.policies.instructions.agent import _AT_DOOR, _SAME, InstructionAgent
from embmem.policies.instructions.atlas import Atlas
from embmem.policies.instructions.known import KnownHouse
from embmem.policies.instructions.tokens import Choice, Moment, Reader, fill, make_row
from embmem.policies.instructions.words import MORE_NAMES
from embmem.policies.learned.tokens import WayTokens
from embmem.policies.recall import remembered
from embmem.policies.scene import Scene
from embmem.records import Hit

_BEYOND = 0.6  # [m] behind a door: there the next room is
_OPEN = 0.5  # [m] least length of a border to the unknown that is an exit
_PATIENCE = 40  # steps to such a border
_MOST_CHOICES = 30  # of a route; what then follows is exploration by rule


class LearnedInstructionAgent(InstructionAgent):
    """Follows a told route by a trained policy over tokens of its own scene graph (`tokens.make_row`).

    The policy is asked where the route begins, behind each door, at each border of the known that was reached and in
    front of each thing; it chooses an exit of the room, a thing in it, or to stop. The walk there, and exploration
    where no room is known yet, are those of the rule agent.

    Args:
        make_memory: builds an empty memory with a `VoxelMap` and an object layer.
        remembers: whether the memory outlives a route.
        checkpoint: file of the policy, or the name of a shipped one.
        body: the moving body.
        more: further names of rooms and things, see `tokens.Reader`; by default all that the rules know.
    """

    def __init__(
        self,
        make_memory: Callable[[], Memory],
        remembers: bool,
        *,
        checkpoint: str = "houses-attention-0",
        body: Body | None = None,
        more: Mapping[str, str] = MORE_NAMES,
    ) -> None:
        import_extra("torch", "learn")
        from embmem.policies.learned.checkpoints import SHIPPED, load_policy

        path = Path(checkpoint) if checkpoint.endswith(".safetensors") else SHIPPED / f"{checkpoint}.safetensors"
        self._network, _ = load_policy(path)
        if self._network.shape.memory == "recurrent":
            raise ValueError(f"{path} is of a recurrent policy, which would have to see the tour room by room")
        self._reader = Reader(more)
        super().__init__(make_memory, remembers, body=body)

    def _forget(self) -> None:
        self._first: tuple[float, np.ndarray] | None = None  # stamp [s] and place [m] where the memory begins
        super()._forget()

    def _start(self, goal: Goal) -> None:
        super()._start(goal)
        self._words = self._network.spec.encode([self._reader.read(goal.instruction or "")])
        self._aim: Choice | None = None
        self._point = np.zeros(2)  # [m] of what is aimed at
        self._thing: np.ndarray | None = None  # [m] that was reached
        self._anchor: np.ndarray | None = None  # [m] in the room where the agent takes itself to be
        self._heading = np.array([1.0, 0.0])
        self._passed: list[np.ndarray] = []  # [m] doors in their order
        self._been: list[np.ndarray] = []  # [m] in each room that was entered
        self._closed: list[np.ndarray] = []  # [m] borders that were reached or given up
        self._n_choices, self._n_tries = 0, 0

    def _to_hypothesis(self, scene: Scene) -> Action | None:
        """On to what was chosen; None where no room is known, or the policy has had its time."""
        if self._first is None:
            self._first = (scene.stamp, scene.position.copy())
        if self._anchor is None:
            self._anchor = scene.position.copy()
            self._heading = np.array([np.cos(scene.yaw), np.sin(scene.yaw)])
        action = self._look_around(scene)
        while action is None:
            if self._aim is None and not self._decide(scene):
                return None
            action = self._carry_out(scene)
        return action

    def _decide(self, scene: Scene) -> bool:
        """Ask the policy; whether there was anything to choose."""
        if self._n_choices >= _MOST_CHOICES:
            return False
        self._graph.derive(self.memory.layers)
        atlas = Atlas.of(KnownHouse.of(self._graph))
        room = self._room(atlas, scene)
        if room is None:
            return False
        moment = self._moment(atlas, room, scene)
        row = make_row(atlas, moment)
        tokens = WayTokens(words=self._words, **fill([row], self._network.spec))
        action = self._ask(tokens)
        self._n_choices, self._n_tries = self._n_choices + 1, 0
        self._aim = row.choices[action]
        kind, number = self._aim
        if kind == "door":
            self._point = atlas.doors[number]
            ahead = atlas.through(number, atlas.other_side(number, room), scene.position)
            self._next = (self._point + _BEYOND * ahead, ahead)
            self.planner.set_goal(self._point[None], _AT_DOOR)
        elif kind == "opening":
            self._point = moment.openings[number]
            self.planner.set_goal(self._point[None], 0.3)
        elif kind == "thing":
            self._point, self._category = atlas.places[number], atlas.names[number]
            self._approach = Approach(self._body)
        return True

    def _ask(self, tokens: WayTokens) -> int:
        from embmem.policies.learned.networks import as_inputs

        logits, _, _ = self._network.act(as_inputs(tokens), self._network.begin(1))
        return int(logits[0].argmax())

    def _room(self, atlas: Atlas, scene: Scene) -> int | None:
        for point in (self._anchor, scene.position):
            room = None if point is None else atlas.house.room_at(point)
            if room is not None:
                return room
        return None

    def _moment(self, atlas: Atlas, room: int, scene: Scene) -> Moment:
        """What happened so far, in the numbers of the house as it is known now."""
        doors = [_nearest(atlas.doors, point) for point in self._passed]
        rooms = [atlas.house.room_at(point) for point in self._been]
        things = [i for i, place in enumerate(atlas.places) if any(_is_at(place, gone) for gone in self._gone)]
        start, origin = self._first or (scene.stamp, scene.position)
        age = {
            each: max((scene.stamp - thing.stamp for thing in atlas.house.landmarks if thing.room == each), default=0.0)
            for each in atlas.rooms
        }
        span = max(scene.stamp - start, 1e-6)
        borders = [
            target.centre for target, size in self.explorer._frontiers(scene)
            if size >= _OPEN and atlas.house.room_at(target.centre) == room
            and not any(_is_at(target.centre, closed) for closed in self._closed)
        ]  # fmt: skip
        return Moment(
            room, scene.position, self._heading, doors[-1] if doors else None,
            None if self._thing is None else _nearest(atlas.places, self._thing),
            n_doors=len(self._passed), used={d: doors.count(d) for d in doors if d is not None},
            entered={r: rooms.count(r) for r in rooms if r is not None}, n_choices=self._n_choices, origin=origin,
            ages={each: min(value / span, 1.0) for each, value in age.items()},
            openings=np.array(borders).reshape(-1, 2), gone=frozenset(things),
        )  # fmt: skip

    def _carry_out(self, scene: Scene) -> Action | None:
        """Walk; None, and no aim any more, where something was reached or turned out hopeless."""
        kind = self._aim[0] if self._aim is not None else "stop"
        self._n_tries += 1
        if kind == "stop":
            return Action.STOP
        if kind == "thing":
            return self._to_thing(scene)
        action = self.planner.next_action(scene.position, scene.yaw)
        if action is not None and (kind == "door" or self._n_tries <= _PATIENCE):
            return action
        if kind == "door":
            self._passed.append(self._point)
            self._anchor, self._heading = self._next
            self._been.append(self._anchor)
        else:
            self._closed.append(self._point)
            self._anchor = scene.position.copy()
        self._aim, self._thing = None, None
        return None

    def _to_thing(self, scene: Scene) -> Action | None:
        hit = self._hit()
        action = None if hit is None else self._approach.act(hit, scene, self.planner)
        if action is not None and action is not Action.STOP:
            return action
        self._aim = None
        self._thing = self._point if action is Action.STOP else None
        if action is None:
            self._gone.append(self._point)
        return None

    def _hit(self) -> Hit | None:
        """What the object memory now says of the thing that was chosen."""
        hits = [(h, h.position) for h in remembered(self.memory, self._category) if h.position is not None]
        gaps = [float(np.hypot(*(position[:2] - self._point))) for _, position in hits]
        return hits[int(np.argmin(gaps))][0] if gaps and min(gaps) <= _SAME else None


def _is_at(a: Float[np.ndarray, "2"], b: Float[np.ndarray, "2"]) -> bool:
    return bool(np.hypot(*(a - b)) <= _BEYOND)


def _nearest(points: Float[np.ndarray, "n 2"], to: Float[np.ndarray, "2"]) -> int | None:
    """The number of the point at a place; None if there is none."""
    gaps = np.hypot(*(points - to).T) if len(points) else np.array([np.inf])
    return int(gaps.argmin()) if gaps.min() <= _BEYOND else None
