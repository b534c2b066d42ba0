"""A process that asserts facts at full load and says how many are acknowledged, until it is killed.

`python facts_child.py FILE`; every line it prints is a promise: the facts up to that number survive.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from itertools import count
from typing import Any

from embmem.facts import FactMemory, Statement
from embmem.store import RecordStore


def statement(i: int) -> Statement:
    """What is said in the record with id `i`: out of order, contradicting, now and then taken back."""
    subject, room = f"thing-{i % 5}", f"room-{i * 7 % 11}"
    if i % 13 == 0:
        return Statement(subject, "in", room, valid_at=float(i * 37 % 101), is_retraction=True)
    return Statement(subject, "in", room, valid_at=float(i * 37 % 101))


def main(path: str) -> None:
    with RecordStore(path, max_delay=0.002, max_batch=50) as store:
        facts = FactMemory(store)
        os.write(1, b"ready\n")
        waiting: deque[Any] = deque()
        for i in count(store.last_id + 1):
            s = statement(i)
            say = facts.retract if s.is_retraction else facts.assert_fact
            waiting.append(say(s.subject, s.predicate, s.object, valid_at=s.valid_at))
            while len(waiting) > 100 or (waiting and waiting[0].is_acknowledged):
                os.write(1, f"{waiting.popleft().wait()}\n".encode())


if __name__ == "__main__":
    main(sys.argv[1])
