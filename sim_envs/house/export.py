"""A house in files that other programs open."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from embmem.agent import Body
from embmem.errors import InputError, OutputExistsError
from embmem.sim_envs.habitat.scene_files import habitat_paths, write_scene
from embmem.sim_envs.house.generate import make_house
from embmem.sim_envs.house.gltf import gltf_paths, write_gltf
from embmem.sim_envs.house.house import House
from embmem.sim_envs.house.plan import write_plan

FORMATS = ("gltf", "habitat")


def export_house(
    seed: int,
    n_rooms: int,
    out: str | Path,
    *,
    formats: Sequence[str] = ("gltf",),
    body: Body | None = None,
    overwrite: bool = False,
) -> tuple[House, list[Path]]:
    """Make the house and write glTF, semantic mesh and table, and its floor plan as PNG beside them.

    The format `habitat` adds what habitat-sim must know: the stage configuration, the folder's scene dataset, and the
    settings of the navigation mesh for `body` (by default ObjectNav's).

    Raises:
        InputError: if the folder of `out` does not exist.
        OutputExistsError: if a file is in the way, unless `overwrite`; nothing is written then.
        ValueError: if `out` does not end in .glb, a format is unknown, or a number is out of range.
    """
    path = Path(out)
    plan = path.with_suffix(".png")
    if unknown := [name for name in formats if name not in FORMATS]:
        raise ValueError(f"formats are {' and '.join(FORMATS)}, not {unknown[0]!r}")
    if not path.parent.is_dir():
        raise InputError(f"{path.parent} is not a folder; create it first")
    beside = habitat_paths(path) if "habitat" in formats else []
    taken = [p for p in (*gltf_paths(path), plan, *beside) if p.exists()]
    if taken and not overwrite:
        raise OutputExistsError(f"{taken[0]} exists; choose another name or set overwrite=true")
    house = make_house(seed, n_rooms)
    written = write_gltf(house, path, overwrite=overwrite)
    write_plan(house, plan)
    if beside:
        written += write_scene(path, body or Body())
    return house, [*written, plan]
