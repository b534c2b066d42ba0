"""Many recordings at once: two workers of Ray beside one process, a worker killed, sessions merged into one memory.

    python benchmarks/offline_many.py [--quick] [--json FILE]

The Kinect sequence is cut into four recordings of 100 frames. They are built one after the other in this process (the
peer), by two workers of Ray, and again with a worker that is killed by SIGKILL in the middle; the maps are compared by
their hash. Then all four become one memory, and that is compared with the memory of one build of the whole sequence.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

from rich.console import Console
from rich.table import Table
from rows import row

from embmem.building.build import build
from embmem.building.many import Outcome, build_many
from embmem.building.plan import BuildPlan
from embmem.building.sessions import build_merged
from embmem.cli.build import plan_of
from embmem.cli.main import compose_config
from embmem.errors import import_extra
from embmem.map_hash import map_hash
from embmem.maps.merging import merge_memories
from embmem.maps.spatial_memory import open_memory
from embmem.observation import Observation

N_PARTS = 4
T = TypeVar("T")


class KilledOnce:
    """A `perceive` that kills its process at the n-th observation, once; `mark` is a file that says that it has."""

    def __init__(self, mark: str, at: int) -> None:
        self._mark, self._at, self._n = Path(mark), at, 0

    def __call__(self, observation: Observation) -> Observation:
        """The observation as it is."""
        self._n += 1
        if self._n == self._at and not self._mark.exists():
            self._mark.write_text("done")
            os.kill(os.getpid(), signal.SIGKILL)
        return observation


def parts_of(source: Path, folder: Path, every: int) -> list[Path]:
    """The whole sequence and its parts, as folders of links."""
    numbers = sorted(int(file.name[6:12]) for file in source.glob("frame-*.depth.png"))[::every]
    n = -(-len(numbers) // N_PARTS)
    cut = {"whole": numbers, **{f"part{i}": numbers[i * n : (i + 1) * n] for i in range(N_PARTS)}}
    for name, some in cut.items():
        (folder / name).mkdir()
        (folder / name / "camera-intrinsics.txt").symlink_to(source / "camera-intrinsics.txt")
        for number in some:
            for kind in ("depth.png", "pose.txt"):
                (folder / name / f"frame-{number:06d}.{kind}").symlink_to(source / f"frame-{number:06d}.{kind}")
    return [folder / name for name in cut]


def measure(source: Path, *, every: int = 1) -> list[dict[str, Any]]:
    """The rows of this benchmark; `every` n-th frame of the sequence is used."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole, *parts = parts_of(source.resolve(), folder, every)
        one = build(plan(whole, folder / "whole.embmem"))
        plans = [plan(path, folder / f"{path.name}.embmem") for path in parts]
        serial, alone = timed(lambda: build_many(plans))
        hashes = hashes_of(serial)
        found = at_once(plans, folder, hashes, alone)
        out = folder / "merged.embmem"
        _, seconds = timed(lambda: build_merged(plans, out, merge_memories, frame="same"))
        merged = map_hash(open_memory(out))
        n_frames = sum(outcome.record.n_frames for outcome in serial if outcome.record is not None)
        return [
            *found,
            row("many: serial, frames/s", n_frames / alone),
            row("many: four sessions merged are the map of one build", float(merged == one.map_hash), goal="1",
                met=merged == one.map_hash, peer=1.0, peer_name="one build of all frames"),
            row("many: four sessions built and merged, seconds", seconds, peer=sum(one.seconds.values()),
                peer_name="one build of all frames"),
        ]  # fmt: skip


def at_once(plans: Sequence[BuildPlan], folder: Path, hashes: list[str], alone: float) -> list[dict[str, Any]]:
    """Rows of Ray, started once: its start is a figure of its own."""
    ray = import_extra("ray", "ray")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    again = [replace(plan, overwrite=True) for plan in plans]
    _, start = timed(lambda: ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False))
    try:
        build_many(again, workers=2)  # workers have imported everything then
        parallel, seconds = timed(lambda: build_many(again, workers=2))
        mark = folder / "killed"
        fatal = {"_target_": "offline_many.KilledOnce", "mark": str(mark), "at": 10}
        killed, with_loss = timed(lambda: build_many([replace(plan, perceive=fatal) for plan in again], workers=2))
    finally:
        ray.shutdown()
    is_same, is_same_after = hashes_of(parallel) == hashes, hashes_of(killed) == hashes and mark.exists()
    return [
        row("many: maps of two workers are the serial ones", float(is_same), goal="1", met=is_same),
        row("many: likewise with a worker killed", float(is_same_after), goal="1", met=is_same_after),
        row("many: two workers, seconds", seconds, peer=alone, peer_name="one process"),
        row("many: two workers, one killed, seconds", with_loss, peer=alone, peer_name="one process"),
        row("many: start of Ray, seconds", start),
    ]


def plan(recording: Path, out: Path) -> BuildPlan:
    """Of `embmem build` with its defaults, in the frame of the poses."""
    return plan_of(compose_config("build", [f"recording={recording}", f"out={out}", "frame=identity"]))


def hashes_of(outcomes: Sequence[Outcome]) -> list[str]:
    """Of the maps; an error stands for itself."""
    return [outcome.record.map_hash if outcome.record is not None else outcome.error for outcome in outcomes]


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """What comes of it, and how long it took [s]."""
    started = perf_counter()
    return work(), perf_counter() - started


def main() -> None:
    """Measure, show, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="every 8th frame")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    root = os.environ.get("EMBMEM_DATA_DIR")
    if not root:
        raise SystemExit("set EMBMEM_DATA_DIR to the folder of the public data")
    rows = measure(Path(root) / "rgbd" / "seven_scenes", every=8 if arguments.quick else 1)
    table = Table("figure", "ours", "peer", "ratio", "goal", "met")
    for r in rows:
        numbers = [f"{r[key]:.3g}" if r[key] is not None else "" for key in ("ours", "peer", "ratio")]
        table.add_row(r["name"], *numbers, r["goal"], "yes" if r["met"] else "MISSED")
    Console().print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
