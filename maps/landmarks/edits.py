"""Merge, split and prune on the tables of a landmark graph, each of which can be undone.

A change is undone without losing what was learnt after it: what a row has gained since goes to the row that would
have gained it. Changes must be undone in reverse order.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from embmem.maps.landmarks.tables import Tables, edge_rows, node_rows

COUNTS = ("successes", "failures", "measured", "timed")


@dataclass(eq=False)
class Change:
    """What one merge, split or prune did, in rows of the tables."""

    name: str
    main: int = -1  # the node whose mean changed
    main_before: tuple[int, float, np.ndarray] | None = None  # count, last seen, mean descriptor
    main_after: tuple[int, float, np.ndarray] | None = None
    died: list[int] = field(default_factory=list)  # nodes
    born: int = -1  # node
    born_after: tuple[int, float, np.ndarray] | None = None
    edges_before: dict[int, np.void] = field(default_factory=dict)  # of edges that were there
    edges_after: dict[int, np.void] = field(default_factory=dict)  # of those and of the edges that are new
    origin: dict[int, int] = field(default_factory=dict)  # new edge -> the one it took over from, -1 = none

    def edges(self) -> list[int]:
        """Every edge that it touched."""
        return sorted(self.edges_after)


def merge(tables: Tables, keep: int, gone: int) -> Change:
    """Node `gone` dies; its views and its edges go to `keep`."""
    change = Change("merge", main=keep, main_before=_node(tables, keep), died=[gone])
    for edge in tables.incident(gone):
        _move(tables, edge, (gone, keep), change)
    (n, seen, mean), (m, seen_too, other) = _node(tables, keep), _node(tables, gone)
    _set_node(tables, keep, n + m, max(seen, seen_too), (mean * n + other * m) / (n + m))
    tables.nodes["is_alive"][gone] = False
    change.main_after = _node(tables, keep)
    return _ended(tables, change)


def split(tables: Tables, row: int, part: tuple[np.ndarray, np.ndarray, float], neighbours: set[int]) -> Change:
    """A new node takes `part`, its position, unit descriptor and share of the views, and the edges to `neighbours`.

    Raises:
        ValueError: if there is nothing to share or nothing would be left; nothing has changed then.
    """
    position, descriptor, share = part
    n, seen, mean = _node(tables, row)
    if not 0 < share < 1 or n < 2:
        raise ValueError(f"need 0 < share < 1 and at least two observations to share, got {share} of {n}")
    taken = min(max(round(share * n), 1), n - 1)
    rest = (mean * n - descriptor * taken) / (n - taken)
    if tables.dim and not np.linalg.norm(rest) > 1e-6:
        raise ValueError("nothing is left of the mean without these views; share less")
    rest /= max(float(np.linalg.norm(rest)), 1.0)  # as long as a mean can be, where the views were not in it
    change = Change("split", main=row, main_before=_node(tables, row))
    fresh = node_rows(position[None], tables.nodes["anchor"][[row]])
    fresh["last_seen"], fresh["count"] = seen, taken
    change.born = int(tables.add_nodes(fresh, descriptor[None])[0])
    _set_node(tables, row, n - taken, seen, rest)
    for edge in tables.incident(row):
        if {int(tables.edges["source"][edge]), int(tables.edges["target"][edge])} & neighbours:
            _move(tables, edge, (row, change.born), change)
    length = float(np.linalg.norm(tables.nodes["position"][row] - position))
    both = edge_rows(np.array([[row, change.born], [change.born, row]]), np.full(2, length))
    change.origin.update(dict.fromkeys(tables.add_edges(both).tolist(), -1))
    change.main_after, change.born_after = _node(tables, row), _node(tables, change.born)
    return _ended(tables, change)


def prune(tables: Tables, nodes: np.ndarray, edges: np.ndarray) -> Change:
    """The nodes and edges of two masks die, and the edges of those nodes."""
    loses_end = nodes[tables.edges["source"]] | nodes[tables.edges["target"]]
    is_over = tables.edges["is_alive"] & (loses_end | edges)
    change = Change("prune", died=np.flatnonzero(nodes & tables.nodes["is_alive"]).tolist())
    for edge in np.flatnonzero(is_over).tolist():
        change.edges_before[edge] = tables.edges[edge].copy()
    tables.nodes["is_alive"][nodes], tables.edges["is_alive"][is_over] = False, False
    return _ended(tables, change)


def undo(tables: Tables, change: Change) -> list[int]:
    """Take a change back; the edges that cost something else now."""
    touched = set(change.edges())
    tables.nodes["is_alive"][change.died] = True
    gains = {row: _gain(tables.edges[row], after) for row, after in change.edges_after.items()}
    for row in change.origin:
        tables.edges["is_alive"][row] = False
    for row, before in change.edges_before.items():
        ends = np.array([[before["source"], before["target"]]])
        rival = int(tables.find_edges(ends)[0])
        moved = tables.edges["length"][row] - change.edges_after[row]["length"]
        tables.edges[row] = before
        if gains[row]["measured"] == 0:  # then only a deformation can have changed it
            tables.edges["length"][row] = max(before["length"] + moved, 0.0)
        if rival not in (-1, row):  # learnt anew since
            _add(tables.edges, row, tables.edges[rival].copy())
            tables.edges["is_alive"][rival] = False
            touched.add(rival)
    for row, gain in gains.items():
        heir = change.origin.get(row, row)
        if heir >= 0:
            _add(tables.edges, heir, gain)
    if change.born >= 0:
        leftover = Change("leftover")
        for edge in tables.incident(change.born):
            _move(tables, edge, (change.born, change.main), leftover)
        touched |= set(leftover.edges_before) | set(leftover.origin)
        tables.nodes["is_alive"][change.born] = False
    _restore_main(tables, change)
    return sorted(touched)


def _restore_main(tables: Tables, change: Change) -> None:
    """The main node as it was, with the views that it, and a node split off it, got since."""
    if change.main_before is None or change.main_after is None:
        return
    n, seen, mean = change.main_before
    total, gained = mean * n, 0
    pairs = [(change.main, change.main_after)]
    if change.born_after is not None:
        pairs.append((change.born, change.born_after))
    for row, (m, _, old) in pairs:
        k, last, new = _node(tables, row)
        if k > m:
            total, gained, seen = total + (new * k - old * m), gained + k - m, max(seen, last)
    _set_node(tables, change.main, n + gained, seen, total / (n + gained) if gained else mean)


def _node(tables: Tables, row: int) -> tuple[int, float, np.ndarray]:
    nodes = tables.nodes
    return int(nodes["count"][row]), float(nodes["last_seen"][row]), tables.descriptors[row].astype(np.float64)


def _set_node(tables: Tables, row: int, count: int, last_seen: float, mean: np.ndarray) -> None:
    tables.nodes["count"][row], tables.nodes["last_seen"][row] = count, last_seen
    tables.descriptors[row] = mean


def _ended(tables: Tables, change: Change) -> Change:
    for row in (*change.edges_before, *change.origin):
        change.edges_after[row] = tables.edges[row].copy()
    return change


def _move(tables: Tables, edge: int, swap: tuple[int, int], change: Change) -> None:
    """The edge dies; one with the end `swap[0]` replaced by `swap[1]` takes over, unless that is a loop."""
    if edge not in change.origin:
        change.edges_before.setdefault(edge, tables.edges[edge].copy())
    row = tables.edges[edge].copy()
    tables.edges["is_alive"][edge] = False
    for end in ("source", "target"):
        row[end] = swap[1] if row[end] == swap[0] else row[end]
    if row["source"] == row["target"]:
        return
    there = int(tables.find_edges(np.array([[row["source"], row["target"]]]))[0])
    if there < 0:
        change.origin[int(tables.add_edges(np.array([row]))[0])] = edge
        return
    if there not in change.origin:
        change.edges_before.setdefault(there, tables.edges[there].copy())
    _add(tables.edges, there, row)


def _gain(now: np.void, before: np.void) -> np.void:
    """What a row has learnt since; a length of inf where nothing."""
    gain = before.copy()
    for name in COUNTS:
        gain[name] = now[name] - before[name]
    for name, count in (("length", "measured"), ("seconds", "timed")):
        n = int(gain[count])
        gain[name] = (now[name] * now[count] - before[name] * before[count]) / n if n else np.inf
    gain["instruction"] = now["instruction"] if now["instruction"] != before["instruction"] else np.inf
    return gain


def _add(edges: np.ndarray, row: int, other: np.void) -> None:
    """Put what another row knows into a row; of two lengths that nobody measured, and of costs, the smaller stands."""
    mine = edges[row].copy()
    for name, count in (("length", "measured"), ("seconds", "timed")):
        n, m = int(mine[count]), int(other[count])
        if m:
            mean = (mine[name] * n + other[name] * m) / (n + m)
            edges[name][row] = max(mean, 0.0)  # a deformation between two traversals can take more than there was
        elif n == 0 and name == "length":
            edges[name][row] = min(mine[name], other[name])
    for name in COUNTS:
        edges[name][row] = mine[name] + other[name]
    edges["instruction"][row] = min(mine["instruction"], other["instruction"])
