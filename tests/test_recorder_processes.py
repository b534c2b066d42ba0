"""The recorder in a process of its own, killed in the middle of a played bag: what it had written is a recording."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("cyclonedds", reason="cyclonedds (the extra dds) is not installed")

import numpy as np
from wire import embmem, own_domain, wait_until
from wire_nodes import Plain

from embmem.dds.node import run_node
from embmem.recordings.rosbag import open_rosbag
from embmem.ros.ports import QoS

PARAMETERS = """
/**:
  ros__parameters:
    folder: {folder}
    min_free_megabytes: 1
    max_megabytes: 8
    chunk_seconds: 0.1
    topics: [{topics}]
"""


class Watcher(Plain):
    """Reads what the recorder says of itself."""

    def configure(self) -> None:
        super().configure()
        self.values: dict[str, str] = {}
        kind = "diagnostic_msgs/msg/DiagnosticArray"
        self.opened.append(self.ports.subscription(kind, "/diagnostics", self._hear, QoS()))

    def _hear(self, message: Any) -> None:
        for status in message.status:
            self.values |= {value.key: value.value for value in status.values}


def test_a_recorder_that_is_killed_leaves_a_recording(tmp_path: Path, data_dir: Path) -> None:
    source = data_dir / "ros2" / "rgbd_7scenes_mcap"
    whole = open_rosbag(source)
    lines = [f'"{s.name} {s.type}{" latched" if s.name == "/tf_static" else " reliable"}"' for s in whole.streams]
    file = tmp_path / "recorder.yaml"
    file.write_text(PARAMETERS.format(folder=tmp_path / "bags", topics=", ".join(lines)))
    with (
        own_domain() as domain,
        run_node(Watcher, "watcher", domain=domain) as here,
        embmem("node", "recorder", f"domain={domain}", f"parameters={file}") as recorder,
    ):
        values = here.node.values  # type: ignore[attr-defined]
        wait_until(lambda: "safe messages" in values, timeout=60.0, what="the recorder")
        with embmem("play", str(source), f"domain={domain}", "loop=true"):
            wait_until(lambda: int(values["safe messages"]) >= 100, timeout=60.0, what="100 messages")
            n = int(values["safe messages"])
            os.kill(recorder.pid, signal.SIGKILL)
            recorder.wait()
    assert int(values["dropped"]) == 0
    (folder,) = (tmp_path / "bags").iterdir()
    recording = open_rosbag(folder)
    assert sum(stream.n_samples for stream in recording.streams) >= n
    depths = [frozenset({s.name}) for s in recording.streams if s.kind == "depth" and s.n_samples]
    one, other = (next(iter(of.samples_of(depths[0]))) for of in (recording, whole))
    np.testing.assert_array_equal(np.shape(vars(one.read())["pixels"]), np.shape(vars(other.read())["pixels"]))
