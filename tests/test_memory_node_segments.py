"""A bag that says what every pixel shows: the memory node knows the things that an offline build knows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from box_room import walk
from bus import Bus
from hydra.utils import instantiate
from robot_on_bus import SMALL, START
from test_memory_node import play

from embmem.cli.main import compose_config
from embmem.map_hash import map_hash
from embmem.maps import open_memory
from embmem.memory import Memory
from embmem.recordings.mcap_writer import write_mcap
from embmem.recordings.opening import read_recording
from embmem.ros.nodes.memory import MemoryNode
from embmem.ros.ports import LATCHED

REMAPS = {
    "depth/image": "/camera/depth/image_raw/compressedDepth",
    "depth/camera_info": "/camera/depth/camera_info",
    "semantic/image": "/camera/semantic/image/compressed",
    "semantic/labels": "/camera/semantic/labels",
    "instance/image": "/camera/instance/image/compressed",
}
TAKEN = {"depth_transport": "compressed", "segments": "both", "segments_transport": "compressed"}


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    write_mcap(walk(8), tmp_path / "room.mcap")
    return tmp_path / "room.mcap"


def _node(bus: Bus, folder: Path) -> MemoryNode:
    values = {**SMALL, **TAKEN, "folder": str(folder)}
    node = MemoryNode(bus.ports("memory", MemoryNode, values=values, remaps=REMAPS))
    node.configure()
    node.activate()
    return node


def test_the_things_of_a_bag_are_those_of_the_offline_build(tmp_path: Path, bag: Path) -> None:
    bus = Bus(now=0.0)
    node = _node(bus, tmp_path / "node")
    play(bus, bag, 10_000)
    bus.advance(1.0)
    assert bus.ask("/memory/save", "embmem_msgs/srv/SaveMemory", {"path": "saved"}, timeout=120.0).success
    answer = bus.ask("/memory/query", "embmem_msgs/srv/QueryMemory", {"entity": "mug", "k": 1})
    assert [item.label for item in answer.found.items] == ["mug"]
    assert node.counters["mapped"] == 8
    node.deactivate()
    node.cleanup()
    offline: Memory = instantiate(compose_config("build", ["recording=x", "out=y", "resolution=0.1"]).memory)
    for observation in read_recording(bag, frame="identity", rgb=False):
        offline.observe(observation)
    offline.derive()
    assert map_hash(open_memory(tmp_path / "node" / "saved" / "memory.embmem")) == map_hash(offline)


def test_frames_wait_for_the_names_of_the_classes_and_damaged_names_are_dropped(tmp_path: Path) -> None:
    bus = Bus(now=START)
    node = _node(bus, tmp_path)
    labels = bus.ports("camera").publisher("std_msgs/msg/String", "/camera/semantic/labels", LATCHED)
    for text in ("", "{", json.dumps({"a": 1}), json.dumps(["wall", 3])):
        labels.publish({"data": text})
        bus.spin()
    assert node.counters["bad_message"] == 4
    node.deactivate()
    node.cleanup()


def test_segments_of_clouds_are_vetoed(tmp_path: Path) -> None:
    node = MemoryNode(Bus(now=START).ports("memory", MemoryNode, values={**SMALL, "folder": str(tmp_path)}))
    assert "go with depth images" in str(node.refuse({"input": "points", "segments": "semantic"}))
