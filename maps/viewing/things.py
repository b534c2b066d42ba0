"""What the maps believe to be where, as things to look at."""

from __future__ import annotations

import numpy as np

from embmem.maps.objects import ObjectMemory
from embmem.protocols import Layer
from embmem.records import Hit, Query
from embmem.viewing.scene import Thing

_SAME_THINGS = ("objects", "scene_graph", "semantic_map")  # kinds of layers that know the same things, the best first
_ALL = 1 << 30


def things_of(layers: list[Layer], most: int) -> tuple[list[Thing], str]:
    """(things of the layers that name any, surest first, what was left out): at most `most`."""
    things: list[Thing] = []
    n = 0
    sees = next((kind for kind in _SAME_THINGS if any(layer.kind == kind for layer in layers)), None)
    for layer in layers:
        if layer.kind in _SAME_THINGS and layer.kind != sees:
            continue
        if isinstance(layer, ObjectMemory):
            n += len(layer)
            things += _remembered(layer, most)
        else:
            named = [hit for hit in layer.query(Query(k=_ALL)) if hit.entity and hit.position is not None]
            named = [hit for hit in named if "area" not in hit.detail]  # rooms are no things
            n += len(named)
            things += [_hit(layer.kind, i, hit) for i, hit in enumerate(named)]
    things.sort(key=lambda thing: -thing.confidence)  # stable
    shown = things[:most]
    return shown, f"{len(shown):,} of {n:,} things are shown, the surest." if n > len(shown) else ""


def _remembered(objects: ObjectMemory, most: int) -> list[Thing]:
    rows = objects.things()
    rows = rows[np.lexsort((rows["id"], -rows["confidence"]))][:most]
    moves = _moves(rows, objects.places_left())
    return [
        Thing(
            id=f"{objects.kind} {row['id']}",
            name=objects.categories[row["category"]],
            position=row["position"].copy(),
            confidence=float(row["confidence"]),
            first_seen=float(row["first_seen"]),
            last_seen=float(row["last_seen"]),
            why=f"seen {row['times_seen']:,} times, missed {row['times_missed']:,} times",
            layer=objects.kind,
            box=row["box"].copy(),
            moves=moves.get(int(row["id"])),
        )
        for row in rows
    ]


def _moves(rows: np.ndarray, left: np.ndarray) -> dict[int, np.ndarray]:
    """(k, 4) stamp [s] and position [m] of each place where a thing was, in order, for the things that have moved."""
    left = left[np.isin(left["thing"], rows["id"])]
    left = left[np.lexsort((left["first_seen"], left["thing"]))]
    ids, first = np.unique(left["thing"], return_index=True)
    then = np.column_stack([left["first_seen"], left["position"]])
    now = {int(row["id"]): np.array([[row["here_since"], *row["position"]]]) for row in rows}
    groups = np.split(then, first[1:]) if len(ids) else []
    return {int(i): np.concatenate([group, now[int(i)]]) for i, group in zip(ids, groups, strict=True)}


def _hit(kind: str, number: int, hit: Hit) -> Thing:
    confidence = hit.detail.get("confidence", hit.score)
    return Thing(
        id=f"{kind} {int(hit.detail['id'])}" if "id" in hit.detail else f"{kind}/{number}",  # no number to name it by
        name=hit.entity or "",
        position=np.asarray(hit.position, dtype=np.float64),
        confidence=float(np.clip(confidence, 0.0, 1.0)) if np.isfinite(confidence) else 0.0,
        first_seen=float(hit.detail.get("first_seen", hit.stamp)),
        last_seen=float(hit.stamp),
        why=hit.why,
        layer=kind,
    )
