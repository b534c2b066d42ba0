"""A house in the files that Habitat opens: stage, semantics, scene dataset and the settings of its navigation mesh.

A bare .glb is taken for z-up there; the stage configuration beside it says otherwise, and Habitat finds it by name
even where only the .glb is named. It also turns the house so that Habitat's coordinates are those of our episodes:
the file's +X, which is the map's +x, becomes Habitat's -z.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from embmem.agent import Body
from embmem.errors import InputError
from embmem.output import write_atomic
from embmem.sim_envs.habitat.navmesh_settings import house_settings
from embmem.sim_envs.house.gltf import gltf_paths, write_gltf
from embmem.sim_envs.house.house import House
from embmem.sim_envs.house.mesh import build_mesh

DATASET = "houses.scene_dataset_config.json"  # of all houses of a folder


def stage_path(glb: Path) -> Path:
    """Where Habitat looks for what it must know about a .glb.

    Raises:
        ValueError: if the name has another dot: Habitat drops two endings before it looks.
    """
    if "." in glb.stem:
        raise ValueError(f"a scene for Habitat must have no dot in its name but that of .glb, got {glb.name}")
    return glb.with_suffix(".stage_config.json")


def navmesh_path(glb: Path) -> Path:
    """Settings of the navigation mesh, in the form of `NavMeshSettings.read_from_json`."""
    return glb.with_suffix(".navmesh_settings.json")


def habitat_paths(glb: Path) -> list[Path]:
    """The files of one house that `write_scene` writes beside its glTF; the dataset of the folder is not one's own."""
    return [stage_path(glb), navmesh_path(glb)]


def stage_config(glb: Path) -> dict[str, Any]:
    """The stage configuration of an exported house (Habitat's attributes JSON)."""
    mesh, semantic_mesh, table = gltf_paths(glb)
    return {
        "render_asset": mesh.name,
        "up": [0, 1, 0],
        "front": [1, 0, 0],
        "origin": [0, 0, 0],
        "units_to_meters": 1.0,
        "shader_type": "flat",
        "semantic_asset": semantic_mesh.name,
        "semantic_descriptor_filename": table.name,
        "has_semantic_textures": False,
    }


def dataset_config() -> dict[str, Any]:
    """The scene dataset of a folder: every stage configuration in it."""
    return {"stages": {"paths": {".json": ["."]}}}


def write_scene(glb: Path, body: Body) -> list[Path]:
    """Write Habitat's files beside the glTF of a house; returns their paths, the folder's dataset last."""
    files: dict[Path, str] = {
        stage_path(glb): json.dumps(stage_config(glb), indent=1),
        glb.parent / DATASET: json.dumps(dataset_config(), indent=1),
        navmesh_path(glb): house_settings(body).to_json(),
    }
    for path, content in files.items():
        write_atomic(path, (content + "\n").encode())
    return [*habitat_paths(glb), glb.parent / DATASET]


def ensure_scene(house: House, folder: Path, body: Body) -> Path:
    """The .glb of a house in `folder` with all that belongs to it, written if it is not there yet.

    Its name holds a digest of what stands where, so a house after a night has its own. Several processes may ask for
    one house at once: every file appears whole.

    Raises:
        InputError: if the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: no folder for scenes can be made there ({error})") from error
    glb = folder / f"house_{house.seed}_rooms_{len(house.rooms)}_{_digest(house)}.glb"
    if not all(path.exists() for path in (*gltf_paths(glb), *habitat_paths(glb))):
        with TemporaryDirectory(dir=folder) as private:
            inside = Path(private) / glb.name
            for path in (*write_gltf(house, inside), *write_scene(inside, body)):
                path.replace(folder / path.name)
    return glb


def _digest(house: House) -> str:
    """Eight digits that differ where walls, furniture or objects do."""
    mesh = build_mesh(house)
    parts = (mesh.vertices, mesh.triangles, mesh.colour, mesh.semantic, mesh.instance)
    return hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest()[:8]
