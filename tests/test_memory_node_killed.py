"""A memory node on the wire is killed while somebody waits for its answer, and comes back with what it had answered."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("cyclonedds", reason="cyclonedds (the extra dds) is not installed")

from wire import embmem, own_domain, wait_until
from wire_nodes import Plain

from embmem.dds.node import RunningNode, run_node

SRV = "embmem_msgs/srv"


@contextmanager
def memory_node(domain: int, folder: Path) -> Iterator[Any]:
    settings = f"{{folder: {folder}, memory: spatial, memory_settings: ['resolution=0.1'], warm_up: false}}"
    with embmem("node", "memory", f"domain={domain}", f"set={settings}") as process:
        yield process


def asked(here: RunningNode, name: str, type: str, request: dict[str, Any], *, timeout: float = 60.0) -> list[Any]:
    """A list that will hold the answer, None if there was none in time."""
    client, answers = here.call(lambda: here.ports.client(f"{SRV}/{type}", f"/memory/{name}")), list[Any]()
    wait_until(lambda: here.call(client.is_ready), timeout=120.0, what=f"service {name}")
    here.call(lambda: client.call(request, answers.append, timeout=timeout))
    return answers


def test_killed_during_a_call_the_client_learns_it_and_what_was_answered_is_there_afterwards(tmp_path: Path) -> None:
    where = {"header": {"frame_id": "map"}, "point": {"x": 1.0, "y": 2.0}}
    note = {"action": 5, "text": "the charger", "place": "hall", "position": where}
    with own_domain() as domain, run_node(Plain, "asker", domain=domain) as here:
        with memory_node(domain, tmp_path) as process:
            added = asked(here, "correct", "CorrectMemory", note)
            wait_until(lambda: added, timeout=60.0, what="an answer")
            assert added[0].success, added[0].message
            process.send_signal(signal.SIGSTOP)  # so that the request comes to a node that will not answer
            lost = asked(here, "save", "SaveMemory", {"path": "x"}, timeout=3.0)
            process.send_signal(signal.SIGKILL)
            process.wait(30)
            wait_until(lambda: lost, timeout=30.0, what="the end of the wait")
            assert lost == [None]
        with memory_node(domain, tmp_path):
            found = asked(here, "query", "QueryMemory", {"kind": "note"})
            wait_until(lambda: found, timeout=60.0, what="an answer")
            (item,) = [item for item in found[0].found.items if item.layer == "records"]
            assert (item.text, item.place) == ("the charger", "hall")
            assert (item.pose.position.x, item.pose.position.y) == (1.0, 2.0)
            assert not (tmp_path / "x").exists()
            saved = asked(here, "save", "SaveMemory", {"path": "x"})
            wait_until(lambda: saved, timeout=60.0, what="an answer")
            assert saved[0].success, saved[0].message
