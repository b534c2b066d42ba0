"""Eviction policies against plain lists, over processes, and by the work that a call does."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hash_salts import outputs_by_salt
from hypothesis import given
from hypothesis import strategies as st

from embmem.short_term.eviction import EvictionPolicy, Fifo, FrequencyAge, Key, Lfu, Lru
from embmem.short_term.tiny_lfu import FrequencySketch, WTinyLfu

Make = Callable[[int], EvictionPolicy]
MAKERS: dict[str, Make] = {
    "fifo": Fifo,
    "lru": Lru,
    "lfu": Lfu,
    "frequency_age": FrequencyAge,
    "reads_only": lambda capacity: FrequencyAge(capacity, weight=1.0),
    "age_only": lambda capacity: FrequencyAge(capacity, weight=0.0),
    "wide_window": lambda capacity: WTinyLfu(capacity - 1, 1, n_samples=64),
    "wide_main": lambda capacity: WTinyLfu(1, capacity - 1, n_samples=64),
}
EVERY = pytest.mark.parametrize("name", MAKERS)
# What happens to a key: an access (a read if it is held, else it comes in), a sighting, a removal.
EVENTS = st.lists(st.tuples(st.sampled_from(["access", "access", "see", "remove"]), st.integers(0, 8)), max_size=120)


class Plain:
    """Every held key as [key, arrived, touched, reads]; the choice is a minimum over all of them."""

    def __init__(self, capacity: int, rank: Callable[[list[int], Plain], Any]) -> None:
        self.capacity, self.rank, self.rows, self.clock = capacity, rank, list[list[int]](), 0

    def held(self) -> set[int]:
        return {row[0] for row in self.rows}

    def admit(self, key: int) -> int | None:
        self.clock += 1
        leaving = None
        if len(self.rows) == self.capacity:
            leaving = min(self.rows, key=lambda row: self.rank(row, self))[0]
            self.remove(leaving)
        self.rows.append([key, self.clock, self.clock, 0])
        return leaving

    def touch(self, key: int, is_read: bool) -> None:
        self.clock += 1
        row = next(row for row in self.rows if row[0] == key)
        row[2:] = [self.clock, row[3] + is_read]

    def remove(self, key: int) -> None:
        self.rows = [row for row in self.rows if row[0] != key]


def score(row: list[int], plain: Plain, weight: float) -> tuple[float, int]:
    """Mem4Nav's score with both terms normalised; ties by arrival."""
    most_reads = max(1, *(other[3] for other in plain.rows), 1)
    oldest = max(1, *(plain.clock - other[2] for other in plain.rows), 1)
    age = (plain.clock - row[2]) / oldest
    return weight * (row[3] / most_reads) - (1.0 - weight) * age, row[1]


class PlainTinyLfu:
    """W-TinyLFU in three lists, with exact counts in place of the sketch."""

    def __init__(self, window: int, main: int) -> None:
        self.sizes, self.protected_size = (window, main), int(0.8 * main)
        self.window, self.probation, self.protected = list[int](), list[int](), list[int]()
        self.counts, self.n = Counter[int](), 0

    def held(self) -> set[int]:
        return {*self.window, *self.probation, *self.protected}

    def count(self, key: int) -> None:
        self.counts[key] = min(15, self.counts[key] + 1)
        self.n += 1
        if self.n == 64:
            self.n = 32
            self.counts = Counter({key: n // 2 for key, n in self.counts.items()})

    def admit(self, key: int) -> int | None:
        self.count(key)
        self.window.append(key)
        if len(self.window) <= self.sizes[0]:
            return None
        candidate = self.window.pop(0)
        self.probation.append(candidate)
        if len(self.probation) + len(self.protected) <= self.sizes[1]:
            return None
        victim = self.probation[0]
        leaving = victim if self.counts[candidate] > self.counts[victim] else candidate
        self.probation.remove(leaving)
        return leaving

    def touch(self, key: int, is_read: bool) -> None:
        self.count(key)
        part = next(part for part in (self.window, self.probation, self.protected) if key in part)
        part.remove(key)
        if part is self.probation and self.protected_size:
            part = self.protected
        part.append(key)
        if len(self.protected) > self.protected_size:
            self.probation.append(self.protected.pop(0))

    def remove(self, key: int) -> None:
        for part in (self.window, self.probation, self.protected):
            if key in part:
                part.remove(key)


def plain(name: str, capacity: int) -> Plain | PlainTinyLfu:
    """The naive model of a policy."""
    if name == "wide_window":
        return PlainTinyLfu(capacity - 1, 1)
    if name == "wide_main":
        return PlainTinyLfu(1, capacity - 1)
    ranks: dict[str, Callable[[list[int], Plain], Any]] = {
        "fifo": lambda row, _: row[1],
        "lru": lambda row, _: row[2],
        "lfu": lambda row, _: (row[3], row[2]),
        "frequency_age": lambda row, all_: score(row, all_, 0.5),
        "reads_only": lambda row, all_: score(row, all_, 1.0),
        "age_only": lambda row, all_: score(row, all_, 0.0),
    }
    return Plain(capacity, ranks[name])


def happen(policy: EvictionPolicy, event: str, key: Key) -> Key | None:
    """The key that leaves, if any."""
    if key not in policy:
        return policy.admit(key) if event != "remove" else None
    if event == "remove":
        policy.remove(key)
    else:
        policy.touch(key, is_read=event == "access")
    return None


@EVERY
@given(capacity=st.integers(2, 7), events=EVENTS)
def test_every_choice_equals_that_of_a_plain_list(name: str, capacity: int, events: list[tuple[str, int]]) -> None:
    policy, model = MAKERS[name](capacity), plain(name, capacity)
    for event, key in events:
        expected = None
        if key not in model.held():
            expected = model.admit(key) if event != "remove" else None
        elif event == "remove":
            model.remove(key)
        else:
            model.touch(key, event == "access")
        assert happen(policy, event, key) == expected
        assert set(policy.keys()) == model.held()
        assert len(policy) == len(policy.keys()) == len(model.held()) <= capacity


@EVERY
@given(events=EVENTS, later=EVENTS)
def test_a_saved_policy_goes_on_the_same_way(
    name: str, events: list[tuple[str, int]], later: list[tuple[str, int]]
) -> None:
    policy = MAKERS[name](5)
    for event, key in events:
        happen(policy, event, key)
    loaded = type(policy).from_state(json.loads(json.dumps(policy.state())))
    assert loaded.state() == policy.state()
    assert [happen(loaded, *each) for each in later] == [happen(policy, *each) for each in later]
    assert loaded.state() == policy.state()


@EVERY
def test_speaks_the_protocol_and_refuses_what_is_wrong(name: str) -> None:
    policy = MAKERS[name](3)
    assert isinstance(policy, EvictionPolicy)
    policy.admit("mug")
    before = policy.state()
    with pytest.raises(ValueError, match="'mug' is held"):
        policy.admit("mug")
    with pytest.raises(KeyError, match="'cup' is not held"):
        policy.touch("cup", is_read=True)
    with pytest.raises(KeyError, match="'cup' is not held"):
        policy.remove("cup")
    assert policy.state() == before
    assert policy.n_bytes > 0
    assert policy.capacity == 3


@EVERY
def test_a_name_and_a_number_are_different_keys(name: str) -> None:
    policy = MAKERS[name](5)
    policy.admit(1)
    policy.admit("1")
    assert len(policy) == 2
    policy.remove("1")
    assert policy.keys() == [1]


def test_sizes_below_one_are_refused() -> None:
    for make in (Fifo, Lru, Lfu, FrequencyAge, FrequencySketch):
        with pytest.raises(ValueError, match=">= 1, got 0"):
            make(0)
    for sizes in ((0, 5), (5, 0)):
        with pytest.raises(ValueError, match=">= 1, got 0"):
            WTinyLfu(*sizes)
    for weight in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="weight"):
            FrequencyAge(3, weight=weight)


@EVERY
def test_malformed_states_are_refused(name: str) -> None:
    policy = MAKERS[name](3)
    for key in ("a", "b", "c"):
        policy.admit(key)
    good = policy.state()
    for wrong in ({"keys": ["a", "a", "b"]}, {"keys": ["a", None, "b"]}, {"keys": list("abcd")}, {"keys": "abc"}):
        with pytest.raises((ValueError, TypeError)):
            type(policy).from_state({**good, **wrong})
    for field in good:
        with pytest.raises(KeyError):
            type(policy).from_state({name: value for name, value in good.items() if name != field})
        with pytest.raises((ValueError, TypeError)):
            type(policy).from_state({**good, field: -1})


def test_frequency_counts_reads_and_not_sightings() -> None:
    for policy in (Lfu(2), FrequencyAge(2, weight=1.0)):
        policy.admit("read twice")
        policy.admit("seen often")
        for _ in range(2):
            policy.touch("read twice", is_read=True)
        for _ in range(30):
            policy.touch("seen often", is_read=False)
        assert policy.admit("new") == "seen often"


def test_frequent_keys_outlast_a_scan_in_w_tiny_lfu_and_not_in_lru() -> None:
    survivors = {}
    for policy in (WTinyLfu(1, 9), Lru(10)):
        for _ in range(5):
            for key in range(5):
                happen(policy, "access", key)
        for key in range(100, 200):
            happen(policy, "access", key)
        survivors[policy.name] = set(policy.keys()) & set(range(5))
    assert survivors == {"w_tiny_lfu": set(range(5)), "lru": set()}


@given(st.lists(st.integers(0, 40), max_size=400))
def test_estimates_are_never_too_low_nor_often_too_high(keys: list[int]) -> None:
    sketch = FrequencySketch(500)  # never halved here
    for key in keys:
        sketch.add(key)
    exact = Counter(keys)
    errors = np.array([sketch.estimate(key) - min(15, exact[key]) for key in range(41)])
    assert (errors >= 0).all()
    assert (errors > 0).mean() <= 0.1


@given(st.lists(st.integers(0, 5), min_size=100, max_size=100))
def test_after_n_samples_every_count_is_halved(keys: list[int]) -> None:
    sketch, untouched = FrequencySketch(100), FrequencySketch(101)
    for key in keys:
        sketch.add(key)
        untouched.add(key)
    assert [sketch.estimate(key) for key in range(6)] == [untouched.estimate(key) // 2 for key in range(6)]
    assert (sketch.n, untouched.n) == (50, 100)


def lines_run(call: Callable[[], object]) -> int:
    """How many lines of the policies' source a call runs."""
    n = 0

    def count(frame: Any, event: str, argument: Any) -> Any:
        nonlocal n
        if not frame.f_code.co_filename.endswith(("eviction.py", "tiny_lfu.py")):
            return None
        n += event == "line"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        call()
    finally:
        sys.settrace(before)
    return n


@pytest.mark.parametrize("make", [Fifo, Lru, Lfu, lambda n: WTinyLfu(1, n - 1), lambda n: WTinyLfu(n - 1, 1)])
def test_a_call_does_the_same_work_in_a_memory_a_hundred_times_as_large(make: Make) -> None:
    def most_lines(capacity: int) -> int:
        policy = make(capacity)
        for key in range(capacity):
            policy.admit(key)
        for key in range(0, capacity, 3):
            policy.touch(key, is_read=True)
        costs = []
        for key in range(0, capacity, max(1, capacity // 10)):
            if key in policy:
                costs.append(lines_run(lambda key=key: policy.touch(key, is_read=True)))  # type: ignore[misc]
            costs.append(lines_run(lambda key=key: policy.admit(capacity + key)))  # type: ignore[misc]
        return max(costs)

    assert 0 < most_lines(2000) <= most_lines(20) + 2


SCRIPT = """
import json
from embmem.short_term.eviction import Fifo, FrequencyAge, Lfu, Lru
from embmem.short_term.tiny_lfu import WTinyLfu
x, states = 1, []
for policy in (Fifo(6), Lru(6), Lfu(6), FrequencyAge(6), WTinyLfu(1, 5), WTinyLfu(5, 1)):
    left = []
    for _ in range(400):
        x = x * 1103515245 + 12345 & 0x7FFFFFFF
        key = f"object {(x >> 16) % 17 * ((x >> 8) % 3)}"
        left.append(policy.touch(key, is_read=True) if key in policy else policy.admit(key))
    states.append([left, policy.state()])
print(json.dumps(states))
"""


def test_the_salt_of_the_process_changes_nothing() -> None:
    outputs = outputs_by_salt(SCRIPT)
    assert len(outputs) == 1
    assert len(outputs.pop()) > 1000
