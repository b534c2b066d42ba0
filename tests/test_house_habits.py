"""What a night does to a house, and that its log tells the truth."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import fields
from functools import cache

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from embmem.sim_envs.house import OBJECTS, House, Move, make_house, night

house_of = cache(make_house)
N_HOUSES, N_NIGHTS = 6, 10


@cache
def diary() -> list[tuple[House, list[Move]]]:
    """Many first nights of a few houses."""
    return [
        (house_of(seed, 6), night(house_of(seed, 6), np.random.default_rng([seed, dream]))[1])
        for seed in range(N_HOUSES)
        for dream in range(N_NIGHTS)
    ]


some = settings(max_examples=15)


@some
@given(st.integers(0, 5), st.integers(0, 1000))
def test_the_log_is_the_difference_of_the_two_houses(seed: int, dream: int) -> None:
    before = house_of(seed, 5)
    after, moves = night(before, np.random.default_rng(dream))
    log = {move.object_id: move for move in moves}
    assert len(log) == len(moves)
    for old, new in zip(before.objects, after.objects, strict=True):
        assert (old.id, old.category) == (new.id, new.category)
        is_elsewhere = old.furniture != new.furniture or not np.array_equal(old.position, new.position)
        assert is_elsewhere == (old.id in log)
        if old.id in log:
            move = log[old.id]
            assert (move.category, move.from_furniture, move.to_furniture) == (
                old.category, old.furniture, new.furniture,
            )  # fmt: skip
            assert move.from_furniture != move.to_furniture
            assert np.array_equal(move.from_position, old.position)
            assert np.array_equal(move.to_position, new.position)


@some
@given(st.integers(0, 5), st.integers(0, 1000))
def test_a_night_moves_objects_and_nothing_else(seed: int, dream: int) -> None:
    before = house_of(seed, 5)
    after, _ = night(before, np.random.default_rng(dream))
    for field in fields(House):
        if field.name != "objects":
            assert getattr(after, field.name) is getattr(before, field.name)


@some
@given(st.integers(0, 5), st.integers(0, 1000))
def test_after_a_night_objects_still_rest_on_surfaces_and_meet_nothing(seed: int, dream: int) -> None:
    house, _ = night(house_of(seed, 5), np.random.default_rng(dream))
    solid = house.solid_boxes()
    pieces = {f.id: f for f in house.furniture}
    boxes = np.array([house.object_aabb(o) for o in house.objects])
    for i, o in enumerate(house.objects):
        box, piece = boxes[i], pieces[o.furniture]
        assert piece.room == o.room
        on = [s for s in piece.surfaces if abs(s[4] - box[2]) < 1e-6]
        assert any((box[:2] >= s[:2]).all() and (box[3:5] <= s[2:4]).all() for s in on)
        rest = np.concatenate([solid, np.delete(boxes, i, axis=0)])
        assert not ((box[:3] < rest[:, 3:] - 1e-6) & (box[3:] > rest[:, :3] + 1e-6)).all(axis=1).any()


def test_the_same_night_happens_to_the_same_generator() -> None:
    house = house_of(4, 6)
    first, second = (night(house, np.random.default_rng(9)) for _ in range(2))
    assert [(m.object_id, m.to_furniture, m.to_position.tobytes()) for m in first[1]] == [
        (m.object_id, m.to_furniture, m.to_position.tobytes()) for m in second[1]
    ]


def test_nights_follow_each_other() -> None:
    rng, house = np.random.default_rng(0), house_of(2, 6)
    for _ in range(5):
        house, moves = night(house, rng)
        assert moves
    assert [o.id for o in house.objects] == [o.id for o in house_of(2, 6).objects]


def test_things_move_as_often_as_their_category_says() -> None:
    """Of those that have somewhere else to go: never more than the probability, hardly less (no room)."""
    chances, moved, wanted = Counter[str](), Counter[str](), 0.0
    for house, moves in diary():
        kinds = {room.id: room.kind for room in house.rooms}
        places = {f.id: (kinds[f.room], f.category) for f in house.furniture}
        moved.update(move.category for move in moves)
        for o in house.objects:
            allowed = {place for place, _ in OBJECTS[o.category].places}
            if any(place in allowed and f != o.furniture for f, place in places.items()):
                chances[o.category] += 1
                wanted += OBJECTS[o.category].move
    for category, n in chances.items():
        p = OBJECTS[category].move
        assert moved[category] <= n * p + 4 * np.sqrt(n * p * (1 - p)) + 1e-9, category
    for category in ("mug", "book", "toy car", "glass"):  # kept in many places, so there is always room
        n, p = chances[category], OBJECTS[category].move
        assert abs(moved[category] - n * p) < 4 * np.sqrt(n * p * (1 - p)) + 0.05 * n * p, category
    assert sum(moved.values()) > 0.8 * wanted


def test_what_never_moves_stays() -> None:
    still = {category for category, kind in OBJECTS.items() if kind.move == 0}
    assert "television" in still
    for _, moves in diary():
        assert not still & {move.category for move in moves}


def test_destinations_follow_the_priors() -> None:
    """The new place is drawn from the weights without the place that is left."""
    observed = Counter[tuple[str, str]]()
    expected: defaultdict[tuple[str, str], float] = defaultdict(float)
    for house, moves in diary():
        kinds = {room.id: room.kind for room in house.rooms}
        places = {f.id: (kinds[f.room], f.category) for f in house.furniture}
        number = Counter(places.values())
        for move in moves:
            if move.category not in ("mug", "glass", "book"):
                continue
            weights = {
                f: weight / number[place]
                for place, weight in OBJECTS[move.category].places
                for f in places
                if places[f] == place and f != move.from_furniture
            }
            observed[places[move.to_furniture]] += 1
            for f, weight in weights.items():
                expected[places[f]] += weight / sum(weights.values())
    assert sum(observed.values()) > 100
    for place, n in expected.items():
        assert abs(observed[place] - n) < 4 * np.sqrt(n) + 0.25 * n, (place, observed[place], n)
