"""Where things are: one entry a thing, and how sure the memory is that it is still there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np

from embmem.errors import InputError
from embmem.geometry import invert_pose
from embmem.maps.absence import missing
from embmem.maps.association import associate, pair_costs
from embmem.maps.object_rows import ROW, confidence, rows_from_state, rows_to_arrays, things_of
from embmem.maps.segments import Segments, find_segments
from embmem.maps.sightings import absorb_duplicates, confirmed, new_rows, shapes
from embmem.maps.states import check_header, checked_numbers
from embmem.observation import Observation
from embmem.protocols import Deformation, LayerState
from embmem.records import Hit, Query

BACKGROUND = ("unlabelled", "wall", "floor", "ceiling", "door frame", "door")
NUMBERS = ("min_pixels", "max_range", "gate", "prior", "hit", "miss", "low", "high")
_TOUCH = 0.05  # [m] between the boxes of two views of one large thing
_MARGIN = 0.1  # [m] in front of a thing that does not hide it


class ObjectMemory:
    """Remembers each thing with category, place, extent, when it was seen, and a confidence that it is there.

    A segment belongs to the remembered thing of its category within `gate` plus half the thing's size, one to one.
    Seeing a thing adds `hit` to the log-odds of its existence, looking at its place unhindered without seeing it adds
    `miss`. With the numbers given one sighting leaves a confidence of .40, two .65, and a thing that is surely there
    is doubted after five looks at its empty place. What was seen once and then missed is dropped; what was seen more
    often stays, however doubtful, because it answers when it was last seen.
    """

    kind: ClassVar[str] = "objects"
    version: ClassVar[int] = 1

    def __init__(
        self,
        *,
        min_pixels: int = 12,
        max_range: float = 5.0,
        gate: float = 0.3,
        prior: float = -1.4,
        hit: float = 1.0,
        miss: float = -0.8,
        low: float = -2.0,
        high: float = 3.5,
        background: Sequence[str] = BACKGROUND,
    ) -> None:
        """An empty memory.

        Args:
            min_pixels: segments with fewer pixels are not looked at; absence needs twice as many.
            max_range: [m] of sightings.
            gate: [m] around a thing within which a segment may be the same thing.
            prior: log-odds of existence before the first sighting.
            hit: log-odds of a sighting.
            miss: log-odds of an absence.
            low: clamp of the log-odds.
            high: clamp of the log-odds.
            background: labels that are no things.
        """
        if min_pixels < 1 or not (max_range > 0 and gate > 0):
            raise ValueError(f"need min_pixels >= 1, max_range, gate > 0, got {min_pixels}, {max_range}, {gate}")
        if not (-np.inf < low <= prior <= high < np.inf and miss < 0 < hit):
            raise ValueError(f"need low <= prior <= high and miss < 0 < hit, got {low, prior, high, miss, hit}")
        self.min_pixels, self.max_range, self.gate = min_pixels, max_range, gate
        self.prior, self.hit, self.miss, self.low, self.high = prior, hit, miss, low, high
        self.background = tuple(background)
        self.categories: list[str] = []
        self._rows = np.zeros(0, dtype=ROW)
        self._next_id = 0
        self._labels: tuple[str, ...] | None = None  # of the last observation, with what follows from them:
        self._is_thing = np.zeros(0, dtype=np.bool_)  # by label
        self._category_of = np.zeros(0, dtype=np.int64)  # by label
        self._label_of = np.zeros(0, dtype=np.int64)  # by category, -1 = not among the labels

    def __len__(self) -> int:
        """Number of things, doubtful ones included."""
        return len(self._rows)

    def things(self) -> np.ndarray:
        """(n,) every thing as a row of `object_rows.THING`, ids ascending; a copy. `category` indexes `categories`.

        `position` [m] is the median of what was seen of it, `box` [m] the lowest and highest corner, `confidence` the
        probability that it is where it is remembered.
        """
        return things_of(self._rows)

    def observe(self, observation: Observation) -> None:
        """Learn from one frame; nothing happens without depth or semantic image."""
        if observation.semantic is None or observation.depth is None:
            return
        self._read_labels(observation.labels)
        segments = find_segments(observation, self._is_thing, min_pixels=self.min_pixels, max_range=self.max_range)
        categories = self._category_of[segments.label]
        seen, columns = self._match(segments, categories)
        self._rows[seen] = confirmed(self._rows[seen], segments, columns, stamp=observation.stamp)
        self._rows["log_odds"][seen] = np.minimum(self._rows["log_odds"][seen] + self.hit, self.high)
        self._doubt(observation, seen)
        is_duplicate = absorb_duplicates(self._rows, seen)
        is_refuted = (self._rows["times_seen"] < 2) & (self._rows["log_odds"] <= self.low)
        is_over = is_duplicate | is_refuted
        if is_over.any():
            self._rows = self._rows[~is_over]
        is_new = np.ones(len(segments), dtype=np.bool_)
        is_new[columns] = False
        if is_new.any():
            self._append(segments, categories, np.flatnonzero(is_new), observation.stamp)

    def query(self, query: Query) -> list[Hit]:
        """Things of the category `query.entity` (all without), last seen in the time asked for, surest first.

        The score is the confidence; with `near` it is divided by 1 + the distance [m]. Ties: seen last, then newest.
        A thing has no embedding: `text` and `embedding` get no answer.
        """
        if query.place is not None or query.kind not in (None, self.kind):
            return []
        if query.text is not None or query.embedding is not None:
            return []
        rows = self._rows
        match = (query.since <= rows["last_seen"]) & (rows["last_seen"] < query.until)
        if query.entity is not None:
            match &= rows["category"] == self._category(query.entity)
        distance = np.zeros(len(rows))
        if query.near is not None:
            distance = np.linalg.norm(rows["position"] - query.near, axis=1)
            match &= distance <= query.radius
        sureness = confidence(rows["log_odds"])
        score = sureness / (1.0 + distance)
        found = np.flatnonzero(match)
        order = np.lexsort((-rows["id"][found], -rows["last_seen"][found], -score[found]))
        best = found[order][: query.k]
        hits = [self._hit(i, float(sureness[i])) for i in best]
        if query.near is None:
            return hits
        return [
            replace(hit, score=float(score[i]), why=f"{hit.why}, {distance[i]:.2f} m away")
            for i, hit in zip(best, hits, strict=True)
        ]

    def count(self, category: str, min_confidence: float = 0.5) -> int:
        """How many things of the category are believed to be there."""
        sureness = confidence(self._rows["log_odds"])
        return int(
            np.count_nonzero((self._rows["category"] == self._category(category)) & (sureness >= min_confidence))
        )

    def tick(self, stamp: float) -> None:
        """Time alone changes nothing: only an empty place speaks against a thing."""

    def deform(self, deformation: Deformation) -> None:
        """Move every thing with the keyframe nearest to its last sighting."""
        if len(deformation.stamps) == 0 or len(self._rows) == 0:
            return
        T = deformation.at(self._rows["last_seen"])
        R, t = T[:, :3, :3], T[:, :3, 3]
        box = self._rows["box"]
        middle = np.einsum("nij,nj->ni", R, box.mean(axis=1)) + t
        half = np.einsum("nij,nj->ni", np.abs(R), 0.5 * (box[:, 1] - box[:, 0]))
        self._rows["position"] = np.einsum("nij,nj->ni", R, self._rows["position"]) + t
        self._rows["box"] = np.stack([middle - half, middle + half], axis=1)

    def stats(self) -> dict[str, float]:
        """Things, those believed to be there, their categories, bytes of RAM."""
        confident = confidence(self._rows["log_odds"]) >= 0.5
        n_bytes = self._rows.nbytes + sum(a.nbytes for a in (self._is_thing, self._category_of, self._label_of))
        return {
            "things": float(len(self._rows)),
            "confident": float(np.count_nonzero(confident)),
            "categories": float(len(np.unique(self._rows["category"][confident]))),
            "bytes": float(n_bytes + sum(map(len, self.categories))),
        }

    def save(self) -> LayerState:
        """The whole table."""
        params = {**{name: getattr(self, name) for name in NUMBERS}, "background": list(self.background)}
        return LayerState(self.kind, self.version, params, rows_to_arrays(self._rows, self.categories, self._next_id))

    @classmethod
    def load(cls, state: LayerState) -> ObjectMemory:
        """The memory that was saved.

        Raises:
            InputError: if the state is of another kind, a newer version or malformed.
        """
        check_header(state, cls.kind, cls.version)
        params = dict(state.params)
        background = params.pop("background", None)
        if not isinstance(background, list) or not all(isinstance(name, str) for name in background):
            raise InputError(f"the background of layer {cls.kind!r} is not a list of names")
        numbers = checked_numbers(LayerState(state.kind, state.version, params, {}), NUMBERS)
        min_pixels = numbers.pop("min_pixels")
        if min_pixels != int(min_pixels):
            raise InputError(f"min_pixels of layer {cls.kind!r} is {min_pixels}, not a whole number")
        try:
            memory = cls(min_pixels=int(min_pixels), background=background, **numbers)
        except ValueError as error:
            raise InputError(f"layer {cls.kind!r}: {error}") from error
        memory._rows, memory.categories, memory._next_id = rows_from_state(state)
        log_odds = memory._rows["log_odds"]
        if ((log_odds < memory.low) | (log_odds > memory.high)).any():
            raise InputError(f"layer {cls.kind!r} holds log-odds outside its clamps")
        return memory

    def _read_labels(self, labels: tuple[str, ...]) -> None:
        """Translate between the labels of the detector and the categories remembered."""
        if labels is self._labels or labels == self._labels:
            return
        self._labels = labels
        self._is_thing = np.array([name not in self.background for name in labels], dtype=np.bool_)
        self._is_thing[:1] = False  # id 0 is "unlabelled" whatever its name
        known = {name: i for i, name in enumerate(self.categories)}
        for name in labels:
            known.setdefault(name, len(known))
        self.categories = list(known)
        self._category_of = np.array([known[name] for name in labels], dtype=np.int64)
        self._label_of = np.full(len(known), -1, dtype=np.int64)
        things = np.flatnonzero(self._is_thing)
        self._label_of[self._category_of[things]] = things

    def _category(self, name: str) -> int:
        """Index of a category, -1 if it was never heard of; case does not matter."""
        wanted = name.strip().casefold()
        return next((i for i, each in enumerate(self.categories) if each.casefold() == wanted), -1)

    def _match(self, segments: Segments, categories: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(rows, segments) that are the same thing."""
        found = (segments.position, segments.box, categories)
        return associate(pair_costs(shapes(self._rows), found, self.gate, _TOUCH))

    def _doubt(self, observation: Observation, seen: np.ndarray) -> None:
        """Negative evidence for what should have been seen."""
        unseen = np.ones(len(self._rows), dtype=np.bool_)
        unseen[seen] = False
        at = np.flatnonzero(unseen)
        if len(at) == 0:
            return
        k = observation.intrinsics
        semantic = np.ascontiguousarray(observation.semantic, dtype=np.int32)
        is_missing = missing(
            self._rows["box"][at],
            self._label_of[self._rows["category"][at]],
            (np.ascontiguousarray(observation.depth, dtype=np.float32), semantic),
            (float(k.fx), float(k.fy), float(k.cx), float(k.cy)),
            invert_pose(observation.T_map_camera),
            (2.0 * self.min_pixels, self.max_range, _MARGIN),
        )
        gone = at[is_missing]
        self._rows["log_odds"][gone] = np.maximum(self._rows["log_odds"][gone] + self.miss, self.low)
        self._rows["times_missed"][gone] += 1

    def _append(self, segments: Segments, categories: np.ndarray, columns: np.ndarray, stamp: float) -> None:
        """Remember the segments `columns` as new things."""
        rows = new_rows(segments, columns, stamp=stamp)
        rows["id"] = self._next_id + np.arange(len(rows))
        rows["category"] = categories[columns]
        rows["log_odds"] = np.clip(self.prior + self.hit, self.low, self.high)
        self._rows = np.concatenate([self._rows, rows])
        self._next_id += len(rows)

    def _hit(self, index: int | np.integer, sureness: float) -> Hit:
        row = self._rows[index]
        name = self.categories[row["category"]]
        return Hit(
            score=sureness,
            why=f"{name} seen {row['times_seen']} times, missed {row['times_missed']} times",
            layer=self.kind,
            stamp=float(row["last_seen"]),
            position=row["position"].copy(),
            entity=name,
            detail={
                "confidence": sureness,
                "first_seen": float(row["first_seen"]),
                "times_seen": float(row["times_seen"]),
                "times_missed": float(row["times_missed"]),
                "id": float(row["id"]),
                "size": float((row["box"][1] - row["box"][0]).max()),
            },
        )
