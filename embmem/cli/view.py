"""`embmem view`: look at a memory."""

from __future__ import annotations

from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console

from embmem.cli.progress import counting
from embmem.cli.settings import word
from embmem.errors import InputError, OutputExistsError, import_extra
from embmem.memory import Memory
from embmem.viewing import Scene

HELP = """embmem view: look at a memory: as a page for any browser, or in Rerun

  embmem view room.embmem room.html        one file, no network: floor plan, things to search, what was known when
  embmem view room.embmem room.rrd         a recording for the Rerun viewer, written without a screen
  embmem view room.embmem                  opens the Rerun viewer (pip install 'embmem[view]')
  embmem view room.embmem room.rrd scene.colour=label scene.max_voxels=2000000
  embmem view tree.bt tree.html            an OctoMap tree

Shown is what the memory has of: voxels, the way of the camera, things with confidence and reason, rooms, graphs. Of
large memories less is shown, and it is said what was left out. Works on a file that a robot is writing.
"""
POSITIONAL = ("file", "out")
WRITERS = (".html", ".rrd")


def run(cfg: DictConfig) -> None:
    """Gather the scene, then write it or open the viewer on it."""
    file = word(cfg, "file")
    out = None if cfg.out is None else Path(word(cfg, "out"))
    _check(out, is_overwriting=cfg.overwrite)
    console = Console()
    title = Path(file).stem if cfg.title is None else word(cfg, "title")
    scene = _gather(cfg, title, console)
    for sentence in scene.left_out:
        console.print(sentence, markup=False, highlight=False)
    if out is None:
        from embmem.viewing.rerun_log import show

        show(scene)
        return
    with console.status(f"writing {out}"):
        _write(out, scene, is_overwriting=cfg.overwrite)
    console.print(f"{out}  {out.stat().st_size:,} bytes", markup=False, highlight=False)


def _check(out: Path | None, *, is_overwriting: bool) -> None:
    """Refuse what cannot be written before a memory is read, not after."""
    if out is None or out.suffix == ".rrd":
        import_extra("rerun", "view")
    if out is None:
        return
    if out.suffix not in WRITERS:
        raise ValueError(f"out must end in {' or '.join(WRITERS)}, got {out}")
    if out.exists() and not (is_overwriting and out.is_file()):
        raise OutputExistsError(f"{out} exists; choose another name or set overwrite=true")
    if not out.parent.is_dir():
        raise InputError(f"{out.parent} is not a folder; create it first")


def _gather(cfg: DictConfig, title: str, console: Console) -> Scene:
    with console.status("opening the memory"):
        memory: Memory = instantiate(cfg.open)
    try:
        with counting("reading records", console) as tell:
            scene: Scene = instantiate(cfg.scene)(memory, title=title, progress=tell)
    finally:
        memory.store.close()
    return scene


def _write(out: Path, scene: Scene, *, is_overwriting: bool) -> None:
    if out.suffix == ".rrd":
        from embmem.viewing.rerun_log import write_recording

        write_recording(out, scene, overwrite=is_overwriting)
    else:
        from embmem.viewing.page import write_page

        write_page(out, scene, overwrite=is_overwriting)
