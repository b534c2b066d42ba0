"""`embmem sync`: an offline robot catches up."""

from __future__ import annotations

import json

from omegaconf import DictConfig
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from embmem.cli.settings import word
from embmem.fleet import PostgresStore, catch_up
from embmem.store import RecordStore

HELP = """embmem sync: send a fleet's server what a robot's memory has taken in since the last time

  embmem sync room.embmem postgresql://robot@10.0.0.2/fleet robot=r1
  PGHOST=10.0.0.2 PGDATABASE=fleet PGUSER=robot embmem sync room.embmem robot=r1

The server is a Postgres with pgvector; extra `fleet`. It may be stopped at any point and run again: nothing is sent
twice or left out. Nothing is taken from the file.
"""
POSITIONAL = ("file", "dsn")


def run(cfg: DictConfig) -> None:
    """Send, and say how much went."""
    console, file, robot = Console(), word(cfg, "file"), word(cfg, "robot")
    columns = (TextColumn("records"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with (
        RecordStore(file, read_only=True) as local,
        PostgresStore(word(cfg, "dsn"), robot, schema=word(cfg, "schema")) as fleet,
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal or cfg.json) as progress,
    ):
        bar = progress.add_task("records", total=None)
        n = catch_up(
            local, fleet, batch=cfg.batch, on_progress=lambda done, n: progress.update(bar, completed=done, total=n)
        )
        n_there = len(fleet)
    if cfg.json:
        console.out(json.dumps({"sent": n, "fleet": n_there}), highlight=False)
    else:
        told = f"{n:,} records of {robot} sent, the fleet has {n_there:,}"
        console.print(told, highlight=False, soft_wrap=True, markup=False)
