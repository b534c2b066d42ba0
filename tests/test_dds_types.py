"""Every type on the wire: what rosbags writes is what Cyclone reads by the fields that we tell it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("cyclonedds", reason="cyclonedds (the extra dds) is not installed")

from wire import own_domain, wait_until

from embmem.dds.participant import Participant
from embmem.dds.services import with_header
from embmem.dds.writing import write
from embmem.ros.definitions import message_of, typestore
from embmem.ros.ports import QoS


@pytest.fixture(scope="module")
def participant() -> Iterator[Participant]:
    with own_domain() as domain:
        made = Participant(domain, "types", "/")
        yield made
        made.close()


def random_fields(type: str, rng: np.random.Generator, depth: int = 0) -> dict[str, Any]:
    """Anything that the type can hold."""
    return {name: _random(field, rng, depth) for name, field in typestore().fielddefs[type][1]}


def _random(description: Any, rng: np.random.Generator, depth: int) -> Any:
    from rosbags.interfaces import Nodetype

    node, rest = description
    if node == Nodetype.NAME:
        return random_fields(rest, rng, depth + 1)
    if node == Nodetype.BASE:
        name, limit = rest
        if name == "string":
            letters = rng.choice(list("aB/ ü€😀"), size=rng.integers(0, 9 if not limit else min(limit, 9)))
            return "".join(letters)
        return _numbers(name, 1, rng)[0]
    inner, size = rest
    n = size if node == Nodetype.ARRAY else int(rng.integers(0, min(size or 4, 4) + 1)) if depth < 4 else 0
    if inner[0] == Nodetype.BASE and inner[1][0] != "string":
        return _numbers(inner[1][0], n, rng)
    return [_random(inner, rng, depth + 1) for _ in range(n)]


def _numbers(name: str, n: int, rng: np.random.Generator) -> Any:
    if name == "bool":
        return rng.integers(0, 2, n).astype(bool)
    if name.startswith("float"):
        return rng.normal(size=n).astype(name)
    dtype = np.dtype({"byte": "uint8", "octet": "uint8", "char": "uint8"}.get(name, name))
    return np.frombuffer(rng.bytes(n * dtype.itemsize), dtype=dtype)


def test_every_type_goes_over_the_wire_as_it_is(participant: Participant) -> None:
    store, rng = typestore(), np.random.default_rng(0)
    names = [name for name in sorted(store.fielddefs) if not name.endswith("_Event")]  # only hashes are made of those
    sent, readers, writers = {}, {}, {}
    for i, name in enumerate(names):
        is_part = name.endswith(("_Request", "_Response"))
        writers[name] = participant.writer(name, f"rt/type_{i}", QoS(), with_header=is_part)
        readers[name] = participant.reader(name, f"rt/type_{i}", QoS(), with_header=is_part)
        data = bytes(store.serialize_cdr(message_of(name, random_fields(name, rng)), name))
        sent[name] = with_header((7, 8), data) if is_part else data
        write(writers[name], sent[name])
    got: dict[str, bytes] = {}

    def taken() -> bool:
        for name in set(names) - set(got):
            for raw in readers[name].take(10):
                got[name] = raw.data
        return len(got) == len(names)

    wait_until(taken, what="all messages")
    assert got == {name: data.ljust((len(data) + 3) & ~3, b"\0") for name, data in sent.items()}
    participant.delete(*writers.values(), *readers.values())


def test_bytes_of_every_kind_and_length_are_sent_whole(participant: Participant) -> None:
    kind, quality = "sensor_msgs/msg/Image", QoS(depth=100)
    writer = participant.writer(kind, "rt/kinds", quality)
    reader = participant.reader(kind, "rt/kinds", quality)
    expected = []
    for n in (0, 1, 2, 3, 4, 5, 100_000):
        view = typestore().serialize_cdr(message_of(kind, {"data": np.arange(n) % 256}), kind)
        for data in (view, bytes(view), bytearray(view), memoryview(bytes(view))):
            write(writer, data)
            expected.append(bytes(view).ljust((len(view) + 3) & ~3, b"\0"))
    got: list[bytes] = []

    def taken() -> bool:
        got.extend(raw.data for raw in reader.take(100))
        return len(got) == len(expected)

    wait_until(taken)
    assert got == expected
    participant.delete(writer, reader)


def test_what_is_no_message_of_the_type_is_not_even_sent(participant: Participant) -> None:
    from cyclonedds.core import DDSException

    writer = participant.writer("std_msgs/msg/String", "rt/refused", QoS())
    for data in (b"", b"\x00\x01\x00\x00\xff\xff\xff\x7fa", b"\x00\x01\x00\x00\x02\x00\x00\x00ab"):
        with pytest.raises((DDSException, ValueError)):
            write(writer, data)
    participant.delete(writer)
