"""`embmem purge`: remove all that a source has said, for ever."""

from __future__ import annotations

import json

from omegaconf import DictConfig
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from embmem.cli.settings import word
from embmem.errors import InputError
from embmem.records import Query
from embmem.store import RecordStore
from embmem.store.describe import describe
from embmem.store.purge import Doomed, doomed, purge

HELP = """embmem purge: remove all that a source has said from the disk, for ever

  embmem purge room.embmem source=camera2                                  show what would go
  embmem purge room.embmem source=camera2 yes=true reason='asked by Bob'   remove it

What was derived from its records and what corrects them goes too. A record stays that says whose records went, when,
how many and why. The file is written anew, which takes its size once more on the disk for a while. To be able to take
it back, withdraw instead: embmem correct room.embmem source=camera2 withdraw=true
"""


def run(cfg: DictConfig) -> None:
    """Show what would go; with `yes`, remove it.

    Raises:
        InputError: if the source is not there, or `yes` is not set.
    """
    console, source, file = Console(), word(cfg, "source"), word(cfg, "file")
    with RecordStore(file, read_only=True) as store:
        with store.reading() as db:
            gone = doomed(db, source)
        if not gone.ids and not _was_purged(store, source):
            there = list(describe(store).by_source)
            named = ", ".join(there[:10]) + (" ..." if there[10:] else "")
            raise InputError(f"{file} has no records of {source}; its sources are: {named or 'none'}")
    if not cfg.yes:
        _show(console, gone, source, is_json=cfg.json)
        raise InputError("nothing was removed; to remove this for ever, add yes=true")
    with RecordStore(file) as store:
        n = purge(store, source, by=word(cfg, "by"), reason=word(cfg, "reason"))
    if cfg.json:
        console.out(json.dumps({"purged": n, "source": source, "layers": list(gone.layers)}), highlight=False)
    else:
        what = f"{n:,} records are gone from {file}: those of {source} and what came of them"
        console.print(what, highlight=False, soft_wrap=True, markup=False)


def _was_purged(store: RecordStore, source: str) -> bool:
    """Whether an earlier purge may have left bytes behind, because a reader held them."""
    return any(record.payload.get("purged") == source for record in store.read(Query(kind="purge", k=10_000)))


def _show(console: Console, gone: Doomed, source: str, *, is_json: bool) -> None:
    if is_json:
        rows = [{"source": s, "kind": kind, "n": n} for (s, kind), n in gone.counts.items()]
        answer = {"would_go": rows, "n": len(gone.ids), "layers": list(gone.layers)}
        console.out(json.dumps(answer), highlight=False)
        return
    title = f"what a purge of {escape(source)} would remove"
    table = Table("source", "kind", "records", title=title, title_justify="left")
    for (name, kind), n in gone.counts.items():
        table.add_row(escape(name), escape(kind), f"{n:,}")
    console.print(table)
    if gone.layers:
        layers = ", ".join(gone.layers)
        console.print(f"and the layers {layers}: they hold what its frames showed, and no log can rebuild them")
