"""Questions in words: which voxels match, what things they make up, and whether that is an answer at all."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from embmem.encoders import TextEncoder
from embmem.errors import InputError
from embmem.maps.states import checked_numbers
from embmem.maps.voxels.blocks import BlockPool
from embmem.maps.voxels.meaning.block_lists import BlockLists
from embmem.maps.voxels.meaning.calibration import Calibration
from embmem.maps.voxels.meaning.instances import Instance, cluster, voxel_coordinates
from embmem.maps.voxels.meaning.payload import Payload
from embmem.maps.voxels.meaning.readings import Readings
from embmem.protocols import LayerState
from embmem.records import Hit, Query


@dataclass(frozen=True, eq=False)
class Answer:
    """Things that match, best first; none if nothing scored at least the threshold."""

    instances: list[Instance]
    best_score: float  # of any occupied voxel, however low and wherever; -inf if there is nothing to score


# blocks, cells and scores of voxels, and the best score of any voxel
Matches = tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"], Float[np.ndarray, " n"], float]
_NOTHING: Matches = (np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.int16), np.zeros(0), -np.inf)


class Search:
    """Answers queries by text, embedding or label from the payload of a voxel map.

    A voxel scores the cosine of the query with its prototype, so a query scores every prototype once and looks up the
    voxels of those that pass (a voxel of DynaMem has a feature of its own; Liu et al., ICRA 2025). A query by label
    alone scores the share of the voxel's votes for it, one vote for and one against added; that is its confidence, too.
    """

    def __init__(
        self,
        *,
        encoder: TextEncoder | None = None,
        calibration: Calibration | None = None,
        gap: int = 1,
        min_voxels: int = 2,
    ) -> None:
        """How to search.

        Args:
            encoder: turns `Query.text` into an embedding; it is not saved with a map.
            calibration: when a score is an answer, and how sure it is.
            gap: voxels that may be missing between two parts of one thing, in [0, 7].
            min_voxels: fewer are no thing.
        """
        if not (0 <= gap <= 7 and min_voxels >= 1):
            raise ValueError(f"need 0 <= gap <= 7 and min_voxels >= 1, got {gap}, {min_voxels}")
        self.encoder = encoder
        self.calibration = Calibration() if calibration is None else calibration
        self.gap, self.min_voxels = gap, min_voxels
        self._prototypes, self._labels = BlockLists("prototype"), BlockLists("labels")

    def params(self) -> dict[str, Any]:
        """What a file keeps of it."""
        return {**asdict(self.calibration), "gap": self.gap, "min_voxels": self.min_voxels}

    @classmethod
    def from_params(cls, params: object, kind: str) -> Search:
        """The search that a layer of that kind was saved with, without an encoder.

        Raises:
            InputError: if the parameters are malformed.
        """
        names = ("threshold", "slope", "offset", "gap", "min_voxels")
        if not isinstance(params, dict):
            raise InputError(f"the search of layer {kind!r} is {params!r}")
        numbers = checked_numbers(LayerState(kind, 1, params, {}), names)
        gap, min_voxels = numbers.pop("gap"), numbers.pop("min_voxels")
        if gap != int(gap) or min_voxels != int(min_voxels):
            raise InputError(f"the search of layer {kind!r} has parts of voxels: {params}")
        try:
            return cls(calibration=Calibration(**numbers), gap=int(gap), min_voxels=int(min_voxels))
        except ValueError as error:
            raise InputError(f"layer {kind!r}: {error}") from error

    def find(self, query: Query, pool: BlockPool, payload: Payload, *, resolution: float, epoch: float) -> Answer:
        """The things that match every field of the query that is set, at most `query.k`.

        Args:
            query: what is asked; `near`, `since` and `until` are about whole things, their middle and last sighting.
            pool: the blocks.
            payload: what is kept beside them.
            resolution: edge of a voxel [m].
            epoch: of the map [s].

        Raises:
            ValueError: if there is text but no encoder, or an embedding of the wrong length.
        """
        payload.open_channels(pool)
        if query.text is not None or query.embedding is not None:
            rows, cells, score, best = self._by_embedding(query, pool, payload)
            confidence = self.calibration.confidence
        else:
            rows, cells, score, best = self._by_label(query, pool, payload)
            confidence = _as_it_is
        readings = Readings(pool, payload, rows, cells, epoch)
        if "labels" in payload.channels and query.entity is not None:
            is_named = readings.top_label() == payload.number_of(query.entity)
            rows, cells, score = rows[is_named], cells[is_named], score[is_named]
            readings = Readings(pool, payload, rows, cells, epoch)
        seen = readings.last_seen() if "seen" in payload.channels else pool.stamps[rows]
        numbers = readings.top_label() if "labels" in payload.channels else np.full(len(rows), -1)
        voxels = voxel_coordinates(pool, rows, cells)
        instances = []
        for at in _groups(cluster(pool, rows, cells, self.gap), self.min_voxels):
            most = np.bincount(numbers[at] + 1).argmax() - 1
            instances.append(
                Instance(
                    centre=(voxels[at].mean(axis=0) + 0.5) * resolution,
                    low=voxels[at].min(axis=0) * resolution,
                    high=(voxels[at].max(axis=0) + 1) * resolution,
                    n_voxels=len(at),
                    score=float(score[at].max()),
                    mean_score=float(score[at].mean()),
                    confidence=float(confidence(score[at].max(keepdims=True))[0]),
                    last_seen=float(seen[at].max()),
                    label=payload.names[most] if 0 <= most < len(payload.names) else None,
                )
            )
        return Answer(_narrowed(instances, query), best)

    def _by_embedding(self, query: Query, pool: BlockPool, payload: Payload) -> Matches:
        """Voxels by the cosine of their prototypes, the lower one where text and embedding are both given."""
        table = payload.prototypes
        if table is None or (query.entity is not None and "labels" not in payload.channels):
            return _NOTHING
        scores = np.full(len(table), np.inf, dtype=np.float32)
        if query.text is not None:
            if self.encoder is None:
                raise ValueError("Query.text needs an encoder: set VoxelMap.search.encoder")
            scores = table.scores(self.encoder([query.text])[0])
        if query.embedding is not None:
            scores = np.minimum(scores, table.scores(query.embedding))
        by_id = np.append(np.float32(-np.inf), scores)
        rows, cells, ids, best = self._prototypes.select(pool, by_id, self.calibration.threshold)
        return rows, cells, by_id[ids].astype(np.float64), best

    def _by_label(self, query: Query, pool: BlockPool, payload: Payload) -> Matches:
        """Voxels whose top label is the one asked for, by (votes + 1) / (all votes + 2)."""
        number = -1 if query.entity is None else payload.number_of(query.entity)
        if number < 0 or "labels" not in payload.channels:
            return _NOTHING
        is_asked = np.zeros(len(payload.names) + 1, dtype=np.float32)
        is_asked[number + 1] = 1.0
        rows, cells, _, _ = self._labels.select(pool, is_asked, 1.0)
        votes = pool.channels["labels"][rows, cells, :, 1].astype(np.float64)
        score = (votes.max(axis=1, initial=0.0) + 1.0) / (votes.sum(axis=1) + 2.0)
        return rows, cells, score, float(score.max(initial=-np.inf))


def to_hits(answer: Answer, layer: str) -> list[Hit]:
    """The answer as hits of a layer; their score is that of the best voxel."""
    return [
        Hit(
            score=each.score,
            why=f"{each.n_voxels} voxels score {each.mean_score:.3f} on average, the best {each.score:.3f}",
            layer=layer,
            stamp=each.last_seen,
            position=each.centre,
            entity=each.label,
            detail={
                "confidence": each.confidence,
                "mean_score": each.mean_score,
                "n_voxels": float(each.n_voxels),
                "size": float((each.high - each.low).max()),
            },
        )
        for each in answer.instances
    ]


def _as_it_is(scores: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    return scores


def _groups(numbers: Int[np.ndarray, " n"], least: int) -> list[Int[np.ndarray, " m"]]:
    """The members of each group with at least `least`, in the order of their numbers."""
    order = np.argsort(numbers, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(numbers))[:-1]) if len(numbers) else []
    return [at for at in members if len(at) >= least]


def _narrowed(instances: list[Instance], query: Query) -> list[Instance]:
    """Those near and recent enough, best first; of equal ones the larger, then the one found first."""
    chosen = [each for each in instances if query.since <= each.last_seen < query.until]
    if query.near is not None:
        chosen = [each for each in chosen if np.linalg.norm(each.centre - query.near) <= query.radius]
    return sorted(chosen, key=lambda each: (-each.score, -each.n_voxels))[: query.k]
