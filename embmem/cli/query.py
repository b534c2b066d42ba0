"""`embmem query`: ask a saved map."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from embmem.cli.query_records import (
    FILTERS,
    answered,
    embedding_length,
    embedding_of,
    has_layers,
    is_current,
    narrowed,
    opened,
)
from embmem.cli.settings import numbers, word
from embmem.memory import Memory
from embmem.occupancy import find_occupancy, views, views_of
from embmem.protocols import Store
from embmem.records import Hit, Query
from embmem.store import RecordStore

HELP = """embmem query: ask a saved memory: its maps and its records

  embmem query room.embmem "red mug" near=1,2,0 since=10m     records by words, meaning and distance
  embmem query room.embmem source=camera place=kitchen k=5    the newest records that pass
  embmem query room.embmem "red mug" as_of=2h context=500     what was known two hours ago, as text for a language model
  embmem query room.embmem "red mug" explain=true             which index was asked, and how long it took

  embmem query room.embmem 'point=[1,0,0.5]'                  occupied, free or unknown, and which views saw it
  embmem query room.embmem nearest=1,0,0.5                    the nearest surface
  embmem query room.embmem ray=0,0,1.2,1,0,0                  the first surface along +x
  embmem query room.embmem box=0,-1,0,2,1,2                   what the box holds
  embmem query tour.embmem entity=mug json=true               where mugs were seen, as JSON
  embmem query tour.embmem "entity='coffee table'"            names with a space need quotes for the shell and for Hydra
  embmem query tour.embmem "boils water"                      things by other words than the detector's, and records
  embmem query tour.embmem changes=120                        what appeared or vanished since stamp 120

Times ago (90s, 10m, 2h, 3d, 1w) count back from the newest record, so that an old recording is asked like a live one.
"""
POSITIONAL = ("file", "text")
Answer = dict[str, Any]
# What a person does not need beside `why`, and a table of 80 columns has no room for.
_JSON_ONLY = frozenset({
    "id", "layer", "score", "size", "first_seen", "times_seen", "times_missed",
    "mean_score", "n_voxels", "voxels", "since", "appeared", "x0", "y0", "z0", "x1", "y1", "z1",
    "bm25", "cosine", "distance", "hops", "age", "room", "cells",
})  # fmt: skip


def run(cfg: DictConfig) -> None:
    """Answer every question that is set."""
    questions: dict[str, Callable[[Memory, DictConfig], Answer]] = {
        "point": _point, "nearest": _nearest, "ray": _ray, "box": _box, "entity": _entity,
        "text": _text_question, "changes": _changes,
    }  # fmt: skip
    asked = [name for name in questions if cfg[name] is not None]
    is_for_records = "text" in asked or (not asked and any(cfg[name] is not None for name in FILTERS))
    if not asked and not is_for_records:
        raise ValueError(f"nothing was asked; set one of {', '.join(questions)} (see: embmem query --help)")
    path = Path(word(cfg, "file"))
    if asked == ["text"] and not has_layers(path):
        asked = []
    memory: Memory | None = instantiate(cfg.open) if asked or not is_current(path) else None
    answers = {} if memory is None else {name: questions[name](memory, cfg) for name in asked}
    if is_for_records and (memory is None or isinstance(memory.store, RecordStore)):
        with opened(path, memory) as store:
            answers["records"] = _records(store, cfg)
    _print(cfg, answers)


def _print(cfg: DictConfig, answers: dict[str, Answer]) -> None:
    console = Console()
    if cfg.json:
        console.out(json.dumps(_json_values(answers), allow_nan=False), highlight=False)
        return
    for name, answer in answers.items():
        context = answer.pop("context", None)
        if context is None or len(answer) > 1:
            _show(console, name, "" if name == "records" else cfg[name], answer)
        if context is not None:
            console.out(context, highlight=False)


def _records(store: Store, cfg: DictConfig) -> Answer:
    if cfg.text is None:
        return answered(cfg, store, narrowed(cfg, store))
    text, length = word(cfg, "text"), embedding_length(store)
    entity = None if cfg.entity is None else word(cfg, "entity")
    vector, reason = embedding_of(cfg, text, is_needed=length > 0)
    n = length if vector is None else len(vector)
    if n != length:
        vector, reason = None, f"compared by words alone: embeddings have {length} numbers here, not {n}"
    query = narrowed(cfg, store, text=text, embedding=vector, entity=entity, min_similarity=float(cfg.min_similarity))
    answer = answered(cfg, store, query)
    return answer if reason is None else {**answer, "note": reason}


def _point(memory: Memory, cfg: DictConfig) -> Answer:
    point, occupancy = numbers(cfg, "point", 3), find_occupancy(memory)
    log_odds = float(occupancy.log_odds(point[None])[0])
    state = "unknown" if math.isnan(log_odds) else "occupied" if log_odds > 0 else "free"
    seen = views_of(point, views(memory), occupancy)
    return {
        "state": state,
        "log_odds": log_odds,
        "nearest": _nearest_to(memory, point),
        "n_views": len(seen),
        "views": [
            {"id": r.id, "stamp": r.t_event, "position": r.T_map_obs[:3, 3].tolist()}
            for r in seen[: cfg.k]
            if r.T_map_obs is not None
        ],
    }


def _nearest(memory: Memory, cfg: DictConfig) -> Answer:
    return _nearest_to(memory, numbers(cfg, "nearest", 3))


def _nearest_to(memory: Memory, point: np.ndarray) -> Answer:
    positions, distances = find_occupancy(memory).nearest_occupied(point[None])
    return {"position": positions[0].tolist(), "distance": float(distances[0])}


def _ray(memory: Memory, cfg: DictConfig) -> Answer:
    origin, direction = numbers(cfg, "ray", 6).reshape(2, 3)
    distance = float(find_occupancy(memory).cast(origin[None], direction[None], float(cfg.max_range))[0])
    hit = origin + distance * direction / np.linalg.norm(direction) if math.isfinite(distance) else None
    return {"is_hit": hit is not None, "distance": distance, "position": None if hit is None else hit.tolist()}


def _box(memory: Memory, cfg: DictConfig) -> Answer:
    corners = numbers(cfg, "box", 6).reshape(2, 3)
    low, high = corners.min(axis=0), corners.max(axis=0)
    occupancy = find_occupancy(memory)
    occupied, free = (c[((low <= c) & (c <= high)).all(axis=1)] for c in (occupancy.occupied(), occupancy.free()))
    volume = occupancy.resolution**3
    found = memory.query(Query(near=(low + high) / 2, radius=float(np.linalg.norm(high - low)) / 2, k=1000))
    inside = [hit for hit in found if hit.entity and hit.position is not None and _is_inside(hit.position, low, high)]
    return {
        "n_occupied": len(occupied),
        "n_free": len(free),
        "known_fraction": min(1.0, (len(occupied) + len(free)) * volume / float(max(np.prod(high - low), volume))),
        "highest": float(occupied[:, 2].max() + occupancy.resolution / 2) if len(occupied) else None,
        "entities": [_describe(hit) for hit in inside],
    }


def _is_inside(position: np.ndarray, low: np.ndarray, high: np.ndarray) -> bool:
    return bool(((low <= position) & (position <= high)).all())


def _entity(memory: Memory, cfg: DictConfig) -> Answer:
    hits = memory.query(narrowed(cfg, memory.store, entity=word(cfg, "entity")))
    answer: Answer = {"objects": []}
    for hit in hits:  # each layer apart: one cup that three maps know is not three cups
        answer.setdefault("views" if hit.layer == "store" else hit.layer, []).append(_describe(hit))
    answer.setdefault("views", [])
    if not hits:  # perhaps only the word is wrong
        answer["known_entities"] = sorted({name for view in views(memory) for name in view.entities})
    return answer


def _text_question(memory: Memory, cfg: DictConfig) -> Answer:
    """Things that are called by words of the text, then those that look like what it means."""
    text = word(cfg, "text")
    query = narrowed(cfg, memory.store)
    hits = [
        hit for name in _phrases(text) for layer in memory.layers for hit in layer.query(replace(query, entity=name))
    ]
    # Only a map that keeps embeddings is worth the seconds that it takes to load an encoder.
    is_needed = any(getattr(getattr(layer, "payload", None), "prototypes", None) is not None for layer in memory.layers)
    vector, reason = embedding_of(cfg, text, is_needed=is_needed)
    if vector is not None:
        hits = [hit for layer in memory.layers for hit in layer.query(replace(query, embedding=vector))] + hits
    answer: Answer = {"is_found": bool(hits), "things": [_describe(hit) for hit in hits[: query.k]]}
    return answer if reason is None else {**answer, "note": reason}


def _phrases(text: str) -> list[str]:
    """Runs of up to three words, longest first: each may be what a detector calls a thing."""
    words = text.split()
    runs = [" ".join(words[i : i + n]) for n in (3, 2, 1) for i in range(len(words) - n + 1)]
    return list(dict.fromkeys([text.strip(), *runs]))


def _changes(memory: Memory, cfg: DictConfig) -> Answer:
    hits = memory.query(replace(narrowed(cfg, memory.store), kind="change", since=float(cfg.changes)))
    return {"n_regions": len(hits), "regions": [_describe(hit) for hit in hits]}


def _describe(hit: Hit) -> Answer:
    position = None if hit.position is None else hit.position.tolist()
    return {
        "entity": hit.entity, "position": position, "stamp": hit.stamp,
        "score": hit.score, "layer": hit.layer, "why": hit.why, **hit.detail,
    }  # fmt: skip


def _json_values(value: Any) -> Any:
    """JSON has no NaN and no infinity: both mean "not known" here and become null."""
    if isinstance(value, dict):
        return {key: _json_values(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_json_values(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _show(console: Console, name: str, asked: Any, answer: Answer) -> None:
    """One table of the single facts, one for each list."""
    facts = Table(title=f"{name} {asked}".strip(), title_justify="left", show_header=False)
    for key, value in answer.items():
        if not isinstance(value, list) or not value or not isinstance(value[0], dict):
            facts.add_row(key.replace("_", " "), _text(value))
    console.print(facts)
    for key, value in answer.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            known = _JSON_ONLY | {name}  # what was asked for is the same in every row
            columns = [c for c in value[0] if c not in known and any(row.get(c) is not None for row in value)]
            table = Table(*columns, title=key.replace("_", " "), title_justify="left")
            for row in value:
                table.add_row(*(_text(row.get(column)) for column in columns))
            console.print(table)


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(item)}" for key, item in value.items())
    if isinstance(value, list):
        return "(" + ", ".join(_text(item) for item in value) + ")" if value else "none"
    return f"{value:.3f}" if isinstance(value, float) else "none" if value is None else str(value)
