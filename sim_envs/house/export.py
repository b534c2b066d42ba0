"""A house in files that other programs open."""

from __future__ import annotations

from pathlib import Path

from embmem.errors import InputError, OutputExistsError
from embmem.sim_envs.house.generate import make_house
from embmem.sim_envs.house.gltf import gltf_paths, write_gltf
from embmem.sim_envs.house.house import House
from embmem.sim_envs.house.plan import write_plan


def export_house(seed: int, n_rooms: int, out: str | Path, *, overwrite: bool = False) -> tuple[House, list[Path]]:
    """Make the house and write glTF, semantic mesh and table, and its floor plan as PNG beside them.

    Raises:
        InputError: if the folder of `out` does not exist.
        OutputExistsError: if a file is in the way, unless `overwrite`; nothing is written then.
        ValueError: if `out` does not end in .glb, or a number is out of range.
    """
    path = Path(out)
    plan = path.with_suffix(".png")
    if not path.parent.is_dir():
        raise InputError(f"{path.parent} is not a folder; create it first")
    taken = [p for p in (*gltf_paths(path), plan) if p.exists()]
    if taken and not overwrite:
        raise OutputExistsError(f"{taken[0]} exists; choose another name or set overwrite=true")
    house = make_house(seed, n_rooms)
    written = write_gltf(house, path, overwrite=overwrite)
    write_plan(house, plan)
    return house, [*written, plan]
