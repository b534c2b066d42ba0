"""A memory: one gate, some layers, one store, and one file to keep them in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from pathlib import Path
from threading import RLock
from typing import Any, TypeVar

import numpy as np

from embmem.geometry import heading, rotation_angle
from embmem.ingress import IngressGate
from embmem.memory_file import read_memory_file, write_memory_file
from embmem.observation import Observation
from embmem.protocols import Deformation, DerivedLayer, Layer, PoseCorrector, Store
from embmem.records import Hit, Link, Query, Record
from embmem.replay.restoring import restore_known
from embmem.store import RecordStore
from embmem.view_embeddings import EncodeView

L = TypeVar("L")


class Memory:
    """Posed observations go in, layers and a record store keep them, queries come out.

    Args:
        layers: the maps, in the order in which they observe and answer; at most one of a kind.
        store: where view records go; in RAM if not given.
        gate: what checks observations; the default refuses what it cannot repair.
        view_distance: a view is recorded when the camera has moved this far [m] ...
        view_angle: ... or turned this much [rad] since the last recorded view.
        encode_view: makes the embedding of a view, or None where it has nothing to look at; see `embmem.encoders`.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        *,
        store: Store | None = None,
        gate: IngressGate | None = None,
        view_distance: float = 0.5,
        view_angle: float = 0.5,
        encode_view: EncodeView | None = None,
    ) -> None:
        kinds = [layer.kind for layer in layers]
        if len(set(kinds)) != len(kinds):
            raise ValueError(f"one layer of a kind, got {kinds}")
        self.layers = list(layers)
        self._locks: dict[str, AbstractContextManager[Any]] = {kind: RLock() for kind in kinds}
        self.store: Store = RecordStore() if store is None else store
        self.gate = IngressGate() if gate is None else gate
        self._view_distance = view_distance
        self._view_angle = view_angle
        self.encode_view = encode_view
        self.last_view: np.ndarray | None = None  # (4, 4) T_map_camera of the newest view record

    @property
    def view_settings(self) -> dict[str, float]:
        """How far apart views are recorded, as the arguments of this class."""
        return {"view_distance": self._view_distance, "view_angle": self._view_angle}

    def layer(self, kind: type[L]) -> L:
        """The layer of that class.

        Raises:
            KeyError: if the memory has none.
        """
        for layer in self.layers:
            if isinstance(layer, kind):
                return layer
        raise KeyError(f"this memory has no {kind.__name__}, only {[layer.kind for layer in self.layers]}")

    def observe(self, observation: Observation) -> Observation:
        """Remember an observation; returns it as it was admitted, its pose corrected by the pose graph if there is one.

        Raises:
            RefusedObservation: if the gate refuses it; nothing is stored then.
        """
        observation = self._in_map(self.gate.admit(observation))
        self._record_view(observation)
        self._each(lambda layer: layer.observe(observation))
        self._close_if_due()
        return observation

    def query(self, query: Query) -> list[Hit]:
        """The hits of every layer in order, then those of the store; at most `query.k` from each."""
        hits: list[Hit] = []
        for layer in self.layers:
            with self.lock(layer):
                hits += layer.query(query)
        return hits + self.store.search(query).hits

    def tick(self, stamp: float) -> None:
        """Let time pass to `stamp` [s] without an observation."""
        self._each(lambda layer: layer.tick(stamp))

    def deform(self, deformation: Deformation) -> None:
        """Move every layer along with its keyframes. Records keep the pose that they were made with."""
        self._each(lambda layer: layer.deform(deformation))

    def lock(self, layer: Layer) -> AbstractContextManager[Any]:
        """What is held while the layer changes or is asked: one thread may observe while others ask."""
        return self._locks.setdefault(layer.kind, RLock())

    def _each(self, do: Callable[[Layer], None]) -> None:
        """Let every layer do something, while nobody asks it."""
        for layer in self.layers:
            with self.lock(layer):
                do(layer)

    def close_loops(self) -> Deformation | None:
        """Look for places seen before, and move every layer if there are any; how they were moved, or None.

        Raises:
            ValueError: if no layer is a pose graph.
        """
        corrector = self._corrector()
        if corrector is None:
            raise ValueError(f"none of the layers {[layer.kind for layer in self.layers]} is a pose graph")
        deformation = corrector.close_loops()
        if deformation is not None:
            self.deform(deformation)
        return deformation

    def derive(self) -> None:
        """Bring the layers that follow from others up to date: rooms, floors and relations of a scene graph."""
        for layer in self.layers:
            if isinstance(layer, DerivedLayer):
                with self.lock(layer):
                    layer.derive(self.layers)

    def stats(self) -> dict[str, dict[str, float]]:
        """Sizes and counters of the layers, the store and the gate."""
        by_layer = {layer.kind: layer.stats() for layer in self.layers}
        return {**by_layer, "store": {"records": float(len(self.store))}, "gate": dict(self.gate.counts)}

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write everything to one file, whole or not at all; what follows from other layers is derived before.

        Raises:
            OutputExistsError: if the file exists and `overwrite` is not set.
        """
        self.derive()
        write_memory_file(Path(path), self.store, [layer.save() for layer in self.layers], overwrite=overwrite)

    @staticmethod
    def open(path: str | Path, layer_types: Sequence[type[Any]]) -> Memory:
        """The memory that was saved; it lives in RAM and does not touch the file again.

        Args:
            path: the file.
            layer_types: the classes of the layers it may hold.

        Raises:
            InputError: if the file is missing, damaged, or holds a layer that is none of `layer_types`.
            FileVersionError: if it is not a memory file, or was written by a newer embmem.
        """
        store, layers = read_memory_file(Path(path), layer_types)
        return Memory(layers, store=store)

    @staticmethod
    def view(path: str | Path, layer_types: Sequence[type[Any]]) -> Memory:
        """The memory in the file as it is now, to be asked only: records stay in the file, somebody may write it.

        The layers are those of this moment. Close the store in the end.

        Raises:
            InputError: if the file is missing, damaged, of an older version, or holds a layer that is none of
                `layer_types`.
            FileVersionError: if it is not a memory file, or was written by a newer embmem.
        """
        store = RecordStore(path, read_only=True)
        try:
            with store.reading() as db:
                layers = restore_known(str(path), db, layer_types).layers
        except BaseException:
            store.close()
            raise
        return Memory(layers, store=store)

    def _corrector(self) -> PoseCorrector | None:
        return next((layer for layer in self.layers if isinstance(layer, PoseCorrector)), None)

    def _in_map(self, observation: Observation) -> Observation:
        """The observation with its pose in the map, where a pose graph knows how odometry has drifted."""
        corrector = self._corrector()
        if corrector is None or np.array_equal(corrector.T_map_odom, np.eye(4)):
            return observation
        return replace(observation, T_map_camera=corrector.T_map_odom @ observation.T_map_camera)

    def _close_if_due(self) -> None:
        corrector = self._corrector()
        if corrector is not None and corrector.is_due:
            self.close_loops()

    def _record_view(self, observation: Observation, links: tuple[Link, ...] = ()) -> None:
        """Write what is in sight, if the last view was another one."""
        if self._is_new_view(observation.T_map_camera):
            embedding = None if self.encode_view is None else self.encode_view(observation)
            self.store.write(replace(_view(observation, self.gate.session), links=links, embedding=embedding))
            self.last_view = observation.T_map_camera

    def _is_new_view(self, T_map_camera: np.ndarray) -> bool:
        last = self.last_view
        if last is None or np.linalg.norm(T_map_camera[:3, 3] - last[:3, 3]) >= self._view_distance:
            return True
        return rotation_angle(T_map_camera[:3, :3].T @ last[:3, :3]) >= self._view_angle


def _view(observation: Observation, session: int) -> Record:
    """What was in sight from where, without the images."""
    entities: tuple[str, ...] = ()
    if observation.semantic is not None:
        seen = np.flatnonzero(np.bincount(observation.semantic.ravel()))
        entities = tuple(observation.labels[i] for i in seen if i > 0)
    yaw, pitch = heading(observation.T_map_camera)
    return Record(
        kind="view",
        t_event=observation.stamp,
        source="camera",
        T_map_obs=observation.T_map_camera,
        entities=entities,
        payload={
            "intrinsics": asdict(observation.intrinsics),
            "session": session,
            "yaw": yaw,
            "pitch": pitch,
        },
    )
