"""`embmem build`: a recording becomes a saved map."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

import numpy as np
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from embmem.building.build import Built, Told, build_memory
from embmem.building.plan import BuildPlan
from embmem.building.record import BuildRecord
from embmem.cli.build_many import run_many
from embmem.cli.report import free_page, report_build
from embmem.cli.settings import word
from embmem.occupancy import find_occupancy, views
from embmem.recordings.opening import FORMATS
from embmem.recordings.reading import Reading

POSITIONAL = ("recording...",)
HELP = f"""embmem build: turn a recording into a saved map

  embmem build ../shared/data/rgbd/seven_scenes out=room.embmem
  embmem build ../shared/data/ros2/rgbd_7scenes_mcap out=room.embmem resolution=0.1 every=4 overwrite=true
  embmem build bag out=room.embmem read.depth=/camera/depth/image_raw read.depth_unit=0.001 read.map_frame=odom
  embmem build flat out=flat.embmem memory=semantic perceive=labels colour=true   ask it in words (extra text)
  embmem build clip out=clip.embmem odometry=depth                  without recorded poses (extra recon)
  embmem build clip out=clip.embmem 'moving={{classes:[person]}}'     what moves is left out
  embmem build monday tuesday out=maps workers=2                    several recordings, a map each (extra ray)
  embmem build monday tuesday out=house.embmem merge=relocalise     one memory of both

It reads {FORMATS}.
What it cannot know or gets wrong is said with read.*; `embmem doctor` finds out what that should be. Files are checked
before the first frame is used; the map is written whole or not at all.
The same command goes on where a build was killed, to the same map. See docs/building.md.
A page about it is written beside it: plan, pictures, drift, timings, what the doctor finds (report=false: none).
"""


def run(cfg: DictConfig) -> None:
    """Read the recording, integrate every frame in RAM, save, and say what was built."""
    started = perf_counter()
    console = Console()
    with progress(console) as tell:
        if len(recordings := recordings_of(cfg)) > 1:
            run_many(cfg, plan_of(cfg), recordings, console, tell)
            return
        page = free_page(cfg)
        built = build_memory(plan_of(cfg), tell)
    console.print(_summary(built, seconds=perf_counter() - started))
    if page is not None:
        report_build(cfg, built, page)


def recordings_of(cfg: DictConfig) -> list[str]:
    """The recordings that were named, one or several."""
    if not OmegaConf.is_list(cfg.recording):
        return [word(cfg, "recording")]
    if not len(cfg.recording):
        raise ValueError("recording must name one recording or several")
    return [str(recording) for recording in cfg.recording]


def plan_of(cfg: DictConfig) -> BuildPlan:
    """The plan in the settings of this command.

    Raises:
        ValueError: if a name is no word, or `read` holds no settings.
        MissingMandatoryValue: naming what must be given.
    """
    words = {"recording": recordings_of(cfg)[0], "out": word(cfg, "out")}
    plain = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    if not isinstance(plain, dict) or not isinstance(plain["read"], dict):
        raise ValueError(f"read must hold settings, got {cfg.read!r}")
    return BuildPlan.of({str(name): value for name, value in plain.items()} | words)


@contextmanager
def progress(console: Console) -> Iterator[Told]:
    """A function that shows what is done, how fast, and how long it takes yet; nothing where nobody looks."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        tasks, started = {}, {}

        def tell(part: str, done: int, total: int) -> None:
            if part not in tasks:
                tasks[part] = bar.add_task(part, total=total, rate="")
                started[part] = (perf_counter(), done)
            seconds = perf_counter() - started[part][0]
            rate = (done - started[part][1]) / seconds if seconds > 0 else 0.0
            bar.update(tasks[part], completed=done, total=total, rate=f"{rate:.0f} frames/s")

        yield tell


def _summary(built: Built, *, seconds: float) -> Table:
    memory, record, out = built.memory, built.record, Path(built.record.out)
    occupancy = find_occupancy(memory)
    occupied, n_free = occupancy.occupied(), len(occupancy.free())
    table = Table(title=f"built {out}", title_justify="left", show_header=False)
    table.add_row("recording", _source(built.reading))
    table.add_row("frames", f"{record.n_frames:,} in {seconds:.1f} s ({record.n_frames / seconds:.0f}/s)")
    if built.resumed_at:
        table.add_row("gone on", f"from frame {built.resumed_at:,}, where an earlier build was stopped")
    table.add_row("time", _parts(record))
    table.add_row("frames refused", _counted(record.refused) or "none")
    if record.repaired:
        table.add_row("frames repaired", _counted(record.repaired))
    table.add_row("views kept", f"{len(views(memory)):,}")
    table.add_row("voxels", f"{len(occupied):,} occupied, {n_free:,} free, {occupancy.resolution:g} m")
    if len(occupied):
        low, high = occupied.min(axis=0), occupied.max(axis=0) + occupancy.resolution
        size = " x ".join(f"{s:.2f}" for s in high - low)
        table.add_row("extent of what is occupied", f"{size} m, z from {low[2]:.2f} to {high[2]:.2f} m")
    for kind, stats in memory.stats().items():
        if kind not in ("voxels", "store", "gate"):
            table.add_row(kind, ", ".join(f"{value:,.0f} {name}" for name, value in stats.items() if name != "bytes"))
    table.add_row("hash of the map", record.map_hash)
    n_bytes = sum(stats.get("bytes", 0.0) for stats in memory.stats().values())
    table.add_row("bytes", f"{out.stat().st_size:,} on disk, {int(np.ceil(n_bytes)):,} in RAM")
    return table


def _counted(faults: dict[str, int]) -> str:
    return ", ".join(f"{count} {fault}" for fault, count in faults.items())


def _parts(record: BuildRecord) -> str:
    """What took how long, the longest first."""
    longest = sorted(record.seconds.items(), key=lambda part: -part[1])
    return ", ".join(f"{name} {seconds:.1f} s" for name, seconds in longest)


def _source(reading: Reading) -> str:
    """What was read, in words."""
    parts = [reading.recording.format, f"{reading.choice.main.kind} of {reading.choice.main.name}"]
    if reading.poses is not None:
        parts.append(f"poses: {reading.poses.describe}")
        skipped = ", ".join(f"{n} {fault}" for fault, n in sorted(reading.poses.skipped.items()))
        parts += [f"poses left out: {skipped}"] if skipped else []
    else:
        parts.append("poses: odometry")
    return "; ".join([*parts, *reading.recording.notes])
