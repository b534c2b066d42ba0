"""Which thing each segment of a frame is, which things were carried elsewhere, and which two were one all along."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from embmem.maps.association import associate, duplicates
from embmem.maps.identity.features import TOUCH, Compared, compare, compare_each, things
from embmem.maps.identity.model import ELSEWHERE, N_FEATURES, IdentityModel
from embmem.maps.identity.operations import OperationLog, merge
from embmem.maps.identity.table import ThingTable
from embmem.maps.segments import Segments
from embmem.maps.sightings import INSIDE, shapes
from embmem.observation import Observation

_MOST_LOOKS = 50  # in a mean: a thing whose look changes is followed
_MOST_VOTES = 20  # by which a category can lead
_PUSHED = 0.1  # [m] beyond half its size that a thing must have moved to have left its place


@dataclass(frozen=True, eq=False)
class Frame:
    """The segments of one frame in an order that does not depend on how they are numbered."""

    stamp: float  # [s]
    segments: Segments
    category: Int[np.ndarray, " n"]
    looks: Float32[np.ndarray, "n d"]  # unit embeddings, 0 without; d = 0 if the frame brings none

    def compared(self) -> Compared:
        """The segments to be compared with things."""
        s, n = self.segments, len(self.segments)
        return Compared(s.position, s.box, self.category, s.is_cut, s.distance, np.zeros(n), np.full(n, self.stamp))


@dataclass(frozen=True, eq=False)
class Matches:
    """Pairs of a row of the table and a segment, one to one."""

    rows: Int[np.ndarray, " k"]
    columns: Int[np.ndarray, " k"]
    scores: Float[np.ndarray, " k"]  # log-odds
    is_moved: Bool[np.ndarray, " k"]  # carried elsewhere


def read_frame(observation: Observation, segments: Segments, category: Int[np.ndarray, " n"]) -> Frame:
    """The frame with its segments ordered by category and place.

    Raises:
        ValueError: if its embeddings are not vectors of one length.
    """
    order = np.lexsort((*segments.box[:, 1].T, *segments.box[:, 0].T, *segments.position.T, category))
    segments = segments.ordered(order)
    embeddings = observation.embeddings or {}
    shapes_given = {np.shape(vector) for vector in embeddings.values()}
    if len(shapes_given) > 1 or any(len(shape) != 1 for shape in shapes_given):
        raise ValueError(f"embeddings must be vectors of one length, got shapes {sorted(shapes_given)}")
    dim = next(iter(shapes_given))[0] if shapes_given else 0
    looks = np.zeros((len(segments), dim), dtype=np.float32)
    for row, number in enumerate(segments.number.tolist()):
        if number in embeddings:
            vector = np.asarray(embeddings[number], dtype=np.float64)
            looks[row] = vector / np.linalg.norm(vector)
    return Frame(observation.stamp, segments, category[order], looks)


def match(table: ThingTable, model: IdentityModel, frame: Frame, *, gate: float) -> Matches:
    """The one-to-one assignment of greatest total gain in log-odds; what gains nothing stays unmatched."""
    features, regime = compare(things(table.rows), frame.compared(), (table.looks, frame.looks), gate=gate)
    scores = model.log_odds(features, regime)
    gains = model.gains(scores, regime)
    rows, columns = associate_gains(gains)
    is_moved = regime[rows, columns] == ELSEWHERE
    return Matches(rows, columns, scores[rows, columns], is_moved)


def associate_gains(gains: Float[np.ndarray, "n m"]) -> tuple[Int[np.ndarray, " k"], Int[np.ndarray, " k"]]:
    """(rows, columns) of the one-to-one assignment of greatest total gain, without the pairs that gain nothing."""
    worth = np.asarray(gains > 0)
    rows, columns = associate(np.where(worth.any(axis=1, keepdims=True) & worth.any(axis=0), -gains, np.inf))
    is_worth = gains[rows, columns] > 0
    return rows[is_worth], columns[is_worth]


def leave_places(table: ThingTable, matches: Matches, frame: Frame) -> None:
    """What was pushed out of its box starts anew at its place: the mean of two places is none."""
    stay = ~matches.is_moved
    rows, columns = matches.rows[stay], matches.columns[stay]
    old, new = table.rows["box"][rows], frame.segments.box[columns]
    gap = np.maximum(np.maximum(old[:, 0] - new[:, 1], new[:, 0] - old[:, 1]), 0.0)
    distance = np.linalg.norm(table.rows["position"][rows] - frame.segments.position[columns], axis=1)
    half = 0.5 * np.maximum(old[:, 1] - old[:, 0], new[:, 1] - new[:, 0]).max(axis=1)
    is_pushed = (gap > 0).any(axis=1) & (distance > half + _PUSHED) & ~frame.segments.is_cut[columns]
    at, by = rows[is_pushed], columns[is_pushed]
    table.leave(at)
    table.rows["position"][at], table.rows["box"][at] = frame.segments.position[by], frame.segments.box[by]
    table.rows["weight"][at], table.rows["here_since"][at] = 0.0, frame.stamp


def vote(table: ThingTable, rows: Int[np.ndarray, " k"], categories: Int[np.ndarray, " k"]) -> None:
    """Count what the detector says; the category of most sightings wins (Boyer and Moore's majority vote)."""
    lead, category = table.rows["lead"][rows], table.rows["category"][rows]
    lead = np.minimum(lead + np.where(category == categories, 1, -1), _MOST_VOTES)
    is_lost = lead < 0
    table.rows["category"][rows] = np.where(is_lost, categories, category)
    table.rows["lead"][rows] = np.where(is_lost, 1, lead)


def add_looks(table: ThingTable, rows: Int[np.ndarray, " k"], looks: Float32[np.ndarray, "k d"]) -> None:
    """Put the looks of sightings into the running means of their things."""
    known = looks.any(axis=1)
    if not known.any():
        return
    rows, looks = rows[known], looks[known]
    table.widen(looks.shape[1])
    n = np.minimum(table.rows["n_looks"][rows] + 1, _MOST_LOOKS)
    table.looks[rows] += (looks - table.looks[rows]) / n[:, None].astype(np.float32)
    table.rows["n_looks"][rows] += 1


def side_by_side(table: ThingTable, rows: Int[np.ndarray, " k"]) -> None:
    """Remember that the things of one frame are different ones."""
    ids = np.sort(table.rows["id"][rows])
    first, second = np.triu_indices(len(ids), k=1)
    is_new = ~table.are_apart(ids[first], ids[second])
    table.keep_apart(np.stack([ids[first], ids[second]], axis=1)[is_new])


def unexplained(semantic: np.ndarray, frame: Frame, columns: Int[np.ndarray, " k"]) -> np.ndarray:
    """The semantic image with -1 on the segments `columns`: what is surely another thing hides no absence."""
    segments = frame.segments
    if len(columns) == 0:
        return semantic
    is_explained = np.zeros(len(segments.row_of), dtype=np.bool_)
    is_explained[np.isin(segments.row_of, columns)] = True
    return np.where(is_explained[segments.image], np.int32(-1), semantic)


def merge_all(
    table: ThingTable, log: OperationLog, pairs: Int[np.ndarray, "k 2"], scores: Float[np.ndarray, " k"], most: float
) -> list[tuple[int, int]]:
    """Merge pairs of ids, surest first, except those seen in one frame; returns (id that stays, id that is gone)."""
    merged = []
    for at in np.argsort(-scores, kind="stable").tolist():
        is_there = np.isin(pairs[at], table.rows["id"]).all()
        if is_there and not table.are_apart(pairs[at, :1], pairs[at, 1:])[0]:
            a, b = sorted(pairs[at].tolist())
            merge(table, log, (a, b), gate=TOUCH, score=float(scores[at]), most=most)
            merged.append((a, b))
    return merged


def returned(
    table: ThingTable, model: IdentityModel, missed: Int[np.ndarray, " k"], *, gate: float
) -> tuple[Int[np.ndarray, "p 2"], Float[np.ndarray, " p"]]:
    """(pairs of ids, log-odds) of things that were just missed at their place and have turned up elsewhere.

    Such a thing was seen at its new place for the first time after it was last seen at the old one.
    """
    pairs, features, regime = returned_pairs(table, missed, gate=gate)
    scores = model.log_odds(features, regime)
    olds, i = np.unique(pairs[:, 0], return_inverse=True)
    news, j = np.unique(pairs[:, 1], return_inverse=True)
    gains = np.zeros((len(olds), len(news)))
    gains[i.ravel(), j.ravel()] = model.gains(scores[:, None], regime[:, None])[:, 0]
    rows, columns = associate_gains(gains)
    table_of = np.full(gains.shape, -np.inf)
    table_of[i.ravel(), j.ravel()] = scores
    return np.stack([olds[rows], news[columns]], axis=1), table_of[rows, columns]


def returned_pairs(
    table: ThingTable, missed: Int[np.ndarray, " k"], *, gate: float
) -> tuple[Int[np.ndarray, "p 2"], Float[np.ndarray, "p f"], Int[np.ndarray, " p"]]:
    """(pairs of ids, features, regime) of a missed thing and one of its category that was seen only afterwards."""
    rows = table.rows
    if len(missed) == 0:
        return np.zeros((0, 2), np.int64), np.zeros((0, N_FEATURES), np.float64), np.zeros(0, np.int64)
    later = rows["first_seen"][None] > rows["last_seen"][missed][:, None]
    is_other = np.arange(len(rows))[None] != missed[:, None]  # stamps of a later session may be the smaller ones
    i, new = np.nonzero(later & is_other & (rows["category"][None] == rows["category"][missed][:, None]))
    old = missed[i]
    is_open = ~table.are_apart(rows["id"][old], rows["id"][new])
    old, new = old[is_open], new[is_open]
    looks = (table.looks[old], table.looks[new])
    features, regime = compare_each(things(rows[old]), things(rows[new]), looks, gate=gate)
    return np.stack([rows["id"][old], rows["id"][new]], axis=1), features, regime


def same_place(
    table: ThingTable, model: IdentityModel, seen: Int[np.ndarray, " k"], *, gate: float
) -> tuple[Int[np.ndarray, "p 2"], Float[np.ndarray, " p"]]:
    """(pairs of ids, log-odds) of unseen things that lie within one that was just seen, and are that one."""
    is_seen = np.zeros(len(table), dtype=np.bool_)
    is_seen[seen] = True
    of = duplicates(shapes(table.rows), is_seen, INSIDE)
    old = np.flatnonzero(of >= 0)
    new = of[old]
    rows, looks = table.rows, (table.looks[old], table.looks[new])
    part = things(rows[new])._replace(is_cut=np.ones(len(new), np.bool_))  # one may be a part of the other
    scores = model.log_odds(*compare_each(things(rows[old]), part, looks, gate=gate))
    is_one = (scores > model.least_here) & ~table.are_apart(rows["id"][old], rows["id"][new])
    return np.stack([rows["id"][old], rows["id"][new]], axis=1)[is_one], scores[is_one]
