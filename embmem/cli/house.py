"""`embmem house`: a procedural house becomes files that Habitat, Blender or a viewer open."""

from __future__ import annotations

from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console

HELP = """embmem house: write a procedural house as glTF with its semantic table

  embmem house seed=7 n_rooms=6 out=house.glb
  embmem house seed=3 n_rooms=30 out=large.glb overwrite=true
  embmem house seed=7 n_rooms=6 out=scenes/house_7_rooms_6.glb formats=[gltf,habitat]

Writes house.glb (y-up, real colours), house.semantic.glb (one colour an instance), house.semantic.txt (which colour is
what, in the form of HM3D) and house.png, the floor plan. The format habitat adds house.stage_config.json, which Habitat
looks for beside the .glb, house.navmesh_settings.json and the folder's houses.scene_dataset_config.json.
The same seed gives the same house on every machine.
"""


def run(cfg: DictConfig) -> None:
    """Write the files and say what is in them."""
    formats = [cfg.formats] if isinstance(cfg.formats, str) else list(cfg.formats)
    house, paths = instantiate(
        cfg.export, seed=cfg.seed, n_rooms=cfg.n_rooms, out=cfg.out, formats=formats, overwrite=cfg.overwrite
    )
    area = sum(room.area for room in house.rooms)
    console = Console()
    console.print(
        f"house {house.seed}: {len(house.rooms)} rooms on {area:.0f} m2, "
        f"{len(house.furniture)} pieces of furniture, {len(house.objects)} small objects"
    )
    for path in paths:
        console.print(f"  {path}  {path.stat().st_size / 1e3:.0f} kB", highlight=False, soft_wrap=True)
