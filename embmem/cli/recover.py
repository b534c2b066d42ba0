"""`embmem recover`: save what can be saved of a damaged memory file."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from embmem.cli.progress import counting
from embmem.cli.settings import word
from embmem.store.audit import names_of
from embmem.store.recover import recover

HELP = """embmem recover: save what can be saved of a damaged memory file into a new one

  embmem recover room.embmem to=saved.embmem     the damaged file is only read
"""
POSITIONAL = ("file", "to")


def run(cfg: DictConfig) -> None:
    """Write the new file and say what is in it and what is lost."""
    file, to = Path(word(cfg, "file")), Path(word(cfg, "to"))
    console = Console()
    with counting("records", console) as progress:
        done = recover(file, to, progress=progress)
    table = Table(title=escape(f"{file} -> {to}"), title_justify="left", show_header=False)
    table.add_row("records saved", f"{done.n_saved:,}")
    table.add_row("of them found in single pages", f"{done.n_scanned:,}")
    table.add_row("ids lost, or removed earlier", names_of([str(i) for i in done.lost_ids]) or "none")
    table.add_row("layers saved", escape(", ".join(done.layers)) or "none")
    table.add_row("layers lost", escape(", ".join(done.lost_layers)) or "none")
    for note in done.notes:
        table.add_row("note", escape(note))
    console.print(table)
