"""`embmem episodes`: episodes of a task as a Habitat file."""

from __future__ import annotations

from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import Progress

HELP = """embmem episodes: write the episodes of a task as a Habitat dataset (.json.gz, y-up)

  embmem episodes task=objectnav episodes=20 out=val.json.gz
  embmem eval task=from_file task.path=val.json.gz episodes=20
  embmem episodes task=instructions task.tour=none episodes=20 out=r2r.json.gz     routes in words, as VLN-CE has them

The scenes are named house_<seed>_rooms_<n>.glb, as `embmem house seed=<seed> n_rooms=<n>` writes them.
"""


def run(cfg: DictConfig) -> None:
    """Plan the episodes, write them, and say what they are."""
    console = Console()
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("episodes", total=cfg.episodes)
        written = instantiate(cfg.write, on_episode=lambda: progress.advance(bar))
    lengths = [episode.shortest_path for episode in written]
    console.print(
        f"{len(written)} episodes in {len({episode.scene for episode in written})} houses, shortest paths "
        f"{min(lengths):.1f} to {max(lengths):.1f} m, in {cfg.out}",
        highlight=False,
        soft_wrap=True,
    )
