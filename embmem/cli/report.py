"""`embmem report`: the page about a build, also long after it."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console

from embmem.building.build import Built, check_free
from embmem.building.record import BuildRecord, read_record
from embmem.building.report.make import page_beside
from embmem.building.report.page import write_page
from embmem.cli.settings import word
from embmem.errors import EmbmemError, InputError
from embmem.memory import Memory

HELP = """embmem report: the page about a build

  embmem report room.embmem                      writes room.html: one file, no network, no script
  embmem report room.embmem page.html overwrite=true page.n_things=200
  embmem report room.embmem page.doctor=false page.pictures=false     where the recording is gone, or slow to read

On it: the floor plan with the way of the camera, rooms and things; what the camera saw; each thing as it was seen best;
how much of the floor was seen, and when; drift and loops; where the time went; what was refused; what `embmem doctor`
finds, with the settings that mend it; all settings. `embmem build` writes it, too, unless report=false.
"""
POSITIONAL = ("file", "out")


def run(cfg: DictConfig) -> None:
    """Open the memory, write the page, and say where it is."""
    file = Path(word(cfg, "file"))
    out = page_beside(file) if cfg.out is None else Path(word(cfg, "out"))
    check_free(out, is_overwriting=cfg.overwrite)
    record = read_record(file)
    if record is None:
        raise InputError(f"{file} does not say how it was built; look at it with: embmem view {file} {out}")
    memory: Memory = instantiate(cfg.open)
    try:
        write_report(cfg, record, memory, out, overwrite=cfg.overwrite)
    finally:
        memory.store.close()


def free_page(cfg: DictConfig) -> Path | None:
    """Where the page about a build will go, which nothing may stand in the way of; None if none is wanted."""
    if not cfg.report:
        return None
    page = page_beside(Path(word(cfg, "out")))
    check_free(page, is_overwriting=cfg.overwrite)
    return page


def report_build(cfg: DictConfig, built: Built, out: Path) -> None:
    """Write the page about a build that has just ended; the map is there, so what is wrong now is only told."""
    try:
        command = shlex.join(["embmem", *sys.argv[1:]])
        write_report(cfg, built.record, built.memory, out, overwrite=cfg.overwrite, command=command)
    except (EmbmemError, ValueError, OSError) as error:
        Console().print(f"there is no page about it: {error}", markup=False, highlight=False)


def write_report(
    cfg: DictConfig, record: BuildRecord, memory: Memory, out: Path, *, overwrite: bool, command: str = ""
) -> None:
    """Write the page about a build by the settings under `page`, and say where it is."""
    console = Console()
    with console.status(f"writing {out}"):
        report = instantiate(cfg.page)(record, memory, title=Path(record.out).stem, command=command)
        write_page(out, report, overwrite=overwrite)
    console.print(f"the page about it: {out}  {out.stat().st_size:,} bytes", markup=False, highlight=False)
