"""The landmark graph: places as nodes, ways between them as edges, and what is known about both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, ClassVar, NamedTuple

import networkx as nx
import numpy as np
from jaxtyping import Float, Int

from embmem.errors import InputError
from embmem.maps.landmarks import answers, edits, learning, saved
from embmem.maps.landmarks.cells import Cells
from embmem.maps.landmarks.descriptors import describe, normalised
from embmem.maps.landmarks.learning import FARTHEST, Edge, Trail
from embmem.maps.landmarks.localiser import Localiser
from embmem.maps.landmarks.routing import Path, Planner, Pricing, path_of
from embmem.maps.landmarks.tables import Tables, node_rows
from embmem.maps.states import check_header
from embmem.observation import Observation
from embmem.protocols import Deformation, LayerState
from embmem.records import Hit, Query

_HISTORY = 100  # changes that can be undone


class Match(NamedTuple):
    """A place that a view may belong to."""

    id: int
    distance: float  # [m]
    cosine: float  # with its mean descriptor, NaN without one


class LandmarkGraph:
    """Places that were seen and the ways that were taken between them.

    A view founds a new landmark when no other is both within `near` and as alike as `similar` (cosine of normalised
    descriptors; a distance between plain vectors would merge corners that look alike). Otherwise it is folded into
    the mean descriptor of the most alike one. A landmark stays where its first view stood, and moves with the
    keyframe of that time. Going from one to the next makes a directed edge, or confirms it.
    """

    kind: ClassVar[str] = "landmarks"
    version: ClassVar[int] = 1

    def __init__(
        self,
        *,
        near: float = 1.5,
        similar: float = 0.85,
        max_jump: float = 2.0,
        alpha: float = 1.0,
        beta: float = 1.0,
        prior_success: float = 4.0,
        prior_failure: float = 1.0,
        both_ways: bool = True,
        region_size: int = 512,
        instruction_cost: Callable[[Edge], float] | None = None,
    ) -> None:
        """An empty graph.

        Args:
            near: [m] within which a view may belong to a landmark.
            similar: cosine from which on it may.
            max_jump: [m] between two observations that is no way taken (a new session, a kidnapped robot).
            alpha: [1/m] of length in the cost of an edge.
            beta: of the instruction cost in it.
            prior_success: successes that an edge is credited with, see `Pricing`.
            prior_failure: failures that it is charged with.
            both_ways: whether a way taken is also believed to lead back, with no success yet.
            region_size: nodes in a region of the planner.
            instruction_cost: asked once for each new edge; its answers are saved, it is not.
        """
        if not (near >= 1e-3 and max_jump > 0 and -1.0 <= similar <= 1.0) or not np.isfinite([near, max_jump]).all():
            raise ValueError(
                f"need near >= 0.001, max_jump > 0 and similar in [-1, 1], got {near}, {max_jump}, {similar}"
            )
        if region_size < 1:
            raise ValueError(f"region_size must be at least 1, got {region_size}")
        self.near, self.similar, self.max_jump = near, similar, max_jump
        self.pricing = Pricing(alpha, beta, prior_success, prior_failure)
        self.both_ways, self.region_size, self.instruction_cost = both_ways, region_size, instruction_cost
        self.n_skipped = 0  # views without a descriptor, or with one of another length
        self.merged: dict[int, int] = {}  # id that is gone -> id that it went into
        self.tables = Tables()
        self.trail: Trail | None = None
        self.history: list[edits.Change] = []
        self._cells = Cells(near)
        self._planners: dict[bool, Planner] = {}

    def __len__(self) -> int:
        """Number of landmarks."""
        return int(np.count_nonzero(self.tables.nodes["is_alive"]))

    def observe(self, observation: Observation) -> None:
        """Recognise or found a landmark where the camera stands, and learn the way to it."""
        position, stamp = observation.T_map_camera[:3, 3].astype(np.float64), float(observation.stamp)
        trail = learning.moved_on(self.trail, position, stamp, self.max_jump)
        descriptor = describe(observation)
        if descriptor is None or (self.tables.n_nodes and len(descriptor) != self.tables.dim):
            self.n_skipped += 1
            self.trail = trail
            return
        row = self._visit(position, descriptor, stamp)
        if trail.row >= 0 and trail.row != row:
            ways = ((trail.row, row), (row, trail.row))[: 2 if self.both_ways else 1]
            measured = stamp - trail.left, trail.travelled
            self.edges_changed(learning.take(self.tables, ways, measured, self.instruction_cost))
        self.trail = Trail(row, stamp, 0.0, stamp, position)

    def visit(self, position: Float[np.ndarray, "3"], descriptor: Float[np.ndarray, " d"], stamp: float) -> int:
        """The id of the landmark that a view belongs to, founded if there is none; no way is learnt."""
        position = _checked_positions(position[None])[0]
        descriptor = normalised(self._checked_descriptors(descriptor[None]))[0]
        if not np.isfinite(stamp):
            raise ValueError(f"a stamp must be finite, got {stamp}")
        row = self._visit(position, descriptor, float(stamp))
        return int(self.tables.ids[row])

    def add_landmarks(
        self,
        positions: Float[np.ndarray, "n 3"],
        descriptors: Float[np.ndarray, "n d"] | None = None,
        stamps: Float[np.ndarray, " n"] | None = None,
    ) -> Int[np.ndarray, " n"]:
        """Landmarks as they are given, for instance of a street map, without looking for similar ones; their ids."""
        positions = _checked_positions(positions)
        if descriptors is None:
            descriptors = np.zeros((len(positions), 0))
        descriptors = normalised(self._checked_descriptors(descriptors))
        stamps = np.zeros(len(positions)) if stamps is None else stamps
        if not np.isfinite(stamps).all():
            raise ValueError("stamps must be finite")
        rows = self.tables.add_nodes(node_rows(positions, stamps), descriptors)
        self._cells.add(self.tables.nodes["position"])
        return self.tables.ids[rows].copy()

    def connect(
        self,
        pairs: Int[np.ndarray, "m 2"],
        lengths: Float[np.ndarray, " m"],
        instruction: Float[np.ndarray, " m"] | None = None,
    ) -> None:
        """Edges from the first landmark of each pair to the second that nobody took yet.

        Raises:
            ValueError: if a landmark is not there, a pair is joined already, twice among the pairs or one landmark
                with itself, or a number is negative or not finite.
        """
        rows = self.tables.rows_of(pairs)
        learning.join(self.tables, rows, lengths, self.instruction_cost if instruction is None else instruction)

    def record_traversal(
        self, source: int, target: int, *, success: bool, seconds: float | None = None, length: float | None = None
    ) -> None:
        """Learn that an edge was taken or could not be taken.

        Raises:
            ValueError: if there is no such edge, or a number is negative or not finite.
        """
        for name, value in (("seconds", seconds), ("length", length)):
            if value is not None and not (np.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be finite and 0 or more, got {value}")
        row = self._edge(source, target)
        learning.fold_traversal(self.tables.edges, row, success, (seconds, length))
        self.edges_changed([row])

    def set_instruction_cost(self, source: int, target: int, cost: float) -> None:
        """What it costs to tell somebody to take that edge, from a language model for instance.

        Raises:
            ValueError: if there is no such edge, or the cost is negative or not finite.
        """
        row = self._edge(source, target)
        if not (np.isfinite(cost) and cost >= 0):
            raise ValueError(f"an instruction cost must be finite and 0 or more, got {cost}")
        self.tables.edges["instruction"][row] = cost
        self.edges_changed([row])

    def nearest(self, position: Float[np.ndarray, "3"]) -> Match | None:
        """The nearest landmark; None if there is none."""
        nodes = self.tables.nodes
        position = _checked_positions(position[None])[0]
        row, distance = self._cells.nearest(nodes["position"], position, nodes["is_alive"])
        return None if row < 0 else Match(int(self.tables.ids[row]), distance, float(np.nan))

    def match(self, position: Float[np.ndarray, "3"], descriptor: Float[np.ndarray, " d"]) -> Match | None:
        """The most alike landmark that is both near and similar; None if none is."""
        descriptor = normalised(self._checked_descriptors(descriptor[None]))[0]
        position = _checked_positions(position[None])[0]
        row, cosine = learning.matched(self.tables, self._cells, (position, descriptor), (self.near, self.similar))
        if row < 0:
            return None
        distance = float(np.linalg.norm(self.tables.nodes["position"][row] - position))
        return Match(int(self.tables.ids[row]), distance, cosine)

    def shortest_path(self, start: int, goal: int) -> Path | None:
        """The cheapest path by `alpha` * length + `beta` * instruction cost; None if none leads there."""
        return self._path(start, goal, by_risk=False)

    def safest_path(self, start: int, goal: int) -> Path | None:
        """The path that is most probably passable; its cost is -log of that. None if none leads there."""
        return self._path(start, goal, by_risk=True)

    def merge(self, keep: int, gone: int) -> None:
        """Two landmarks are one place: what `gone` knows goes to `keep`, and its edges lead there. See `undo`."""
        if keep == gone:
            raise ValueError(f"landmark {keep} cannot be merged with itself")
        a, b = self.tables.rows_of(np.array([keep, gone])).tolist()
        self._done(edits.merge(self.tables, a, b))
        self.merged[gone] = keep

    def split(
        self,
        landmark: int,
        position: Float[np.ndarray, "3"],
        descriptor: Float[np.ndarray, " d"],
        *,
        share: float = 0.5,
        neighbours: tuple[int, ...] = (),
    ) -> int:
        """A landmark is two places: the id of the second, with that descriptor and `share` of the observations.

        The edges between the landmark and `neighbours` go to it. What is left to the first is its mean without those
        observations. See `undo`.
        """
        position = _checked_positions(position[None])[0]
        descriptor = normalised(self._checked_descriptors(descriptor[None]))[0]
        row = int(self.tables.rows_of(np.array([landmark]))[0])
        others = set(self.tables.rows_of(np.array(neighbours, dtype=np.int64)).tolist())
        change = edits.split(self.tables, row, (position, descriptor, share), others)
        self._cells.add(self.tables.nodes["position"])
        self._done(change)
        return int(self.tables.ids[change.born])

    def prune(self, *, seen_before: float, max_count: int = 1, min_success: float = 0.0) -> int:
        """Forget landmarks seen at most `max_count` times, last before `seen_before` [s], and edges of lower success.

        Returns how many landmarks and edges went. See `undo`.
        """
        nodes, edges = self.tables.nodes, self.tables.edges
        is_old = nodes["is_alive"] & (nodes["last_seen"] < seen_before) & (nodes["count"] <= max_count)
        change = edits.prune(self.tables, is_old, self.pricing.success(edges) < min_success)
        self._done(change)
        return len(change.died) + len(change.edges_before)

    def undo(self) -> str | None:
        """Take back the last merge, split or prune, but not what was learnt since; its name, None if there is none."""
        if not self.history:
            return None
        change = self.history.pop()
        self.edges_changed(edits.undo(self.tables, change))
        ids = self.tables.ids
        if change.name == "merge":
            del self.merged[int(ids[change.died[0]])]
        elif change.born >= 0:
            self.merged[int(ids[change.born])] = int(ids[change.main])
            self._move_trail([change.born], change.main)
        return change.name

    def current_id(self, landmark: int) -> int:
        """The id of the landmark that an id stands for now, after merges."""
        while landmark in self.merged:
            landmark = self.merged[landmark]
        return landmark

    def localiser(self, **options: Any) -> Localiser:
        """A Bayes filter over the landmarks as they are now; the options are those of `Localiser`."""
        return Localiser(self.tables, **options)

    def to_networkx(self) -> nx.DiGraph:
        """A copy with everything as attributes; changing it changes nothing here."""
        return answers.to_networkx(self.tables, self.pricing)

    def query(self, query: Query) -> list[Hit]:
        """Landmarks last seen in the time asked for; most alike to `embedding`, nearest to `near`, else seen most.

        The score is the cosine if there is an `embedding`, else n / (n + 1) for n observations; with `near` it is
        divided by 1 + the distance [m]. Ties: the lower id first. A landmark has no name and no words.
        """
        return answers.hits(self.tables, query, self.kind)

    def tick(self, stamp: float) -> None:
        """Time alone changes nothing; see `prune`."""

    def deform(self, deformation: Deformation) -> None:
        """Move every landmark with the keyframe of its first view; lengths change by what the straight line does."""
        if len(deformation.stamps) == 0:
            return
        nodes, edges = self.tables.nodes, self.tables.edges
        before = learning.crows(nodes, edges)
        T = deformation.at(nodes["anchor"])
        nodes["position"] = np.einsum("nij,nj->ni", T[:, :3, :3], nodes["position"]) + T[:, :3, 3]
        edges["length"] = np.maximum(edges["length"] + (learning.crows(nodes, edges) - before), 0.0)
        if self.trail is not None:
            T = deformation.at(np.array([self.trail.stamp]))[0]
            self.trail = self.trail._replace(position=T[:3, :3] @ self.trail.position + T[:3, 3])
        self._rebuild()

    def stats(self) -> dict[str, float]:
        """Landmarks, edges, views skipped, bytes of RAM, those of the planners among them."""
        planners = sum(planner.routes.stats()["bytes"] for planner in self._planners.values())
        return {
            "landmarks": float(len(self)),
            "edges": float(np.count_nonzero(self.tables.edges["is_alive"])),
            "skipped": float(self.n_skipped),
            "planner_bytes": float(planners),
            "bytes": float(self.tables.nbytes + self._cells.nbytes + planners),
        }

    def save(self) -> LayerState:
        """The living landmarks and edges; what could be undone is settled in the file."""
        params = {name: getattr(self, name) for name in saved.NUMBERS[:4]} | asdict(self.pricing)
        arrays = saved.arrays_of(self.tables, self.trail, self.merged, self.n_skipped)
        return LayerState(self.kind, self.version, params | {"both_ways": self.both_ways}, arrays)

    @classmethod
    def load(cls, state: LayerState) -> LandmarkGraph:
        """The graph that was saved.

        Raises:
            InputError: if the state is of another kind, a newer version or malformed.
        """
        check_header(state, cls.kind, cls.version)
        try:
            graph = cls(**saved.settings_of(state))
        except ValueError as error:
            raise InputError(f"layer {cls.kind!r}: {error}") from error
        graph.tables, graph.trail, graph.merged, graph.n_skipped = saved.from_state(state)
        graph._rebuild()
        return graph

    def edges_changed(self, rows: list[int] | np.ndarray) -> None:
        """Tell the planners that rows of edges cost something else."""
        for planner in self._planners.values():
            planner.edges_changed(rows)

    def planner(self, *, by_risk: bool = False) -> Planner:
        """The planner of one of the two costs; made on first use, which takes seconds for a million landmarks."""
        if by_risk not in self._planners:
            self._planners[by_risk] = Planner(self.tables, self.pricing, by_risk=by_risk, region_size=self.region_size)
        return self._planners[by_risk]

    def _rebuild(self) -> None:
        """Make index and planners anew, after positions have changed."""
        self._planners.clear()
        self._cells = Cells(self.near)
        self._cells.add(self.tables.nodes["position"])

    def _done(self, change: edits.Change) -> None:
        """Remember a change, and tell the trail and the planners."""
        self.history = [*self.history[1 - _HISTORY :], change]
        self._move_trail(change.died, change.main)
        self.edges_changed(change.edges())

    def _move_trail(self, rows: list[int], to: int) -> None:
        if self.trail is not None and self.trail.row in rows:
            self.trail = self.trail._replace(row=to)

    def _visit(self, position: np.ndarray, descriptor: np.ndarray, stamp: float) -> int:
        """The row of the landmark that a view belongs to."""
        row, _ = learning.matched(self.tables, self._cells, (position, descriptor), (self.near, self.similar))
        if row >= 0:
            learning.fold_view(self.tables, row, descriptor, stamp)
            return row
        row = int(self.tables.add_nodes(node_rows(position[None], np.array([stamp])), descriptor[None])[0])
        self._cells.add(self.tables.nodes["position"])
        return row

    def _edge(self, source: int, target: int) -> int:
        row = int(self.tables.find_edges(self.tables.rows_of(np.array([source, target]))[None])[0])
        if row < 0:
            raise ValueError(f"no edge leads from landmark {source} to {target}")
        return row

    def _path(self, start: int, goal: int, *, by_risk: bool) -> Path | None:
        rows = self.tables.rows_of(np.array([start, goal])).tolist()
        nodes, edges, cost = self.planner(by_risk=by_risk).route(*rows)
        return path_of(self.tables, self.pricing, (nodes, edges), cost) if len(nodes) else None

    def _checked_descriptors(self, descriptors: np.ndarray) -> np.ndarray:
        if self.tables.n_nodes and descriptors.shape[1] != self.tables.dim:
            raise ValueError(f"descriptors have {self.tables.dim} numbers here, got {descriptors.shape[1]}")
        return descriptors


def _checked_positions(positions: np.ndarray) -> np.ndarray:
    positions = np.asarray(positions, dtype=np.float64)
    bad = ~(np.abs(positions) <= FARTHEST).all(axis=1)
    if bad.any():
        raise ValueError(f"positions must be finite and within {FARTHEST:g} m, got {positions[bad][0]}")
    return positions
