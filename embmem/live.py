"""A durable memory that answers while it observes: no question waits for the disk, nor for what is derived."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from embmem.durable import DurableMemory
from embmem.protocols import DerivedLayer
from embmem.records import Hit, Query
from embmem.store import RecordStore


class LiveMemory(DurableMemory):
    """One thread observes, others ask, and an answer takes milliseconds.

    A question waits for no more than what one layer does with one frame. Records are read by a reader of its own, which
    sees what is acknowledged: some hundredths of a second less than was observed. Layers that follow from others are
    derived as copies, which then take their places.
    """

    def __init__(self, path: str | Path, *arguments: Any, **options: Any) -> None:
        """Open a memory, or begin one; see `DurableMemory`, whose arguments these are."""
        super().__init__(path, *arguments, **options)
        self._is_released = False
        try:
            self._reader = RecordStore(path, read_only=True)
        except BaseException:
            self._file.close()
            raise

    @property
    def acknowledged(self) -> RecordStore:
        """The records that are safe on the disk, for any thread to ask."""
        return self._reader

    @property
    def writable(self) -> RecordStore:
        """The store itself, for the thread that observes."""
        return self._file

    def query(self, query: Query, *, without: Collection[str] = ()) -> list[Hit]:
        """The hits of every layer in order, then those of the records, without their images; any thread may ask.

        Args:
            query: the question.
            without: kinds of layers that are not asked.
        """
        hits: list[Hit] = []
        for layer in list(self.layers):
            if layer.kind not in without:
                with self.lock(layer):
                    hits += layer.query(query)
        hits += self._reader.search(query, with_blobs=False).hits
        self._count(hits)
        return hits

    def derive(self) -> None:
        """Bring the layers that follow from others up to date; each is a new object then."""
        for i, layer in enumerate(self.layers):
            if isinstance(layer, DerivedLayer):
                derived: Any = type(layer).load(layer.save())
                derived.derive(self.layers)
                with self.lock(layer):
                    self.layers[i] = derived

    def release(self) -> None:
        """Write the layers down and let another one write to the file; questions are answered until `close`."""
        if not self._is_released:
            self._is_released = True
            super().close()

    def close(self) -> None:
        """Write the layers down and release the file."""
        self._reader.close()  # first: the last one to close takes the log into the file, which a reader cannot
        self.release()
