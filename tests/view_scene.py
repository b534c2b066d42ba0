"""A flat of two rooms that a test looks at: what is where, and since when, is known."""

from __future__ import annotations

from typing import Any

import numpy as np

from embmem.geometry import camera_pose
from embmem.observation import Intrinsics
from embmem.viewing import Graph, Plan, Room, Scene, Thing, Trajectory, VoxelCloud

HOSTILE = '</script><img src=x onerror="window.hacked=1"><script>window.hacked=1</script>\'\u2028${7*7}{{7*7}}'


def thing(name: str, x: float, y: float, **more: Any) -> Thing:
    """Half a metre wide, seen from stamp 10 to 50."""
    facts: dict[str, Any] = {
        "id": f"objects {name}", "confidence": 0.9, "first_seen": 10.0, "last_seen": 50.0,
        "why": "seen 3 times, missed 0 times", "layer": "objects",
        "box": np.array([[x - 0.25, y - 0.25, 0.0], [x + 0.25, y + 0.25, 0.5]]),
    }  # fmt: skip
    return Thing(name=name, position=np.array([x, y, 0.25]), **{**facts, **more})


def flat(**changes: Any) -> Scene:
    """Two rooms of 4 x 4 m side by side, a door between them, a walk from the left (t = 0) to the right (t = 100)."""
    cells = np.zeros((42, 82), dtype=np.int8)
    cells[[0, -1]] = cells[:, [0, 41, -1]] = 100
    cells[18:24, 41] = 0
    height = np.where(cells == 100, 1.9, np.nan)
    stamps = np.linspace(0.0, 100.0, 51)
    poses = np.stack([camera_pose(np.array([1.0 + 0.06 * t, 2.05, 1.2]), yaw=0.0) for t in stamps])
    scene: dict[str, Any] = {
        "title": "flat",
        "plan": Plan(np.array([-0.1, -0.1]), 0.1, cells, height),
        "voxels": VoxelCloud(np.array([[0.05, 0.05, 1.0], [8.0, 4.0, 1.0]]), 0.1, np.full((2, 3), 99, np.uint8), 2),
        "trajectory": Trajectory(stamps, poses, Intrinsics.from_fov(64, 48, 80.0)),
        "things": (
            thing("kettle", 1.0, 3.0, room="kitchen", facts=("on the counter",),
                  held=(("is full", 0.0, 40.0), ("is empty", 40.0, np.inf))),
            thing("counter", 1.2, 3.2, confidence=0.97, first_seen=5.0),
            thing("red mug", 6.0, 1.0, room="study", first_seen=60.0, last_seen=90.0),
            thing("lost key", 3.0, 1.0, confidence=0.2, last_seen=20.0),
            thing("chair", 7.0, 3.0, moves=np.array([[10.0, 2.0, 2.0, 0.2], [70.0, 7.0, 3.0, 0.2]]), last_seen=90.0),
            thing(HOSTILE, 3.5, 3.5, why=HOSTILE, room=HOSTILE, facts=(HOSTILE,), layer=HOSTILE),
        ),
        "graphs": (
            Graph("landmarks", "Landmarks", ("door", "window", HOSTILE), np.array([[4.0, 2, 1], [1, 1, 1], [7, 3, 1]]),
                  np.array([20.0, np.nan, 80.0]), np.array([[0, 1], [0, 2]]), ("walked", "walked"), is_shown=True),
            Graph("pose_graph", "Keyframes", ("0", "1", "2"), np.array([[1.0, 2, 1], [3, 2, 1], [5, 2, 1]]),
                  np.array([0.0, 50.0, 100.0]), np.array([[0, 1], [1, 2], [2, 0]]), ("odometry", "odometry", "loop")),
        ),
        "rooms": (
            Room("kitchen", (np.array([[0, 0], [4, 0], [4, 4], [0, 4]], float),), np.array([2.0, 2.0])),
            Room(HOSTILE, (np.array([[4, 0], [8, 0], [8, 4], [4, 4]], float),), np.array([6.0, 2.0]), 50.0),
        ),
        "left_out": (f"Nothing but {HOSTILE}",),
    }  # fmt: skip
    return Scene(**{**scene, **changes})
