"""Loop edges: candidates by where the camera may have been and by what places look like, verified by registration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from jaxtyping import Float
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import dijkstra

from embmem.geometry import rotation_angle, transform_points
from embmem.maps.coarse_alignment import SearchRange
from embmem.maps.pose_graph.appearance import similarity
from embmem.maps.pose_graph.clouds import submap, upright
from embmem.maps.pose_graph.graph import Edge, Keyframe
from embmem.maps.pose_graph.se3 import adjoint, inverse
from embmem.maps.registration import Acceptance, Cloud, FreeSpace, Registration, prepare, register, seen_free

_MAX_SEARCH = 8.0  # [m]


@dataclass(frozen=True)
class LoopSearch:
    """What is looked for and what is believed."""

    min_path: float = 4.0  # [m] of way between two keyframes, else a loop tells nothing new
    reach: float = 2.5  # [m] between cameras that may see the same
    n_candidates: int = 3  # keyframes that are compared with a new one
    spacing: float = 1.0  # [m] of way between two new keyframes for which loops are found
    n_before: int = 4  # keyframes before a new one that are registered with it ...
    n_around: int = 6  # ... and before and after the old one
    min_similarity: float = 0.3
    max_sigma: float = 3.5  # from where odometry and the loops so far have it
    acceptance: Acceptance = field(default_factory=lambda: Acceptance(min_fitness=0.5, max_violation=0.03))

    def __post_init__(self) -> None:
        lengths = (self.min_path, self.reach, self.spacing, self.max_sigma)
        counts = (self.n_candidates, self.n_before, self.n_around)
        if not all(0 < length < np.inf for length in lengths):
            raise ValueError(f"need lengths and max_sigma > 0 and finite, got {self}")
        if not all(isinstance(count, int) and count >= 1 for count in counts):
            raise ValueError(f"need whole counts >= 1, got {self}")


class Uncertainty:
    """How far any keyframe may be from where another one has it: along the surest way through the edges that are on."""

    def __init__(self, keyframes: Sequence[Keyframe], edges: Sequence[Edge]) -> None:
        n = len(keyframes)
        self._positions = np.stack([keyframe.T_map_camera[:3, 3] for keyframe in keyframes])
        used = [edge for edge in edges if edge.is_on]
        noise = np.stack([edge.covariance for edge in used]) if used else np.zeros((0, 6, 6))
        place = np.trace(noise[:, 3:, 3:], axis1=1, axis2=2) if used else np.zeros(0)
        self._place = _least(place, used, n)  # [m^2]
        yaw = np.linalg.eigvalsh(noise[:, :3, :3])[:, -1] if used else np.zeros(0)
        self._yaw = _least(yaw, used, n)  # [rad^2]
        way = np.array([np.linalg.norm(edge.T_i_j[:3, 3]) for edge in used]) + 1e-6
        self._way = _least(way, used, n)  # [m]

    def of(self, k: int) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        """(standard deviation of the place [m], of the heading [rad], way [m]) from k to all; inf if not joined."""
        place, yaw, way = (dijkstra(graph, directed=False, indices=k) for graph in (self._place, self._yaw, self._way))
        # An error of the heading made anywhere between acts on the distance from there.
        extent = np.linalg.norm(self._positions - self._positions[k], axis=1)
        extent[: k + 1] = np.maximum.accumulate(extent[: k + 1][::-1])[::-1]
        return np.sqrt(place + yaw * np.maximum(extent, 0.1) ** 2 / 2.0), np.sqrt(yaw), way

    def within(self, k: int, before: int, after: int) -> Float[np.ndarray, "6 6"]:
        """The covariance that a pose in the submap around k has because odometry drifts within the submap."""
        place, yaw, _ = self.of(k)
        members = slice(max(k - before, 0), k + after + 1)
        joined = np.isfinite(place[members])
        spread = [float(np.mean(np.square(sigma[members][joined]))) for sigma in (yaw, place)]
        return np.diag(np.repeat([spread[0], spread[1] / 3.0], 3))


def find_loops(
    keyframes: Sequence[Keyframe],
    edges: Sequence[Edge],
    new: Sequence[int],
    *,
    voxel: float,
    search: LoopSearch,
) -> list[Edge]:
    """Verified loop edges from the new keyframes to older ones.

    Args:
        keyframes: all of them.
        edges: all of them.
        new: which keyframes to find loops for, ascending.
        voxel: [m] of the clouds.
        search: what is looked for.
    """
    uncertainty = Uncertainty(keyframes, edges)
    way = np.cumsum([0.0, *(np.linalg.norm(_step(a, b)) for a, b in pairwise(keyframes))])
    found: list[Edge] = []
    clouds: dict[tuple[int, ...], Cloud] = {}  # prepared submaps, by their middle and their members
    closed_at = -np.inf
    for j in new:
        if len(keyframes[j].cloud) == 0 or way[j] - closed_at < search.spacing:
            continue
        place, yaw, path = uncertainty.of(j)
        for i in candidates(keyframes, j, place=place, path=path, search=search):
            sigma = float(place[i]), float(yaw[i])
            loop = verify(keyframes, i, j, sigma=sigma, voxel=voxel, search=search, clouds=clouds)
            if loop is not None:
                smear = uncertainty.within(j, search.n_before, 0) + uncertainty.within(
                    i, search.n_around, search.n_around
                )
                found.append(replace(loop, covariance=loop.covariance + smear))
                closed_at = way[j]
                break
    return found


def candidates(
    keyframes: Sequence[Keyframe], j: int, *, place: np.ndarray, path: np.ndarray, search: LoopSearch
) -> list[int]:
    """Earlier keyframes that may see what j sees, the likeliest first, not two neighbours."""
    T = np.stack([keyframe.T_map_camera for keyframe in keyframes[: j + 1]])
    has_cloud = np.array([len(keyframe.cloud) > 0 for keyframe in keyframes[: j + 1]])
    distance = np.linalg.norm(T[:, :3, 3] - T[j, :3, 3], axis=1)
    possible = has_cloud & (path[: j + 1] >= search.min_path) & (distance <= search.reach + 3.0 * place[: j + 1])
    possible[_members(keyframes, j, search.n_before, 0)] = False  # they make up the submap of j
    looks = similarity(keyframes[j].descriptor, np.stack([keyframe.descriptor for keyframe in keyframes[: j + 1]]))
    possible &= looks >= search.min_similarity
    # Where the places are known, near and in the same direction is as good a reason as looking alike.
    turned = np.einsum("ni,i->n", T[:, :3, 2], T[j, :3, 2])
    overlap = np.exp(-0.5 * (distance / search.reach) ** 2) * 0.5 * (1.0 + turned)
    known = np.exp(-place[: j + 1])
    score = looks + known * overlap
    chosen: list[int] = []
    for i in sorted(np.flatnonzero(possible).tolist(), key=lambda k: (-score[k], k)):
        if all(abs(i - other) > search.n_before for other in chosen):
            chosen.append(i)
        if len(chosen) == search.n_candidates:
            break
    return chosen


def verify(
    keyframes: Sequence[Keyframe],
    i: int,
    j: int,
    *,
    sigma: tuple[float, float],
    voxel: float,
    search: LoopSearch,
    clouds: dict[tuple[int, ...], Cloud],
) -> Edge | None:
    """The loop edge from i to j, if what was seen around both fits together; None if not.

    Args:
        keyframes: all of them.
        i: the older one.
        j: the newer one.
        sigma: standard deviations of j's place [m] and heading [rad] as seen from i.
        voxel: [m] of the clouds.
        search: what is believed.
        clouds: submaps that are prepared already; what is made is added.
    """
    ours = _members(keyframes, j, search.n_before, 0)
    theirs = [k for k in _members(keyframes, i, search.n_around, search.n_around) if k < ours[0]]
    level_i, level_j = upright(keyframes[i].T_map_camera), upright(keyframes[j].T_map_camera)
    source, target = (j, *ours), (i, *theirs)
    for key in (source, target):
        if key not in clouds:
            clouds[key] = prepare(submap(keyframes, key[0], key[1:], voxel))
    guess = np.eye(4)
    guess[:3, 3] = keyframes[j].T_map_camera[:3, 3] - keyframes[i].T_map_camera[:3, 3]
    if _reachable(clouds[source], clouds[target], guess, 2.0 * sigma[0] + 2.0 * voxel) < search.acceptance.min_fitness:
        return None
    reach = SearchRange(min(3.0 * sigma[0] + voxel, _MAX_SEARCH), min(3.0 * sigma[1] + 0.02, np.pi))
    is_close = reach.distance < 3.0 * voxel and reach.yaw < 0.1
    found = register(
        clouds[source],
        clouds[target],
        guess,
        voxel=voxel,
        search=None if is_close else reach,
        source_free=_seen_free(keyframes, j, level_j),
        target_free=_seen_free(keyframes, i, level_i),
        acceptance=search.acceptance,
    )
    if not found.is_verified or not _is_likely(found, guess, sigma, search.max_sigma):
        return None
    T_i_j = inverse(level_i) @ found.T_target_source @ level_j
    Ad = adjoint(inverse(level_j))
    noise = np.diag([0.004**2] * 3 + [(0.1 * voxel) ** 2] * 3)  # of the submaps themselves
    return Edge(i, j, T_i_j, Ad @ found.covariance @ Ad.T + noise, kind="loop")


def _least(values: np.ndarray, edges: Sequence[Edge], n: int) -> csr_array:
    """(n, n) the least value of the edges from i to j."""
    ends = np.array([(edge.i, edge.j) for edge in edges], dtype=np.int64).reshape(-1, 2)
    order = np.argsort(values, kind="stable")
    ends, first = np.unique(ends[order], axis=0, return_index=True)
    return coo_array((values[order][first], (ends[:, 0], ends[:, 1])), shape=(n, n)).tocsr()


def _step(a: Keyframe, b: Keyframe) -> np.ndarray:
    step: np.ndarray = b.T_odom_camera[:3, 3] - a.T_odom_camera[:3, 3]
    return step if a.session == b.session else np.zeros(3)


def _members(keyframes: Sequence[Keyframe], middle: int, before: int, after: int) -> list[int]:
    """Keyframes of the same session around one."""
    around = range(max(middle - before, 0), min(middle + after + 1, len(keyframes)))
    return [k for k in around if keyframes[k].session == keyframes[middle].session]


def _is_likely(found: Registration, guess: np.ndarray, sigma: tuple[float, float], limit: float) -> bool:
    """Whether the pose is within so many standard deviations of the guess."""
    shift = float(np.linalg.norm(found.T_target_source[:3, 3] - guess[:3, 3]))
    turn = rotation_angle(found.T_target_source[:3, :3])
    return shift <= limit * sigma[0] + 0.1 and turn <= limit * sigma[1] + 0.05


def _reachable(source: Cloud, target: Cloud, guess: np.ndarray, distance: float) -> float:
    """Share of the source that can lie on the target if the guess is so far off."""
    if len(source.points) == 0 or len(target.points) == 0:
        return 0.0
    some = transform_points(guess, source.points[:: max(len(source.points) // 300, 1)])
    return float(np.isfinite(target.tree.query(some, distance_upper_bound=distance)[0]).mean())


def _seen_free(keyframes: Sequence[Keyframe], k: int, level: np.ndarray) -> FreeSpace:
    return seen_free(transform_points(level, keyframes[k].points()))
