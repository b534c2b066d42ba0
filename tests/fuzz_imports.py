"""Damaged maps of other programs by the thousand; see `fuzz_recordings`, whose mutations these are.

`python tests/fuzz_imports.py 10000` tries so many for each reader, shared out among the kinds that it reads.
"""

from __future__ import annotations

import resource
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import cv2
import networkx as nx
import numpy as np
from box_room import observe_room
from fuzz_recordings import MAX_BYTES, mutations, survives
from rtabmap_writer import T_BASE_CAMERA, calibration, compressed, depth_blob, rvl, transform, write_rtabmap

from embmem.exports.map_server import write_map_server
from embmem.imports.grey_images import read_grey
from embmem.imports.map_server import read_map_server
from embmem.maps import VoxelMap
from embmem.maps.importing import import_map
from embmem.maps.scene_graph.dsg import write_dsg
from embmem.maps.scene_graph.json_files import write_node_link
from embmem.maps.voxels.formats.octomap_files import read_octomap, write_octomap
from embmem.observation import Intrinsics
from embmem.recordings.opening import open_recording
from embmem.recordings.rtabmap_blobs import calibration_of, color_image, depth_image, depth_size, poses_of, transform_of

MAX_VOXELS = 1 << 20
NEW, OLD = (0, 21, 4), (0, 16, 3)
CAMERA = Intrinsics.from_fov(8, 6, 75.0)
Case = tuple[bytes, Callable[[bytes], object]]


def blobs() -> dict[str, Case]:
    """Columns of a database of RTAB-Map."""
    depth = np.linspace(0.5, 4.0, 48, dtype=np.float32).reshape(6, 8)
    color = cv2.imencode(".jpg", np.full((6, 8, 3), 90, np.uint8))[1].tobytes()
    three = np.tile(np.eye(4, dtype=np.float32)[:3], (3, 1, 1))
    ids, poses = compressed(np.arange(1, 4, dtype=np.int32)), compressed(three)

    def both(blob: bytes) -> None:
        depth_size(blob)
        depth_image(blob)

    return {
        "depth_png": (depth_blob(depth, "png"), both),
        "depth_float": (depth_blob(depth, "float"), both),
        "depth_rvl": (rvl((depth * 1000).astype(np.uint16)), both),
        "color": (color, color_image),
        "calibration": (calibration(CAMERA, NEW), partial(calibration_of, version=NEW)),
        "calibration_old": (calibration(CAMERA, OLD), partial(calibration_of, version=OLD)),
        "pose": (transform(T_BASE_CAMERA), transform_of),
        "opt_ids": (ids, lambda blob: poses_of(blob, poses)),
        "opt_poses": (poses, lambda blob: poses_of(ids, blob)),
    }


def graph() -> nx.DiGraph:
    """A building with a room, a table in it and a mug on that, two places."""
    g = nx.DiGraph()
    kinds = ("building", "floor", "room", "room", "furniture", "object", "place", "place")
    for i, layer in enumerate(kinds):
        box = {"box": [[i + 0.0, 0.0, 0.0], [i + 1.0, 1.0, 1.0]]} if layer != "place" else {}
        g.add_node(f"{layer}:{i}", layer=layer, name=layer, number=i, position=[i + 0.5, 0.5, 0.5], stamp=1.0, **box)
    keys = list(g)
    part, beside = "part of", "next to"
    edges = ((1, 0, part), (2, 1, part), (3, 1, part), (4, 2, "in"), (5, 4, "on"), (6, 2, "in"), (7, 6, beside))
    for a, b, relation in edges:
        g.add_edge(keys[a], keys[b], relation=relation)
    g.add_edge(keys[2], keys[3], relation=beside, doors=[[3.0, 0.5, 0.0, 0.8]])
    return g


def files(folder: Path) -> dict[str, Case]:
    """Files that are read as a whole; those that a reader needs beside it lie in the folder."""
    cells = np.array([[-1, 0, 100], [0, 0, 100]], dtype=np.int8)
    write_map_server(folder, cells, np.zeros(2), 0.1)
    write_map_server(folder, cells, np.zeros(2), 0.1, mode="scale", name="grey")
    voxels = VoxelMap(0.25)
    voxels.integrate(np.random.default_rng(0).uniform(-1, 1, (9, 3)), np.zeros(3))
    for name in ("tree.bt", "tree.ot"):
        write_octomap(folder / name, voxels)
    write_dsg(folder / "dsg.json", graph())
    write_node_link(folder / "ours.json", graph())
    (folder / "plain.pgm").write_bytes(b"P2\n# a\n3 2\n15\n0 15 7\n1 2 15\n")
    small, tree = partial(import_map, max_voxels=MAX_VOXELS), partial(read_octomap, max_voxels=MAX_VOXELS)
    readers: dict[str, Callable[[Path], object]] = {
        "map.yaml": read_map_server, "map.pgm": read_grey, "grey_scale.png": read_grey, "plain.pgm": read_grey,
        "tree.bt": tree, "tree.ot": tree, "dsg.json": small, "ours.json": small,
    }  # fmt: skip
    return {name: ((folder / name).read_bytes(), partial(_read, folder / name, read)) for name, read in readers.items()}


def _read(path: Path, read: Callable[[Path], object], data: bytes) -> None:
    path.write_bytes(data)
    read(path)


def databases(folder: Path) -> dict[str, Case]:
    """A whole database, which takes milliseconds to open: a share of the others."""
    write_rtabmap(folder / "whole.db", [observe_room(_standing(), float(i), CAMERA) for i in range(2)])

    def read(path: Path) -> None:
        for sample in open_recording(path).samples():
            survives(sample.read)

    return {"rtabmap.db": ((folder / "whole.db").read_bytes(), partial(_read, folder / "rtabmap.db", read))}


def _standing() -> np.ndarray:
    T = np.eye(4)
    T[:3, 3] = 2.0
    return T


def shares(kinds: Iterable[str], n: int) -> dict[str, int]:
    """How many of each kind so that each reader gets `n`; of whole databases a twentieth of that."""
    readers = {"tree.bt": "tree", "tree.ot": "tree", "dsg.json": "graph", "ours.json": "graph"}
    readers |= dict.fromkeys(("map.yaml", "map.pgm", "grey_scale.png", "plain.pgm"), "grid")
    n_kinds = Counter(readers.get(kind, "rtabmap") for kind in kinds)
    each = {kind: -(-n // n_kinds[readers.get(kind, "rtabmap")]) for kind in kinds}
    return {kind: max(many // 20, 10) if kind.endswith(".db") else many for kind, many in each.items()}


def main(n: int) -> None:
    """Try `n` damaged inputs for each reader."""
    np.seterr(over="raise")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    in_ram = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=in_ram if in_ram.is_dir() else None) as name:
        folder = Path(name)
        cases = {**blobs(), **files(folder), **databases(folder)}
        tries = shares(cases, n)
        for kind, (whole, read) in cases.items():
            found = sum(survives(partial(read, data)) for data in mutations(whole, tries[kind], 4))
            sys.stdout.write(f"{kind}: {found:,} of {tries[kind]:,} could be read\n")
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    if grown > MAX_BYTES:
        raise MemoryError(f"{grown:,} bytes")


if __name__ == "__main__":
    main(int(sys.argv[1]))
