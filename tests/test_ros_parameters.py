"""Parameters of nodes: what has the type and the range is taken, all else is refused with a reason."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embmem.ros.parameters import Parameter, refusal

RATE = Parameter("rate", 2.0, "times a second [Hz]", low=0.1, high=30.0)
SIDE = Parameter("side", "left", "of the robot", choices=("left", "right"))
COUNT = Parameter("count", 3, "how many", low=1)
FRAME = Parameter("frame", "map", "of the map", is_read_only=True)
TOPICS = Parameter("topics", ["a"], "to listen to")
ALL = (RATE, SIDE, COUNT, FRAME, TOPICS)


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_a_real_number_is_taken_inside_its_limits_only(value: float) -> None:
    assert (RATE.refusal(value) is None) == (0.1 <= value <= 30.0)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"rate": "fast"}, "rate is a float"),
        ({"rate": True}, "rate is a float"),
        ({"rate": math.nan}, "not a number"),
        ({"count": 2.0}, "count is a int"),
        ({"count": 0}, "at least 1"),
        ({"side": "up"}, "left, right"),
        ({"frame": "odom"}, "when the node starts"),
        ({"topics": ["a", 1]}, "list of texts"),
        ({"speed": 1.0}, "no parameter 'speed', only rate, side"),
        ({"count": 5, "rate": 99.0}, "at most 30"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_reason(changes: dict[str, object], reason: str) -> None:
    assert reason in str(refusal(ALL, changes))


def test_good_values_are_taken_and_read_only_ones_at_the_start() -> None:
    assert refusal(ALL, {"rate": 5, "side": "right", "count": 9, "topics": []}) is None
    assert refusal(ALL, {"frame": "odom"}, is_running=False) is None
