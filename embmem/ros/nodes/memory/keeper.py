"""The memory of the node and its file: opened, written, opened again after the disk was full, exchanged for another."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf import DictConfig

from embmem.cli.main import compose_config
from embmem.encoders.views import image_encoder
from embmem.errors import EmbmemError, InputError, StoreError
from embmem.live import LiveMemory
from embmem.memory import Memory
from embmem.observation import Observation
from embmem.output import sync
from embmem.ros.nodes.memory.counters import Counters
from embmem.ros.nodes.memory.looks import Looks
from embmem.ros.nodes.memory.settings import MIB, Settings

LOOK = 1.0  # [s] between two looks at the space left on the disk
_COUNT = "SELECT count(*) FROM records WHERE kind = 'frame'"


class Keeper:
    """Used by one thread, but for `memory`, which any may ask.

    Args:
        settings: which layers, which file.
        counters: of failures.
        reserve: [MiB] that must be free on the disk, asked each time.
        retry: [s] between two tries to open the memory again, asked each time.
    """

    def __init__(
        self, settings: Settings, counters: Counters, *, reserve: Callable[[], float], retry: Callable[[], float]
    ) -> None:
        self.config = _config(settings)
        self._settings, self._counters = settings, counters
        encoder = image_encoder(settings.image_encoder)
        self.looks = None if encoder is None else Looks(encoder, counters)
        self._reserve, self._retry = reserve, retry
        self.failure = ""  # why nothing can be written now
        self._failed_at = self._looked_at = -1e9
        self._n_before = self._n_mapped = 0  # frames in the log when it was opened, and mapped since
        self.revision = self.revision_at_open = 0
        settings.file.parent.mkdir(parents=True, exist_ok=True)
        self.is_fresh = True  # whether nothing had been mapped when it was opened
        self.memory = self._open()

    def empty(self) -> Memory:
        """A memory in RAM with the same layers, of which the node knows nothing."""
        memory = _made(self.config)
        memory.encode_view = None if self.looks is None else self.looks.encode
        return memory

    def observe(self, observation: Observation) -> bool:
        """Map one observation; it is on the disk soon. False where it was like the one before.

        Raises:
            RefusedObservation: if the gate refuses it.
            StoreError: if it cannot be written; `recover` then.
        """
        n_thinned = self.memory.n_thinned
        try:
            self.memory.observe(observation)
        except StoreError as error:
            self._fail(str(error))
            raise
        if self.memory.n_thinned > n_thinned:
            return False
        self._n_mapped += 1
        self.revision += 1
        return True

    def has_room(self) -> bool:
        """Whether the memory can be written; looks at the disk, and opens the memory again where it had failed."""
        now = time.monotonic()
        if self.failure:
            return now - self._failed_at >= self._retry() and self._recover()
        if now - self._looked_at < LOOK:
            return True
        self._looked_at = now
        free = shutil.disk_usage(self._settings.file.parent).free
        if free < self._reserve() * MIB:
            self._fail(f"only {free // MIB} MiB are free on the disk, disk_reserve is {self._reserve():g}")
            return False
        return True

    def _fail(self, why: str) -> None:
        self.failure, self._failed_at = why, time.monotonic()
        self._counters.add("storage_failures")

    def _recover(self) -> bool:
        """Open the memory again from what was acknowledged; frames that were not are lost, and counted.

        Until that is done the one that has failed answers.
        """
        self._failed_at = time.monotonic()
        free = shutil.disk_usage(self._settings.file.parent).free
        if free < self._reserve() * MIB:
            return False
        n_expected = self._n_before + self._n_mapped
        try:
            failed = self.memory
            with contextlib.suppress(EmbmemError):
                failed.release()
            self.memory = self._open()
            failed.close()
        except (EmbmemError, OSError) as error:
            self.failure = str(error)
            return False
        self._counters.add("lost_storage", max(0, n_expected - self._n_before))
        self._counters.add("reopened")
        self.failure = ""
        return True

    def exchange(self, other: Path | None) -> Path:
        """Put a copy of another file, or nothing, in the place of the memory; where the old one lies now.

        Raises:
            EmbmemError: if the other cannot be opened, or not be copied; the memory is as before then.
        """
        file = self._settings.file
        part = file.with_name(file.name + ".part")
        if other is not None:
            _copy(other, part)
        self.memory.close()
        kept = _free_name(file)
        try:
            _refuse_a_log(file)
            os.link(file, kept)  # both names are there until the exchange is done
            if other is None:
                file.unlink()
            else:
                part.replace(file)
            sync(file.parent)
            self.memory = self._open()
        except (EmbmemError, OSError) as error:
            if kept.exists():
                kept.replace(file)
            self.memory = self._open()
            raise error if isinstance(error, EmbmemError) else StoreError(str(error)) from None
        finally:
            part.unlink(missing_ok=True)
        self.failure = ""
        return kept

    def close(self) -> None:
        """Write the layers down and release the file; what cannot be written is in the log."""
        with contextlib.suppress(EmbmemError):
            self.memory.close()

    def _open(self) -> LiveMemory:
        wanted = self.empty()
        keeping = dict(self._settings.keeping)
        wanted.gate.policies["clock_backwards"] = keeping.pop("clock_backwards")
        memory: LiveMemory = instantiate(self.config.open)(
            self._settings.file,
            wanted.layers,
            gate=wanted.gate,
            encode_view=wanted.encode_view,
            **keeping,
            **wanted.view_settings,
        )
        with memory.acknowledged.reading() as db:
            self._n_before = int(db.execute(_COUNT).fetchone()[0])
        self._n_mapped, self.is_fresh = 0, self._n_before == 0
        self.revision = self.revision_at_open = max(self.revision + 1, memory.acknowledged.last_id)
        return memory


def _config(settings: Settings) -> DictConfig:
    """The configuration of the node.

    Raises:
        InputError: if there is no such memory or no such setting.
    """
    overrides = [f"memory={settings.layers}", *(f"memory.{setting}" for setting in settings.layer_settings)]
    try:
        return compose_config("memory_node", overrides)
    except Exception as error:  # Hydra and OmegaConf have no common root
        reason = " ".join(str(error).split("Config search path")[0].split())
        raise InputError(f"parameters memory and memory_settings: {reason}") from None


def _made(config: DictConfig) -> Memory:
    """An empty memory with the layers that are wanted.

    Raises:
        InputError: if a setting makes no sense.
    """
    try:
        memory: Memory = instantiate(config.memory)
    except HydraException as error:
        cause = error.__cause__ or error
        raise InputError(f"parameter memory_settings: {' '.join(str(cause).split())[:500]}") from None
    return memory


def _copy(source: Path, part: Path) -> None:
    if not source.is_file():
        raise InputError(f"{source} is not a file")
    try:
        shutil.copyfile(source, part)
        sync(part)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise StoreError(f"{source} cannot be copied: {error.strerror}") from None


def _refuse_a_log(file: Path) -> None:
    """A write-ahead log that stayed belongs to the file, and must not be taken for that of another one.

    Raises:
        StoreError: if there is one, because somebody else reads the memory.
    """
    log = file.with_name(file.name + "-wal")
    if log.exists() and log.stat().st_size:
        raise StoreError(f"{file} is read by somebody else; try again when they are done")


def _free_name(file: Path) -> Path:
    """Beside the file: a name that nothing has."""
    number = 1
    while (kept := file.with_name(f"{file.stem}.kept-{number}{file.suffix}")).exists():
        number += 1
    return kept
