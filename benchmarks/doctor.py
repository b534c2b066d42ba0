"""Does the doctor find what is wrong, and nothing else? Faults seeded into clean recordings, embedded and real.

    python benchmarks/doctor.py [--quick] [--json FILE] [--fault NAME ...] [--set tuned|held_out]

Each (recording, layout, fault) is one recording written to a temporary folder with one fault, its magnitude drawn by
seed. Precision: of all errors and warnings, those that name the seeded fault or what follows from it. Recall: of all
faults, those that were named. Thresholds were chosen on the recordings `tuned`; those `held_out` were not looked at.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import shutil
import sys
import tempfile
import zlib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import process_time

import numpy as np
from doctor_faults import FAULTS, Fault
from doctor_takes import WRITERS, Take, load
from rich.console import Console
from rich.table import Table
from rows import row

from embmem.cli.main import main as embmem
from embmem.doctor.examine import examine
from embmem.errors import EmbmemError

CLEAN = (
    "rgbd/seven_scenes", "rgbd/3dmatch", "rgbd/redwood_living_room", "ros2/rgbd_7scenes_mcap",
    "octomap/spherical_scan.graph",
)  # fmt: skip
BARE = ("ros2/nav2_turtlebot.mcap", "ros2/tf_example")  # nothing to build from: one clear verdict
GOAL = 0.95


@dataclass(frozen=True)
class Source:
    """Where a clean take comes from."""

    name: str
    house: tuple[int, float, float] | None = None  # seed, turn [degrees], step [m]
    data: str = ""
    first: int = 0
    every: int = 1
    n: int = 70
    thin: int = 1


TUNED = (
    Source("house 1", (1, 30.0, 0.25)),
    Source("house 2", (2, 10.0, 0.1)),
    Source("7-Scenes 0-70", data="rgbd/seven_scenes", thin=2),
    Source("7-Scenes 40-200, every 2nd", data="rgbd/seven_scenes", first=40, every=2, n=80, thin=2),
)
HELD_OUT = (
    Source("house 21", (21, 30.0, 0.25)),
    Source("house 22", (22, 10.0, 0.1)),
    Source("7-Scenes 240-330", data="rgbd/seven_scenes", first=240, n=90, thin=2),
    Source("7-Scenes bag", data="ros2/rgbd_7scenes_mcap", n=70, thin=2),
)


@dataclass
class Score:
    """Counts of one fault."""

    n: int = 0
    found: int = 0
    right: int = 0
    wrong: int = 0

    @property
    def recall(self) -> float:
        return self.found / self.n if self.n else 1.0

    @property
    def precision(self) -> float:
        return self.right / (self.right + self.wrong) if self.right + self.wrong else 1.0

    def add(self, other: Score) -> None:
        self.n, self.found = self.n + other.n, self.found + other.found
        self.right, self.wrong = self.right + other.right, self.wrong + other.wrong


def take_of(source: Source, folder: Path) -> Take | None:
    """The clean take; None where its data are not here."""
    if source.house is not None:
        seed, turn, step = source.house
        path = folder / f"house{seed}"
        settings = [f"seed={seed}", "n_rooms=4", f"out={path}", f"record.max_steps={source.n - 1}"]
        body = [f"world.body.turn={turn}", f"world.body.forward={step}"]
        if embmem(["record", *settings, *body]):
            raise RuntimeError(f"{source.name} could not be recorded")
        return load(path, n=source.n)
    path = Path(os.environ.get("EMBMEM_DATA_DIR", "")) / source.data
    if "EMBMEM_DATA_DIR" not in os.environ or not path.exists():
        return None
    return load(path, first=source.first, n=source.n, every=source.every, thin=source.thin)


def judge(path: Path, fault: Fault | None) -> tuple[Score, list[str], float]:
    """What the doctor says of a recording with this fault, or with none."""
    started = process_time()
    try:
        said = {f.kind for f in examine(path).findings if f.severity != "note"}
    except EmbmemError as error:
        said = {f"refused: {error}"}
    seconds = process_time() - started
    expected = set() if fault is None else set(fault.kinds or (fault.name,))
    allowed = expected | (set() if fault is None else set(fault.also))
    score = Score(int(fault is not None), int(bool(said & expected)), len(said & allowed), len(said - allowed))
    return score, sorted(said), seconds


Layouts = Callable[[Fault, Source, int], tuple[str, ...]]


def every_layout(fault: Fault, source: Source, draw: int) -> tuple[str, ...]:
    return fault.layouts


def one_layout(fault: Fault, source: Source, draw: int) -> tuple[str, ...]:
    """One of the layouts of a fault, another one with each draw."""
    return (fault.layouts[(seed_of(source.name, fault) + draw) % len(fault.layouts)],)


def seed_of(*what: object) -> int:
    """A seed that depends on nothing but what it is for."""
    return zlib.crc32(" ".join(str(w.name if isinstance(w, Fault) else w) for w in what).encode())


def run_set(
    sources: tuple[Source, ...], faults: tuple[Fault, ...], layouts: Layouts, n_draws: int, console: Console
) -> dict[str, Score]:
    """Scores by fault over all takes, layouts and draws; the clean ones under the empty name."""
    scores: dict[str, Score] = defaultdict(Score)
    seconds: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for source in sources:
            take = take_of(source, folder)
            if take is None:
                console.print(f"{source.name}: left out, its data are not here")
                continue
            cases: list[tuple[str, Fault | None, int]] = [(layout, None, 0) for layout in WRITERS]
            can_be = [fault for fault in faults if source.name.startswith(fault.only)]
            draws = [(fault, draw) for fault in can_be for draw in range(n_draws)]
            cases += [(layout, fault, draw) for fault, draw in draws for layout in layouts(fault, source, draw)]
            for layout, fault, draw in cases:
                rng = np.random.default_rng(seed_of(source.name, layout, fault, draw))
                spoilt, words = copy.deepcopy(take), "clean"
                if fault is not None:
                    words = f"{fault.name} ({fault.spoil(spoilt, rng, layout)})"
                path = WRITERS[layout](spoilt, folder / "spoilt")
                if spoilt.damage:
                    spoilt.damage(path)
                score, said, cost = judge(path, fault)
                seconds.append(cost)
                scores[fault.name if fault else ""].add(score)
                if score.wrong or score.found < score.n:
                    told = ", ".join(said) or "nothing"
                    console.print(f"  {source.name}, {layout}: {words} -> {told}", highlight=False, soft_wrap=True)
                shutil.rmtree(path)
    if seconds:
        console.print(f"{len(seconds)} recordings, {np.median(seconds):.2f} s of CPU each, {max(seconds):.1f} at most")
    return scores


def clean_files(console: Console) -> tuple[int, int]:
    """(recordings, errors and warnings) of the public data as they are."""
    data = Path(os.environ.get("EMBMEM_DATA_DIR", ""))
    there = [name for name in CLEAN if "EMBMEM_DATA_DIR" in os.environ and (data / name).exists()]
    n = 0
    for name in there:
        _, said, seconds = judge(data / name, None)
        console.print(f"  {name}: {', '.join(said) or 'nothing wrong'} ({seconds:.1f} s)", highlight=False)
        n += len(said)
    for name in BARE:
        if "EMBMEM_DATA_DIR" in os.environ and (data / name).exists():
            said = judge(data / name, None)[1]
            console.print(f"  {name}: {', '.join(said)}", highlight=False)
            n += said != ["nothing_to_see"]
            there.append(name)
    return len(there), n


def table_of(name: str, scores: dict[str, Score]) -> Table:
    table = Table(title=f"{name}: {sum(s.n for s in scores.values())} recordings with a fault")
    for column in ("fault", "recordings", "recall", "precision"):
        table.add_column(column, justify="left" if column == "fault" else "right")
    for fault, score in scores.items():
        if fault:
            table.add_row(fault, str(score.n), f"{score.recall:.3f}", f"{score.precision:.3f}")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one house and one real stretch of each set, one draw")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--fault", nargs="*", help="these faults only")
    parser.add_argument("--set", choices=("tuned", "held_out"), help="one of the two sets only")
    parser.add_argument("--source", default="", help="sources whose name begins so")
    parser.add_argument("--draws", type=int, default=1)
    parser.add_argument("--every-layout", action="store_true", help="each fault in each layout, not in one of them")
    args = parser.parse_args()
    console = Console()
    faults = tuple(f for f in FAULTS if not args.fault or f.name in args.fault)
    layouts = every_layout if args.every_layout else one_layout
    rows = []
    _, n_wrong = clean_files(console) if not (args.fault or args.source) else (0, 0)
    rows.append(row("public recordings as they are: wrong findings", n_wrong, goal="0", met=n_wrong == 0))
    for name, sources in (("tuned", TUNED), ("held_out", HELD_OUT)):
        if args.set and args.set != name:
            continue
        chosen: tuple[Source, ...] = (sources[1], sources[-2]) if args.quick else sources
        chosen = tuple(source for source in chosen if source.name.startswith(args.source))
        scores = run_set(chosen, faults, layouts, 1 if args.quick else args.draws, console)
        total = Score()
        for fault, score in scores.items():
            if fault:
                total.add(score)
        console.print(table_of(name, scores))
        clean = scores[""].wrong
        said = f"recall {total.recall:.3f}, precision {total.precision:.3f}, {clean} findings on clean ones"
        console.print(f"{name}: {said}")
        rows.append(row(f"{name}: recall", total.recall, goal=f">= {GOAL}", met=total.recall >= GOAL))
        rows.append(row(f"{name}: precision", total.precision, goal=f">= {GOAL}", met=total.precision >= GOAL))
        rows.append(row(f"{name}: findings on clean ones", clean, goal="0", met=clean == 0))
        for fault, score in scores.items():
            if fault:
                words = f"{name}: {fault}: recall"
                rows.append(row(words, score.recall, goal=f">= {GOAL}", met=score.recall >= GOAL) | vars(score))
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))
    sys.exit(0)


if __name__ == "__main__":
    main()
