"""Where things are: one entry a thing, and how sure the memory is that it is still there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float, Int, Integer

from embmem.errors import InputError
from embmem.geometry import invert_pose
from embmem.maps.absence import missing
from embmem.maps.association import associate, pair_costs
from embmem.maps.identity import operations, recognise
from embmem.maps.identity.features import TOUCH
from embmem.maps.identity.files import log_from_state, log_to_arrays, table_from_state, table_to_arrays
from embmem.maps.identity.model import IdentityModel
from embmem.maps.identity.table import ThingTable
from embmem.maps.object_answers import best_things, thing_hit
from embmem.maps.object_rows import confidence, decoded_names, encoded_names, things_of
from embmem.maps.object_settings import NUMBERS, UNDOABLE, arguments_of
from embmem.maps.segments import Segments, find_segments
from embmem.maps.sightings import absorb_duplicates, confirmed, new_rows, shapes, thickened
from embmem.maps.states import check_header, checked_array
from embmem.observation import Observation
from embmem.protocols import Deformation, LayerState
from embmem.records import Hit, Query

BACKGROUND = ("unlabelled", "wall", "floor", "ceiling", "door frame", "door")
_MARGIN = 0.1  # [m] in front of a thing that does not hide it
_THIN = 0.04  # [m] what was seen from one side may be flat; no thinner, it could not be missed
_SURE = 2.0  # log-odds of a match from which its segment hides no absence of another thing


class ObjectMemory:
    """Remembers each thing with category, place, extent, when it was seen, and a confidence that it is there.

    A segment belongs to the remembered thing of its category within `gate` plus half the thing's size, one to one.
    Seeing a thing adds `hit` to the log-odds of its existence, looking at its place unhindered without seeing it adds
    `miss`. With the numbers given one sighting leaves a confidence of .40, two .65, and a thing that is surely there
    is doubted after five looks at its empty place. What was seen once and then missed is dropped; what was seen more
    often stays, however doubtful, because it answers when it was last seen.

    With `identity` a segment is the thing that a fitted model finds likeliest by category, boxes, place and look. A
    thing that was carried elsewhere keeps its id, and its earlier places are kept. `merge`, `split` and the model's own
    merges can be undone. Things that were seen in one frame never become one.
    """

    kind: ClassVar[str] = "objects"
    version: ClassVar[int] = 2

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
        identity: IdentityModel | None = None,
        undoable: int = UNDOABLE,
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
            identity: recognises things across views and after they were moved; by category and distance if not given.
            undoable: merges and splits that are kept to be undone.
        """
        if min_pixels < 1 or not (max_range > 0 and gate > 0):
            raise ValueError(f"need min_pixels >= 1, max_range, gate > 0, got {min_pixels}, {max_range}, {gate}")
        if not (-np.inf < low <= prior <= high < np.inf and miss < 0 < hit):
            raise ValueError(f"need low <= prior <= high and miss < 0 < hit, got {low, prior, high, miss, hit}")
        if undoable < 1:
            raise ValueError(f"need undoable >= 1, got {undoable}")
        self.min_pixels, self.max_range, self.gate = min_pixels, max_range, gate
        self.prior, self.hit, self.miss, self.low, self.high = prior, hit, miss, low, high
        self.background = tuple(background)
        self.identity = identity
        self.categories: list[str] = []
        self.table = ThingTable()
        self._log = operations.OperationLog(undoable)
        self.seen_now: dict[int, int] = {}  # thing by number in the instance image of the last frame
        self._labels: tuple[str, ...] | None = None  # of the last observation, with what follows from them:
        self._is_thing = np.zeros(0, dtype=np.bool_)  # by label
        self._category_of = np.zeros(0, dtype=np.int64)  # by label
        self._label_of = np.zeros(0, dtype=np.int64)  # by category, -1 = not among the labels

    def __len__(self) -> int:
        """Number of things, doubtful ones included."""
        return len(self.table)

    def things(self) -> np.ndarray:
        """(n,) every thing as a row of `object_rows.THING`, ids ascending; a copy. `category` indexes `categories`.

        `position` [m] is the median of what was seen of it, `box` [m] the lowest and highest corner, `confidence` the
        probability that it is where it is remembered, `here_since` [s] when it was first seen there.
        """
        return things_of(self.table.rows)

    def places_left(self, thing: int | None = None) -> np.ndarray:
        """(h,) the places that a thing (all things without) has left, as rows of `object_rows.PLACE`, oldest first."""
        places = self.table.places
        return (places if thing is None else places[places["thing"] == thing]).copy()

    def look(self, thing: int) -> Float[np.ndarray, " d"] | None:
        """The mean of the unit embeddings of a thing; None if it was never seen with one.

        Raises:
            ValueError: if there is no such thing.
        """
        at = self.table.index(thing)
        return self.table.looks[at].copy() if self.table.rows["n_looks"][at] else None

    def operations(self) -> list[operations.Operation]:
        """The merges and splits that can be undone, oldest first."""
        return list(self._log.entries)

    def merge(self, a: int, b: int) -> int:
        """Make things `a` and `b` one, under the smaller id; returns the operation, for `undo`.

        Raises:
            ValueError: if they are not two things, or were seen in one frame.
        """
        return operations.merge(self.table, self._log, (a, b), gate=self.gate)

    def split(self, thing: int, at: np.ndarray) -> int:
        """Make what lay nearest to `at` [m] a thing of its own; returns the operation, for `undo`.

        That is a place that the thing has left, or a part of its box. The two will never be merged again.

        Raises:
            ValueError: if there is no such thing, or `at` is not finite or where the thing is.
        """
        at = np.asarray(at, dtype=np.float64)
        if at.shape != (3,) or not np.isfinite(at).all():
            raise ValueError(f"at must be three finite numbers, got {at.tolist()}")
        return operations.split(self.table, self._log, thing, at)

    def undo(self, operation: int) -> None:
        """Take a merge or split back; its id is given again. If nothing was seen since, the memory is as it was.

        What was seen of the two since goes to the one that it is nearer to. The model may merge the two again, which
        `keep_apart` prevents.

        Raises:
            ValueError: if there is no such operation, or a later one about the same things must be undone first.
        """
        operations.undo(self.table, self._log, operation, gate=self.gate)

    def keep_apart(self, a: int, b: int) -> None:
        """Never merge things `a` and `b`.

        Raises:
            ValueError: if they are not two things.
        """
        if self.table.index(a) == self.table.index(b):
            raise ValueError(f"thing {a} cannot be kept apart from itself")
        self.table.keep_apart(np.array([[a, b]]))

    def observe(self, observation: Observation) -> None:
        """Learn from one frame; nothing happens without depth or semantic image.

        Raises:
            ValueError: if it brings embeddings of another length than before, to a memory that compares them.
        """
        if observation.semantic is None or observation.depth is None:
            return
        frame = self.read(observation)
        if self.identity is None:
            self._observe_by_distance(observation, frame.segments)
        else:
            self._observe_by_identity(observation, frame, self.identity)

    def read(self, observation: Observation) -> recognise.Frame:
        """The segments of a frame as this memory sees them.

        Raises:
            ValueError: if it brings embeddings of another length than before, to a memory that compares them.
        """
        self._read_labels(observation.labels)
        segments = find_segments(observation, self._is_thing, min_pixels=self.min_pixels, max_range=self.max_range)
        categories = self._category_of[segments.label]
        if self.identity is None:
            return recognise.Frame(observation.stamp, segments, categories, np.zeros((len(segments), 0), np.float32))
        frame = recognise.read_frame(observation, segments, categories)
        dims = {frame.looks.shape[1], self.table.looks.shape[1]} - {0}
        if len(dims) > 1:
            raise ValueError(f"embeddings must keep one length, got {sorted(dims)} from one memory's frames")
        return frame

    def _observe_by_distance(self, observation: Observation, segments: Segments) -> None:
        """Each segment is the nearest thing of its category."""
        table, categories = self.table, self._category_of[segments.label]
        costs = pair_costs(shapes(table.rows), (segments.position, segments.box, categories), self.gate, TOUCH)
        seen, columns = associate(costs)
        table.rows[seen] = confirmed(table.rows[seen], segments, columns, stamp=observation.stamp)
        self._believe(seen)
        ids = np.full(len(segments), -1)
        ids[columns] = table.rows["id"][seen]
        self._doubt(observation, seen, np.asarray(observation.semantic))
        self._drop(absorb_duplicates(table, seen))
        new = np.flatnonzero(ids < 0)
        ids[new] = self._append(segments, categories, new, observation.stamp)
        self.seen_now = dict(zip(segments.number.tolist(), ids.tolist(), strict=True))

    def _observe_by_identity(self, observation: Observation, frame: recognise.Frame, model: IdentityModel) -> None:
        """Each segment is the thing that the model finds likeliest."""
        table, segments = self.table, frame.segments
        found = recognise.match(table, model, frame, gate=self.gate)
        recognise.leave_places(table, found, frame)
        stay = ~found.is_moved
        seen, columns = found.rows[stay], found.columns[stay]
        table.rows[seen] = confirmed(table.rows[seen], segments, columns, stamp=frame.stamp)
        self._believe(seen)
        recognise.vote(table, seen, frame.category[columns])
        semantic = recognise.unexplained(np.asarray(observation.semantic), frame, found.columns[found.scores >= _SURE])
        missed = table.rows["id"][self._doubt(observation, seen, semantic)]
        ids = np.full(len(segments), -1)
        ids[columns] = table.rows["id"][seen]
        moved = np.stack([table.rows["id"][found.rows[~stay]], found.columns[~stay]], axis=1)
        new = np.flatnonzero(ids < 0)
        ids[new] = self._append(segments, frame.category, new, frame.stamp)
        at = np.searchsorted(table.rows["id"], ids)
        recognise.add_looks(table, at, frame.looks)
        recognise.side_by_side(table, at)
        moved[:, 1] = ids[moved[:, 1]]
        self._merge(moved, found.scores[~stay], ids)
        self._merge(*recognise.same_place(table, model, self._rows_of(ids), gate=self.gate), ids)
        self._merge(*recognise.returned(table, model, self._rows_of(missed), gate=self.gate), ids)
        self._drop(np.zeros(len(table), dtype=np.bool_))
        self.seen_now = dict(zip(segments.number.tolist(), ids.tolist(), strict=True))

    def _merge(
        self, pairs: Int[np.ndarray, "k 2"], scores: Float[np.ndarray, " k"], ids: Int[np.ndarray, " n"]
    ) -> None:
        """Merge what was recognised; `ids` of the frame follow."""
        for kept, other in recognise.merge_all(self.table, self._log, pairs, scores, min(_SURE, self.high)):
            ids[ids == other] = kept

    def _rows_of(self, ids: Int[np.ndarray, " n"]) -> Int[np.ndarray, " k"]:
        """The rows of those of the ids that are still there."""
        return np.flatnonzero(np.isin(self.table.rows["id"], ids))

    def _believe(self, seen: Int[np.ndarray, " k"]) -> None:
        """Positive evidence."""
        self.table.rows["log_odds"][seen] = np.minimum(self.table.rows["log_odds"][seen] + self.hit, self.high)

    def _drop(self, is_over: Bool[np.ndarray, " n"]) -> None:
        """Forget these rows, and those that were seen once and are refuted."""
        rows = self.table.rows
        is_over = is_over | ((rows["times_seen"] < 2) & (rows["log_odds"] <= self.low))
        if is_over.any():
            self.table.drop(is_over)

    def query(self, query: Query) -> list[Hit]:
        """Things of the category `query.entity` (all without), last seen in the time asked for, surest first.

        The score is the confidence; with `near` it is divided by 1 + the distance [m]. Ties: seen last, then newest.
        `text` and `embedding` get no answer.
        """
        if query.place is not None or query.kind not in (None, self.kind):
            return []
        if query.text is not None or query.embedding is not None:
            return []
        category = None if query.entity is None else self._category(query.entity)
        return best_things(self.table.rows, query, category, self._hit)

    def count(self, category: str, min_confidence: float = 0.5) -> int:
        """How many things of the category are believed to be there."""
        rows = self.table.rows
        is_sure = confidence(rows["log_odds"]) >= min_confidence
        return int(np.count_nonzero((rows["category"] == self._category(category)) & is_sure))

    def tick(self, stamp: float) -> None:
        """Time alone changes nothing: only an empty place speaks against a thing."""

    def deform(self, deformation: Deformation) -> None:
        """Move every thing, and every place that one has left, with the keyframe nearest to its last sighting there."""
        self.table.deform(deformation)
        self._log.deform(deformation)

    def stats(self) -> dict[str, float]:
        """Things, those believed to be there, their categories, operations that can be undone, bytes of RAM."""
        confident = confidence(self.table.rows["log_odds"]) >= 0.5
        by_label = sum(a.nbytes for a in (self._is_thing, self._category_of, self._label_of))
        n_bytes = self.table.n_bytes + self._log.n_bytes + by_label
        return {
            "things": float(len(self.table.rows)),
            "confident": float(np.count_nonzero(confident)),
            "categories": float(len(np.unique(self.table.rows["category"][confident]))),
            "operations": float(len(self._log.entries)),
            "bytes": float(n_bytes + sum(map(len, self.categories))),
        }

    def save(self) -> LayerState:
        """The whole table, and the operations that can be undone."""
        params = {**{name: getattr(self, name) for name in NUMBERS}, "background": list(self.background)}
        if self.identity is not None:
            params["identity"] = self.identity.to_params()
        if self._log.capacity != UNDOABLE:
            params["undoable"] = self._log.capacity
        arrays = {**table_to_arrays(self.table), **log_to_arrays(self._log)}
        return LayerState(self.kind, self.version, params, {**arrays, "categories": encoded_names(self.categories)})

    @classmethod
    def load(cls, state: LayerState) -> ObjectMemory:
        """The memory that was saved.

        Raises:
            InputError: if the state is of another kind, a newer version or malformed.
        """
        check_header(state, cls.kind, cls.version)
        try:
            memory = cls(**arguments_of(state))
        except ValueError as error:
            raise InputError(f"layer {cls.kind!r}: {error}") from error
        memory.categories = decoded_names(checked_array(state, "categories", np.uint8, (None,)))
        n_categories = len(memory.categories)
        memory.table = table_from_state(state, n_categories)
        memory._log = log_from_state(state, memory._log.capacity, memory.table, n_categories)
        tables = [memory.table.rows]
        tables += [side.rows for entry in memory._log.entries for side in (entry.before, entry.after)]
        log_odds = np.concatenate([rows["log_odds"] for rows in tables])
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

    def _doubt(
        self, observation: Observation, seen: Int[np.ndarray, " k"], semantic: Integer[np.ndarray, "h w"]
    ) -> Int[np.ndarray, " m"]:
        """Negative evidence for what should have been seen; returns its rows."""
        rows = self.table.rows
        unseen = np.ones(len(rows), dtype=np.bool_)
        unseen[seen] = False
        at = np.flatnonzero(unseen)
        if len(at) == 0:
            return at
        k, box = observation.intrinsics, rows["box"][at]
        is_missing = missing(
            box if self.identity is None else thickened(box, _THIN),
            self._label_of[rows["category"][at]],
            (np.ascontiguousarray(observation.depth, dtype=np.float32), np.ascontiguousarray(semantic, dtype=np.int32)),
            (float(k.fx), float(k.fy), float(k.cx), float(k.cy)),
            invert_pose(observation.T_map_camera),
            (2.0 * self.min_pixels, self.max_range, _MARGIN),
        )
        gone = at[is_missing]
        rows["log_odds"][gone] = np.maximum(rows["log_odds"][gone] + self.miss, self.low)
        rows["times_missed"][gone] += 1
        return gone

    def _append(
        self, segments: Segments, categories: Int[np.ndarray, " n"], columns: Int[np.ndarray, " k"], stamp: float
    ) -> Int[np.ndarray, " k"]:
        """Remember the segments `columns` as new things; returns their ids."""
        rows = new_rows(segments, columns, stamp=stamp)
        rows["category"] = categories[columns]
        rows["log_odds"] = np.clip(self.prior + self.hit, self.low, self.high)
        self.table.append(rows, np.zeros((len(rows), 0), dtype=np.float32))
        return rows["id"]

    def _hit(self, row: np.void, sureness: float) -> Hit:
        return thing_hit(row, self.categories[row["category"]], sureness, self.kind)
