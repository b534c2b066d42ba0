"""The relations of all things, and how they follow a change without looking at everything again."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from embmem.maps.scene_graph.relations import RelationRules, Relations, Scene, carriers, neighbours, relate


@dataclass(frozen=True, eq=False)
class Related:
    """Things, by ids that ascend, what carries each of them, and all their relations; all by id."""

    ids: Int[np.ndarray, " n"]
    scene: Scene
    carrier: Int[np.ndarray, " n"]  # id, -1 = none
    relations: Relations  # of ids
    touched: int = 0  # relations that the last update dropped or made, those included that came out the same

    @staticmethod
    def none() -> Related:
        """No things."""
        no, ids = np.zeros(0, dtype=np.bool_), np.zeros(0, dtype=np.int64)
        return Related(ids, Scene(np.zeros((0, 2, 3)), no, no, ids), ids, Relations(ids, ids, ids))


def rows_of(ids: Int[np.ndarray, " n"], wanted: Int[np.ndarray, " m"]) -> Int[np.ndarray, " m"]:
    """The row of each wanted id among the ids, which ascend; -1 where it is not there."""
    if len(ids) == 0:
        return np.full(len(wanted), -1, dtype=np.int64)
    at = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
    return np.where(ids[at] == wanted, at, -1)


def relate_all(ids: Int[np.ndarray, " n"], scene: Scene, rules: RelationRules) -> Related:
    """All relations from scratch."""
    pairs = neighbours(scene, rules)
    carrier = carriers(scene, rules, pairs)
    found = relate(scene, rules, pairs, carrier)
    return _by_id(ids, scene, carrier, found)


def relate_again(old: Related, ids: Int[np.ndarray, " n"], scene: Scene, rules: RelationRules) -> Related:
    """What `relate_all` gives, with only those relations made anew that can have changed.

    What carries a thing depends on the thing and its neighbours; a relation depends on its two things and on what
    carries them. So only the things that changed, came or went and their neighbours, before and after, are looked at
    (the local update of RoboMemory, arXiv 2508.01415, with nearness in place of K hops).
    """
    row_before = rows_of(old.ids, ids)
    is_new = row_before < 0
    is_changed = is_new | ~_same(scene, old.scene, row_before)
    is_kept = np.zeros(len(old.ids), dtype=np.bool_)
    is_kept[row_before[~is_changed]] = True
    left = np.flatnonzero(~is_kept)
    beside_old = old.ids[np.unique(neighbours(old.scene, rules, left))] if len(left) else left
    changed = np.flatnonzero(is_changed)
    beside_new = ids[np.unique(neighbours(scene, rules, changed))] if len(changed) else changed
    affected = np.isin(ids, np.concatenate([beside_old, beside_new, ids[changed]]))
    pairs = neighbours(scene, rules, np.flatnonzero(affected)) if affected.any() else np.zeros((0, 2), dtype=np.int64)
    carrier = np.full(len(ids), -1, dtype=np.int64)
    carrier[~is_new] = rows_of(ids, old.carrier[row_before[~is_new]])
    carrier[affected] = carriers(scene, rules, pairs)[affected]
    fresh = _by_id(ids, scene, carrier, relate(scene, rules, pairs, carrier))
    stays = ~_touches(old.relations, np.concatenate([ids[affected], old.ids[left]]))
    kept = old.relations
    source, target, kind = (
        np.concatenate([getattr(fresh.relations, name), getattr(kept, name)[stays]])
        for name in ("source", "target", "kind")
    )
    order = np.lexsort((target, source))
    relations = Relations(source[order], target[order], kind[order])
    touched = len(fresh.relations) + int((~stays).sum())
    return replace(fresh, relations=relations, touched=touched)


def _same(scene: Scene, old: Scene, row_before: Int[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """Whether each thing is what it was; what was not there is compared with anything."""
    if len(old) == 0:
        return np.zeros(len(scene), dtype=np.bool_)
    boxes: Float[np.ndarray, "n 2 3"] = old.box[row_before]
    same = (scene.box == boxes).all(axis=(1, 2)) & (scene.room == old.room[row_before])
    return (
        same
        & (scene.is_furniture == old.is_furniture[row_before])
        & (scene.is_container == old.is_container[row_before])
    )


def _touches(relations: Relations, ids: Int[np.ndarray, " m"]) -> Bool[np.ndarray, " n"]:
    return np.isin(relations.source, ids) | np.isin(relations.target, ids)


def _by_id(ids: Int[np.ndarray, " n"], scene: Scene, carrier: Int[np.ndarray, " n"], found: Relations) -> Related:
    by_id = np.where(carrier >= 0, ids[carrier], -1) if len(ids) else carrier
    relations = Relations(ids[found.source], ids[found.target], found.kind)
    return Related(ids, scene, by_id, relations, touched=len(found))
