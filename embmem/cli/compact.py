"""`embmem compact`: give back the space of what was removed."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from embmem.cli.settings import word
from embmem.store.maintenance import compact

HELP = """embmem compact: give back the space of what was removed from a memory file

  embmem compact room.embmem      nobody may write meanwhile; needs room for a second copy of the file
"""


def run(cfg: DictConfig) -> None:
    """Write the file anew, without gaps."""
    file = Path(word(cfg, "file"))
    done = compact(file)
    Console().print(f"{file}: {done.bytes_before:,} -> {done.bytes_after:,} bytes", highlight=False, markup=False)
