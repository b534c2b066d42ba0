"""`embmem facts`: what is said of things, on two clocks."""

from __future__ import annotations

import json
import math
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from embmem.cli.query_records import moment
from embmem.cli.settings import word
from embmem.errors import InputError
from embmem.facts import Fact, FactMemory, coalesced
from embmem.records import Query
from embmem.store import RecordStore

HELP = """embmem facts: what is said of things: what holds, held, and was believed to hold

  embmem facts room.embmem                          all that holds now
  embmem facts room.embmem mug-3                    what holds of mug-3
  embmem facts room.embmem mug-3 in at=2h           where it was two hours ago, as far as is known today
  embmem facts room.embmem mug-3 in at=2h as_of=1h  where it was two hours ago, as it was believed an hour ago
  embmem facts room.embmem object=kitchen           what is in the kitchen
  embmem facts room.embmem mug-3 history=true       everywhere that it has been
  embmem facts room.embmem mug-3 changes=true       the same, with everything that was ever believed of it

Times ago count back from the newest record. To take a fact back: embmem correct room.embmem id=12 withdraw=true.
"""
POSITIONAL = ("file", "subject", "predicate", "object")
_TIMES = ("valid_at", "invalid_at", "created_at", "expired_at")


def run(cfg: DictConfig) -> None:
    """Show what was asked for.

    Raises:
        InputError: if the file is not there.
        ValueError: if the settings do not go together.
    """
    if cfg.at is not None and (cfg.history or cfg.changes):
        raise ValueError("at= asks for one moment, history=true and changes=true for all; leave one out")
    if cfg.as_of is not None and cfg.changes:
        raise ValueError("as_of= asks for one belief, changes=true for all; leave one out")
    if not Path(word(cfg, "file")).is_file():
        raise InputError(f"{cfg.file} is not a file")
    with RecordStore(word(cfg, "file"), read_only=True) as store:
        found = _asked(cfg, store)
    shown = found[-cfg.k :] if cfg.k > 0 else []
    console = Console()
    if cfg.json:
        console.out(json.dumps({"n": len(found), "facts": [_json(f) for f in shown]}), highlight=False)
        return
    if not found:
        console.print("nothing is said of this" if any(_names(cfg)) else "no facts in this memory")
        return
    console.print(_table(shown, is_with_belief=bool(cfg.changes)))
    if len(shown) < len(found):
        console.print(f"{len(found):,} facts, the last {len(shown):,} are shown; more with k={len(found)}")


def _names(cfg: DictConfig) -> list[str | None]:
    return [None if cfg[name] is None else word(cfg, name) for name in ("subject", "predicate", "object")]


def _asked(cfg: DictConfig, store: RecordStore) -> list[Fact]:
    names = _names(cfg)
    value = OmegaConf.to_container(cfg.value) if OmegaConf.is_config(cfg.value) else cfg.value
    newest = store.read(Query(k=1, with_hidden=True))
    event = newest[0].t_event if newest else 0.0
    ingest = (newest[0].t_ingest or 0.0) if newest else 0.0
    belief_time = moment(cfg, "as_of", ingest, math.inf)
    facts = FactMemory(store)
    if cfg.changes:
        return facts.history(*names, value=value)
    if cfg.history:
        return coalesced(facts.history(*names, value=value, belief_time=belief_time))
    return facts.facts(*names, value=value, event_time=moment(cfg, "at", event, math.inf), belief_time=belief_time)


def _json(fact: Fact) -> dict[str, Any]:
    """An end that is not known is null."""
    row = {name: getattr(fact, name) for name in ("subject", "predicate", "object", "value", "source", "confidence")}
    times = {name: getattr(fact, name) for name in _TIMES}
    return {**row, **{n: t if math.isfinite(t) else None for n, t in times.items()}, "ids": list(fact.ids)}


def _table(facts: list[Fact], *, is_with_belief: bool) -> Table:
    table = Table("subject", "predicate", "what", "from", "to", title="facts", title_justify="left")
    for heading in ("believed from", "to") if is_with_belief else ("source", "confidence"):
        table.add_column(heading)
    for fact in facts:
        what = fact.what if isinstance(fact.what, str) else json.dumps(fact.what)
        if is_with_belief:
            rest = (_stamp(fact.created_at), _stamp(fact.expired_at))
        else:
            rest = (escape(fact.source), f"{fact.confidence:.2f}")
        names = (escape(name) for name in (fact.subject, fact.predicate, what))
        table.add_row(*names, _stamp(fact.valid_at), _stamp(fact.invalid_at), *rest)
    return table


def _stamp(stamp: float) -> str:
    """A date where the stamp looks like one since 2001, else seconds; nothing where there is no end."""
    if not math.isfinite(stamp):
        return ""
    if not 1e9 <= stamp <= 1e10:
        return f"{stamp:,.3f} s"
    return datetime.fromtimestamp(stamp, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
