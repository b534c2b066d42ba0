"""`embmem diff`: what two memories do not have in common."""

from __future__ import annotations

import json
from typing import Any

from omegaconf import DictConfig
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from embmem.cli.settings import word
from embmem.store import RecordStore
from embmem.store.difference import Difference, Group, difference

HELP = """embmem diff: what two memories do not have in common

  embmem diff backup.embmem room.embmem             records in one only, changed or hidden in one, and layers
  embmem diff backup.embmem room.embmem json=true   the same as JSON

Copies of one memory are compared by id, other memories by what their records say.
"""
POSITIONAL = ("a", "b")


def run(cfg: DictConfig) -> None:
    """Compare, and show what is not the same."""
    a, b = word(cfg, "a"), word(cfg, "b")
    with RecordStore(a, read_only=True) as store_a, RecordStore(b, read_only=True) as store_b:
        found = difference(store_a, store_b)
    console = Console()
    groups = {
        "only in a": found.only_a, "only in b": found.only_b, "changed": found.changed,
        "hidden in a only": found.hidden_a, "hidden in b only": found.hidden_b,
    }  # fmt: skip
    if cfg.json:
        console.out(json.dumps(_answer(found, groups, int(cfg.k))), highlight=False)
        return
    by = "copies of one memory, by id" if found.is_same_memory else "two memories, by what their records say"
    console.print(f"a: {a}\nb: {b}\n{by}; {found.n_common:,} records in common", highlight=False, markup=False)
    if found.is_none:
        console.print("they hold and believe the same")
        return
    table = Table("records", "number", "ids", "kinds", "entities", "places")
    for name, group in groups.items():
        if len(group.ids):
            table.add_row(name, f"{len(group.ids):,}", _ids(group, int(cfg.k)), *_summary(group))
    console.print(table)
    if found.layers:
        layers = Table("layer", "what differs")
        for layer in found.layers:
            layers.add_row(escape(f"{layer.kind} ({layer.role})"), ", ".join(layer.what))
        console.print(layers)


def _answer(found: Difference, groups: dict[str, Group], k: int) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "is_same_memory": found.is_same_memory,
        "is_none": found.is_none,
        "common": found.n_common,
    }
    for name, group in groups.items():
        answer[name.replace(" ", "_")] = {
            "n": len(group.ids), "ids": group.ids[:k].tolist(), "kinds": group.kinds, "sources": group.sources,
            "entities": group.entities, "places": group.places,
        }  # fmt: skip
    answer["layers"] = [{"role": c.role, "kind": c.kind, "what": list(c.what)} for c in found.layers]
    return answer


def _ids(group: Group, k: int) -> str:
    return ", ".join(map(str, group.ids[:k].tolist())) + (" ..." if len(group.ids) > k else "")


def _summary(group: Group) -> list[str]:
    counted = (group.kinds, group.entities, group.places)
    return [escape(", ".join(f"{n} {name}" for name, n in list(counts.items())[:5])) for counts in counted]
