"""Memory nodes that are killed: a process that forks one for every line it reads, and each says what is safe.

`python memory_node_child.py FOLDER`. A node walks through the box room for ever, flushes now and then, adds notes. What
it prints is a promise: `born PID`, `frames N` (so many are on the disk), `note K X Y` (a named place is).
"""

from __future__ import annotations

import os
import sys
from itertools import count
from pathlib import Path

import numpy as np
from box_room import observe_room
from robot_on_bus import START, Robot, place

from embmem.geometry import camera_pose
from embmem.observation import Observation

PERIOD = 40  # frames of a turn


def frame(number: int) -> Observation:
    """The frame of that number, of all nodes that ever were in the folder."""
    angle = 2 * np.pi * number / PERIOD
    position = np.array([2.5 + 0.6 * np.cos(angle), 2.0 + 0.6 * np.sin(angle), 1.5])
    return observe_room(camera_pose(position, angle - np.pi / 2, -0.3), stamp=number / 10)


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


def show(robot: Robot, number: int) -> None:
    """Send a frame with what is detected in it."""
    seen = frame(number)
    robot.bus.advance(max(0.0, START + seen.stamp - robot.bus.now_ns / 1e9))
    robot.detect(seen, "mug", stamp=START + seen.stamp)
    robot.see(seen)


def live(folder: Path) -> None:
    """Go on where the node before was killed."""
    robot = Robot(folder, detections="2d", trust_map_frame=True, snapshot_period=1.0).start()
    with robot.memory.acknowledged.reading() as db:
        first = int(db.execute("SELECT count(*) FROM records WHERE kind = 'frame'").fetchone()[0])
    say(f"born {os.getpid()}")
    for number in count(first):
        show(robot, number)
        if number % 4 == 3:
            robot.settle()
            robot.memory.flush()
            say(f"frames {number + 1}")
        if number % 8 == 7:
            x, y = number % 5, number % 3
            note = robot.ask(
                "correct", "CorrectMemory", action=5, text=f"spot {number}", position=place(float(x), float(y), 0.0)
            )
            if note.success:
                say(f"note {number} {x} {y}")


def main() -> None:
    folder = Path(sys.argv[1])
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            live(folder)
        os.waitpid(child, 0)
        say("dead")


if __name__ == "__main__":
    main()
