"""Relations from boxes: worked scenes, and the local update against the full one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from embmem.maps.scene_graph.related import Related, relate_again, relate_all, rows_of
from embmem.maps.scene_graph.relations import RELATIONS, RelationRules, Scene, neighbours

RULES = RelationRules()


def scene_of(*rows: tuple[float, float, float, float, float, float, str, int]) -> Scene:
    """x0 y0 z0 x1 y1 z1, "f"urniture and "c"ontainer flags, room."""
    box = np.array([row[:6] for row in rows], dtype=np.float64).reshape(-1, 2, 3)
    flags = [row[6] for row in rows]
    furniture, container = (np.array([c in flag for flag in flags], dtype=np.bool_) for c in "fc")
    return Scene(box, furniture, container, np.array([row[7] for row in rows], dtype=np.int64))


def told(related: Related) -> set[tuple[int, str, int]]:
    r = related.relations
    return {(int(s), RELATIONS[k], int(t)) for s, k, t in zip(r.source, r.kind, r.target, strict=True)}


def test_a_table_with_things_a_shelf_and_a_chair() -> None:
    scene = scene_of(
        (0.0, 0.0, 0.00, 1.6, 0.8, 0.75, "f", 0),  # 0 table
        (0.2, 0.2, 0.75, 0.3, 0.3, 0.85, "", 0),  # 1 mug on it
        (0.4, 0.2, 0.76, 0.8, 0.5, 0.80, "", 0),  # 2 laptop on it, beside the mug
        (0.5, 0.3, 0.81, 0.6, 0.4, 0.86, "", 0),  # 3 keys on the laptop
        (1.7, 0.0, 0.00, 2.6, 0.3, 1.45, "fc", 0),  # 4 shelf beside the table
        (1.8, 0.1, 0.45, 1.95, 0.2, 0.7, "", 0),  # 5 book in it
        (2.1, 0.1, 1.45, 2.2, 0.2, 1.6, "", 0),  # 6 vase on it
        (0.3, 0.9, 0.00, 0.7, 1.3, 0.85, "f", 1),  # 7 chair beside the table, in another room
    )
    assert told(relate_all(np.arange(8), scene, RULES)) == {
        (1, "on", 0), (2, "on", 0), (3, "on", 2), (1, "next to", 2), (5, "in", 4), (6, "on", 4), (0, "next to", 4),
    }  # fmt: skip


def test_a_drawer_is_part_of_its_dresser() -> None:
    scene = scene_of((0, 0, 0, 1, 0.5, 0.8, "fc", 0), (0.1, 0, 0.2, 0.9, 0.5, 0.4, "f", 0))
    assert told(relate_all(np.arange(2), scene, RULES)) == {(1, "part of", 0)}


numbers = st.integers(0, 2**32 - 1)


def random_scene(rng: np.random.Generator, n: int, side: float) -> Scene:
    low = np.round(rng.uniform(0, [side, side, 1.0], (n, 3)), 1)
    size = np.round(rng.uniform(0.1, [1.0, 1.0, 1.0], (n, 3)), 1)
    return Scene(np.stack([low, low + size], axis=1), rng.random(n) < 0.4, rng.random(n) < 0.3, rng.integers(-1, 3, n))


@given(numbers, st.integers(0, 25))
def test_pairs_are_those_that_brute_force_finds(seed: int, n: int) -> None:
    scene = random_scene(np.random.default_rng(seed), n, 4.0)
    pairs = set()
    for i in range(n):
        for j in range(i + 1, n):
            gap = np.maximum(scene.box[i, 0] - scene.box[j, 1], scene.box[j, 0] - scene.box[i, 1])[:2]
            if np.hypot(*np.maximum(gap, 0.0)) <= RULES.beside:
                pairs.add((i, j))
    assert {(int(a), int(b)) for a, b in neighbours(scene, RULES)} == pairs
    some = np.arange(0, n, 3)
    expected = {pair for pair in pairs if set(pair) & set(some.tolist())}
    assert {(int(a), int(b)) for a, b in neighbours(scene, RULES, some)} == expected


@settings(max_examples=150)
@given(numbers)
def test_the_local_update_equals_the_full_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ids = np.sort(rng.choice(60, rng.integers(0, 30), replace=False))
    scene = random_scene(rng, len(ids), 5.0)
    related = relate_all(ids, scene, RULES)
    for _ in range(4):
        stay = rng.random(len(ids)) < 0.9
        new = np.setdiff1d(rng.choice(60, rng.integers(0, 4), replace=False), ids)
        ids = np.sort(np.concatenate([ids[stay], new]))
        fresh = random_scene(rng, len(ids), 5.0)
        before = rows_of(related.ids, ids)
        was = before >= 0
        take = was & (rng.random(len(ids)) < 0.8)  # the rest moves, becomes something else or changes its room
        scene = fresh
        for name in ("box", "is_furniture", "is_container", "room"):
            values = getattr(scene, name)
            values[take] = getattr(related.scene, name)[before[take]]
        related = relate_again(related, ids, scene, RULES)
        full = relate_all(ids, scene, RULES)
        assert told(related) == told(full)
        np.testing.assert_array_equal(related.carrier, full.carrier)
        for name in ("source", "target", "kind"):
            np.testing.assert_array_equal(getattr(related.relations, name), getattr(full.relations, name))


@given(numbers, st.integers(1, 25))
def test_carriers_make_a_forest_and_everything_is_carried_once(seed: int, n: int) -> None:
    related = relate_all(np.arange(n), random_scene(np.random.default_rng(seed), n, 3.0), RULES)
    carried = [s for s, kind, _ in told(related) if kind in ("on", "in")]
    assert len(carried) == len(set(carried))
    for thing in range(n):
        seen = set()
        at = thing
        while at >= 0:
            assert at not in seen
            seen.add(at)
            at = int(related.carrier[at])


def test_one_moved_thing_touches_its_surroundings_only() -> None:
    touched = []
    for side in (10.0, 40.0):
        rng = np.random.default_rng(0)
        n = int(side**2)
        scene = random_scene(rng, n, side)
        scene.room[:] = 0
        related = relate_all(np.arange(n), scene, RULES)
        box = scene.box.copy()
        box[n // 2] += [0.4, 0.0, 0.0]
        again = relate_again(related, np.arange(n), replace(scene, box=box), RULES)
        touched.append(again.touched)
        assert again.touched < 80
    assert len(related.relations) > 10 * max(touched)
