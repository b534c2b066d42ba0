"""`embmem build`: a recording becomes a saved map."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from embmem.cli.settings import word
from embmem.errors import InputError, OutputExistsError, RefusedObservation
from embmem.ingress import FAULTS
from embmem.map_hash import map_hash
from embmem.memory import Memory
from embmem.observation import Observation
from embmem.occupancy import find_occupancy, views
from embmem.recordings.opening import FORMATS, read_recording
from embmem.recordings.reading import Reading

Perceive = Callable[[Observation], Observation]
POSITIONAL = ("recording",)
HELP = f"""embmem build: turn a recording into a saved map

  embmem build ../shared/data/rgbd/seven_scenes out=room.embmem
  embmem build ../shared/data/ros2/rgbd_7scenes_mcap out=room.embmem resolution=0.1 every=4 overwrite=true
  embmem build bag out=room.embmem read.depth=/camera/depth/image_raw read.depth_unit=0.001 read.map_frame=odom
  embmem build flat out=flat.embmem memory=semantic perceive=labels colour=true   ask it in words (extra text)

It reads {FORMATS}. What it cannot know or gets wrong is said with read.*; `embmem doctor` finds
out what that should be. Files are checked before the first frame is used; the map is written whole or not at all.
"""


def run(cfg: DictConfig) -> None:
    """Read the recording, integrate every frame in RAM, save, and say what was built."""
    started = perf_counter()
    console = Console()
    out, is_overwriting, on_fault = Path(word(cfg, "out")), cfg.overwrite, cfg.on_fault
    _check_free(out, is_overwriting=is_overwriting)
    memory: Memory = instantiate(cfg.memory)
    perceive = instantiate(cfg.perceive) if "perceive" in cfg else None
    reading = read_recording(
        word(cfg, "recording"),
        read_settings(cfg),
        frame=cfg.frame,
        on_fault=on_fault,
        every=cfg.every,
        rgb=cfg.colour,
        policies=memory.gate.policies,
    )
    n_frames, refused = _integrate(reading, memory, console, perceive=perceive, is_skipping=on_fault == "skip")
    refused += Counter(fault.kind for fault in reading.faults)
    memory.save(out, overwrite=is_overwriting)
    seconds = perf_counter() - started
    console.print(_summary(memory, out, reading, n_frames=n_frames, refused=refused, seconds=seconds))


def read_settings(cfg: DictConfig) -> dict[str, Any]:
    """The settings under `read` as plain values; None where nothing was given."""
    plain = OmegaConf.to_container(cfg.read)
    if not isinstance(plain, dict):
        raise ValueError(f"read must hold settings, got {plain!r}")
    return {str(name): value for name, value in plain.items()}


def _check_free(out: Path, *, is_overwriting: bool) -> None:
    """Refuse a file that cannot be written before minutes of work, not after."""
    if out.exists() and not (is_overwriting and out.is_file()):
        raise OutputExistsError(f"{out} exists; choose another name or set overwrite=true")
    if not out.parent.is_dir():
        raise InputError(f"{out.parent} is not a folder; create it first")


def _integrate(
    reading: Reading, memory: Memory, console: Console, *, perceive: Perceive | None, is_skipping: bool
) -> tuple[int, Counter[str]]:
    """Observe every frame, after `perceive` added to it; how many were, and how many the gate refused, by fault."""
    n_frames, refused = 0, Counter[str]()
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("building", total=len(reading))
        for frame, observations in reading.with_frames():
            try:
                for observation in observations:
                    memory.observe(perceive(observation) if perceive else observation)
            except RefusedObservation as error:
                if not is_skipping:
                    raise InputError(f"{frame.describe()}: {error}") from None
                refused[error.fault] += 1
            else:
                n_frames += 1
            progress.advance(bar)
    return n_frames, refused


def _summary(
    memory: Memory, out: Path, reading: Reading, *, n_frames: int, refused: Counter[str], seconds: float
) -> Table:
    occupancy = find_occupancy(memory)
    occupied, n_free = occupancy.occupied(), len(occupancy.free())
    table = Table(title=f"built {out}", title_justify="left", show_header=False)
    table.add_row("recording", _source(reading))
    table.add_row("frames", f"{n_frames:,} in {seconds:.1f} s ({n_frames / seconds:.0f}/s)")
    faults = ", ".join(f"{count} {fault}" for fault, count in sorted(refused.items()))
    table.add_row("frames refused", faults or "none")
    repaired = ", ".join(
        f"{n} {fault}" for fault, n in sorted((memory.gate.counts - refused).items()) if fault in FAULTS
    )
    if repaired:
        table.add_row("frames repaired", repaired)
    table.add_row("views kept", f"{len(views(memory)):,}")
    table.add_row("voxels", f"{len(occupied):,} occupied, {n_free:,} free, {occupancy.resolution:g} m")
    if len(occupied):
        low, high = occupied.min(axis=0), occupied.max(axis=0) + occupancy.resolution
        size = " x ".join(f"{s:.2f}" for s in high - low)
        table.add_row("extent of what is occupied", f"{size} m, z from {low[2]:.2f} to {high[2]:.2f} m")
    for kind, stats in memory.stats().items():
        if kind not in ("voxels", "store", "gate"):
            table.add_row(kind, ", ".join(f"{value:,.0f} {name}" for name, value in stats.items() if name != "bytes"))
    table.add_row("hash of the map", map_hash(memory))
    n_bytes = sum(stats.get("bytes", 0.0) for stats in memory.stats().values())
    table.add_row("bytes", f"{out.stat().st_size:,} on disk, {int(np.ceil(n_bytes)):,} in RAM")
    return table


def _source(reading: Reading) -> str:
    """What was read, in words."""
    parts = [reading.recording.format, f"{reading.choice.main.kind} of {reading.choice.main.name}"]
    if reading.poses is not None:
        parts.append(f"poses: {reading.poses.describe}")
        skipped = ", ".join(f"{n} {fault}" for fault, n in sorted(reading.poses.skipped.items()))
        parts += [f"poses left out: {skipped}"] if skipped else []
    return "; ".join([*parts, *reading.recording.notes])
