"""Scene graphs in files: node-link JSON of networkx, and what every reader of untrusted JSON checks."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import networkx as nx

from embmem.errors import InputError
from embmem.output import write_atomic

FORMAT = "embmem scene graph"
VERSION = 1


def write_node_link(path: str | Path, graph: nx.DiGraph) -> None:
    """Write a graph of `SceneGraph.networkx` as node-link JSON.

    `networkx.node_link_graph(json.load(file), edges="edges")` reads it, and so do D3 and its kin.
    """
    data = {
        "directed": True,
        "multigraph": False,
        "graph": {"format": FORMAT, "version": VERSION},
        "nodes": [{"id": key, **node} for key, node in graph.nodes(data=True)],
        "edges": [{"source": a, "target": b, **edge} for a, b, edge in graph.edges(data=True)],
    }
    write_atomic(Path(path), json.dumps(data, allow_nan=False, indent=1).encode())


def read_node_link(path: str | Path) -> nx.DiGraph:
    """The graph that was written, with its nodes and edges in their order.

    Raises:
        InputError: if the file is missing or no such graph.
    """
    data = read_json(path)
    head = _dict(data.get("graph"), "graph")
    if head.get("format") != FORMAT or data.get("directed") is not True:
        raise InputError(f"{path} is no {FORMAT}")
    if isinstance(head.get("version"), bool) or head.get("version") != VERSION:
        raise InputError(f"{path} is of version {head.get('version')}, this embmem reads {VERSION}")
    graph = nx.DiGraph()
    for entry in _list(data.get("nodes"), "nodes"):
        node = dict(_dict(entry, "node"))
        add_node(graph, text(node.pop("id", None), "id of a node"), node)
    for entry in _list(data.get("edges"), "edges"):
        edge = dict(_dict(entry, "edge"))
        source, target = (text(edge.pop(end, None), f"{end} of an edge") for end in ("source", "target"))
        text(edge.get("relation"), f"relation of the edge from {source!r} to {target!r}")
        add_edge(graph, source, target, edge)
    return graph


def read_json(path: str | Path) -> dict[str, Any]:
    """The JSON object in a file; NaN and infinite numbers are refused.

    Raises:
        InputError: if there is none.
    """
    try:
        data = json.loads(Path(path).read_bytes(), parse_constant=_refuse_constant)
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    if not isinstance(data, dict):
        raise InputError(f"{path} holds no JSON object")
    return data


def add_node(graph: nx.DiGraph, key: str, node: dict[str, Any]) -> None:
    """Add a node whose layer, name, place and numbers were checked.

    Raises:
        InputError: if it is there already or something is malformed.
    """
    if key in graph:
        raise InputError(f"the node {key!r} is there twice")
    checked = dict(node)
    checked["layer"], checked["name"] = (text(node.get(name), f"{name} of {key!r}") for name in ("layer", "name"))
    checked["position"] = numbers(node.get("position"), 3, f"position of {key!r}")
    if "box" in node:
        corners = _list(node["box"], f"box of {key!r}")
        checked["box"] = [numbers(corner, 3, f"box of {key!r}") for corner in corners]
        if len(corners) != 2 or any(a > b for a, b in zip(*checked["box"], strict=True)):
            raise InputError(f"the box of {key!r} is not its lowest and highest corner")
    for name in ("stamp", "confidence", "area", "share"):
        if name in node:
            checked[name] = number(node[name], f"{name} of {key!r}")
    graph.add_node(key)
    graph.nodes[key].update(checked)  # no keyword arguments: a file may name anything


def add_edge(graph: nx.DiGraph, source: str, target: str, edge: dict[str, Any]) -> None:
    """Add an edge between nodes that are there.

    Raises:
        InputError: if one is not, or the edge is there already.
    """
    for key in (source, target):
        if key not in graph:
            raise InputError(f"an edge ends at {key!r}, which is no node")
    if graph.has_edge(source, target):
        raise InputError(f"the edge from {source!r} to {target!r} is there twice")
    graph.add_edge(source, target)
    graph.edges[source, target].update(edge)


def number(value: Any, what: str) -> float:
    """A finite number.

    Raises:
        InputError: if it is none.
    """
    try:
        if not isinstance(value, bool) and isinstance(value, (int, float)) and math.isfinite(value):
            return float(value)
    except OverflowError:  # an integer beyond all floats
        pass
    raise InputError(f"the {what} is {str(value)[:40]!r}, not a finite number")


def numbers(value: Any, n: int, what: str) -> list[float]:
    """A list of `n` finite numbers.

    Raises:
        InputError: if it is none.
    """
    if not isinstance(value, list) or len(value) != n:
        raise InputError(f"the {what} is not a list of {n} numbers")
    return [number(each, what) for each in value]


def text(value: Any, what: str) -> str:
    """A string.

    Raises:
        InputError: if it is none.
    """
    if not isinstance(value, str):
        raise InputError(f"the {what} is {value!r}, not a text")
    return value


def _dict(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise InputError(f"a {what} is no JSON object")
    return value


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise InputError(f"the {what} are no list")
    return value


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")
