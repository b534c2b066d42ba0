"""Scene graphs in the JSON of Spark-DSG (github.com/MIT-SPARK/Spark-DSG), which Hydra and its tools read and write.

Furniture and objects lie in its layer OBJECTS, rooms in ROOMS; floors come in between as FLOORS, so that BUILDINGS is
the sixth layer, not the fifth: readers that go by its name find it. Its edges have no direction: `subject` in the
metadata of an edge names the node that is on, in, part of or next to the other.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import networkx as nx

from embmem.errors import InputError
from embmem.maps.scene_graph.graph import room_of
from embmem.maps.scene_graph.json_files import add_edge, add_node, number, numbers, read_json, text
from embmem.output import write_atomic

VERSION = {"major": 1, "minor": 1, "patch": 3}  # of Spark-DSG, whose files these are
NO_LABEL = 2**32 - 1
_LAYERS = {"object": (2, "O"), "furniture": (2, "O"), "place": (3, "p"), "room": (4, "R"), "floor": (5, "F"),
           "building": (6, "B")}  # fmt: skip
_NAMES = {"OBJECTS": 2, "AGENTS": 2, "PLACES": 3, "ROOMS": 4, "FLOORS": 5, "BUILDINGS": 6}
_TYPES = {2: "ObjectNodeAttributes", 4: "RoomNodeAttributes"}
_OURS = {"OBJECTS": "object", "PLACES": "place", "ROOMS": "room", "FLOORS": "floor", "BUILDINGS": "building"}
_KEPT = ("stamp", "confidence", "area", "share")
_LOW_BYTES = (1 << 56) - 1
_UNTURNED = {"w": 1.0, "x": 0.0, "y": 0.0, "z": 0.0}


def write_dsg(path: str | Path, graph: nx.DiGraph) -> None:
    """Write a graph of `SceneGraph.networkx` so that `spark_dsg.DynamicSceneGraph.load` reads it.

    What a thing is on or in is an edge between objects there; its room is its parent, as the layers want it, by an
    edge that is marked as derived where the graph has none.
    """
    ids = {key: _symbol(_LAYERS[node["layer"]][1], node["number"]) for key, node in graph.nodes(data=True)}
    names = sorted({_clean(n["name"]) for n in graph.nodes.values() if _LAYERS[n["layer"]][0] == 2})
    labels = {name: i for i, name in enumerate(names)}
    edges = [_edge(graph, ids, a, b, data) for a, b, data in graph.edges(data=True)]
    for key, node in graph.nodes(data=True):
        room = room_of(graph, key) if _LAYERS[node["layer"]][0] == 2 else None
        if room is not None and not graph.has_edge(key, room):
            edges.append(_edge(graph, ids, key, room, {"relation": "in", "derived": True}))
    keys = [{"layer": layer, "partition": 0} for layer in range(2, 7)]
    data = {
        "SPARK_DSG_header": {"project_name": "main", "version": VERSION},
        "directed": False,
        "multigraph": False,
        "layer_keys": keys,
        "layer_names": {name: {"layer": layer, "partition": 0} for name, layer in _NAMES.items()},
        "metadata": {"source": "embmem", "labelspaces": {"_l2p0": [[i, name] for name, i in labels.items()]}},
        "nodes": [
            {"id": ids[key], "layer": _LAYERS[node["layer"]][0], "partition": 0,
             "attributes": _attributes(key, node, labels)}
            for key, node in graph.nodes(data=True)
        ],
        "edges": edges,
    }  # fmt: skip
    write_atomic(Path(path), json.dumps(data, allow_nan=False).encode())


def _symbol(letter: str, number_of: int) -> int:
    """The id of a node in Spark-DSG: a letter in the highest byte, the number below."""
    return ord(letter) << 56 | number_of


def _clean(name: str) -> str:
    """The name without what is no text in UTF-8: half a pair of surrogates."""
    return name.encode("utf-8", "replace").decode()


def _attributes(key: str, node: dict[str, Any], labels: dict[str, int]) -> dict[str, Any]:
    layer = _LAYERS[node["layer"]][0]
    stamp = node.get("stamp", 0.0)
    kept = {name: node[name] for name in _KEPT if name in node}
    attributes: dict[str, Any] = {
        "type": _TYPES.get(layer, "SemanticNodeAttributes"),
        "name": _clean(node["name"]),
        "position": node["position"],
        "bounding_box": _box(node.get("box")),
        "color": {"r": 0, "g": 0, "b": 0, "a": 255},
        "is_active": False,
        "is_predicted": False,
        "last_update_time_ns": min(max(round(stamp * 1e9), 0), 2**64 - 1),
        "semantic_label": labels[_clean(node["name"])] if layer == 2 else NO_LABEL,
        "semantic_feature": {"rows": 0, "cols": 0, "data": None},
        "metadata": {"key": key, "layer": node["layer"], **kept},
    }
    if layer == 2:
        attributes |= {"mesh_connections": [], "registered": False, "world_R_object": _UNTURNED}
    if layer == 4:
        attributes["semantic_class_probabilities"] = {}
    return attributes


def _box(box: list[list[float]] | None) -> dict[str, Any]:
    low, high = box if box is not None else ([0.0] * 3, [0.0] * 3)
    return {
        "type": "INVALID" if box is None else "AABB",
        "dimensions": [b - a for a, b in zip(low, high, strict=True)],
        "world_P_center": [0.5 * (a + b) for a, b in zip(low, high, strict=True)],
        "world_R_center": _UNTURNED,
    }


def _edge(graph: nx.DiGraph, ids: dict[str, int], a: str, b: str, data: dict[str, Any]) -> dict[str, Any]:
    above = _LAYERS[graph.nodes[b]["layer"]][0] > _LAYERS[graph.nodes[a]["layer"]][0]
    source, target = (b, a) if above else (a, b)
    return {
        "source": ids[source],
        "target": ids[target],
        "info": {"type": "EdgeAttributes", "weight": 1.0, "weighted": False, "metadata": {**data, "subject": a}},
    }


def read_dsg(path: str | Path) -> nx.DiGraph:
    """The graph in a JSON file of Spark-DSG, ours or another's.

    Another's nodes are keyed like "O(5)" by their symbols; an edge between layers reads as "in" (of objects and places)
    or "part of" (of rooms and above), one within a layer as "next to".

    Raises:
        InputError: if the file is missing or no such graph.
    """
    data = read_json(path)
    names = data.get("layer_names")
    entries, edges = data.get("nodes"), data.get("edges")
    if "SPARK_DSG_header" not in data or not isinstance(entries, list) or not isinstance(edges, list):
        raise InputError(f"{path} is no scene graph of Spark-DSG")
    layers = _layer_names(names)
    labels = _labels(data.get("metadata"))
    graph, keys, levels = nx.DiGraph(), dict[int, str](), dict[int, int]()
    for entry in entries:
        _read_node(graph, entry, layers, labels, (keys, levels))
    for entry in edges:
        _read_edge(graph, entry, keys, levels)
    return graph


def _layer_names(names: Any) -> dict[int, str]:
    """What each layer is called here."""
    if names is None:  # as in files before layers had names
        names = {name: {"layer": i} for name, i in _NAMES.items() if name not in ("FLOORS", "BUILDINGS")}
        names["BUILDINGS"] = {"layer": 5}
    if not isinstance(names, dict) or not all(isinstance(v, dict) for v in names.values()):
        raise InputError("the names of the layers are no JSON object")
    found: dict[int, str] = {}
    for name, where in sorted(names.items(), key=lambda each: each[0] not in _OURS):
        if where.get("partition", 0) == 0:
            found.setdefault(int(number(where.get("layer"), f"layer of {name!r}")), _OURS.get(name, name.casefold()))
    return found


def _labels(metadata: Any) -> dict[tuple[int, int], str]:
    """The name of each semantic label by layer."""
    spaces = metadata.get("labelspaces") if isinstance(metadata, dict) else None
    found: dict[tuple[int, int], str] = {}
    for key, pairs in (spaces if isinstance(spaces, dict) else {}).items():
        layer = key.removeprefix("_l").removesuffix("p0")
        if not isinstance(pairs, list) or not layer.isdecimal():
            continue
        for pair in pairs:
            if not (isinstance(pair, list) and len(pair) == 2):
                raise InputError(f"the labels of layer {layer} are no pairs")
            found[int(layer), int(number(pair[0], "number of a label"))] = text(pair[1], "name of a label")
    return found


def _read_node(
    graph: nx.DiGraph,
    entry: Any,
    layers: dict[int, str],
    labels: dict[tuple[int, int], str],
    found: tuple[dict[int, str], dict[int, int]],
) -> None:
    """Add a node, and note its key and its layer by its id."""
    if not isinstance(entry, dict) or not isinstance(entry.get("attributes"), dict):
        raise InputError("a node has no attributes")
    node_id, level = (_whole(entry.get(part), f"{part} of a node") for part in ("id", "layer"))
    if not 0 <= node_id < 2**64 or node_id in found[0]:
        raise InputError(f"the node {node_id} is there twice or has no 64 bits")
    attributes = entry["attributes"]
    metadata = attributes.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    name = text(attributes.get("name") or "", "name of a node")
    label = attributes.get("semantic_label", NO_LABEL)
    symbol = f"{chr(node_id >> 56) if node_id >> 56 else '?'}({node_id & _LOW_BYTES})"
    key = text(metadata.get("key", symbol), "key of a node")
    node: dict[str, Any] = {
        "layer": metadata.get("layer") or layers.get(level, f"layer {level}"),
        "name": name or labels.get((level, _whole(label, f"label of {key!r}")), ""),
        "number": node_id & _LOW_BYTES,
        "position": attributes.get("position"),
    }
    box = attributes.get("bounding_box")
    if isinstance(box, dict) and box.get("type") not in (None, "INVALID"):
        centre, size = (numbers(box.get(part), 3, f"box of {key!r}") for part in ("world_P_center", "dimensions"))
        node["box"] = [[c + sign * s for c, s in zip(centre, size, strict=True)] for sign in (-0.5, 0.5)]
    nanoseconds = attributes.get("last_update_time_ns", 0)
    node["stamp"] = number(nanoseconds, f"time of {key!r}") * 1e-9
    node |= {part: number(metadata[part], f"{part} of {key!r}") for part in _KEPT if part in metadata}
    add_node(graph, key, node)
    found[0][node_id], found[1][node_id] = key, level


def _read_edge(graph: nx.DiGraph, entry: Any, keys: dict[int, str], levels: dict[int, int]) -> None:
    if not isinstance(entry, dict):
        raise InputError("an edge is no JSON object")
    ends = [_whole(entry.get(end), f"{end} of an edge") for end in ("source", "target")]
    if not all(end in keys for end in ends):
        raise InputError(f"an edge goes from {ends[0]!r} to {ends[1]!r}, which are not both nodes")
    info = entry.get("info")
    metadata = info.get("metadata") if isinstance(info, dict) else None
    metadata = dict(metadata) if isinstance(metadata, dict) else {}
    if metadata.pop("derived", False):
        return
    low, high = sorted(ends, key=lambda end: levels[end])
    subject = metadata.pop("subject", keys[low])
    source, target = (keys[low], keys[high]) if subject == keys[low] else (keys[high], keys[low])
    is_between = levels[low] != levels[high]
    relation = ("in" if levels[low] < 4 else "part of") if is_between else "next to"
    metadata.setdefault("relation", relation)
    text(metadata["relation"], f"relation of {source!r} to {target!r}")
    add_edge(graph, source, target, metadata)


def _whole(value: Any, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(f"the {what} is {value!r}, not a whole number")
    return value
