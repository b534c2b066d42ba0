"""A server that is killed: its clients see it, wait for nothing, and find the next one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

pytest.importorskip("cyclonedds", reason="cyclonedds (the extra dds) is not installed")

from wire import ROOT, own_domain, process, wait_until
from wire_nodes import GO, Plain

from embmem.dds.node import RunningNode, run_node
from embmem.ros.ports import LATCHED, SUCCEEDED

TALKER = str(ROOT / "tests" / "wire_nodes.py")


@pytest.fixture
def domain() -> Iterator[int]:
    with own_domain() as domain:
        yield domain


def _goal(node: RunningNode, client: Any, x: float) -> dict[str, list[Any]]:
    heard: dict[str, list[Any]] = {"accepted": [], "feedback": [], "results": []}
    goal = {"pose": {"header": {"frame_id": "map"}, "pose": {"position": {"x": x}}}}
    node.call(
        lambda: client.send(
            goal,
            on_accepted=heard["accepted"].append,
            on_feedback=heard["feedback"].append,
            on_result=lambda status, result: heard["results"].append(status),
        )
    )
    return heard


def test_a_killed_server_is_missed_and_its_successor_found(domain: int) -> None:
    with run_node(Plain, "asker", domain=domain) as node, ExitStack() as second:
        client: Any = node.call(lambda: node.ports.client("std_srvs/srv/SetBool", "/talker/now"))
        go: Any = node.call(lambda: node.ports.action_client(GO, "/go"))
        texts: list[Any] = []
        node.call(lambda: node.ports.subscription("std_msgs/msg/String", "/talker/text", texts.append, LATCHED))

        def is_there() -> bool:
            return bool(node.call(lambda: client.is_ready() and go.is_ready()))

        with process(TALKER, "Talker", str(domain)) as talker:
            wait_until(is_there, what="the server")
            far = _goal(node, go, 1e9)
            wait_until(lambda: far["feedback"], what="feedback")
            talker.kill()
            answers: list[Any] = []
            node.call(lambda: client.call({"data": True}, answers.append, timeout=0.5))
            wait_until(lambda: answers, what="the end of the call")
            assert answers == [None]
        wait_until(lambda: not node.call(client.is_ready) and not node.call(go.is_ready), what="the loss")
        assert far["results"] == []

        second.enter_context(process(TALKER, "Talker", str(domain)))
        wait_until(is_there, what="the second server")
        node.call(lambda: client.call({"data": True}, answers.append, timeout=30.0))
        near = _goal(node, go, 3.0)
        wait_until(lambda: len(answers) == 2 and near["results"], what="the second server's answers")
        assert answers[1].success
        assert near["results"] == [SUCCEEDED]
        wait_until(lambda: len(texts) == 2, what="what the second one latched")
