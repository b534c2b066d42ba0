"""`embmem record`: a tour of a procedural house becomes a recording to build a map from."""

from __future__ import annotations

from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

HELP = """embmem record: a tour of a procedural house as a recording with noisy sensors

  embmem record seed=7 n_rooms=6 out=flat
  embmem record seed=7 n_rooms=6 out=clean noise=none world.intrinsics.width=640 world.intrinsics.height=480
  embmem record seed=7 n_rooms=6 out=flat.mcap        for ROS 2, Foxglove, Rerun (extra ros)
  embmem record seed=7 n_rooms=6 out=flat layout=lerobot                       (extra lerobot)

Writes what `embmem build flat out=flat.embmem` reads: colour, depth, semantic and instance images, poses,
intrinsics, time stamps and labels. No data set needed.
"""


def run(cfg: DictConfig) -> None:
    """Walk, write, and say what was written."""
    console = Console()
    columns = (TextColumn("frames"), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("frames", total=cfg.record.max_steps + 1)
        house, n_frames = instantiate(cfg.record, on_frame=lambda: progress.advance(bar))
    console.print(
        f"{n_frames} frames of house {house.seed} with {len(house.rooms)} rooms and {len(house.objects)} small objects "
        f"in {cfg.out}\nnext: embmem build {cfg.out} out={cfg.out}.embmem",
        highlight=False,
        soft_wrap=True,
    )
