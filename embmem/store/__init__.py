"""The record store: append-only, durable, one SQLite file a memory."""

from embmem.store.sqlite import RecordStore

__all__ = ["RecordStore"]
