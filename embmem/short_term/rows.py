"""The table under the short-term memory: one row an object, numbers in arrays, words in an inverted index."""

from __future__ import annotations

import json
import sys

import numpy as np
from jaxtyping import Bool, Float, Int

from embmem.records import Link, Record

ROW = np.dtype(
    [
        ("position", "<f8", 3),  # [m] anchor frame, NaN = unknown
        ("T_anchor_obs", "<f8", (4, 4)),  # of the newest sighting that had one, NaN = unknown
        ("first_seen", "<f8"),  # [s]
        ("last_seen", "<f8"),  # [s]
        ("count", "<i8"),  # sightings
        ("confidence", "<f8"),
        ("valid", "<f8", 2),
        ("norm", "<f8"),  # of the embedding, 0 = none
        ("arrival", "<i8"),  # ascending in order of coming in, -1 = the row is free
    ]
)
INDEXED = ("kind", "source", "place", "entities", "keys")  # fields of the details that rows are found by
WORD_BYTES, ROW_BYTES = 400, 60  # RAM of an indexed word and of a row under it, measured on CPython 3.11


class Rows:
    """At most `capacity` objects by key. Checks nothing: `ShortTermMemory` checks what comes in."""

    def __init__(self, capacity: int) -> None:
        self.table = np.zeros(capacity, dtype=ROW)
        self.table["arrival"] = -1
        self.embedding: np.ndarray | None = None  # (capacity, d) float32, once d is known
        self.row_of: dict[str, int] = {}
        self.key_of: list[str] = [""] * capacity
        self._details: list[str] = [""] * capacity  # JSON: small, immutable, and as it is saved
        self._rows_by: dict[tuple[str, str], dict[int, None]] = {}
        self._free = list(range(capacity - 1, -1, -1))
        self._n_arrived = 0

    def __len__(self) -> int:
        return len(self.row_of)

    @property
    def is_used(self) -> Bool[np.ndarray, " capacity"]:
        """True where a row holds an object."""
        return self.table["arrival"] >= 0

    @property
    def n_dimensions(self) -> int | None:
        """Of the embeddings; None before the first."""
        return None if self.embedding is None else int(self.embedding.shape[1])

    def in_order(self) -> Int[np.ndarray, " n"]:
        """The rows in order of arrival."""
        used = np.flatnonzero(self.is_used)
        return used[np.argsort(self.table["arrival"][used])]

    def add(self, key: str, record: Record, details: str, T_anchor_map: Float[np.ndarray, "4 4"]) -> None:
        """A row for a new object; there must be room."""
        row = self._free.pop()
        self.table[row] = np.nan, np.nan, record.t_event, record.t_event, 1, 0.0, 0.0, 0.0, self._n_arrived
        self._n_arrived += 1
        self.row_of[key], self.key_of[row] = row, key
        self._write(row, record, details, T_anchor_map)

    def sight(self, key: str, record: Record, details: str, T_anchor_map: Float[np.ndarray, "4 4"]) -> None:
        """Another sighting of a held object: the newest in event time tells its state, all of them count."""
        at = self.table[self.row_of[key]]
        at["count"] += 1
        at["first_seen"] = min(at["first_seen"], record.t_event)
        if record.t_event >= at["last_seen"]:
            at["last_seen"] = record.t_event
            self._write(self.row_of[key], record, details, T_anchor_map)

    def drop(self, key: str) -> None:
        """Free the row of a held object."""
        row = self.row_of.pop(key)
        self._index(row, held=False)
        self._details[row], self.key_of[row] = "", ""
        self.table["arrival"][row] = -1
        self._free.append(row)

    def record(self, row: int, T_map_anchor: Float[np.ndarray, "4 4"]) -> Record:
        """The object as a record, in the map frame; its stamp is that of the newest sighting."""
        at, details = self.table[row], json.loads(self._details[row])
        pose = None if np.isnan(at["T_anchor_obs"][0, 0]) else T_map_anchor @ at["T_anchor_obs"]
        position = None if np.isnan(at["position"][0]) else T_map_anchor[:3, :3] @ at["position"] + T_map_anchor[:3, 3]
        has_embedding = self.embedding is not None and at["norm"] > 0
        return Record(
            kind=details["kind"], t_event=float(at["last_seen"]), source=details["source"], id=details["id"],
            t_ingest=details["t_ingest"], place=details["place"], T_map_obs=pose, position=position,
            entities=tuple(details["entities"]), keys=tuple(details["keys"]), text=details["text"],
            embedding=self.embedding[row].copy() if has_embedding else None,  # type: ignore[index]
            payload=details["payload"], confidence=float(at["confidence"]),
            valid=(float(at["valid"][0]), float(at["valid"][1])),
            links=tuple(Link(relation, to) for relation, to in details["links"]),
        )  # fmt: skip

    def matching(self, field: str, word: str) -> Bool[np.ndarray, " capacity"]:
        """True for the rows whose details hold the word."""
        mask = np.zeros(len(self.table), dtype=np.bool_)
        rows = self._rows_by.get((field, word), {})
        mask[np.fromiter(rows, dtype=np.int64, count=len(rows))] = True
        return mask

    def cosine(self, embedding: Float[np.ndarray, " d"]) -> Float[np.ndarray, " capacity"]:
        """Of every row with an embedding; -inf where there is none. Equal rows get equal values."""
        values = np.full(len(self.table), -np.inf)
        if self.embedding is None:
            return values
        known = self.is_used & (self.table["norm"] > 0)
        unit = (embedding / np.linalg.norm(embedding)).astype(np.float32)
        # einsum and not BLAS, whose sums depend on where in the matrix a row stands.
        products = np.einsum("nd,d->n", self.embedding[known], unit)
        values[known] = np.clip(products / self.table["norm"][known], -1.0, 1.0)
        return values

    def neighbour_cosine(self, rows: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n-1"]:
        """Of each row with the next one; -inf where either has no embedding."""
        norm = self.table["norm"][rows]
        known = (norm[:-1] > 0) & (norm[1:] > 0)
        if self.embedding is None or not known.any():
            return np.full(max(len(rows) - 1, 0), -np.inf)
        unit = self.embedding[rows] / np.where(norm > 0, norm, 1.0)[:, None]
        return np.where(known, np.clip(np.einsum("nd,nd->n", unit[:-1], unit[1:]), -1.0, 1.0), -np.inf)

    def absorb(self, stays: int, goes: int) -> None:
        """Let one row stand for two: means weighted by sightings, the earlier stamps, the sum of the sightings."""
        one, other = self.table[stays], self.table[goes]
        share = other["count"] / (one["count"] + other["count"])
        if np.isnan(one["position"][0]):
            one["position"] = other["position"]
        elif not np.isnan(other["position"][0]):
            one["position"] = (1.0 - share) * one["position"] + share * other["position"]
        if self.embedding is not None and one["norm"] > 0 and other["norm"] > 0:
            mean = (1.0 - share) * self.embedding[stays] + share * self.embedding[goes]
            if mean.any():  # opposite vectors cancel out
                self.write_embedding(stays, mean)
        for stamp in ("first_seen", "last_seen"):
            one[stamp] = min(one[stamp], other[stamp])
        one["count"] += other["count"]

    def fill(self, keys: list[str], details: list[str], table: np.ndarray, embedding: np.ndarray) -> None:
        """Take saved rows in order of arrival into an empty table; `embedding` of size 0 = none was ever held."""
        n = len(keys)
        table["arrival"] = np.arange(n)
        self.table[:n] = table
        self._n_arrived, self._free = n, self._free[: len(self._free) - n]
        if embedding.shape[1]:
            self.embedding = np.zeros((len(self.table), embedding.shape[1]), dtype=np.float32)
        for row, key in enumerate(keys):
            self.row_of[key], self.key_of[row], self._details[row] = row, key, details[row]
            self._index(row, held=True)
            if embedding[row].any():
                self.write_embedding(row, embedding[row])

    def details(self, row: int) -> str:
        """The words of a row as JSON in ASCII."""
        return self._details[row]

    def n_bytes(self) -> int:
        """RAM of the arrays, the words and their index."""
        arrays = self.table.nbytes + (0 if self.embedding is None else self.embedding.nbytes)
        words = sum(map(sys.getsizeof, self._details)) + sum(map(sys.getsizeof, self.row_of))
        n_under_words = sum(map(len, self._rows_by.values()))
        return arrays + words + WORD_BYTES * len(self._rows_by) + ROW_BYTES * (n_under_words + len(self.row_of))

    def _write(self, row: int, record: Record, details: str, T_anchor_map: np.ndarray) -> None:
        at = self.table[row]
        at["confidence"], at["valid"] = record.confidence, record.valid
        if record.where is not None:
            at["position"] = T_anchor_map[:3, :3] @ record.where + T_anchor_map[:3, 3]
        if record.T_map_obs is not None:
            at["T_anchor_obs"] = T_anchor_map @ record.T_map_obs
        if record.embedding is not None:
            self.write_embedding(row, record.embedding)
        self._index(row, held=False)
        self._details[row] = details
        self._index(row, held=True)

    def write_embedding(self, row: int, embedding: Float[np.ndarray, " d"]) -> None:
        """Replace the embedding of a row."""
        if self.embedding is None:
            self.embedding = np.zeros((len(self.table), len(embedding)), dtype=np.float32)
        self.embedding[row] = embedding
        self.table["norm"][row] = np.linalg.norm(self.embedding[row].astype(np.float64))

    def _index(self, row: int, *, held: bool) -> None:
        if not self._details[row]:
            return
        details = json.loads(self._details[row])
        for field in INDEXED:
            value = details[field]
            for word in value if isinstance(value, list) else [value]:
                if word is None:
                    continue
                rows = self._rows_by.setdefault((field, word), {})
                if held:
                    rows[row] = None
                else:
                    rows.pop(row, None)
                if not rows:
                    del self._rows_by[field, word]
