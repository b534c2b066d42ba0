"""The memory on the wire: a process plays a real bag, one maps it, this one asks; the map is that of a build."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("cyclonedds", reason="cyclonedds (the extra dds) is not installed")

from test_memory_node import built_from
from wire import embmem, own_domain, wait_until
from wire_nodes import Plain

from embmem.dds.node import RunningNode, run_node
from embmem.map_hash import map_hash
from embmem.maps import open_memory
from embmem.ros.ports import LATCHED, QoS

DEPTH, CAMERA = "/camera/depth/image_raw/compressedDepth", "/camera/depth/camera_info"
N_FRAMES = 12  # of the bag; three a second


class Robot:
    """A memory node in a process of its own, and a node here that asks it."""

    def __init__(self, domain: int, folder: Path, process: Any, here: RunningNode) -> None:
        self.domain, self.folder, self.process, self.here = domain, folder, process, here
        self.clients: dict[str, Any] = {}
        self.diagnostics: list[Any] = []
        kind = "diagnostic_msgs/msg/DiagnosticArray"
        here.call(lambda: here.ports.subscription(kind, "/diagnostics", self.diagnostics.append, QoS()))

    def ask(self, type: str, name: str, request: dict[str, Any]) -> Any:
        if name not in self.clients:
            self.clients[name] = self.here.call(lambda: self.here.ports.client(type, f"/memory/{name}"))
        client, answers = self.clients[name], list[Any]()
        wait_until(lambda: self.here.call(client.is_ready), timeout=120.0, what=f"service {name}")
        self.here.call(lambda: client.call(request, answers.append, timeout=60.0))
        wait_until(lambda: answers, timeout=90.0, what=f"an answer of {name}")
        return answers[0]

    def counter(self, name: str) -> int:
        values = {v.key: v.value for message in self.diagnostics[-1:] for s in message.status for v in s.values}
        return int(values.get(name, 0))


@pytest.fixture(scope="module")
def robot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Robot]:
    folder = tmp_path_factory.mktemp("memory")
    settings = {
        "folder": str(folder), "memory": "spatial", "depth_transport": "compressed", "mode": "all",
        "reliable_inputs": True, "input_depth": 200, "publish_rate": 5.0, "diagnostics_period": 0.2,
    }  # fmt: skip
    (folder / "p.yaml").write_text(
        "/**:\n  ros__parameters:\n    memory_settings: [resolution=0.1]\n"
        + "".join(f"    {name}: {json.dumps(value)}\n" for name, value in settings.items())
    )
    remap = f"remap=['depth/image:={DEPTH}','depth/camera_info:={CAMERA}']"
    with own_domain() as domain:
        words = ("node", "memory", f"domain={domain}", "use_sim_time=true", f"parameters={folder / 'p.yaml'}", remap)
        with embmem(*words) as process, run_node(Plain, "asker", domain=domain) as here:
            yield Robot(domain, folder, process, here)


def test_the_map_of_a_played_bag_is_that_of_an_offline_build(robot: Robot, data_dir: Path) -> None:
    bag = data_dir / "ros2" / "rgbd_7scenes_mcap"
    empty = robot.ask("embmem_msgs/srv/QueryMemory", "query", {"text": "anything"})
    assert empty.found.items == []
    play = ("play", str(bag), "rate=5", f"duration={(N_FRAMES - 0.5) / 3}", f"domain={robot.domain}")
    with embmem(*play, f"wait_for=[{DEPTH},{CAMERA},/tf,/tf_static]") as player:
        out, said = player.communicate(timeout=120)
    assert player.returncode == 0, said
    wait_until(lambda: robot.counter("mapped") == N_FRAMES, timeout=120.0, what=f"{N_FRAMES} mapped frames after {out}")
    found = robot.ask("embmem_msgs/srv/QueryMemory", "query", {"kind": "frame", "k": N_FRAMES + 1})
    assert found.success
    assert found.found.revision > empty.found.revision
    assert len(found.found.items) == N_FRAMES
    assert robot.ask("embmem_msgs/srv/SaveMemory", "save", {"path": "saved"}).success
    live = open_memory(robot.folder / "saved" / "memory.embmem")
    assert map_hash(live) == map_hash(built_from(bag, "spatial", N_FRAMES, is_coloured=False))


def test_who_comes_late_gets_the_grid(robot: Robot) -> None:
    grids: list[Any] = []
    kind = "nav_msgs/msg/OccupancyGrid"
    robot.here.call(lambda: robot.here.ports.subscription(kind, "/memory/grid", grids.append, LATCHED))
    wait_until(lambda: grids, what="the latched grid")
    assert (grids[0].data > 50).sum() > 100
    assert len(grids[0].data) == grids[0].info.width * grids[0].info.height


def test_the_time_is_that_of_the_bag(robot: Robot) -> None:
    assert robot.diagnostics[-1].header.stamp.sec in range(1_700_000_000, 1_700_000_000 + N_FRAMES)


def test_it_refuses_parameters_and_is_led_through_its_life(robot: Robot) -> None:
    parameters = [{"name": "publish_rate", "value": {"type": 3, "double_value": 1e6}}]
    answer = robot.ask("rcl_interfaces/srv/SetParameters", "set_parameters", {"parameters": parameters})
    assert [result.successful for result in answer.results] == [False]
    for label in ("deactivate", "activate"):
        request = {"transition": {"label": label}}
        assert robot.ask("lifecycle_msgs/srv/ChangeState", "change_state", request).success
    assert robot.ask("lifecycle_msgs/srv/GetState", "get_state", {}).current_state.label == "active"


def test_sigterm_ends_it_cleanly(robot: Robot) -> None:
    robot.process.send_signal(signal.SIGTERM)
    assert robot.process.wait(timeout=60) == 0
