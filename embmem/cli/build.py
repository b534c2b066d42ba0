"""`embmem build`: an RGB-D recording becomes a saved map."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np
from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from embmem.cli.settings import word
from embmem.errors import InputError, OutputExistsError, RefusedObservation
from embmem.ingress import FAULTS
from embmem.memory import Memory
from embmem.observation import Observation
from embmem.occupancy import find_occupancy, views
from embmem.recordings.rgbd_folder import RgbdFolder

Perceive = Callable[[Observation], Observation]
HELP = """embmem build: turn an RGB-D recording into a saved map

  embmem build rgbd=../shared/data/rgbd/seven_scenes out=room.embmem
  embmem build rgbd=../shared/data/rgbd/seven_scenes out=coarse.embmem resolution=0.1 every=4 overwrite=true
  embmem build rgbd=flat out=flat.embmem memory=semantic perceive=labels colour=true   ask it in words (extra text)

The folder holds frame-NNNNNN.color.jpg or .png, .depth.png (16 bit, millimetres, 0 and 65535 invalid), .pose.txt (4x4
camera-to-world) and camera-intrinsics.txt, the layout of 7-Scenes and 3DMatch. Everything is checked before the first
frame is used, and the file is written whole or not at all.
"""


def run(cfg: DictConfig) -> None:
    """Read the folder, integrate every frame in RAM, save, and say what was built."""
    started = perf_counter()
    console = Console()
    out, is_overwriting, on_fault = Path(word(cfg, "out")), cfg.overwrite, cfg.on_fault
    _check_free(out, is_overwriting=is_overwriting)
    memory: Memory = instantiate(cfg.memory)
    perceive = instantiate(cfg.perceive) if "perceive" in cfg else None
    recording = RgbdFolder(
        word(cfg, "rgbd"),
        frame=cfg.frame,
        on_fault=on_fault,
        every=cfg.every,
        rgb=cfg.colour,
        policies=memory.gate.policies,
    )
    refused = Counter(fault.kind for fault in recording.faults)
    refused += _integrate(recording, memory, console, perceive=perceive, is_skipping=on_fault == "skip")
    memory.save(out, overwrite=is_overwriting)
    n_frames = len(recording) + len(recording.faults) - sum(refused.values())
    console.print(_summary(memory, out, n_frames, refused, perf_counter() - started))


def _check_free(out: Path, *, is_overwriting: bool) -> None:
    """Refuse a file that cannot be written before minutes of work, not after."""
    if out.exists() and not (is_overwriting and out.is_file()):
        raise OutputExistsError(f"{out} exists; choose another name or set overwrite=true")
    if not out.parent.is_dir():
        raise InputError(f"{out.parent} is not a folder; create it first")


def _integrate(
    recording: RgbdFolder, memory: Memory, console: Console, *, perceive: Perceive | None, is_skipping: bool
) -> Counter[str]:
    """Observe every frame, after `perceive` added to it; returns how many were refused by the gate, by fault."""
    refused: Counter[str] = Counter()
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        for index, observation in enumerate(progress.track(recording, description="building")):
            try:
                memory.observe(perceive(observation) if perceive else observation)
            except RefusedObservation as error:
                if not is_skipping:
                    raise InputError(f"{recording.pose_file(index)}: {error}") from None
                refused[error.fault] += 1
    return refused


def _summary(memory: Memory, out: Path, n_frames: int, refused: Counter[str], seconds: float) -> Table:
    occupancy = find_occupancy(memory)
    occupied, n_free = occupancy.occupied(), len(occupancy.free())
    table = Table(title=f"built {out}", title_justify="left", show_header=False)
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
    n_bytes = sum(stats.get("bytes", 0.0) for stats in memory.stats().values())
    table.add_row("bytes", f"{out.stat().st_size:,} on disk, {int(np.ceil(n_bytes)):,} in RAM")
    return table
