"""What the robot itself has done to things: where it put them, and what they looked like before it changed them.

A detector may not know a sliced apple for an apple, and an object that was brought to its goal must not be fetched
from there again (CAPEAM, Kim et al., ICCV 2023: object relocation and retrospective recognition).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from embmem.errors import InputError
from embmem.maps.states import checked_array
from embmem.protocols import Deformation, LayerState

MAX_PIXELS = 1 << 20  # of a mask
_KEYS = {"name", "state", "mask"}


@dataclass(frozen=True, eq=False)
class ChangedThing:
    """One thing that the robot moved or changed."""

    name: str  # what it is called by those who look for it
    state: str  # "placed", or what became of it: "sliced", "heated"
    position: Float[np.ndarray, "3"]  # [m] where it is now
    stamp: float  # [s]
    mask: Bool[np.ndarray, "h w"] | None = None  # its pixels in the last image before the change


class ChangedThings:
    """A list of at most `capacity` things, oldest first; of one name and place only the latest news are kept."""

    def __init__(self, capacity: int = 256, same: float = 0.3) -> None:
        """An empty list; within `same` metres a thing of one name is the same thing."""
        if capacity < 1 or not same > 0:
            raise ValueError(f"need capacity >= 1 and same > 0, got {capacity}, {same}")
        self.capacity, self.same = capacity, same
        self._things: list[ChangedThing] = []

    def __len__(self) -> int:
        """Number of things."""
        return len(self._things)

    def __iter__(self) -> Iterator[ChangedThing]:
        """Oldest first."""
        return iter(list(self._things))

    def placed(self, name: str, position: Float[np.ndarray, "3"], stamp: float) -> None:
        """Remember that the robot put a thing down at a position [m]."""
        self._add(ChangedThing(name, "placed", _checked(position), float(stamp)))

    def changed(
        self,
        name: str,
        state: str,
        position: Float[np.ndarray, "3"],
        stamp: float,
        mask: Bool[np.ndarray, "h w"] | None = None,
    ) -> None:
        """Remember what became of a thing, where it is [m], and which pixels it had before.

        Raises:
            ValueError: if the mask has more than a million pixels, or the place or the stamp is not finite; nothing is
                kept then.
        """
        if mask is not None and not 0 < mask.size <= MAX_PIXELS:
            raise ValueError(f"a mask must have 1 to {MAX_PIXELS} pixels, got {mask.shape}")
        kept = None if mask is None else np.array(mask, dtype=np.bool_)
        self._add(ChangedThing(name, state, _checked(position), float(stamp), kept))

    def last(self, name: str, state: str | None = None) -> ChangedThing | None:
        """The latest news of a thing of that name, in that state if one is given; case does not matter."""
        wanted = name.strip().casefold()
        matches = (t for t in reversed(self._things) if t.name.casefold() == wanted and state in (None, t.state))
        return next(matches, None)

    def is_settled(self, name: str, position: Float[np.ndarray, "3"]) -> bool:
        """Whether a thing of that name seen at a position [m] is one that the robot has put there."""
        wanted = name.strip().casefold()
        return any(
            t.state == "placed" and t.name.casefold() == wanted and self._is_near(t, position) for t in self._things
        )

    def deform(self, deformation: Deformation) -> None:
        """Move every place with the keyframe nearest in time."""
        if len(deformation.stamps) == 0 or not self._things:
            return
        T = deformation.at(np.array([t.stamp for t in self._things]))
        self._things = [
            replace(t, position=matrix[:3, :3] @ t.position + matrix[:3, 3])
            for t, matrix in zip(self._things, T, strict=True)
        ]

    def n_bytes(self) -> int:
        """Bytes of RAM, about."""
        return sum(100 + len(t.name) + (0 if t.mask is None else t.mask.nbytes) for t in self._things)

    def params(self) -> list[dict[str, Any]]:
        """Names, states and shapes of masks, as JSON."""
        return [
            {"name": t.name, "state": t.state, "mask": None if t.mask is None else list(t.mask.shape)}
            for t in self._things
        ]

    def arrays(self) -> dict[str, np.ndarray]:
        """Places, stamps and the bits of the masks one after the other."""
        bits = [np.packbits(t.mask) for t in self._things if t.mask is not None]
        return {
            "changed_positions": np.array([t.position for t in self._things]).reshape(-1, 3),
            "changed_stamps": np.array([t.stamp for t in self._things], dtype=np.float64),
            "changed_masks": np.concatenate([np.zeros(0, dtype=np.uint8), *bits]),
        }

    @classmethod
    def from_state(cls, params: object, state: LayerState) -> ChangedThings:
        """The list that was saved.

        Raises:
            InputError: if anything in it is malformed.
        """
        positions = checked_array(state, "changed_positions", np.float64, (None, 3))
        stamps = checked_array(state, "changed_stamps", np.float64, (len(positions),))
        bits = checked_array(state, "changed_masks", np.uint8, (None,))
        things = cls()
        if not isinstance(params, list) or len(params) != len(positions) or len(params) > things.capacity:
            raise InputError(f"layer {state.kind!r} lacks the names of its {len(positions)} changed things")
        used = 0
        for entry, position, stamp in zip(params, positions, stamps.tolist(), strict=True):
            name, kind, shape = _checked_entry(entry, state.kind)
            mask = None
            if shape is not None:
                n_bytes = -(-shape[0] * shape[1] // 8)
                if used + n_bytes > len(bits):
                    raise InputError(f"layer {state.kind!r} lacks the mask of its changed thing {name!r}")
                flat = np.unpackbits(bits[used : used + n_bytes], count=shape[0] * shape[1])
                mask, used = flat.astype(np.bool_).reshape(shape), used + n_bytes
            things._things.append(ChangedThing(name, kind, position.copy(), stamp, mask))
        if used != len(bits):
            raise InputError(f"layer {state.kind!r} holds masks of no changed thing")
        return things

    def _add(self, thing: ChangedThing) -> None:
        if not thing.name or not thing.state or not np.isfinite(thing.stamp):
            what = (thing.name, thing.state, thing.stamp)
            raise ValueError(f"a changed thing needs a name, a state and a finite stamp, got {what}")
        name = thing.name.casefold()
        self._things = [
            t
            for t in self._things
            if not (t.name.casefold() == name and t.state == thing.state and self._is_near(t, thing.position))
        ]
        self._things = [*self._things, thing][-self.capacity :]

    def _is_near(self, thing: ChangedThing, position: np.ndarray) -> bool:
        return bool(np.linalg.norm(thing.position - position) <= self.same)


def _checked(position: np.ndarray) -> Float[np.ndarray, "3"]:
    place = np.array(position, dtype=np.float64)
    if place.shape != (3,) or not np.isfinite(place).all():
        raise ValueError(f"a place must be three finite numbers, got {position}")
    return place


def _checked_entry(entry: object, kind: str) -> tuple[str, str, tuple[int, int] | None]:
    """(name, state, shape of the mask) of one saved thing."""
    if not isinstance(entry, dict) or set(entry) != _KEYS:
        raise InputError(f"a changed thing of layer {kind!r} needs {sorted(_KEYS)}")
    name, state, shape = entry["name"], entry["state"], entry["mask"]
    if not (isinstance(name, str) and name and isinstance(state, str) and state):
        raise InputError(f"a changed thing of layer {kind!r} has no name or no state")
    if shape is None:
        return name, state, None
    is_shape = isinstance(shape, list) and len(shape) == 2 and all(type(n) is int and n > 0 for n in shape)
    if not is_shape or shape[0] * shape[1] > MAX_PIXELS:
        raise InputError(f"the mask of changed thing {name!r} of layer {kind!r} has shape {shape!r}")
    return name, state, (shape[0], shape[1])
