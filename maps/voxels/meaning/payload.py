"""What a voxel map keeps of its surfaces beside occupancy: colour, labels, times, frames and prototypes."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from embmem.errors import InputError
from embmem.maps.states import checked_array
from embmem.maps.voxels.blocks import VOLUME, BlockPool
from embmem.maps.voxels.meaning.pixels import count_votes, group_pixels, keep_latest, mix_colours, replace_known, vote
from embmem.maps.voxels.meaning.prototypes import PrototypeTable
from embmem.observation import Observation
from embmem.protocols import LayerState

CHANNELS = ("colour", "labels", "seen", "keyframe", "prototype")
MAX_NAMES = 65535
_DENSE = 1 << 16  # segment numbers below this index an array
_SETTINGS: dict[str, tuple[type, ...]] = {
    "channels": (list,),
    "slots": (int,),
    "max_weight": (int,),
    "names": (list,),
    "prototypes": (dict, type(None)),
}


class Payload:
    """Channels beside the occupancy of a `VoxelMap`; `VoxelMap.read` reads them.

    A frame writes to each voxel in which it measured a surface, once, however many pixels end there:

    - `colour`: running mean of the frames' mean colours, kept in 1/256 of a level. From `max_weight` frames on, a new
      one counts 1 / (max_weight + 1), so that the mean follows the light.
    - `labels`: one vote for the label of most pixels, in a histogram of `slots` slots. A vote for a label without a
      slot takes an empty one; if there is none, it is set off against one vote in every slot (Misra and Gries, 1982).
      A label with more than 1 / (slots + 1) of the votes is never lost, and a count is too low by at most that share
      of the votes. When a count reaches 65,535, all counts of its voxel are halved.
    - `seen`: the latest stamp.
    - `keyframe`: the number of the last frame, an index to `stamps`.
    - `prototype`: the prototype of most pixels of the last frame that brought embeddings; the newest view decides
      (Liu et al., DynaMem, ICRA 2025).
    """

    def __init__(
        self,
        channels: Sequence[str] = ("colour", "labels", "seen"),
        *,
        slots: int = 3,
        max_weight: int = 255,
        prototypes: PrototypeTable | None = None,
    ) -> None:
        """No frame yet.

        Args:
            channels: any of `CHANNELS`.
            slots: labels that a voxel remembers at a time.
            max_weight: frames that a mean colour is taken over.
            prototypes: the table that embeddings go to; needed by the channel `prototype` and by nothing else.
        """
        if not set(channels) <= set(CHANNELS) or len(set(channels)) != len(channels):
            raise ValueError(f"channels must be some of {CHANNELS}, got {list(channels)}")
        if not (1 <= slots <= 16 and 1 <= max_weight <= 65535):
            raise ValueError(f"need 1 <= slots <= 16 and 1 <= max_weight <= 65535, got {slots}, {max_weight}")
        if (prototypes is None) == ("prototype" in channels):
            raise ValueError("the channel 'prototype' and a table of prototypes need each other")
        self.channels = tuple(name for name in CHANNELS if name in channels)
        self.slots, self.max_weight, self.prototypes = slots, max_weight, prototypes
        self.names: list[str] = []  # of the labels, by number from 0
        self.stamps = array("d")  # [s] of the frames, by number; empty without the channel `keyframe`
        self._observed: tuple[str, ...] | None = None  # labels of the last frame, and what they are here
        self._own = np.zeros(0, dtype=np.int32)
        self._block_of = np.zeros(0, dtype=np.int32)
        self._slot_of = np.zeros(1 << 16, dtype=np.int32)
        self._slots = np.zeros((3, 0), dtype=np.int32)

    def check(self, observation: Observation) -> None:
        """Refuse a frame that could not be written.

        Raises:
            ValueError: if it brings embeddings of another length than the table's.
        """
        if self.prototypes is not None and observation.embeddings:
            shapes = {vector.shape for vector in observation.embeddings.values()}
            if shapes != {(self.prototypes.dim,)}:
                raise ValueError(f"embeddings must be of length {self.prototypes.dim}, got shapes {sorted(shapes)}")

    def write(self, pool: BlockPool, ends: Int[np.ndarray, "n 4"], observation: Observation, epoch: float) -> None:
        """Write what a frame shows of the surfaces in it.

        Args:
            pool: holds the blocks of all end voxels already.
            ends: (x, y, z, mark) of every pixel, row by row; only marks HIT count.
            observation: its images are used where their channel is kept.
            epoch: stamp [s] that times in `seen` are relative to.
        """
        slots, rows, cells = self._group(pool, ends)
        channels = self.open_channels(pool)
        self._write_times(channels, rows, cells, observation.stamp, epoch)
        if "colour" in channels and observation.rgb is not None:
            rgb = np.ascontiguousarray(observation.rgb, dtype=np.uint8).reshape(-1, 3)
            mix_colours(slots, rgb, rows, cells, channels["colour"], self.max_weight)
        if "labels" in channels and observation.semantic is not None:
            winners = vote(slots, observation.semantic.reshape(-1), self._own_labels(observation.labels), len(rows))
            count_votes(winners, rows, cells, channels["labels"])
        if self.prototypes is not None and observation.instance is not None and observation.embeddings:
            in_order = sorted(observation.embeddings.items())
            ids = self.prototypes.assign(np.stack([vector for _, vector in in_order]), observation.stamp) + 1
            image, by_number = _dense(observation.instance, np.array([number for number, _ in in_order]), ids)
            replace_known(channels["prototype"], rows, cells, vote(slots, image, by_number, len(rows)))

    def write_times(self, pool: BlockPool, ends: Int[np.ndarray, "n 4"], stamp: float, epoch: float) -> None:
        """Write that the surfaces of a point cloud were measured at `stamp` [s]; see `write`."""
        _, rows, cells = self._group(pool, ends)
        self._write_times(self.open_channels(pool), rows, cells, stamp, epoch)

    def open_channels(self, pool: BlockPool) -> dict[str, np.ndarray]:
        """The arrays of the pool that hold the channels, by name."""
        kinds: dict[str, tuple[type[np.generic], tuple[int, ...]]] = {
            "colour": (np.uint16, (4,)),  # mean r, g, b in 1/256, weight
            "labels": (np.uint16, (self.slots, 2)),  # (number + 1, votes)
            "seen": (np.float32, ()),  # [s] since the epoch, see `seconds_kept`
            "keyframe": (np.uint32, ()),  # number + 1
            "prototype": (np.uint16, ()),  # id + 1
        }
        return {name: pool.add_channel(name, *kinds[name]) for name in self.channels}

    def number_of(self, name: str) -> int:
        """The number of a label, -1 if it was never heard of; case does not matter."""
        wanted = name.strip().casefold()
        return next((i for i, each in enumerate(self.names) if each.casefold() == wanted), -1)

    def n_bytes(self) -> int:
        """Bytes of RAM beside the channels themselves."""
        scratch = self._slot_of.nbytes + self._slots.nbytes
        table = 0 if self.prototypes is None else self.prototypes.n_bytes()
        return scratch + table + 8 * len(self.stamps) + sum(map(len, self.names))

    def params(self) -> dict[str, Any]:
        """What a file keeps beside arrays, as JSON."""
        return {
            "channels": list(self.channels),
            "slots": self.slots,
            "max_weight": self.max_weight,
            "names": list(self.names),
            "prototypes": None if self.prototypes is None else self.prototypes.params(),
        }

    def arrays(self) -> dict[str, np.ndarray]:
        """What a file keeps beside the channels of the pool."""
        stamps = {"frame_stamps": np.array(self.stamps, dtype=np.float64)}
        return stamps | ({} if self.prototypes is None else self.prototypes.arrays())

    @classmethod
    def from_state(cls, params: object, state: LayerState, pool: BlockPool, *, mapped: bool = False) -> Payload:
        """The payload that was saved as `params`, with its arrays in `state` and its channels in `pool`.

        With `mapped` the channels are not read: a number in them that means nothing is told as it is.

        Raises:
            InputError: if anything in it is missing, malformed or out of range.
        """
        if not isinstance(params, dict) or set(params) != set(_SETTINGS):
            raise InputError(f"the payload of layer {state.kind!r} needs the settings {sorted(_SETTINGS)}")
        if not all(type(params[name]) in kinds for name, kinds in _SETTINGS.items()):
            raise InputError(f"the payload of layer {state.kind!r} has a setting of the wrong type")
        names, channels = params["names"], params["channels"]
        if not all(isinstance(name, str) for name in [*names, *channels]) or len(set(names)) != len(names):
            raise InputError(f"the names in the payload of layer {state.kind!r} are not distinct texts")
        table = params["prototypes"]
        prototypes = None if table is None else PrototypeTable.from_state(table, state)
        try:
            settings = {"slots": params["slots"], "max_weight": params["max_weight"]}
            payload = cls(channels, **settings, prototypes=prototypes)
            for name in payload.channels:
                if name not in pool.channels:
                    raise InputError(f"layer {state.kind!r} lacks the array 'channel_{name}'")
            arrays = {name: values[: pool.n] for name, values in payload.open_channels(pool).items()}
        except ValueError as error:
            raise InputError(f"layer {state.kind!r}: {error}") from error
        payload.names = list(names)
        payload.stamps = array("d", checked_array(state, "frame_stamps", np.float64, (None,)).tolist())
        if not mapped:
            payload._check_ranges(arrays)
        return payload

    def _write_times(
        self, channels: dict[str, np.ndarray], rows: np.ndarray, cells: np.ndarray, stamp: float, epoch: float
    ) -> None:
        if "seen" in channels:
            keep_latest(channels["seen"], rows, cells, seconds_kept(stamp, epoch))
        if "keyframe" in channels:  # nothing else counts frames, so nothing else grows with them
            self.stamps.append(float(stamp))
            keep_latest(channels["keyframe"], rows, cells, np.uint32(len(self.stamps)))

    def _group(self, pool: BlockPool, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(slot of every pixel, block of every slot, cell of every slot)."""
        if len(self._block_of) < len(pool.keys):
            self._block_of = np.zeros(len(pool.keys), dtype=np.int32)
        if self._slots.shape[1] < len(ends):
            self._slots = np.zeros((3, len(ends)), dtype=np.int32)
        slots, rows, cells = self._slots[:, : len(ends)]
        while True:
            n, n_blocks = group_pixels(ends, pool.table, pool.keys, self._block_of, self._slot_of, slots, rows, cells)
            if n_blocks * VOLUME <= len(self._slot_of):
                return slots, rows[:n], cells[:n]
            self._slot_of = np.zeros(2 * len(self._slot_of), dtype=np.int32)

    def _check_ranges(self, arrays: dict[str, np.ndarray]) -> None:
        """Refuse numbers that mean nothing here."""
        n_prototypes = 0 if self.prototypes is None else len(self.prototypes)
        limits = {"keyframe": len(self.stamps), "prototype": n_prototypes}
        for name, limit in limits.items():
            if name in arrays and arrays[name].max(initial=0) > limit:
                raise InputError(f"channel {name!r} holds {arrays[name].max()}, there are {limit}")
        if "labels" in arrays:
            numbers, votes = arrays["labels"][..., 0], arrays["labels"][..., 1]
            if numbers.max(initial=0) > len(self.names) or ((numbers == 0) != (votes == 0)).any():
                raise InputError(f"channel 'labels' holds votes for none of the {len(self.names)} names")
        if "colour" in arrays:
            colour = arrays["colour"]
            if colour[..., :3].max(initial=0) > 255 * 256 or colour[..., 3].max(initial=0) > self.max_weight:
                raise InputError("channel 'colour' holds a colour or a weight that is out of range")

    def _own_labels(self, labels: tuple[str, ...]) -> Int[np.ndarray, " labels"]:
        """Number + 1 here of each label of a frame; 0 for the first, which says that nothing is known."""
        if labels is not self._observed and labels != self._observed:
            known = {name: i for i, name in enumerate(self.names)}
            for name in labels[1:]:
                if len(known) < MAX_NAMES:
                    known.setdefault(name, len(known))
            self.names = list(known)
            self._own = np.array([0, *(known.get(name, -1) + 1 for name in labels[1:])], dtype=np.int32)
            self._observed = labels
        return self._own


def _dense(image: np.ndarray, numbers: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(the image as a row, ids by its numbers) where the ascending `numbers` have the `ids`, the others 0."""
    row = image.reshape(-1)
    if numbers[0] < 0 or numbers[-1] >= _DENSE:  # e.g. packed from colours
        at = np.minimum(np.searchsorted(numbers, row), len(numbers) - 1)
        row, numbers = np.where(numbers[at] == row, at + 1, 0), np.arange(1, len(numbers) + 1)
    by_number = np.zeros(numbers[-1] + 1, dtype=np.int32)
    by_number[numbers] = ids
    return row, by_number


def seconds_kept(stamp: float, epoch: float) -> np.float32:
    """A stamp as the channel `seen` keeps it: the epoch itself lies at 1 s, so that 0 can mean never."""
    seconds = np.float32(stamp - epoch + 1.0)
    return seconds if seconds != 0.0 else np.nextafter(np.float32(0.0), np.float32(1.0))
