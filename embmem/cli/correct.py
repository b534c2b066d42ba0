"""`embmem correct`: say that a record is wrong, withdraw it, or take that back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from embmem.cli.settings import numbers, word
from embmem.errors import InputError
from embmem.store import RecordStore
from embmem.store.amend import Version, correct, history, restore, withdraw, withdraw_source

HELP = """embmem correct: say that a record is wrong; nothing is overwritten, everything can be taken back

  embmem correct room.embmem id=12 'text=blue mug' reason='the light was red'
  embmem correct room.embmem id=12 position=1,2,0.7 by=anna
  embmem correct room.embmem id=12 withdraw=true              not believed any more, nor what was derived from it
  embmem correct room.embmem source=camera2 withdraw=true     all that camera2 has said
  embmem correct room.embmem id=12 restore=true               believed again, as it was
  embmem correct room.embmem id=12 history=true               its versions, and what was derived from it

The ids are those of embmem query json=true. To remove records from the disk for ever: embmem purge.
"""
CHANGES = ("text", "position", "place", "entities", "confidence")
ACTIONS = ("withdraw", "restore", "history")


def run(cfg: DictConfig) -> None:
    """Do the one thing that is asked for, and say what was written.

    Raises:
        InputError: if the file is not there.
        ValueError: if nothing or more than one thing is asked for, or the record is not there or not fit for it.
    """
    changes = {name: _changed(cfg, name) for name in CHANGES if cfg[name] is not None}
    asked = [name for name in ACTIONS if cfg[name]] + (["a change"] if changes else [])
    if len(asked) != 1:
        what = f"{', '.join(CHANGES)}, or one of {'=true, '.join(ACTIONS)}=true"
        raise ValueError(f"set {what}; got {' and '.join(asked) or 'none of them'}")
    if (cfg.id is None) == (cfg.source is None) or (cfg.source is not None and not cfg.withdraw):
        raise ValueError("say which record with id=12 or, with withdraw=true, whose with source=camera2")
    console = Console()
    if not Path(word(cfg, "file")).is_file():  # which a store would make
        raise InputError(f"{cfg.file} is not a file")
    with RecordStore(word(cfg, "file"), read_only=cfg.history) as store:
        if cfg.history:
            _show(console, history(store, _ids(cfg, most=1)[0]), is_json=cfg.json)
            return
        answer = _amend(store, cfg, changes)
    if cfg.json:
        console.out(json.dumps(answer), highlight=False)
    else:
        console.print(answer["said"], highlight=False, soft_wrap=True, markup=False)


def _amend(store: RecordStore, cfg: DictConfig, changes: dict[str, Any]) -> dict[str, Any]:
    file, by, reason = word(cfg, "file"), word(cfg, "by"), word(cfg, "reason")
    if cfg.source is not None:
        written = withdraw_source(store, word(cfg, "source"), by=by, reason=reason)
        n = sum(len(record.links) for record in store.get(written))
        said = f"{n} records of {cfg.source} are withdrawn" if n else f"nothing of {cfg.source} is believed"
        return {"written": written, "withdrawn": n, "said": said + _undo(file, written)}
    if cfg.withdraw:
        ids = _ids(cfg)
        written = withdraw(store, ids, source=by, reason=reason)
        return {"written": written, "withdrawn": len(ids), "said": f"withdrawn {_listed(ids)}{_undo(file, written)}"}
    (record_id,) = _ids(cfg, most=1)
    if cfg.restore:
        written = restore(store, record_id, source=by, reason=reason)
        return {"written": written, "restored": record_id, "said": f"record {record_id} is believed again"}
    new = correct(store, record_id, source=by, reason=reason, **changes).wait()
    said = f"record {new} stands in the place of {record_id}{_undo(file, [new])}"
    return {"written": [new], "corrected": record_id, "said": said}


def _undo(file: str, written: list[int]) -> str:
    if not written:
        return ""
    ids = str(written[0]) if len(written) == 1 else f"'[{','.join(map(str, written))}]'"
    return f"; to undo it: embmem correct {file} id={ids} withdraw=true"


def _ids(cfg: DictConfig, *, most: int | None = None) -> list[int]:
    ids = OmegaConf.to_container(cfg.id) if OmegaConf.is_list(cfg.id) else [cfg.id]
    if not isinstance(ids, list) or not ids or not all(type(i) is int for i in ids):
        raise ValueError(f"id must be a whole number or a list of them in brackets, got {cfg.id}")
    if most is not None and len(ids) > most:
        raise ValueError(f"only withdraw=true takes several records, got id={cfg.id}")
    return [int(i) for i in ids]


def _changed(cfg: DictConfig, name: str) -> Any:
    """The new value of a field."""
    value = cfg[name]
    if name == "position":
        return numbers(cfg, name, 3)
    if name == "confidence":
        if type(value) not in (int, float):
            raise ValueError(f"confidence must be a number from 0 to 1, got {value!r}")
        return float(value)
    if name == "entities":
        if not OmegaConf.is_list(value):
            raise ValueError(f"entities must be a list in brackets, got {value!r}")
        return tuple(str(entity) for entity in value)
    return word(cfg, name)


def _listed(ids: list[int]) -> str:
    return (
        f"{'record' if len(ids) == 1 else 'records'} {', '.join(map(str, ids[:10]))}{' ...' if len(ids) > 10 else ''}"
    )


def _show(console: Console, versions: list[Version], *, is_json: bool) -> None:
    rows = [
        {
            "id": v.id, "role": v.role, "of": list(v.of), "hidden_by": list(v.hidden_by), "source": v.record.source,
            "stamp": v.record.t_event, "ingested": v.record.t_ingest, "kind": v.record.kind, "text": v.record.text,
            "reason": v.record.payload.get("reason"),
        }
        for v in versions
    ]  # fmt: skip
    if is_json:
        console.out(json.dumps({"history": rows}), highlight=False)
        return
    table = Table("id", "what", "hidden by", "source", "text", title="history", title_justify="left")
    for v in versions:
        of = f"{', '.join(map(str, v.of[:5]))}{' ...' if v.of[5:] else ''}"
        what = f"{v.role} {'from' if v.role == 'derived' else 'of'} {of}" if v.of else v.role
        hidden_by = ", ".join(map(str, v.hidden_by[:5])) or "believed"
        table.add_row(str(v.id), what, hidden_by, escape(v.record.source), escape(v.record.text))
    console.print(table)
