"""A memory that lives in its file: what was observed and acknowledged survives a power cut, maps and all."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from embmem.errors import StoreError
from embmem.forgetting.budgets import SLACK, Uses, forget_entries, index_bytes, make_room, make_room_in_ram, used_bytes
from embmem.forgetting.policies import ForgettingPolicy
from embmem.forgetting.redundancy import Story
from embmem.ingress import IngressGate
from embmem.memory import Memory
from embmem.observation import Observation
from embmem.protocols import Deformation, Layer
from embmem.records import Hit, Link, Query
from embmem.replay.frame_codec import canonical
from embmem.replay.observation_log import ObservationLog, Thinning, entry_ids, log_checksum
from embmem.replay.restoring import Restored, restore, restore_known
from embmem.store import RecordStore
from embmem.store.snapshots import holds, list_snapshots, write_layers
from embmem.view_embeddings import EncodeView, refuse_other_encoder

CHECK_EVERY = 32  # frames between two looks at the budgets
SNAPSHOT_SHARE = 0.05  # of the time that goes by, at most, is spent on snapshots that nobody asked for


class DurableMemory(Memory):
    """A memory on a file that it writes to from the first observation on.

    Every observation that goes into the layers is a record with compressed images; so are `tick` and `deform`. The
    layers are written down now and then with the log position that they cover. Opening loads them and replays the
    rest of the log; without them, or where one is damaged, of another version or older than a correction, the log
    alone gives the same bytes. A layer that is fed by other ways than observations, as the short-term memory is, is as
    of its latest snapshot. One thread may observe; any number may ask the store.
    """

    def __init__(
        self,
        path: str | Path | RecordStore,
        layers: Sequence[Layer] | None = None,
        *,
        layer_types: Sequence[type[Any]] = (),
        gate: IngressGate | None = None,
        view_distance: float = 0.5,
        view_angle: float = 0.5,
        encode_view: EncodeView | None = None,
        thinning: Thinning = Thinning(),  # noqa: B008 - frozen
        depth_step: float | None = 0.001,
        snapshot_seconds: float = 60.0,
        disk_budget: int = 16 << 30,
        ram_budget: int = 4 << 30,
        forgetting: ForgettingPolicy = Story(),  # noqa: B008 - frozen
    ) -> None:
        """Open a memory, or begin one.

        Args:
            path: the file, or a store on it; the memory closes it in the end.
            layers: empty, with the settings wanted; None for those in the file, with their settings there.
            layer_types: the classes of the layers that the file may hold, where `layers` is None.
            gate: what checks observations.
            view_distance: a view is recorded when the camera has moved this far [m] ...
            view_angle: ... or turned this much [rad].
            encode_view: makes the embedding of a view, by which it is found; None where it has nothing to look at.
            thinning: which frames are worth logging; no layer sees the others.
            depth_step: [m] that depth is rounded to before anything sees it; None keeps every bit.
            snapshot_seconds: between two snapshots of the layers.
            disk_budget: [bytes] of the file without its free pages. Frames go first, oldest first, when the layers that
                hold them have become part of the log; then records by `forgetting`.
            ram_budget: [bytes] of layers and index; where both exceed it, records with embeddings go. Layers that
                exceed it alone are not made smaller, `stats` tells of it.
            forgetting: which records go.

        Raises:
            StoreBusyError: if somebody else writes to the file.
            InputError: if the file is damaged, a layer can neither be loaded nor rebuilt, or `encode_view` is another
                one than that of the views in it.
            FileVersionError: if it is no memory file, or was written by a newer embmem.
        """
        if not min(disk_budget, ram_budget) > 0:
            raise ValueError(f"budgets are > 0 bytes, got {disk_budget}, {ram_budget}")
        store = path if isinstance(path, RecordStore) else RecordStore(path)
        try:
            if encode_view is not None:
                refuse_other_encoder(store, encode_view)
            restored = _restore(store, layers, layer_types)
        except BaseException:
            store.close()
            raise
        views: dict[str, Any] = {"view_distance": view_distance, "view_angle": view_angle, "encode_view": encode_view}
        super().__init__(restored.layers, store=store, gate=gate, **views)
        self._file: RecordStore = store
        self._thinning, self._depth_step, self._snapshot_seconds = thinning, depth_step, snapshot_seconds
        self._last_frame: Observation | None = None
        self.n_thinned = 0  # observations that were not worth logging
        self._budgets, self._forgetting = (disk_budget, ram_budget), forgetting
        self._n_unchecked, self._n_forgotten = 0, 0
        with store.reading() as db:
            self.uses = Uses.read(db)
        self._failure: BaseException | None = None
        self._covered = 0
        self._settings: dict[str, str] = {}
        self._take(restored)

    def observe(self, observation: Observation) -> Observation:
        """Remember an observation; returns it as it was admitted, its pose corrected by the pose graph if there is one.

        It is on the disk soon (`flush` waits for that); layers and log hold the same bits of it.

        Raises:
            RefusedObservation: if the gate refuses it; nothing is stored then.
            StoreError: if the log cannot be written; open the memory again then.
        """
        self._refuse_if_broken()
        observation = self._in_map(self.gate.admit(observation))
        if not self._thinning.keeps(observation, self._last_frame):
            self.n_thinned += 1
            return observation
        observation = canonical(observation, self._depth_step)
        frame_id = self._log_and_do(
            lambda: self._log.write_frame(observation, self.gate.session), lambda layer: layer.observe(observation)
        )
        self._last_frame = observation
        self._record_view(observation, (Link("from", frame_id),))
        self._close_if_due()
        self._snapshot_if_due()
        self._hold_budgets()
        return observation

    def query(self, query: Query) -> list[Hit]:
        """The hits of every layer in order, then those of the store, which count as used; see `Memory.query`."""
        hits = super().query(query)
        self._count(hits)
        return hits

    def _count(self, hits: Sequence[Hit]) -> None:
        """Count the records among the hits as used."""
        used = [hit.record.id for hit in hits if hit.record is not None and hit.record.id is not None]
        self.uses.count(used, time.time() if self._last_frame is None else self._last_frame.stamp)

    def tick(self, stamp: float) -> None:
        """Let time pass to `stamp` [s] without an observation."""
        self._log_and_do(lambda: self._log.write_tick(stamp), lambda layer: layer.tick(stamp))

    def deform(self, deformation: Deformation) -> None:
        """Move every layer along with its keyframes. Records keep the pose that they were made with."""
        self._log_and_do(lambda: self._log.write_deformation(deformation), lambda layer: layer.deform(deformation))

    def flush(self) -> None:
        """Return when everything observed is on the disk.

        Raises:
            StoreError: if some of it could not be written.
        """
        self.store.flush()
        self._refuse_if_broken()

    def snapshot(self) -> None:
        """Derive what follows from other layers and write all down: opening need not replay what they have seen then.

        Observations that were withdrawn, corrected or purged in the meantime are taken out of the layers first.

        Raises:
            StoreError: if it cannot be written; the snapshot before is still there then.
        """
        self.flush()
        self.refresh()
        start = time.monotonic()
        self.derive()
        states = [layer.save() for layer in self.layers]
        if self._covered == self._log.last_id and not self.uses.is_changed:
            with self._file.reading() as db:
                if holds(db, states, "latest") or holds(db, states, "base"):
                    return
        with self._file.changing() as db:
            write_layers(
                db, states, self._log.last_id, role="latest", frames=self._log.checksum, settings=self._settings
            )
            self.uses.write(db)
        self._covered = self._log.last_id
        self._snapshot_at = time.monotonic()
        self._snapshot_took = self._snapshot_at - start

    def refresh(self) -> bool:
        """Rebuild the layers if observations in them were withdrawn, corrected or purged; whether they were.

        The layers are new objects then.
        """
        with self._file.reading() as db:
            if log_checksum(db, self._base, self._log.last_id) == self._log.checksum:
                return False
            if {snapshot.kind for snapshot in list_snapshots(db, "base")} != {layer.kind for layer in self.layers}:
                raise StoreError(f"the past of the layers in {self._name} was purged; open it again with empty layers")
            restored = restore_known(self._name, db, [type(layer) for layer in self.layers])
        self.layers = restored.layers
        self._take(restored)
        return True

    def make_room(self) -> int:
        """Forget where a budget is exceeded, with a tenth to spare; how many records went, frames not counted.

        Before a frame goes the layers that hold it become part of the log: they cannot be rebuilt without it, and what
        is withdrawn afterwards stays in them.
        """
        self.flush()
        self.refresh()
        disk, ram = self._budgets
        with self._file.reading() as db:
            has_frames = bool(entry_ids(db, self._log.last_id))
            is_over = used_bytes(db) > disk
        if is_over and has_frames:
            states = [layer.save() for layer in self.layers]
            with self._file.changing() as db:
                write_layers(db, states, self._log.last_id, settings=self._settings)
                forget_entries(db, self._log.last_id, used_bytes(db) - int(SLACK * disk))
            self._base = self._covered = self._log.last_id
            self._log.checksum = 0
        n = make_room(self._file, self.uses, self._forgetting, disk)
        if self._ram_bytes() > ram > (taken := self._layer_bytes()):
            n += make_room_in_ram(self._file, self.uses, self._forgetting, int(SLACK * (ram - taken)))
        self._n_forgotten += n
        return n

    def stats(self) -> dict[str, dict[str, float]]:
        """Sizes and counters of the layers, the store, the gate and the log of observations."""
        log = {
            "thinned": float(self.n_thinned), "replayed": float(self._n_replayed), "covered": float(self._covered),
            "base": float(self._base), "last": float(self._log.last_id),
        }  # fmt: skip
        with self._file.reading() as db:
            disk = used_bytes(db)
        budget = {
            "disk": float(disk), "disk_budget": float(self._budgets[0]), "ram": float(self._ram_bytes()),
            "ram_budget": float(self._budgets[1]), "forgotten": float(self._n_forgotten),
        }  # fmt: skip
        return {**super().stats(), "log": log, "budget": budget}

    def close(self) -> None:
        """Write the layers down and release the file."""
        try:
            if self._failure is None:
                self.snapshot()
                if self._file.embeddings.is_loaded:  # the next one to ask need not gather it again
                    self._file.embeddings.save(self._file)
        finally:
            self._file.close()

    def __enter__(self) -> DurableMemory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _name(self) -> str:
        return str(self._file.path or ":memory:")

    def _take(self, restored: Restored) -> None:
        """Go on from what came back."""
        self._log = ObservationLog(self._file, restored.last_id, restored.checksum)
        self._base, self._settings = restored.base, restored.settings
        self._n_replayed, self.rebuilt = restored.n_replayed, restored.rebuilt
        self._covered = restored.base if restored.n_replayed else restored.last_id
        self._snapshot_at, self._snapshot_took = time.monotonic(), 0.0

    def _log_and_do(self, log: Callable[[], int], do: Callable[[Layer], None]) -> int:
        """Let every layer do something and log it; the id of the entry. Half of that breaks the memory."""
        self._refuse_if_broken()
        try:
            self._each(do)
            return log()
        except BaseException as error:
            self._failure = error
            raise

    def _refuse_if_broken(self) -> None:
        if self._failure is not None:
            raise StoreError(
                f"the layers and the log of {self._name} differ since {self._failure!r}; open the memory again"
            ) from self._failure
        try:
            self._log.check()
        except StoreError as error:
            self._failure = error
            raise

    def _layer_bytes(self) -> int:
        return int(sum(layer.stats()["bytes"] for layer in self.layers))

    def _ram_bytes(self) -> int:
        return self._layer_bytes() + index_bytes(self._file)

    def _hold_budgets(self) -> None:
        """Look closer every so many frames, and only where the files or the layers have grown to a budget."""
        self._n_unchecked += 1
        if self._n_unchecked < CHECK_EVERY:
            return
        self._n_unchecked = 0
        disk, ram = self._budgets
        is_over = self._ram_bytes() > ram > self._layer_bytes()
        if not is_over and _file_bytes(self._file) > disk:
            with self._file.reading() as db:
                is_over = used_bytes(db) > disk
        if is_over:
            self.make_room()

    def _snapshot_if_due(self) -> None:
        since = time.monotonic() - self._snapshot_at
        if since >= max(self._snapshot_seconds, self._snapshot_took / SNAPSHOT_SHARE):
            self.snapshot()


def _file_bytes(store: RecordStore) -> int:
    if store.path is None:
        return 0
    files = (store.path, store.path.with_name(store.path.name + "-wal"))
    return sum(file.stat().st_size for file in files if file.exists())


def _restore(store: RecordStore, layers: Sequence[Layer] | None, layer_types: Sequence[type[Any]]) -> Restored:
    """The layers of the file, whose base is that of the layers wanted afterwards."""
    name = str(store.path or ":memory:")
    if layers is None:
        with store.reading() as db:
            return restore_known(name, db, layer_types)
    empty = [layer.save() for layer in layers]
    with store.reading() as db:
        restored = restore(name, db, layers)
    if restored.is_new_base and restored.base == 0:
        with store.changing() as db:
            write_layers(db, empty, 0)
    elif restored.is_new_base:
        with store.changing() as db:
            states = [layer.save() for layer in restored.layers]
            write_layers(db, states, restored.last_id, settings=restored.settings)
        restored.base, restored.checksum, restored.n_replayed = restored.last_id, 0, 0
    return restored
