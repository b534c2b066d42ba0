"""All that a first frame and a first question would load, loaded before: compiled kernels, indexes, modules."""

from __future__ import annotations

import contextlib

import numpy as np

from embmem.errors import EmbmemError
from embmem.memory import Memory
from embmem.observation import Intrinsics, Observation
from embmem.records import Query
from embmem.ros.shown import Shows

_LOOKS_AHEAD = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 1.0], [0, 0, 0, 1]])


def warm_up(memory: Memory, shown: Shows) -> None:
    """Let a memory that nobody needs see two frames, answer, and be shown.

    Args:
        memory: empty; it is of no use afterwards.
        shown: reads its layers; another one than that of the node.
    """
    camera = Intrinsics.from_fov(64, 48, 75.0)
    depth = np.full((48, 64), 2.0, dtype=np.float32)
    rgb = np.zeros((48, 64, 3), dtype=np.uint8)
    with contextlib.suppress(EmbmemError, ValueError):  # a memory that wants other frames
        for stamp in (1.0, 2.0):
            memory.observe(Observation(stamp, _LOOKS_AHEAD, camera, depth, rgb))
    memory.derive()
    questions = [Query(near=np.zeros(3), radius=2.0), Query(entity="thing"), Query(text="words")]
    if memory.encode_view is not None:
        frame = Observation(3.0, _LOOKS_AHEAD, camera, depth, rgb)
        questions.append(Query(kind="view", embedding=memory.encode_view(frame)))
    for query in questions:
        with contextlib.suppress(EmbmemError, ValueError):
            memory.query(query)
    for show in (shown.voxels, shown.grid, shown.things, shown.landmarks, shown.scene):
        show(memory.layers)
