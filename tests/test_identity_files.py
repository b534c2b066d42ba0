"""A memory of things that an earlier version of the layer wrote opens and answers as it did then.

`python tests/test_identity_files.py` writes the file of the present version; a file that is committed is never written
again.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from embmem.maps import ObjectMemory, open_memory
from embmem.maps.identity import IdentityModel
from embmem.memory import Memory
from embmem.testing import wall_ahead

DATA = Path(__file__).parent / "data"
RED, BLUE = np.eye(8)[:2]
WEIGHTS = (-20.0, -0.5, 4.0, -1.0, 0.0, 0.0, 1.0, -0.4, 0.0, 1.0, 30.0, 10.0)


def golden(version: int) -> Path:
    return DATA / f"things_v{version}.embmem"


def write_golden(path: Path) -> None:
    """A red mug that was carried behind the robot, a blue one that took its place, one merge and one split."""
    objects = ObjectMemory(identity=IdentityModel(WEIGHTS, WEIGHTS, WEIGHTS, WEIGHTS))
    memory = Memory([objects])
    for i in range(4):
        memory.observe(replace(wall_ahead(float(i)), embeddings={1: RED}))
    for i in range(4):
        memory.observe(replace(wall_ahead(9000.0 + i, yaw=np.pi), embeddings={1: RED}))
    for i in range(4):
        memory.observe(replace(wall_ahead(9010.0 + i), embeddings={1: BLUE}))
    objects.split(0, objects.things()["position"][0] + [0.0, 0.1, 0.0])
    memory.save(path)


@pytest.mark.parametrize("version", range(2, ObjectMemory.version + 1))
def test_things_of_every_version_answer_as_they_did(version: int) -> None:
    objects = open_memory(golden(version)).layer(ObjectMemory)
    red, blue, part = objects.things()
    assert red["position"][0] < 0 < blue["position"][0]
    assert (red["first_seen"], red["here_since"], blue["first_seen"]) == (0.0, 9000.0, 9010.0)
    (left,) = objects.places_left(int(red["id"]))
    assert left["position"][0] > 0
    for thing, look in ((red, RED), (blue, BLUE), (part, RED)):
        found = objects.look(int(thing["id"]))
        assert found is not None
        np.testing.assert_allclose(found, look, atol=1e-6)
    moved, split = objects.operations()
    assert (moved.kind, moved.is_asked, split.kind, split.is_asked) == ("merge", False, "split", True)
    objects.undo(split.id)
    objects.undo(moved.id)
    old, new, other = objects.things()
    assert old["id"] == red["id"]
    assert (old["last_seen"], new["last_seen"], other["id"]) == (3.0, 9003.0, blue["id"])


def test_the_present_version_has_a_golden_file() -> None:
    assert golden(ObjectMemory.version).is_file()


if __name__ == "__main__":
    if not golden(ObjectMemory.version).exists():
        write_golden(golden(ObjectMemory.version))
