"""`embmem stats`: what a memory holds."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime, timezone

from omegaconf import DictConfig
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from embmem.cli.settings import word
from embmem.store import RecordStore
from embmem.store.describe import Description, Group, describe

HELP = """embmem stats: what a memory holds

  embmem stats room.embmem                records by kind and source, times, embeddings, layers, bytes
  embmem stats room.embmem json=true      the same as JSON

Works on a file that is being written.
"""
SHOWN = 20  # rows of a table


def run(cfg: DictConfig) -> None:
    """Describe the file."""
    console, file = Console(), word(cfg, "file")
    with RecordStore(file, read_only=True) as store:
        found = describe(store)
    if cfg.json:
        console.out(json.dumps(asdict(found)), highlight=False)
        return
    console.print(_facts(file, found))
    for title, groups in (("kind", found.by_kind), ("source", found.by_source)):
        if groups:
            console.print(_grouped(title, groups))
    if found.layers:
        table = Table("layer", "role", "covers record", "bytes", title="layers", title_justify="left")
        for layer in found.layers:
            covers = f"{layer.covers:,} of {found.last_id:,}"
            table.add_row(f"{escape(layer.kind)} version {layer.version}", layer.role, covers, f"{layer.size:,}")
        console.print(table)
    title = "estimated bytes by table" if found.is_estimate else "bytes by table, with its indexes"
    table = Table("table", "bytes", title=title, title_justify="left")
    for name, size in list(found.table_bytes.items())[:SHOWN]:
        table.add_row(escape(name), f"{size:,}")
    console.print(table)


def _facts(file: str, found: Description) -> Table:
    table = Table(title=escape(file), title_justify="left", show_header=False)
    table.add_row("memory", f"{found.uuid}, version {found.version}")
    table.add_row("records", f"{found.n_records:,}, {found.n_hidden:,} hidden, last id {found.last_id:,}")
    table.add_row("event time", _range(found.event))
    table.add_row("ingest time", _range(found.ingest))
    n = found.counts["vectors"]
    table.add_row("embeddings", f"{n:,} of {found.dim} numbers" if n else "none")
    table.add_row("names", f"{found.n_entities:,} entities, {found.n_keys:,} keys")
    table.add_row("blobs, links", f"{found.counts['blobs']:,}, {found.counts['links']:,}")
    each = f", {found.file_bytes / found.n_records:,.0f} a record" if found.n_records else ""
    table.add_row("bytes", f"{found.file_bytes:,}{each}")
    return table


def _grouped(title: str, groups: dict[str, Group]) -> Table:
    table = Table(title, "records", "hidden", "first", "last", title=f"by {title}", title_justify="left")
    for name, group in list(groups.items())[:SHOWN]:
        table.add_row(
            escape(name), f"{group.n:,}", f"{group.n_hidden:,}", _stamp(group.first), _stamp(group.last)
        )  # fmt: skip
    if len(groups) > SHOWN:
        table.add_row(f"... and {len(groups) - SHOWN:,} more")
    return table


def _range(times: tuple[float, float] | None) -> str:
    return "none" if times is None else f"{_stamp(times[0])} to {_stamp(times[1])}"


def _stamp(stamp: float) -> str:
    """A date where the stamp looks like one since 2001, else seconds."""
    if not 1e9 <= stamp <= 1e10:
        return f"{stamp:,.3f} s"
    return datetime.fromtimestamp(stamp, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
