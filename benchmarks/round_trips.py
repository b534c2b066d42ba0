"""Maps out to other formats and back, opened by the programs that own the formats, and how long it takes.

    python benchmarks/round_trips.py [--quick] [--json FILE]

A real building of OctoMap (`octomap/geb079.bt`, where EMBMEM_DATA_DIR is set) and an embedded house. Counted is what
differs after the trip: leaves of a tree by OctoMap's own tools (Debian: octomap-tools), bytes of pgm and yaml, nodes
of a scene graph in Spark-DSG, poses in evo. The surface is raced against scikit-image on a dense array of the
whole, which gives the same mesh as long as it fits into memory. Times are CPU time of one core, the best of three.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from room_houses import true_graph
from rows import row

from embmem.exports.map_server import write_map_server
from embmem.exports.surface import surface_of
from embmem.exports.trajectory import write_tum
from embmem.geometry import camera_pose
from embmem.maps import GridBuilder, ObjectMemory, SceneGraph, VoxelMap
from embmem.maps.importing import import_map
from embmem.maps.scene_graph.dsg import write_dsg
from embmem.maps.scene_graph.exporting import write_scene_graph
from embmem.maps.voxels.formats.octomap_files import read_octomap, write_octomap
from embmem.sim_envs.house import make_house

Rows = list[dict[str, Any]]
REPEATS = 3


def cpu(run: Callable[[], object]) -> float:
    """[s] of CPU time, the best of a few."""
    times = []
    for _ in range(REPEATS):
        started = time.process_time()
        run()
        times.append(time.process_time() - started)
    return min(times)


def house_voxels(seed: int, resolution: float) -> VoxelMap:
    """The walls and things of a house, by the faces of their boxes."""
    boxes = np.array(make_house(seed).solid_boxes(), dtype=np.float64)
    voxels, rng = VoxelMap(resolution, max_range=50.0), np.random.default_rng(seed)
    for low, high in zip(boxes[:, :3], boxes[:, 3:6], strict=True):
        n = int(np.prod(np.maximum((high - low) / resolution, 1.0)) * 2) + 8
        points = rng.uniform(low, high, (min(n, 60_000), 3))
        voxels.integrate(points, points + np.array([0.0, 0.0, resolution / 4]))
    return voxels


def octomap(folder: Path, tree: Path) -> Rows:
    """The building out and in, compared by OctoMap."""
    voxels = read_octomap(tree)
    seconds = cpu(lambda: write_octomap(folder / "ours.bt", read_octomap(tree)))
    rows = [row("OctoMap .bt read and written [s]", seconds)]
    if shutil.which("compare_octrees") is None or shutil.which("convert_octree") is None:
        return rows
    for name, path in (("ours", folder / "ours.bt"), ("theirs", tree)):
        subprocess.run(["convert_octree", str(path), f"{folder}/{name}.ot"], capture_output=True, check=False)
    command = ["compare_octrees", f"{folder}/ours.ot", f"{folder}/theirs.ot"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    told = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("KLD:")]
    divergence = float(told[0].split()[1]) if told else float("nan")
    rows.append(row("OctoMap .bt: divergence by compare_octrees", divergence, goal="0", met=divergence == 0.0))
    return rows + surface("building", voxels)


def surface(name: str, voxels: VoxelMap) -> Rows:
    """Tiles against one dense array, and whether they make the same mesh."""
    marching_cubes: Any = importlib.import_module("skimage.measure").marching_cubes
    centres = voxels.occupied()
    cells = np.floor(centres / voxels.resolution).astype(np.int64)
    low = cells.min(axis=0) - 2

    def dense() -> Any:
        axes = [np.arange(a, b + 3) for a, b in zip(low, cells.max(axis=0), strict=True)]
        points = (np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3) + 0.5) * voxels.resolution
        odds = np.clip(np.nan_to_num(voxels.log_odds(points), nan=-2.0), -4, 4).astype(np.float32)
        return marching_cubes(odds.reshape([len(axis) for axis in axes]), 1 / 64, gradient_direction="ascent")

    ours, theirs = surface_of(voxels), dense()
    differ = abs(len(ours.vertices) - len(theirs[0])) + abs(len(ours.triangles) - len(theirs[1]))
    seconds, peer = cpu(lambda: surface_of(voxels)), cpu(dense)
    peer_name = "scikit-image, dense"
    return [
        row(f"{name}: surface [s]", seconds, peer=peer, peer_name=peer_name, goal="<= 3 x", met=seconds <= 3 * peer),
        row(f"{name}: vertices and triangles that differ", differ, goal="0", met=differ == 0, peer_name=peer_name),
    ]


def grid(folder: Path, voxels: VoxelMap) -> Rows:
    """A floor plan out, in as voxels, and out again."""
    for name in ("a", "b"):
        (folder / name).mkdir()
        source = voxels if name == "a" else import_map(folder / "a" / "map.yaml").memory.layer(VoxelMap)
        plan = GridBuilder(source).update()
        write_map_server(folder / name, plan.cells, plan.origin, plan.resolution)
    pairs = [((folder / "a" / f).read_bytes(), (folder / "b" / f).read_bytes()) for f in ("map.pgm", "map.yaml")]
    differ = sum(len(a) != len(b) or sum(x != y for x, y in zip(a, b, strict=True)) for a, b in pairs)
    return [row("pgm + yaml: bytes that differ after import and export", differ, goal="0", met=differ == 0)]


def scene_graph(folder: Path, seed: int) -> Rows:
    """A house's graph in Spark-DSG, and in and out once more."""
    spark_dsg: Any = importlib.import_module("spark_dsg")
    graph = true_graph(make_house(seed), SceneGraph()).networkx()
    write_dsg(folder / "dsg.json", graph)
    theirs = spark_dsg.DynamicSceneGraph.load(str(folder / "dsg.json"))
    memory = import_map(folder / "dsg.json").memory
    write_scene_graph(folder, memory.layers, form="scene_graph")
    things = sum(node["layer"] in ("object", "furniture") for node in graph.nodes.values())
    lost = things - len(memory.layer(ObjectMemory)) + len(graph) - theirs.num_nodes()
    return [row("Spark-DSG: nodes lost there and on the way back", lost, goal="0", met=lost == 0)]


def trajectory(folder: Path) -> Rows:
    """Poses in evo."""
    file_interface: Any = importlib.import_module("evo.tools.file_interface")
    T = np.stack([camera_pose(np.array([np.cos(a), np.sin(a), 1.0]), a, -0.2) for a in np.linspace(0, 6, 200)])
    write_tum(folder / "a.tum", np.arange(200) * 0.1, T)
    read = np.array(file_interface.read_tum_trajectory_file(str(folder / "a.tum")).poses_se3)
    worst = float(np.abs(read - T).max())
    return [row("TUM: largest difference of a pose in evo", worst, goal="< 1e-9", met=worst < 1e-9)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a coarser house")
    parser.add_argument("--json", type=Path, help="write the rows here")
    options = parser.parse_args()
    data = os.environ.get("EMBMEM_DATA_DIR")
    tree = None if data is None else Path(data) / "octomap" / "geb079.bt"
    voxels = house_voxels(3, 0.1 if options.quick else 0.05)
    rows: Rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if tree is not None and tree.is_file():
            rows += octomap(folder, tree)
        rows += [*surface("house", voxels), *grid(folder, voxels), *scene_graph(folder, 3), *trajectory(folder)]
    table = Table(title="round trips", title_justify="left")
    for column in ("figure", "ours", "peer", "goal", "met"):
        table.add_column(column)
    for each in rows:
        peer = "" if each["peer"] is None else f"{each['peer']:.3g} ({each['peer_name']})"
        table.add_row(each["name"], f"{each['ours']:.3g}", peer, each["goal"], "yes" if each["met"] else "NO")
    Console().print(table)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1), "utf-8")


if __name__ == "__main__":
    main()
