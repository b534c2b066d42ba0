"""`embmem backup`: copy a memory file, also while somebody writes to it."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from embmem.cli.settings import word
from embmem.store.maintenance import backup

HELP = """embmem backup: copy a memory file, also while somebody writes to it

  embmem backup room.embmem to=/backups/monday.embmem      one state of it, on the disk when the command returns
"""
POSITIONAL = ("file", "to")


def run(cfg: DictConfig) -> None:
    """Write the copy, whole or not at all."""
    file, to = Path(word(cfg, "file")), Path(word(cfg, "to"))
    size = backup(file, to, overwrite=cfg.overwrite)
    Console().print(f"{to}  {size:,} bytes", highlight=False, markup=False)
