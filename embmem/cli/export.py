"""`embmem export`: a saved map in formats that other programs read."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from embmem.cli.settings import word
from embmem.exports.map_server import write_map_server
from embmem.exports.ply import write_ply
from embmem.exports.preview import write_preview
from embmem.exports.top_down import top_down
from embmem.memory import Memory
from embmem.occupancy import find_occupancy, views
from embmem.output import new_folder
from embmem.records import Query

HELP = """embmem export: write a saved map as PLY, map_server grid, picture, OctoMap tree, scene graph, annotated map

  embmem export file=room.embmem out=room
  embmem export file=room.embmem out=octomap 'formats=[bt]'
  embmem export file=room.embmem out=picture 'formats=[png]' ceiling=1.6
  embmem export file=room.embmem out=graph 'formats=[scene_graph,dsg,text]'
  embmem export file=room.embmem out=labels 'formats=[annotated]'
"""


def run(cfg: DictConfig) -> None:
    """Write every format into a new folder, all of them or none."""
    writers: dict[str, Callable[[Path, Memory, DictConfig], None]] = {
        "ply": _ply, "map_server": _map_server, "png": _png, "annotated": _annotated,
        "bt": partial(_octomap, "map.bt"), "ot": partial(_octomap, "map.ot"),
        **{form: partial(_scene_graph, form) for form in ("scene_graph", "dsg", "text")},
    }  # fmt: skip
    formats = list(cfg.formats) if OmegaConf.is_list(cfg.formats) else [cfg.formats]
    if not formats or not all(name in writers for name in formats):
        raise ValueError(f"formats must be some of {', '.join(writers)}, got {formats}")
    out = Path(word(cfg, "out"))
    memory: Memory = instantiate(cfg.open)
    with new_folder(out) as folder:
        for name in formats:
            writers[name](folder, memory, cfg)
    console = Console()
    for file in sorted(out.iterdir()):
        console.print(f"{file}  {file.stat().st_size:,} bytes", highlight=False)


def _ply(folder: Path, memory: Memory, cfg: DictConfig) -> None:
    write_ply(folder / "map.ply", find_occupancy(memory).occupied())


def _map_server(folder: Path, memory: Memory, cfg: DictConfig) -> None:
    grid: Any = instantiate(cfg.grid)(find_occupancy(memory))
    write_map_server(folder, grid.cells, grid.origin, grid.resolution)


def _octomap(name: str, folder: Path, memory: Memory, cfg: DictConfig) -> None:
    instantiate(cfg.octomap)(folder / name, find_occupancy(memory))


def _scene_graph(form: str, folder: Path, memory: Memory, cfg: DictConfig) -> None:
    instantiate(cfg.scene_graph)(folder, memory.layers, form=form)


def _annotated(folder: Path, memory: Memory, cfg: DictConfig) -> None:
    instantiate(cfg.annotated)(folder, memory, title=Path(word(cfg, "file")).stem)


def _png(folder: Path, memory: Memory, cfg: DictConfig) -> None:
    occupancy = find_occupancy(memory)
    view = top_down(occupancy.occupied(), occupancy.free(), occupancy.resolution, ceiling=float(cfg.ceiling))
    poses = [record.T_map_obs for record in views(memory) if record.T_map_obs is not None]
    hits = memory.query(Query(k=1000))
    left, right, bottom, top = view.extent
    name = Path(word(cfg, "file")).stem
    write_preview(
        folder / "map.png",
        view,
        trajectory=np.stack(poses) if poses else None,
        objects=[(hit.entity, hit.position) for hit in hits if hit.entity and hit.position is not None],
        title=f"{name}   {right - left:.1f} x {top - bottom:.1f} m, voxels of {view.resolution:g} m",
        ceiling=float(cfg.ceiling),
    )
