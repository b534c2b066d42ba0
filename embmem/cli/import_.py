"""`embmem import`: a map of another program becomes a memory."""

from __future__ import annotations

from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from embmem.cli.settings import word
from embmem.errors import InputError, OutputExistsError
from embmem.map_hash import map_hash
from embmem.memory import Memory

POSITIONAL = ("file", "out")
HELP = """embmem import: make a memory of a map that another program wrote

  embmem import map.yaml out=office.embmem           a grid of map_server or Nav2, walls 2 m high
  embmem import building.bt out=building.embmem      a tree of OctoMap (.bt, .ot), at its resolution
  embmem import dsg.json out=flat.embmem             a scene graph of Spark-DSG or Hydra: things, rooms, places
  embmem import rtabmap.db out=flat.embmem resolution=0.1    a database of RTAB-Map at its optimised poses
                                                     (embmem build rtabmap.db has more settings)

What comes in can be queried, viewed and exported again. Files are checked as if a stranger had made them: nothing in
them is run, and what they claim is bounded.
"""


def run(cfg: DictConfig) -> None:
    """Read the file, save the memory, say what is in it."""
    file, out = Path(word(cfg, "file")), Path(word(cfg, "out"))
    if out.exists() and not (cfg.overwrite and out.is_file()):
        raise OutputExistsError(f"{out} exists; choose another name or set overwrite=true")
    if not out.parent.is_dir():
        raise InputError(f"{out.parent} is not a folder; create it first")
    console = Console()
    with console.status(f"importing {file}"):
        imported = instantiate(cfg.importer)(file)
        memory: Memory = imported.memory
        memory.save(out, overwrite=cfg.overwrite)
    table = Table(title=f"imported {escape(str(out))}", title_justify="left", show_header=False)
    table.add_row("from", escape(f"{file}: {imported.source}"))
    for kind, stats in memory.stats().items():
        counts = {
            name: value for name, value in stats.items() if value and "bytes" not in name and "volume" not in name
        }
        told = ", ".join(f"{value:,.0f} {name}" for name, value in counts.items())
        if told:
            table.add_row(kind, told)
    table.add_row("hash of the map", map_hash(memory))
    table.add_row("bytes", f"{out.stat().st_size:,}")
    console.print(table)
