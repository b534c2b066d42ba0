"""The records of a memory, asked from the command line: they stay in their file, which a robot may be writing."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf import DictConfig

from embmem.cli.settings import numbers, word
from embmem.encoders import TextEncoder
from embmem.errors import MissingExtraError
from embmem.memory import Memory
from embmem.protocols import Answer, Store
from embmem.records import Hit, Query
from embmem.search.context import render_context
from embmem.store import RecordStore
from embmem.store.schema import VERSION, open_read_only

NARROWING = ("kind", "place", "source", "key")
FILTERS = ("near", "since", "until", "as_of", "valid_at", "linked_to", *NARROWING)  # that make a question alone
_SECONDS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_AGO = re.compile(r"(\d+(?:\.\d+)?)(s|m|min|h|d|w)")


def has_layers(path: Path) -> bool:
    """False where a file is a memory of nothing but records, so that no map need be opened."""
    if not is_current(path):
        return True
    with contextlib.closing(open_read_only(path)) as db:
        return bool(db.execute("SELECT EXISTS(SELECT 1 FROM layers)").fetchone()[0])


def is_current(path: Path) -> bool:
    """True for a memory file of this version; what else there is, opening it says."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        header = file.read(100)
    is_database = header[:16] == b"SQLite format 3\x00"
    return is_database and int.from_bytes(header[60:64], "big") == VERSION


@contextlib.contextmanager
def opened(path: Path, memory: Memory | None) -> Iterator[Store]:
    """The records of a file, read where they are, or those of a memory that was read from an older file."""
    if memory is not None and not is_current(path):
        yield memory.store
        return
    with RecordStore(path, read_only=True) as store:
        yield store


def narrowed(cfg: DictConfig, store: Store, **asked: Any) -> Query:
    """A query by what was asked, where and when; `10m` is that long before the newest record."""
    newest = store.read(Query(k=1, with_hidden=True))
    latest = newest[0] if newest else None
    event = 0.0 if latest is None else latest.t_event
    ingest = 0.0 if latest is None or latest.t_ingest is None else latest.t_ingest
    words: dict[str, Any] = {name: None if cfg[name] is None else word(cfg, name) for name in NARROWING}
    return Query(
        **asked, **words,
        near=None if cfg.near is None else numbers(cfg, "near", 3), radius=float(cfg.radius),
        since=moment(cfg, "since", event, -math.inf), until=moment(cfg, "until", event, math.inf),
        as_of=None if cfg.as_of is None else moment(cfg, "as_of", ingest, math.inf),
        valid_at=None if cfg.valid_at is None else moment(cfg, "valid_at", event, math.inf),
        linked_to=cfg.linked_to, hops=cfg.hops, min_confidence=float(cfg.min_confidence), k=cfg.k,
    )  # fmt: skip


def moment(cfg: DictConfig, name: str, newest: float, default: float) -> float:
    """The setting `name` as a stamp [s]: a number is one, `10m` or `2h` is that long before `newest`.

    Raises:
        ValueError: if it is neither.
    """
    value = cfg[name]
    if value is None:
        return default
    if type(value) in (int, float) and not math.isnan(value):
        return float(value)
    ago = _AGO.fullmatch(value) if isinstance(value, str) else None
    if ago is None:
        raise ValueError(f"{name} must be a stamp [s] or a time ago such as 90s, 10m, 2h, 3d or 1w, got {value!r}")
    return newest - float(ago[1]) * _SECONDS[ago[2]]


def embedding_of(cfg: DictConfig, text: str, *, is_needed: bool) -> tuple[np.ndarray | None, str | None]:
    """The words as the encoder sees them, or why not."""
    if not is_needed:
        return None, None
    try:
        encode: TextEncoder = instantiate(cfg.encoder)
    except HydraException as error:  # which wraps what the constructor raised
        if not isinstance(error.__cause__, MissingExtraError):
            raise
        return None, f"compared by words alone: {error.__cause__}"
    return encode([text])[0], None


def embedding_length(store: Store) -> int:
    """Of the embeddings that a store holds; 0 if it holds none."""
    if not isinstance(store, RecordStore):
        return 0
    with store.reading() as db:
        row = db.execute("SELECT length(data) FROM vectors LIMIT 1").fetchone()
    return row[0] // 2 if row else 0


def answered(cfg: DictConfig, store: Store, query: Query) -> dict[str, Any]:
    """What the records say, as it is shown."""
    answer = store.search(query)
    shown: dict[str, Any] = {"is_found": bool(answer.hits)}
    if answer.abstained is not None:
        shown["no_answer"] = answer.abstained
    if cfg.context is not None:
        shown["context"] = _context(cfg, store, answer)
    else:
        shown["records"] = [_row(hit) for hit in answer.hits]
    if cfg.explain:
        shown["plan"] = [{"step": line} for line in answer.plan]
    return shown


def _context(cfg: DictConfig, store: Store, answer: Answer) -> str:
    """What a language model is given."""
    if type(cfg.context) is not int or cfg.context < 1:
        raise ValueError(f"context must be a number of tokens, got {cfg.context!r}")
    newest = store.read(Query(k=1, with_hidden=True))
    now = newest[0].t_event if newest else 0.0
    return render_context(answer.hits, budget_tokens=cfg.context, now=now, abstained=answer.abstained).text


def _row(hit: Hit) -> dict[str, Any]:
    record = hit.record
    if record is None:
        return {"stamp": hit.stamp, "score": hit.score, "why": hit.why}
    return {
        "id": record.id, "kind": record.kind, "stamp": hit.stamp, "source": record.source, "place": record.place,
        "position": None if hit.position is None else hit.position.tolist(), "entities": list(record.entities) or None,
        "text": record.text or None, "score": hit.score, "why": hit.why, **hit.detail,
    }  # fmt: skip
