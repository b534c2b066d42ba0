"""Two things are one, one thing is two: what the table becomes, and how each such decision is taken back.

An operation keeps what the table held about its two things before and after. If nothing happened to them since, undoing
it puts the bytes back; else what was seen since goes to the one of the two that it is nearer to.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from embmem.maps.identity.table import Excerpt, ThingTable, deform_places, ordered_places, places_of
from embmem.maps.sightings import MAX_WEIGHT
from embmem.protocols import Deformation

MERGE, SPLIT = "merge", "split"
_EVIDENCE = ("last_seen", "times_seen", "times_missed", "log_odds")  # what changes when something is seen or missed


@dataclass(frozen=True, eq=False)
class Operation:
    """One decision."""

    id: int
    kind: str  # MERGE or SPLIT
    kept: int  # the thing that is there before and after
    other: int  # the one that was merged into it, or split off it
    stamp: float  # [s] of the newest sighting of the two
    score: float  # log-odds that the decision was made on; 0 for one that was asked for
    is_asked: bool  # not decided by the model
    before: Excerpt
    after: Excerpt


@dataclass(eq=False)
class OperationLog:
    """The newest operations, ids ascending; older ones can no longer be undone."""

    capacity: int = 256
    entries: list[Operation] = field(default_factory=list)
    next_id: int = 0

    def add(self, kind: str, things: tuple[int, int], excerpts: tuple[Excerpt, Excerpt], score: float | None) -> int:
        """The id of a new entry; without a score it was asked for."""
        stamp = float(max(excerpts[0].rows["last_seen"]))
        told = 0.0 if score is None else score
        entry = Operation(self.next_id, kind, *things, stamp, told, score is None, *excerpts)
        self.entries = [*self.entries, entry][-self.capacity :]
        self.next_id += 1
        return entry.id

    @property
    def n_bytes(self) -> int:
        """Bytes of all that is kept to be put back."""
        return sum(excerpt.n_bytes for entry in self.entries for excerpt in (entry.before, entry.after))

    def deform(self, deformation: Deformation) -> None:
        """What is put back by an undo lies where the rest of the map has moved to."""
        for entry in self.entries:
            for excerpt in (entry.before, entry.after):
                deform_places(excerpt.rows, deformation)
                deform_places(excerpt.places, deformation)


def merge(
    table: ThingTable,
    log: OperationLog,
    things: tuple[int, int],
    *,
    gate: float,
    score: float | None = None,
    most: float = 0.0,
) -> int:
    """Make two things one under the smaller id; returns the operation.

    If their boxes lie within `gate` [m] of each other, positions and boxes are fused. Else the thing is where it was
    seen last, and the other place becomes one that it has left. A thing that was recognised elsewhere with `score` is
    there with these log-odds, at most `most`: no false detection looks like a thing that is known.

    Raises:
        ValueError: if they are not two things, or were seen in one frame.
    """
    kept, other = sorted(int(thing) for thing in things)
    a, b = table.index(kept), table.index(other)
    if a == b:
        raise ValueError(f"thing {kept} cannot be merged with itself")
    if table.are_apart(np.array([kept]), np.array([other]))[0]:
        raise ValueError(f"things {kept} and {other} are two: they were seen in one frame, or are kept apart")
    before = table.excerpt((kept, other))
    row, look, left = _fused(before.rows, before.looks, gate)
    places = np.concatenate([before.places, left])
    places["thing"] = kept
    pairs = np.where(before.apart == other, kept, before.apart)
    if score is not None and len(left):
        row["log_odds"] = max(float(row["log_odds"][0]), min(score, most))
    table.replace((kept, other), Excerpt(row, look, ordered_places(places), pairs))
    return log.add(MERGE, (kept, other), (before, table.excerpt((kept, other))), score)


def split(table: ThingTable, log: OperationLog, thing: int, at: Float[np.ndarray, "3"]) -> int:
    """Make what lay nearest to `at` [m] a thing of its own; returns the operation. The two are kept apart.

    If that is a place that the thing has left, the new thing is one that was last seen there; else the present box is
    cut between the thing's position and `at`.

    Raises:
        ValueError: if there is no such thing, or `at` is where the thing is.
    """
    index = table.index(thing)
    before = table.excerpt((thing,))
    new = table.next_id
    rows, places = np.concatenate([before.rows, before.rows]), before.places
    rows["id"][1] = new
    distance = np.linalg.norm(np.concatenate([rows["position"][:1], places["position"]]) - at, axis=1)
    inside = ((rows["box"][0, 0] <= at) & (at <= rows["box"][0, 1])).all()
    if len(places) and not inside and np.argmin(distance) > 0:
        nearest = int(np.argmin(distance)) - 1
        for name in ("position", "box", "first_seen", "last_seen"):
            rows[name][1] = places[name][nearest]
        rows["here_since"][1] = rows["first_seen"][1]
        rows["weight"][1], rows["times_missed"][1] = 1.0, 0
        places = np.delete(places, nearest)
    else:
        _cut(rows, at)
    rows["times_seen"] = np.maximum(1, (rows["times_seen"] + [1, 0]) // 2)
    looks = np.repeat(table.looks[index : index + 1], 2, axis=0)
    table.next_id += 1
    pairs = np.concatenate([before.apart, np.array([[thing, new]], dtype=np.int64)])
    table.replace((thing,), Excerpt(rows, looks, places, pairs))
    return log.add(SPLIT, (thing, new), (before, table.excerpt((thing, new))), None)


def undo(table: ThingTable, log: OperationLog, operation: int, *, gate: float) -> None:
    """Take an operation back. The id of what was split off is given again only if nothing can know it any more.

    Raises:
        ValueError: if there is no such operation, or a later one about the same things must be undone first.
    """
    entry = next((each for each in log.entries if each.id == operation), None)
    if entry is None:
        raise ValueError(f"there is no operation {operation} that could be undone")
    things = {entry.kept, entry.other}
    for later in reversed(log.entries):
        if later.id > operation and things & {later.kept, later.other}:
            raise ValueError(f"operation {later.id} came later, about the same things: undo it first")
    now = table.excerpt(things)
    if not np.array_equal(now.rows["id"], entry.after.rows["id"]):
        raise ValueError(f"a thing of operation {operation} is no longer remembered")
    table.replace(things, _taken_back(entry, now, gate))
    log.entries = [each for each in log.entries if each is not entry]
    if log.next_id == entry.id + 1:  # no later operation
        log.next_id = entry.id
        if entry.kind == SPLIT and table.next_id == entry.other + 1 and _is_untouched(entry, now):
            table.next_id = entry.other


def _taken_back(entry: Operation, now: Excerpt, gate: float) -> Excerpt:
    """What the table should hold about the two things without the operation."""
    after, before = entry.after, entry.before
    new_pairs = now.apart[~_is_in(now.apart, after.apart)]
    if _is_untouched(entry, now):
        return Excerpt(before.rows, before.looks, before.places, np.concatenate([before.apart, new_pairs]))
    if entry.kind == SPLIT:
        row, look, left = _fused(now.rows, now.looks, gate)
        places = np.concatenate([now.places, left])
        places["thing"] = entry.kept
        is_inner = (now.apart == [entry.kept, entry.other]).all(axis=1)
        pairs = np.where(now.apart == entry.other, entry.kept, now.apart)[~is_inner]
        return Excerpt(row, look, places, pairs)
    return _shared_out(entry, now, new_pairs)


def _is_untouched(entry: Operation, now: Excerpt) -> bool:
    """Whether nothing was seen or missed of the two things since."""
    return all(np.array_equal(now.rows[name], entry.after.rows[name]) for name in _EVIDENCE)


def _shared_out(entry: Operation, now: Excerpt, new_pairs: np.ndarray) -> Excerpt:
    """The two things as before their merge; what was seen since goes to the one that was nearer to where it is now."""
    rows, looks = entry.before.rows.copy(), entry.before.looks
    heir = int(np.argmin(np.linalg.norm(rows["position"] - now.rows["position"][0], axis=1)))
    row, old = now.rows[0], entry.after.rows[0]
    is_renamed = row["category"] != old["category"]  # else it is still called what it was before the merge
    names = ("position", "box", "weight", "log_odds", "here_since", "last_seen", "n_looks")
    for name in (*names, "category", "lead") if is_renamed else names:
        rows[name][heir] = row[name]
    for name in ("times_seen", "times_missed"):
        rows[name][heir] += row[name] - old[name]
    if now.looks.shape[1]:
        looks = (
            looks.copy() if looks.shape == (2, now.looks.shape[1]) else np.zeros((2, now.looks.shape[1]), np.float32)
        )
        looks[heir] = now.looks[0]
    known = {place.tobytes() for place in entry.after.places}
    since = now.places[[place.tobytes() not in known for place in now.places]].copy()
    since["thing"] = rows["id"][heir]
    pairs = np.where(new_pairs == entry.kept, rows["id"][heir], new_pairs)
    return Excerpt(
        rows, looks, np.concatenate([entry.before.places, since]), np.concatenate([entry.before.apart, pairs])
    )


def _fused(rows: np.ndarray, looks: np.ndarray, gate: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(row, look, places left) of two rows that are one thing; the id is the first's."""
    new = int(rows["last_seen"][1] >= rows["last_seen"][0])
    old = 1 - new
    row = rows[new : new + 1].copy()
    row["id"] = rows["id"][0]
    row["category"] = rows["category"][int(np.argmax(rows["lead"]))]
    row["lead"] = rows["lead"].max()
    row["first_seen"] = rows["first_seen"].min()
    for name in ("times_seen", "times_missed", "n_looks"):
        row[name] = rows[name].sum()
    gap = np.maximum(rows["box"][0, 0] - rows["box"][1, 1], rows["box"][1, 0] - rows["box"][0, 1])
    left = rows[:0]
    if np.linalg.norm(np.maximum(gap, 0.0)) <= gate:
        share = rows["weight"][old] / max(rows["weight"].sum(), 1e-12)
        row["position"] += share * (rows["position"][old] - row["position"])
        row["box"][0, 0], row["box"][0, 1] = rows["box"][:, 0].min(axis=0), rows["box"][:, 1].max(axis=0)
        row["weight"] = min(rows["weight"].sum(), MAX_WEIGHT)
        row["log_odds"] = rows["log_odds"].max()
        row["here_since"] = rows["here_since"].min()
    else:
        left = rows[old : old + 1]
    n = rows["n_looks"].astype(np.float64)
    look = (n @ looks.astype(np.float64) / max(n.sum(), 1.0)).astype(np.float32)[None]
    return row, look, places_of(left)


def _cut(rows: np.ndarray, at: np.ndarray) -> None:
    """Cut the box of the first row across the axis along which `at` lies farthest from its position."""
    axis = int(np.argmax(np.abs(at - rows["position"][0])))
    middle = 0.5 * (at[axis] + rows["position"][0, axis])
    if at[axis] == rows["position"][0, axis]:
        raise ValueError(f"thing {rows['id'][0]} is at {at.tolist()}: name the place of the other one")
    side = int(at[axis] > middle)  # of the new thing
    rows["box"][0, side, axis] = np.clip(middle, rows["box"][0, 0, axis], rows["box"][0, 1, axis])
    rows["box"][1, 1 - side, axis] = np.clip(middle, rows["box"][1, 0, axis], rows["box"][1, 1, axis])
    rows["position"][1] = np.clip(at, rows["box"][1, 0], rows["box"][1, 1])


def _is_in(pairs: np.ndarray, others: np.ndarray) -> np.ndarray:
    return (pairs[:, None] == others[None]).all(axis=2).any(axis=1)
