"""`embmem verify`: is a memory file as it was written?"""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from embmem.cli.progress import counting
from embmem.cli.settings import word
from embmem.errors import InputError
from embmem.store.verify import verify

HELP = """embmem verify: is a memory file as it was written? Status 1 if not

  embmem verify room.embmem       every page, every record's checksum, and whether the indexes agree with the log
"""


def run(cfg: DictConfig) -> None:
    """Check and report; nothing is changed.

    Raises:
        InputError: if something is wrong.
    """
    file = Path(word(cfg, "file"))
    console = Console()
    with counting("records", console) as progress:
        report = verify(file, progress=progress)
    summary = f"{file}: {report.n_records:,} records, {report.n_bytes:,} bytes"
    if report.is_sound:
        console.print(f"{summary}, all as they were written", highlight=False, markup=False)
        return
    table = Table("what", "is wrong", "what to do", title=escape(summary), title_justify="left")
    for problem in report.problems:
        table.add_row(*map(escape, problem))
    console.print(table)
    raise InputError(f"{file} is damaged: {len(report.problems)} problems")
