"""Embeddings of views: what makes them, and that one memory holds those of one encoder."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from embmem.errors import InputError
from embmem.observation import Intrinsics, Observation
from embmem.records import Record
from embmem.replay.frame_codec import unpack
from embmem.store import RecordStore

EncodeView = Callable[[Observation], np.ndarray | None]  # (d,) float, or None where there is nothing to look at

_ADVICE = "Open it with the encoder that it was made with, or begin another memory"
SAME = 0.99  # cosine of two embeddings of one image by one encoder, on whatever device
_LENGTH = "SELECT length(data) / 2 FROM vectors LIMIT 1"
_NEWEST = """SELECT record_id FROM vectors JOIN records ON id = record_id WHERE kind = 'view'
    ORDER BY record_id DESC LIMIT 1"""


def refuse_other_encoder(store: RecordStore, encode_view: EncodeView) -> None:
    """Compare with what is in a file: the length of its embeddings, and the newest view whose images are there.

    Raises:
        InputError: if embeddings of another encoder are in it.
    """
    with store.reading() as db:
        length, newest = db.execute(_LENGTH).fetchone(), db.execute(_NEWEST).fetchone()
    if length is None:
        return
    said = f"{store.path or ':memory:'} holds embeddings of another encoder"
    black = np.zeros((48, 64, 3), dtype=np.uint8)
    probe = encode_view(Observation(0.0, np.eye(4), Intrinsics.from_fov(64, 48, 75.0), rgb=black))
    if probe is not None and len(probe) != length[0]:
        raise InputError(f"{said}, of {length[0]} numbers; this one gives {len(probe)}. {_ADVICE}")
    view = None if newest is None else store.get([newest[0]])[0]
    frame = None if view is None else _frame_of(store, view)
    if view is None or view.embedding is None or frame is None:
        return
    again = encode_view(unpack(frame))
    if again is None or len(again) != len(view.embedding) or _cosine(again, view.embedding) < SAME:
        raise InputError(f"{said}: that of view {view.id} is not what this one makes of its image. {_ADVICE}")


def _frame_of(store: RecordStore, view: Record) -> Record | None:
    """What the view was made from; None where it was forgotten."""
    frames = store.get([link.to for link in view.links if link.relation == "from"])
    return next((frame for frame in frames if frame.kind == "frame" and frame.blob is not None), None)


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
