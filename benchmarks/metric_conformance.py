"""Compare our navigation metrics with values that the published implementations gave.

    python benchmarks/metric_conformance.py VECTORS.json [--json FILE]

Prints every mismatch on a line of its own and, as the last line, `N values, M mismatches`; the exit status is 1 if
there are any. Street cases need the Touchdown graph below `$EMBMEM_DATA_DIR` (default ../shared/data). Where a
reference raised an error there is no value to compare; such cases are listed and not counted.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from embmem.errors import InputError
from embmem.sim_envs.metrics.continuous import vlnce_habitat
from embmem.sim_envs.metrics.graph import PlaceGraph, read_street_graph
from embmem.sim_envs.metrics.indoor import google_dtw, valan_r2r
from embmem.sim_envs.metrics.street import mem4nav_release, orar, valan_touchdown, velma

TOLERANCE = 1e-5  # relative
ON_GRAPH: dict[str, Callable[[PlaceGraph, Sequence[Any], Sequence[Any]], dict[str, float]]] = {
    "velma": velma,
    "orar": orar,
    "google_dtw": google_dtw,
    "valan_r2r": valan_r2r,
    "valan_touchdown": valan_touchdown,
    "mem4nav_release": mem4nav_release,
}


@dataclass(frozen=True)
class Value:
    """One expected value and ours; `got` is None where we have no such value."""

    case: str
    protocol: str
    measure: str
    expected: float | None  # None: the reference raised an error
    got: float | None
    note: str = ""

    @property
    def is_match(self) -> bool:
        """True within the tolerance; NaN matches NaN."""
        if self.expected is None or self.got is None:
            return False
        if math.isnan(self.expected) or math.isnan(self.got):
            return math.isnan(self.expected) and math.isnan(self.got)
        absolute = 1e-12 if self.expected == 0 else 0.0
        return math.isclose(self.got, self.expected, rel_tol=TOLERANCE, abs_tol=absolute)

    def __str__(self) -> str:
        return f"{self.case} {self.protocol}/{self.measure}: expected {self.expected}, got {self.got} {self.note}"


def compare(vectors: Mapping[str, Any], street: PlaceGraph | None) -> Iterator[Value]:
    """Every value of a vectors file beside ours; street cases only with the `street` graph."""
    for world in vectors.get("graph_cases", []):
        graph = PlaceGraph([(a, b, w) for a, b, w in world["edges"]], world["nodes"])
        for case in world["cases"]:
            yield from _graph_values(f"{world['name']}/{case['name']}", graph, case)
    for case in vectors.get("continuous_cases", []):
        yield from _continuous_values(case)
    if street is None:
        return
    for case in vectors.get("street_cases", []):
        yield from _graph_values(f"{case['dataset']}/{case['id']}/{case['name']}", street, case)


def _graph_values(name: str, graph: PlaceGraph, case: Mapping[str, Any]) -> Iterator[Value]:
    for protocol, expected in case["expected"].items():
        measure = ON_GRAPH.get(protocol)
        call = None if measure is None else lambda m=measure: m(graph, case["agent"], case["gold"])
        yield from _values(name, protocol, expected, call)


def _continuous_values(case: Mapping[str, Any]) -> Iterator[Value]:
    def measure() -> dict[str, float]:
        return vlnce_habitat(
            np.asarray(case["agent_xyz"], float),
            np.asarray(case["gold_xyz"], float),
            np.asarray(case["goal"], float),
            stop_called=bool(case["stop_called"]),
            threshold=float(case["success_distance"]),
        )

    for protocol, expected in case["expected"].items():
        call = measure if protocol == "vlnce_habitat" else None
        yield from _values(f"continuous/{case['name']}", protocol, expected, call)


def _values(case: str, protocol: str, expected: Any, call: Callable[[], dict[str, float]] | None) -> Iterator[Value]:
    """The values of one case under one protocol, whatever either side made of it."""
    got: dict[str, float] = {}
    note = "(unknown protocol)" if call is None else ""
    try:
        got = call() if call is not None else {}
    except (ValueError, ArithmeticError) as error:
        note = f"({error!r})"
    if not isinstance(expected, Mapping):  # the reference failed on the whole case
        yield Value(case, protocol, "*", None, None, f"({expected}; ours {got or note})")
        return
    for measure, value in expected.items():
        number = _number(value)
        reason = note if number is not None else f"({value}) {note}"
        yield Value(case, protocol, measure, number, got.get(measure), reason)


def _number(value: Any) -> float | None:
    """The expected number, also from "nan" or "inf"; None for the text of an error."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _n_street_values(vectors: Mapping[str, Any]) -> int:
    expected = [e for case in vectors.get("street_cases", []) for e in case["expected"].values()]
    return sum(_number(v) is not None for e in expected if isinstance(e, Mapping) for v in e.values())


def main() -> int:
    """Run the comparison and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vectors", type=Path, help="JSON file with cases and expected values")
    parser.add_argument("--json", type=Path, help="also write every comparison to this file")
    arguments = parser.parse_args()
    try:
        vectors = json.loads(arguments.vectors.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        parser.error(f"cannot read {arguments.vectors}: {error}")
    street = None
    if vectors.get("street_cases"):
        folder = Path(os.environ.get("EMBMEM_DATA_DIR", "../shared/data")) / "street" / "graph"
        try:
            street = read_street_graph(folder)
        except InputError as error:
            print(f"skipped {_n_street_values(vectors)} street values: {error}")
    values = list(compare(vectors, street))
    compared = [v for v in values if v.expected is not None]
    mismatches = [v for v in compared if not v.is_match]
    for value in values:
        if value.expected is None:
            print(f"no reference value: {value.case} {value.protocol}/{value.measure} {value.note}")
    for value in mismatches:
        print(f"mismatch: {value}")
    if arguments.json:
        rows = [asdict(v) | {"is_match": v.is_match} for v in values]
        summary = {"values": len(compared), "mismatches": len(mismatches), "comparisons": rows}
        arguments.json.write_text(json.dumps(summary, indent=1), encoding="utf-8")
    print(f"{len(compared)} values, {len(mismatches)} mismatches")
    return 1 if mismatches else 0


if __name__ == "__main__":
    sys.exit(main())
