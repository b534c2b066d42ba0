"""`embmem export`: a saved map in formats that other programs read."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from embmem.cli.settings import word
from embmem.errors import InputError, MissingExtraError
from embmem.exports.gltf import write_glb_mesh, write_glb_points
from embmem.exports.map_server import write_map_server
from embmem.exports.ply import write_ply, write_ply_mesh
from embmem.exports.preview import write_preview
from embmem.exports.surface import Surface, surface_of
from embmem.exports.top_down import top_down
from embmem.exports.trajectory import write_kitti, write_tum
from embmem.memory import Memory
from embmem.occupancy import find_occupancy, views
from embmem.output import new_folder
from embmem.records import Query

POSITIONAL = ("file", "out")
HELP = """embmem export: write a saved map in formats that other programs read

  embmem export room.embmem room                                   PLY points, grid for Nav2, picture
  embmem export room.embmem scene 'formats=[glb,ply_mesh]'         surface: marching cubes (extra mesh)
  embmem export room.embmem octomap 'formats=[bt,ot]'
  embmem export room.embmem picture 'formats=[png]' ceiling=1.6
  embmem export room.embmem nav 'formats=[map_server,route_graph]' map_server.mode=raw
  embmem export room.embmem graph 'formats=[scene_graph,dsg,text]'
  embmem export room.embmem way 'formats=[tum,kitti,rrd]' overwrite=true
  embmem export room.embmem all 'formats=[all]'                    whatever the memory has layers for

  ply, ply_mesh          points, surface            MeshLab, CloudCompare, Open3D
  glb, glb_points        surface, points, y up      Blender, three.js, any browser
  map_server             map.pgm + map.yaml         Nav2, map_server
  bt, ot                 map.bt, map.ot             OctoMap
  route_graph            route_graph.geojson        Nav2's route server
  scene_graph, landmarks node-link JSON             networkx, D3
  dsg                    dsg.json                   Spark-DSG, Hydra
  tum, kitti             trajectory.*               evo
  rrd                    map.rrd                    Rerun (extra view)
  png, annotated, text   pictures and words         people, language models

The folder appears whole or not at all. A format that needs what the memory does not have says so.
"""


class Work:
    """A memory that is written in several formats; its surface is made once."""

    def __init__(self, memory: Memory, cfg: DictConfig) -> None:
        self.memory, self.cfg = memory, cfg
        self._surface: Surface | None = None

    def paint(self, occupancy: Any, centres: np.ndarray) -> np.ndarray:
        return np.asarray(instantiate(self.cfg.paint)(occupancy, centres))

    def points(self) -> tuple[np.ndarray, np.ndarray]:
        """(centres of the occupied voxels, their colours)."""
        occupancy = find_occupancy(self.memory)
        centres = occupancy.occupied()
        if not len(centres):
            raise InputError("the map has no occupied voxel to write")
        return centres, self.paint(occupancy, centres)

    def surface(self) -> Surface:
        if self._surface is None:
            self._surface = surface_of(find_occupancy(self.memory), self.paint)
        return self._surface

    def trajectory(self) -> tuple[np.ndarray, np.ndarray]:
        """(stamps, poses of the camera)."""
        found, _ = instantiate(self.cfg.trajectory)(self.memory)
        if found is None:
            raise InputError("the memory has recorded no view and no keyframe, so no trajectory can be written")
        return found.stamps, found.T_map_camera


class _Format(NamedTuple):
    """How one format is written."""

    write: Callable[[Path, Work], None]
    opens_in: str


def run(cfg: DictConfig) -> None:
    """Write every format into a folder, all of them or none."""
    formats = list(cfg.formats) if OmegaConf.is_list(cfg.formats) else [cfg.formats]
    is_all = formats == ["all"]
    if not formats or not (is_all or all(name in FORMATS for name in formats)):
        raise ValueError(f"formats must be some of {', '.join(FORMATS)}, or all, got {formats}")
    out = Path(word(cfg, "out"))
    memory: Memory = instantiate(cfg.open)
    console = Console()
    table = Table(title=f"exported to {escape(str(out))}", title_justify="left")
    for name in ("format", "file", "bytes", "opens in"):
        table.add_column(name, justify="right" if name == "bytes" else "left")
    left_out: list[str] = []
    try:
        with new_folder(out, overwrite=cfg.overwrite) as folder:
            work, there = Work(memory, cfg), set[Path]()
            for name in FORMATS if is_all else dict.fromkeys(formats):
                try:
                    with console.status(f"writing {name}"):
                        FORMATS[name].write(folder, work)
                except (InputError, MissingExtraError, ValueError) as error:
                    if not is_all:
                        raise
                    left_out.append(f"{name}: {error}")
                for file in sorted(set(folder.rglob("*")) - there):
                    there.add(file)
                    table.add_row(name, file.name, f"{file.stat().st_size:,}", FORMATS[name].opens_in)
            if not there:
                raise InputError(f"nothing in this memory can be exported; {'; '.join(left_out)}")
    finally:
        memory.store.close()
    console.print(table)
    for sentence in left_out:
        console.print(f"left out {sentence}", markup=False, highlight=False)


def _ply(folder: Path, work: Work) -> None:
    write_ply(folder / "map.ply", *work.points())


def _map_server(folder: Path, work: Work) -> None:
    grid: Any = instantiate(work.cfg.grid)(find_occupancy(work.memory))
    write_map_server(folder, grid.cells, grid.origin, grid.resolution, **work.cfg.map_server)


def _octomap(name: str, folder: Path, work: Work) -> None:
    instantiate(work.cfg.octomap)(folder / name, find_occupancy(work.memory))


def _scene_graph(form: str, folder: Path, work: Work) -> None:
    instantiate(work.cfg.scene_graph)(folder, work.memory.layers, form=form)


def _layers(target: str, name: str, folder: Path, work: Work) -> None:
    """What a function of the maps writes to a file from the layers of the memory."""
    instantiate(work.cfg[target])(folder / name, work.memory.layers)


def _annotated(folder: Path, work: Work) -> None:
    instantiate(work.cfg.annotated)(folder, work.memory, title=_title(work.cfg))


def _rrd(folder: Path, work: Work) -> None:
    from embmem.viewing.rerun_log import write_recording

    write_recording(folder / "map.rrd", instantiate(work.cfg.scene)(work.memory, title=_title(work.cfg)))


def _png(folder: Path, work: Work) -> None:
    memory, occupancy = work.memory, find_occupancy(work.memory)
    ceiling = float(work.cfg.ceiling)
    view = top_down(occupancy.occupied(), occupancy.free(), occupancy.resolution, ceiling=ceiling)
    poses = [record.T_map_obs for record in views(memory) if record.T_map_obs is not None]
    hits = memory.query(Query(k=1000))
    left, right, bottom, top = view.extent
    write_preview(
        folder / "map.png",
        view,
        trajectory=np.stack(poses) if poses else None,
        objects=[(hit.entity, hit.position) for hit in hits if hit.entity and hit.position is not None],
        title=f"{_title(work.cfg)}   {right - left:.1f} x {top - bottom:.1f} m, voxels of {view.resolution:g} m",
        ceiling=ceiling,
    )


def _title(cfg: DictConfig) -> str:
    return Path(word(cfg, "file")).stem


FORMATS: dict[str, _Format] = {
    "ply": _Format(_ply, "MeshLab, Open3D"),
    "ply_mesh": _Format(lambda f, w: write_ply_mesh(f / "mesh.ply", w.surface()), "MeshLab, Open3D"),
    "glb": _Format(lambda f, w: write_glb_mesh(f / "mesh.glb", w.surface()), "Blender, browsers"),
    "glb_points": _Format(lambda f, w: write_glb_points(f / "points.glb", *w.points()), "Blender, browsers"),
    "map_server": _Format(_map_server, "Nav2, map_server"),
    "png": _Format(_png, "any viewer"),
    "bt": _Format(partial(_octomap, "map.bt"), "OctoMap"),
    "ot": _Format(partial(_octomap, "map.ot"), "OctoMap"),
    "route_graph": _Format(partial(_layers, "route_graph", "route_graph.geojson"), "Nav2's route server"),
    "scene_graph": _Format(partial(_scene_graph, "scene_graph"), "networkx, D3"),
    "landmarks": _Format(partial(_layers, "landmarks", "landmarks.json"), "networkx, D3"),
    "dsg": _Format(partial(_scene_graph, "dsg"), "Spark-DSG"),
    "text": _Format(partial(_scene_graph, "text"), "language models"),
    "annotated": _Format(_annotated, "any viewer"),
    "tum": _Format(lambda f, w: write_tum(f / "trajectory.tum", *w.trajectory()), "evo"),
    "kitti": _Format(lambda f, w: write_kitti(f / "trajectory.kitti", *w.trajectory()), "evo"),
    "rrd": _Format(_rrd, "Rerun"),
}
