"""Asks the memory node questions all the time, one after the other, and listens to its diagnostics.

    python benchmarks/ros_ask.py DOMAIN SECONDS

Prints one line of JSON in the end: how long answers took, and the last counters of the node.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any

import numpy as np

from embmem.dds.names import Names
from embmem.dds.ports import DdsPorts

PAUSE = 0.05  # [s] between two questions


def counters_of(message: Any) -> dict[str, float]:
    """The numbers in a DiagnosticArray."""
    found: dict[str, float] = {}
    for status in message.status:
        for pair in status.values:
            try:
                found[str(pair.key)] = float(pair.value)
            except ValueError:
                continue
    return found


class Asker:
    """One client, one question at a time.

    Args:
        ports: of a node.
        service: full name of the service.
        rng: of places that are asked for.
    """

    def __init__(self, ports: DdsPorts, service: str, rng: np.random.Generator) -> None:
        self._ports, self._rng = ports, rng
        self._client = ports.client("embmem_msgs/srv/QueryMemory", service)
        self.took: list[float] = []
        self.n_failed = self.n_items = 0

    def ask(self) -> None:
        """Ask what is near a random place, and wait for the answer."""
        x, y = self._rng.uniform(-2.0, 2.0, 2)
        near = {"header": {"frame_id": "map"}, "point": {"x": float(x), "y": float(y), "z": 1.0}}
        done, answers = threading.Event(), list[Any]()

        def on_response(response: Any) -> None:
            answers.append(response)
            done.set()

        start = time.perf_counter()
        self._ports.post(lambda: self._client.call({"near": near, "k": 10}, on_response, timeout=10.0))
        done.wait(15.0)
        self.took.append(time.perf_counter() - start)
        if not answers or answers[0] is None or not answers[0].success:
            self.n_failed += 1
        else:
            self.n_items += len(answers[0].found.items)

    def is_ready(self) -> bool:
        """Whether the node is there."""
        return self._client.is_ready()


def main(domain: str, seconds: str) -> None:
    """Ask until the time is over."""
    ports = DdsPorts(Names("asker"), int(domain))
    ports.executor.start()
    heard: dict[str, float] = {}
    ports.subscription("diagnostic_msgs/msg/DiagnosticArray", "/diagnostics", lambda m: heard.update(counters_of(m)))
    asker = Asker(ports, "/memory/query", np.random.default_rng(0))
    while not asker.is_ready():
        time.sleep(0.01)
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end:
        asker.ask()
        time.sleep(PAUSE)
    time.sleep(2.0)  # the last diagnostics
    p50, p99, most = (float(np.quantile(asker.took, q)) for q in (0.5, 0.99, 1.0))
    ports.close()
    answers = {"n": len(asker.took), "failed": asker.n_failed, "items": asker.n_items}
    print(json.dumps({"took": [p50, p99, most], "answers": answers, "node": heard}))


if __name__ == "__main__":
    main(*sys.argv[1:])
