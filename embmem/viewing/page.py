"""A memory as one HTML page that needs nothing else: no network, no second file."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from embmem.output import new_file
from embmem.viewing.first_seen import first_seen
from embmem.viewing.scene import FREE, OCCUPIED, Graph, Plan, Room, Scene, Thing, Trajectory, is_unix

MAX_POSES, MAX_EDGES, MAX_NODES = 4000, 4000, 4000  # that a page draws
MAX_TEXT, MAX_FACTS = 300, 12
_JOINERS = "\u200c\u200d"  # of letters and of emoji
_STEPS = 254  # of time in the plan's green channel
_TALLEST = 2.0  # [m] of the darkest colour


def write_page(path: Path, scene: Scene, *, overwrite: bool = False) -> None:
    """Write the scene as an HTML page, whole or not at all.

    What comes from the memory is data that the page's own script puts on the screen as text. The page carries a policy
    that lets a browser load nothing and run nothing but that script.

    Raises:
        OutputExistsError: if `path` exists and `overwrite` is not set.
        InputError: if the folder does not exist.
    """
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("embmem.viewing", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    texts = {name: (Path(__file__).parent / name).read_text("utf-8") for name in ("page.css", "plan.js", "page.js")}
    script, style = f"{texts['plan.js']}\n{texts['page.js']}", texts["page.css"]
    left_out = list(scene.left_out)
    page = environment.get_template("page.html").render(
        title=clean(scene.title) or "memory",
        # Our own files, and data in which no character can end its element.
        data=Markup(_inert(page_data(scene, left_out))),
        script=Markup(script),
        style=Markup(style),
        script_hash=_hash(script),
        style_hash=_hash(style),
        facts=_facts(scene),
        left_out=left_out,
    )
    with new_file(path, overwrite=overwrite) as part:
        part.write_bytes(page.encode("utf-8"))


def page_data(scene: Scene, left_out: list[str]) -> dict[str, Any]:
    """What the page's script draws, as JSON values; tells `left_out` what a page is too small for."""
    span = scene.span
    return {
        "span": span,
        "isUnix": span is not None and is_unix(span[0]),
        "extent": scene.extent,
        "plan": None if scene.plan is None else _plan(scene.plan, scene),
        "path": None if scene.trajectory is None else _path(scene.trajectory),
        "things": [_thing(thing) for thing in scene.things],
        "rooms": [_room(room) for room in scene.rooms],
        "graphs": [_graph(graph, left_out) for graph in scene.graphs],
    }


def _facts(scene: Scene) -> list[tuple[str, str]]:
    """(number, what it counts) for the head of the page."""
    sure = sum(thing.confidence >= 0.5 for thing in scene.things)
    facts = [(f"{sure:,}", "thing believed in" if sure == 1 else "things believed in")] if scene.things else []
    if len(scene.things) > sure:
        facts.append((f"{len(scene.things) - sure:,}", "doubted"))
    if scene.rooms:
        facts.append((f"{len(scene.rooms):,}", "room" if len(scene.rooms) == 1 else "rooms"))
    if scene.trajectory is not None:
        facts.append((f"{len(scene.trajectory.stamps):,}", "views"))
    if scene.voxels is not None:
        facts.append((f"{scene.voxels.n_in_map:,}", "occupied voxels"))
    if scene.extent is not None:
        left, bottom, right, top = scene.extent
        facts.append((f"{right - left:.1f} × {top - bottom:.1f}", "m"))  # noqa: RUF001
    return facts


def _plan(plan: Plan, scene: Scene) -> dict[str, Any]:
    """The plan as a picture whose red is the state, green the time when a cell was first seen, blue the height."""
    import cv2

    pixels = np.zeros((*plan.cells.shape, 3), dtype=np.uint8)  # blue, green, red
    pixels[..., 2] = np.select([plan.cells == OCCUPIED, plan.cells == FREE], [2, 1], 0)
    height = np.nan_to_num(plan.height, nan=0.0) / _TALLEST
    pixels[..., 0] = (np.clip(height, 0.0, 1.0) * 255).astype(np.uint8)
    times = None
    if scene.trajectory is not None and len(scene.trajectory.stamps):
        times = [float(scene.trajectory.stamps[0]), float(scene.trajectory.stamps[-1])]
        seen = first_seen(plan, scene.trajectory, scene.max_range)
        share = (seen - times[0]) / max(times[1] - times[0], 1e-9)
        pixels[..., 1] = np.ceil(np.nan_to_num(share) * _STEPS).astype(np.uint8)
    encoded = cv2.imencode(".png", np.ascontiguousarray(pixels[::-1]), [cv2.IMWRITE_PNG_COMPRESSION, 9])[1]
    source = "data:image/png;base64," + base64.b64encode(encoded.tobytes()).decode()
    return {"src": source, "extent": _rounded(plan.extent), "shape": list(plan.cells.shape), "times": times}


def _path(trajectory: Trajectory) -> dict[str, Any]:
    n = len(trajectory.stamps)
    chosen = np.unique(np.linspace(0, n - 1, MAX_POSES).astype(np.int64)) if n > MAX_POSES else np.arange(n)
    x, y, yaw = trajectory.headings()[chosen].T
    stamps = trajectory.stamps[chosen].tolist()
    return {"t": stamps, "x": _rounded(x), "y": _rounded(y), "yaw": _rounded(yaw)}


def _thing(thing: Thing) -> dict[str, Any]:
    box = None if thing.box is None else _rounded(np.asarray(thing.box)[:, :2].ravel())
    moves = None if thing.moves is None else [[float(t), *_rounded(where)] for t, *where in thing.moves]
    return {
        "name": clean(thing.name) or "unnamed",
        "at": _rounded(thing.position),
        "box": box,
        "sure": round(float(thing.confidence), 3),
        "first": _number(thing.first_seen),
        "last": _number(thing.last_seen),
        "why": clean(thing.why),
        "layer": clean(thing.layer),
        "room": clean(thing.room),
        "facts": [clean(fact) for fact in thing.facts[:MAX_FACTS]],
        "held": [[clean(text), _number(start), _number(end)] for text, start, end in thing.held[:MAX_FACTS]],
        "moves": moves,
    }


def _room(room: Room) -> dict[str, Any]:
    rings = [_rounded(np.asarray(ring).ravel()) for ring in room.outlines]
    return {"name": clean(room.name), "rings": rings, "at": _rounded(room.centre), "since": _number(room.stamp)}


def _graph(graph: Graph, left_out: list[str]) -> dict[str, Any]:
    """Nodes and edges up to what a page draws; edges whose nodes are not drawn go, too."""
    n = min(len(graph.labels), MAX_NODES)
    kept = np.flatnonzero((graph.edges < n).all(axis=1))[:MAX_EDGES]
    if n < len(graph.labels) or len(kept) < len(graph.edges):
        left_out.append(
            f"{graph.title}: the page draws {n:,} of {len(graph.labels):,} nodes and {len(kept):,} of "
            f"{len(graph.edges):,} edges."
        )
    kinds = list(dict.fromkeys(graph.edge_kinds[i] for i in kept))
    return {
        "name": clean(graph.name),
        "title": clean(graph.title),
        "labels": [clean(label) for label in graph.labels[:n]],
        "x": _rounded(graph.positions[:n, 0]),
        "y": _rounded(graph.positions[:n, 1]),
        "since": [_number(stamp) for stamp in graph.stamps[:n]],
        "kinds": [clean(kind) for kind in kinds],
        "edges": [[*graph.edges[i].tolist(), kinds.index(graph.edge_kinds[i])] for i in kept],
        "isShown": graph.is_shown,
    }


def clean(text: str) -> str:
    """A text of bearable length that can be encoded: control characters and halves of pairs become a mark."""
    cut = text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"
    encodable = cut.encode("utf-8", "replace").decode()
    return "".join(c if c.isprintable() or c in _JOINERS else "\N{REPLACEMENT CHARACTER}" for c in encodable)


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _rounded(values: Sequence[float] | Float[np.ndarray, " n"]) -> list[float]:
    """To millimetres; what is not finite never gets here."""
    return [round(float(value), 3) for value in values]


def _inert(data: dict[str, Any]) -> str:
    """JSON that ends no element and no comment whatever its texts say."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
