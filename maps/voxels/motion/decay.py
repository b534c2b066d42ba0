"""Two voxel maps that forget at their own pace: what stays where it is, and what moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool

from embmem.errors import InputError
from embmem.geometry import backproject, transform_points
from embmem.maps.states import check_header, checked_array, checked_numbers
from embmem.maps.voxels.motion import weights
from embmem.maps.voxels.motion.changes import change_hits, change_rate, locate
from embmem.maps.voxels.motion.removal import Removal, checked_removal
from embmem.maps.voxels.voxel_map import VoxelMap
from embmem.observation import Observation
from embmem.protocols import Deformation, LayerState
from embmem.records import Hit, Query

MOVABLE = ("person", "cat", "dog", "chair", "ball", "mug", "cup", "bag", "box")
NUMBERS = ("static_decay", "dynamic_decay", "gain", "most", "least", "period")
SWEEP = 64  # steps between two sweeps
MAX_STEP = 2**31 - 2  # what a channel can hold
LAYERS = ("static", "dynamic")
_REMOVAL = Removal()


class DecayLayers:
    """Occupied voxels with weights that decay, in a static and a dynamic layer (mindmap, Steiner et al., 2025).

    A hit adds `gain` to the weight of a voxel, up to `most`; each step multiplies it by the decay of its layer. A voxel
    whose weight falls below `least` is not answered any more, and unknown from the next sweep on. Free space does not
    decay. A pixel is dynamic if its label is one of `movable`, or if the voxel that it hits in the static layer flips
    more often than `max_rate`; only its own layer integrates it, but both forget what the whole image sees past.
    """

    kind: ClassVar[str] = "decay_voxels"
    version: ClassVar[int] = 1

    def __init__(
        self,
        static: VoxelMap | None = None,
        dynamic: VoxelMap | None = None,
        *,
        static_decay: float = 0.999,
        dynamic_decay: float = 0.98,
        movable: Sequence[str] = MOVABLE,
        max_rate: float | None = None,
        gain: float = 1.0,
        most: float = 5.0,
        least: float = 0.1,
        period: float = 0.0,
        removal: Removal | None = _REMOVAL,
    ) -> None:
        """Two empty layers, or the maps given, which should be empty.

        Args:
            static: by default a map that tracks changes if `max_rate` is set.
            dynamic: by default a map with default settings.
            static_decay: factor a step.
            dynamic_decay: factor a step.
            movable: labels of what moves; case does not matter.
            max_rate: flips per second [1/s] from which a voxel is dynamic, as `change_rate` estimates them; None = only
                labels count.
            gain: weight of a hit.
            most: the highest weight.
            least: a voxel that weighs less is forgotten.
            period: [s] of a step, counted from the first observation; 0 = every observation with depth is a step.
            removal: forgets, in both layers, what a depth image sees past.
        """
        if not (0.0 < dynamic_decay <= 1.0 and 0.0 < static_decay <= 1.0):
            raise ValueError(f"need decays in (0, 1], got {static_decay} and {dynamic_decay}")
        if not (0.0 < least <= gain <= most < np.inf and 0.0 <= period < np.inf):
            raise ValueError(f"need 0 < least <= gain <= most and period >= 0, got {least, gain, most, period}")
        if max_rate is not None and not 0.0 < max_rate < np.inf:
            raise ValueError(f"need max_rate > 0 or None, got {max_rate}")
        self.static = VoxelMap(track_changes=max_rate is not None) if static is None else static
        self.dynamic = VoxelMap() if dynamic is None else dynamic
        if max_rate is not None and not self.static.track_changes:
            raise ValueError("max_rate needs a static map with track_changes=True")
        self.static_decay, self.dynamic_decay, self.period = static_decay, dynamic_decay, period
        self.movable, self.max_rate, self.removal = tuple(movable), max_rate, removal
        self.gain, self.most, self.least = gain, most, least
        self.step = 0
        self._tidied = (0, 0)  # revisions of the two maps
        self._begin = np.nan  # [s] stamp of the first observation
        for voxels in (self.static, self.dynamic):
            weights.add_channels(voxels.blocks)

    def observe(self, observation: Observation) -> None:
        """Let a step pass and integrate each pixel into its layer; nothing happens without depth."""
        if observation.depth is None:
            return
        self._advance(observation.stamp, n=1)
        is_dynamic = self.is_dynamic(observation)
        for (voxels, decay), mask in zip(self._layers(), (~is_dynamic, is_dynamic), strict=True):
            if self.removal is not None:
                self.removal.apply(voxels.blocks, voxels.resolution, observation)
            if mask.any():
                depth = np.where(mask, observation.depth, np.float32(np.nan))
                voxels.observe(replace(observation, depth=depth))
                ends = voxels._marker.ends[: depth.size]
                weights.add_weight(voxels.blocks, ends, step=self.step, decay=decay, gain=self.gain, most=self.most)
        self._tidy()

    def is_dynamic(self, observation: Observation) -> Bool[np.ndarray, "h w"]:
        """Which pixels of the depth image show what moves, by their label or by how often their voxel flips."""
        depth = observation.depth
        if depth is None:
            raise ValueError("only an observation with depth can be split")
        mask = np.zeros(depth.shape, dtype=np.bool_)
        if observation.semantic is not None:
            movable = {name.casefold() for name in self.movable}
            is_movable = np.array([name.casefold() in movable for name in observation.labels], dtype=np.bool_)
            mask |= is_movable[observation.semantic] if is_movable.any() else False
        if self.max_rate is not None:
            points = backproject(depth.astype(np.float32), observation.intrinsics).reshape(-1, 3).astype(np.float64)
            rates = change_rate(self.static, transform_points(observation.T_map_camera, points))
            mask |= (rates > self.max_rate).reshape(depth.shape)
        return mask

    def query(self, query: Query) -> list[Hit]:
        """Occupied voxels nearest to `query.near` that are not forgotten, or with kind "change" what changed.

        `query.kind` "static" or "dynamic" asks one layer only. The detail tells the `weight` and whether it is
        `dynamic`. Changes are those of a static layer that tracks them.
        """
        if query.kind == "change":
            return [replace(hit, layer=self.kind) for hit in change_hits(self.static, query)]
        if query.near is None or query.entity or query.place or query.kind not in (None, self.kind, *LAYERS):
            return []
        hits = [
            hit
            for name, (voxels, decay) in zip(LAYERS, self._layers(), strict=True)
            if query.kind in (None, self.kind, name)
            for hit in self._nearest(name, voxels, decay, query)
        ]
        return sorted(hits, key=lambda hit: -hit.score)[: query.k]

    def tick(self, stamp: float) -> None:
        """With a period, let the steps up to `stamp` [s] pass; then forget what has become too light."""
        self._advance(stamp, n=0)
        self.sweep()

    def sweep(self) -> int:
        """How many voxels were forgotten because they weigh less than `least`."""
        return sum(
            weights.forget_light(voxels.blocks, step=self.step, decay=decay, least=self.least)
            for voxels, decay in self._layers()
        )

    def deform(self, deformation: Deformation) -> None:
        """Move every block of both layers with the keyframe nearest to its last update."""
        self.static.deform(deformation)
        self.dynamic.deform(deformation)

    def stats(self) -> dict[str, float]:
        """The sizes of both layers, `static_` and `dynamic_`, steps, bytes of RAM."""
        each = {name: voxels.stats() for name, (voxels, _) in zip(LAYERS, self._layers(), strict=True)}
        named = {f"{name}_{key}": value for name, stats in each.items() for key, value in stats.items()}
        return {**named, "steps": float(self.step), "bytes": sum(stats["bytes"] for stats in each.values())}

    def save(self) -> LayerState:
        """Both maps with their weights, their arrays prefixed by the name of the layer."""
        states = {"static": self.static.save(), "dynamic": self.dynamic.save()}
        params: dict[str, Any] = {name: getattr(self, name) for name in NUMBERS}
        params |= {"movable": list(self.movable), "max_rate": self.max_rate, "removal": None}
        if self.removal is not None:
            params["removal"] = {"z_max": self.removal.z_max, "margin": self.removal.margin}
        params |= {name: {"version": state.version, "params": state.params} for name, state in states.items()}
        arrays = {f"{name}_{key}": a for name, state in states.items() for key, a in state.arrays.items()}
        arrays |= {"step": np.array([self.step]), "begin": np.array([] if np.isnan(self._begin) else [self._begin])}
        return LayerState(self.kind, self.version, params, arrays)

    @classmethod
    def load(cls, state: LayerState) -> DecayLayers:
        """The layers that were saved.

        Raises:
            InputError: if the state is of another kind, a newer version or malformed.
        """
        check_header(state, cls.kind, cls.version)
        params = dict(state.params)
        static, dynamic = (_checked_map(state, name, params.pop(name, None)) for name in LAYERS)
        removal = checked_removal(cls.kind, params.pop("removal", None))
        movable, max_rate = params.pop("movable", None), params.pop("max_rate", None)
        if not isinstance(movable, list) or not all(isinstance(name, str) for name in movable):
            raise InputError(f"what moves in layer {cls.kind!r} is not a list of names")
        if max_rate is not None:
            max_rate = checked_numbers(replace(state, params={"max_rate": max_rate}), ("max_rate",))["max_rate"]
        numbers: dict[str, Any] = checked_numbers(replace(state, params=params), NUMBERS)
        step, begin = checked_array(state, "step", np.int64, (1,)), checked_array(state, "begin", np.float64, (None,))
        if not 0 <= step[0] < MAX_STEP or len(begin) > 1:
            raise InputError(f"layer {cls.kind!r} is at step {step[0]} since {begin}")
        for voxels in (static, dynamic):
            weights.check_channels(voxels.blocks, int(step[0]))
        try:
            layers = cls(static, dynamic, **numbers, movable=movable, max_rate=max_rate, removal=removal)
        except ValueError as error:
            raise InputError(f"layer {cls.kind!r}: {error}") from error
        layers.step, layers._begin = int(step[0]), float(begin[0]) if len(begin) else np.nan
        return layers

    def _layers(self) -> tuple[tuple[VoxelMap, float], tuple[VoxelMap, float]]:
        """Each map with its decay, as named in `LAYERS`."""
        return (self.static, self.static_decay), (self.dynamic, self.dynamic_decay)

    def _advance(self, stamp: float, *, n: int) -> None:
        """Go n steps on, or with a period up to `stamp`; sweep now and then."""
        before = self.step
        if np.isnan(self._begin) and n:
            self._begin = stamp
        if self.period > 0:
            n = 0 if np.isnan(self._begin) else max(int((stamp - self._begin) / self.period) - self.step, 0)
        self.step = min(self.step + n, MAX_STEP - 1)
        if self.step // SWEEP > before // SWEEP:
            self.sweep()

    def _tidy(self) -> None:
        """Take the weight from what is not occupied any more."""
        for (voxels, _), since in zip(self._layers(), self._tidied, strict=True):
            weights.drop_weights(voxels.blocks, since)
        self._tidied = (self.static.blocks.revision, self.dynamic.blocks.revision)

    def _nearest(self, name: str, voxels: VoxelMap, decay: float, query: Query) -> list[Hit]:
        """The nearest voxels of one layer that weigh enough."""
        centres = voxels.occupied()
        distances = np.linalg.norm(centres - query.near, axis=1)
        centres, distances = centres[distances <= query.radius], distances[distances <= query.radius]
        rows, cells = locate(voxels, centres)
        weight = weights.weights_at(voxels.blocks, rows, cells, step=self.step, decay=decay)
        stamps = voxels.blocks.stamps[rows]
        match = np.flatnonzero((weight >= self.least) & (query.since <= stamps) & (stamps < query.until))
        return [
            Hit(
                score=-float(distances[i]),
                why=f"occupied voxel of the {name} layer {distances[i]:.2f} m away, weight {weight[i]:.3g}",
                layer=self.kind,
                stamp=float(stamps[i]),
                position=centres[i],
                detail={"weight": float(weight[i]), "dynamic": float(name == "dynamic")},
            )
            for i in match[np.argsort(distances[match], kind="stable")][: query.k]
        ]


def _checked_map(state: LayerState, name: str, saved: Any) -> VoxelMap:
    """One of the two maps of a saved layer.

    Raises:
        InputError: if it is malformed.
    """
    if not isinstance(saved, dict) or saved.keys() != {"version", "params"} or not isinstance(saved["params"], dict):
        raise InputError(f"layer {state.kind!r} lacks its {name} map")
    prefix = f"{name}_"
    arrays = {key.removeprefix(prefix): a for key, a in state.arrays.items() if key.startswith(prefix)}
    return VoxelMap.load(LayerState(VoxelMap.kind, saved["version"], saved["params"], arrays))
