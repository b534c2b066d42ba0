"""How things lie to each other, from their boxes: on, in, next to, part of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree

RELATIONS = ("on", "in", "next to", "part of")
ON, IN, NEXT_TO, PART_OF = range(4)


@dataclass(frozen=True)
class RelationRules:
    """Thresholds of the relations; heights and gaps in metres, the rest are shares.

    - A thing is *carried* by furniture if `least_cover` of its footprint lies over that, grown by `margin`, and its
      bottom is not below the furniture's and at most `lift` above its top. It is carried by another thing, a larger
      one, if its bottom is within `stack` of the top of that. Of several the one that covers most counts, to the
      nearest tenth; then the one whose top is nearest to the bottom of the thing.
    - What is carried by nothing so far is carried by the nearest furniture within `front`, seen from above, whose top
      is within `lift` of its bottom: of a counter that is higher than the camera only the front was seen.
    - It is *in* its carrier if that is a container and the bottom lies more than `depth` below its top; else *on* it.
    - Furniture is *part of* furniture of twice its volume that holds `part` of its volume.
    - Two pieces of furniture, or two other things, are *next to* each other if they have the same carrier and room,
      are `beside` apart at most, seen from above, and share heights.
    """

    least_cover: float = 0.5
    margin: float = 0.05
    lift: float = 0.12
    stack: float = 0.04
    front: float = 0.2
    depth: float = 0.1
    part: float = 0.9
    beside: float = 0.3

    def __post_init__(self) -> None:
        if not (0 < self.least_cover <= 1 and 0 < self.part <= 1):
            raise ValueError(f"need least_cover and part in (0, 1], got {self.least_cover} and {self.part}")
        distances = (self.margin, self.lift, self.stack, self.front, self.depth, self.beside)
        if not all(0 <= each < np.inf for each in distances):
            raise ValueError(f"distances must be finite and not negative, got {self}")

    @property
    def gap(self) -> float:
        """[m] between footprints beyond which nothing is related."""
        return max(self.beside, self.margin, self.front)


@dataclass(frozen=True, eq=False)
class Relations:
    """Relations between things by their index: `source` stands in `kind` (of `RELATIONS`) to `target`.

    Sorted by source, target. "next to" goes both ways and is told once, from the lower to the higher.
    """

    source: Int[np.ndarray, " n"]
    target: Int[np.ndarray, " n"]
    kind: Int[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.source)


@dataclass(frozen=True, eq=False)
class Scene:
    """What the relations follow from: boxes, and what is known of each thing."""

    box: Float[np.ndarray, "n 2 3"]  # [m]
    is_furniture: Bool[np.ndarray, " n"]
    is_container: Bool[np.ndarray, " n"]
    room: Int[np.ndarray, " n"]  # -1 = none

    def __len__(self) -> int:
        return len(self.box)

    def reach(self, rules: RelationRules) -> float:
        """[m] between the middles of two things, seen from above, beyond which they have no relation."""
        if len(self) == 0:
            return 0.0
        return float(np.hypot(*np.ptp(self.box[:, :, :2], axis=1).T).max()) + rules.gap


def neighbours(scene: Scene, rules: RelationRules, of: Int[np.ndarray, " m"] | None = None) -> Int[np.ndarray, "p 2"]:
    """Pairs (lower index first) that may be related: footprints at most `rules.gap` apart; sorted.

    Args:
        of: only pairs with one of these.
    """
    centre = scene.box[:, :, :2].mean(axis=1)
    if len(scene) < 2:
        return np.zeros((0, 2), dtype=np.int64)
    tree = cKDTree(centre)
    if of is None:
        pairs = tree.query_pairs(scene.reach(rules), output_type="ndarray").astype(np.int64)
    else:
        found = tree.query_ball_point(centre[of], scene.reach(rules))
        one, other = np.repeat(of, [len(f) for f in found]), np.concatenate([*found, []]).astype(np.int64)
        pairs = np.stack([one, other], axis=1)
        pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    keys = np.unique(pairs.min(axis=1) * len(scene) + pairs.max(axis=1)) if len(pairs) else np.zeros(0, dtype=np.int64)
    pairs = np.stack(np.divmod(keys, len(scene)), axis=1)
    return pairs[_gap(scene.box, pairs[:, 0], pairs[:, 1]) <= rules.gap]


def _gap(box: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """[m] between footprints, 0 where they overlap."""
    apart = np.maximum(np.maximum(box[a, 0, :2] - box[b, 1, :2], box[b, 0, :2] - box[a, 1, :2]), 0.0)
    distance: np.ndarray = np.hypot(apart[:, 0], apart[:, 1])
    return distance


def carriers(scene: Scene, rules: RelationRules, pairs: Int[np.ndarray, "p 2"]) -> Int[np.ndarray, " n"]:
    """The index of what carries each thing, -1 if nothing among the `pairs` does."""
    thing = np.concatenate([pairs[:, 0], pairs[:, 1]])
    other = np.concatenate([pairs[:, 1], pairs[:, 0]])
    keep = ~scene.is_furniture[thing]
    thing, other = thing[keep], other[keep]
    cover, gap = _cover(scene.box, thing, other, rules.margin), _gap(scene.box, thing, other)
    fits, is_front = _can_carry(scene, rules, thing, other, cover, gap)
    above = np.abs(scene.box[thing, 0, 2] - scene.box[other, 1, 2])
    rank = np.where(is_front, 10.0 + gap, -np.round(cover, 1))
    thing, other, above, rank = thing[fits], other[fits], above[fits], rank[fits]
    order = np.lexsort((other, above, rank, thing))
    thing, other = thing[order], other[order]
    found = np.full(len(scene), -1, dtype=np.int64)
    is_first = np.diff(thing, prepend=-1) > 0
    found[thing[is_first]] = other[is_first]
    return found


def _cover(box: np.ndarray, thing: np.ndarray, other: np.ndarray, margin: float) -> np.ndarray:
    """Share of the footprint of each thing that lies over the other's, grown by `margin` [m]."""
    low = np.maximum(box[thing, 0, :2], box[other, 0, :2] - margin)
    high = np.minimum(box[thing, 1, :2], box[other, 1, :2] + margin)
    extent = np.maximum(box[thing, 1, :2] - box[thing, 0, :2], 1e-3)  # [m] also what has no width lies somewhere
    cover: np.ndarray = np.prod(np.clip(np.maximum(high - low, 1e-3 * (high >= low)) / extent, 0.0, 1.0), axis=1)
    return cover


def _can_carry(
    scene: Scene, rules: RelationRules, thing: np.ndarray, other: np.ndarray, cover: np.ndarray, gap: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Whether each other can carry the thing, and whether that is only because the thing lies behind its front."""
    box = scene.box
    area = np.prod(box[:, 1, :2] - box[:, 0, :2], axis=1)
    bottom, floor, top = box[thing, 0, 2], box[other, 0, 2], box[other, 1, 2]
    is_piece = scene.is_furniture[other]
    in_reach = (bottom >= floor - rules.margin) & (bottom <= top + rules.lift)
    is_stacked = (np.abs(bottom - top) <= rules.stack) & (area[other] > area[thing]) & (floor < bottom)
    covers = (cover >= rules.least_cover) & np.where(is_piece, in_reach, is_stacked & (top < box[thing, 1, 2]))
    is_front = ~covers & is_piece & (gap <= rules.front) & (np.abs(bottom - top) <= rules.lift)
    return covers | is_front, is_front


def relate(
    scene: Scene, rules: RelationRules, pairs: Int[np.ndarray, "p 2"], carrier: Int[np.ndarray, " n"]
) -> Relations:
    """All relations among the pairs, given what carries each thing."""
    a, b = pairs[:, 0], pairs[:, 1]
    box = scene.box
    is_carried = (carrier[a] == b) | (carrier[b] == a)
    thing, other = np.where(carrier[a] == b, a, b)[is_carried], np.where(carrier[a] == b, b, a)[is_carried]
    is_in = scene.is_container[other] & (box[other, 1, 2] - box[thing, 0, 2] > rules.depth)
    part, whole = _parts(scene, rules, pairs[~is_carried])
    is_part = np.zeros(len(pairs), dtype=np.bool_)
    is_part[~is_carried] = part >= 0
    shares = np.minimum(box[a, 1, 2], box[b, 1, 2]) > np.maximum(box[a, 0, 2], box[b, 0, 2])
    beside = ~is_carried & ~is_part & shares & (_gap(box, a, b) <= rules.beside)
    beside &= (scene.is_furniture[a] == scene.is_furniture[b]) & (carrier[a] == carrier[b])
    beside &= (scene.room[a] == scene.room[b]) & (scene.room[a] >= 0)
    part, whole = part[part >= 0], whole[part >= 0]
    source = np.concatenate([thing, part, a[beside]])
    target = np.concatenate([other, whole, b[beside]])
    kind = np.concatenate([np.where(is_in, IN, ON), np.full(len(part), PART_OF), np.full(beside.sum(), NEXT_TO)])
    order = np.lexsort((target, source))
    return Relations(source[order], target[order], kind[order].astype(np.int64))


def _parts(scene: Scene, rules: RelationRules, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(part, whole) of each pair, -1 where neither is part of the other."""
    box = scene.box
    volume = np.prod(box[:, 1] - box[:, 0], axis=1)
    a_is_less = volume[pairs[:, 0]] < volume[pairs[:, 1]]
    part = np.where(a_is_less, pairs[:, 0], pairs[:, 1])
    whole = np.where(a_is_less, pairs[:, 1], pairs[:, 0])
    shared = np.minimum(box[part, 1], box[whole, 1]) - np.maximum(box[part, 0], box[whole, 0])
    inside = np.prod(np.maximum(shared, 0.0), axis=1)
    is_part = (inside >= rules.part * volume[part]) & (volume[whole] >= 2.0 * volume[part]) & (volume[part] > 0)
    is_part &= scene.is_furniture[part] & scene.is_furniture[whole]
    return np.where(is_part, part, -1), np.where(is_part, whole, -1)
