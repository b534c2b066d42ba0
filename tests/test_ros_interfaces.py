"""Our interfaces: ROS's own parser reads them as we do, and their hashes are those that others compute."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("rosbags", reason="rosbags (the extra ros) is not installed")

from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, get_typestore

from embmem.ros.definitions import OWN, definitions_of, typestore

PACKAGE = Path(__file__).parents[1] / "ros" / "embmem_msgs"
PINS = Path(__file__).parent / "data" / "ros_type_hashes.json"
KINDS = ("msg", "srv", "action")
OURS = sorted(f"embmem_msgs/{kind}/{path.stem}" for kind in KINDS for path in (PACKAGE / kind).iterdir())

# As published with their sources: `ros2 topic info -v` and `ros2 action info -v` in the tutorials and issues of ROS 2
# (Jazzy and later), metadata of rosbag2, https://github.com/ros2/rmw_zenoh.
PUBLISHED = {
    "std_msgs/msg/String": "df668c740482bbd48fb39d76a70dfd4bd59db1288021743503259e948f6b1a18",
    "geometry_msgs/msg/Twist": "9c45bf16fe0983d80e3cfe750d6835843d265a9a6c46bd2e609fcddde6fb8d2a",
    "geometry_msgs/msg/TwistStamped": "5f0fcd4f81d5d06ad9b4c4c63e3ea51b82d6ae4d0558f1d475229b1121db6f64",
    "rosgraph_msgs/msg/Clock": "692f7a66e93a3c83e71765d033b60349ba68023a8c689a79e48078bcb5c58564",
    "tf2_msgs/msg/TFMessage": "e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087",
    "sensor_msgs/msg/PointCloud": "614593df71d3c2b9bd4604a71b750fd218f0d65c045ea988b713719455a65b3b",
    "sensor_msgs/msg/Range": "b42b62562e93cbfe9d42b82fe5994dfa3d63d7d5c90a317981703f7388adff3a",
    "action_msgs/msg/GoalStatusArray": "6c1684b00f177d37438febe6e709fc4e2b0d4248dca4854946f9ed8b30cda83e",
    "action_msgs/srv/CancelGoal": "573d8b0a534451d7bc2ac8c5ffde8ac14b8593b7001175d0cd6516dcbeb8689a",
    "turtlesim_msgs/action/RotateAbsolute_SendGoal": "3d5d3cfcbb721f88038eaedcd4af95565360a82b36f1983e3a6c7448d2d18fbe",
    "turtlesim_msgs/action/RotateAbsolute_GetResult": (
        "f96fd02477be2a47122fca142e960d407b24850c6eac72047872ba764473c4ef"
    ),
    "turtlesim_msgs/action/RotateAbsolute_FeedbackMessage": (
        "bef10993e1ee82b35f99f7e390bac1e6cc64e2a3090536887832e122aa71f1b5"
    ),
}
ROTATE = "float32 theta\n---\nfloat32 delta\n---\nfloat32 remaining"


@cache
def rosidl_python() -> str | None:
    """A Python that has ROS's own parser: ours or the system's."""
    check = "import rosidl_adapter.action, rosidl_parser.parser"
    for program in (sys.executable, "/usr/bin/python3"):
        if not Path(program).exists():
            continue
        if subprocess.run([program, "-c", check], check=False, capture_output=True).returncode == 0:
            return program
    return None


def description(node: Any) -> str:
    """A field of rosbags as `rosidl_fields` names it."""
    kind, rest = node
    if kind == Nodetype.NAME:
        return str(rest)
    if kind == Nodetype.BASE:
        name, limit = rest
        return f"{name}<={limit}" if limit else str(name)
    inner, size = rest
    limit = "" if not size else str(size) if kind == Nodetype.ARRAY else f"<={size}"
    return f"{description(inner)}[{limit}]"


@pytest.mark.skipif(rosidl_python() is None, reason="no Python with rosidl (Debian: python3-rosidl python3-empy)")
def test_the_parser_of_ros_reads_the_same_fields(tmp_path: Path) -> None:
    program = [str(rosidl_python()), str(Path(__file__).with_name("rosidl_fields.py")), str(PACKAGE), str(tmp_path)]
    done = subprocess.run(program, check=False, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"})
    assert done.returncode == 0, done.stderr
    theirs = json.loads(done.stdout.splitlines()[-1])
    store = typestore()
    ours = {
        name: {
            "fields": [[field, description(kind)] for field, kind in store.fielddefs[name][1]],
            "constants": {constant: value for constant, _, value in store.fielddefs[name][0]},
        }
        for name in theirs
    }
    assert ours == theirs
    assert {name.removesuffix("_Request").removesuffix("_Goal") for name in theirs} >= set(OURS)


def test_hashes_are_those_that_others_publish() -> None:
    store = get_typestore(Stores.EMPTY)
    store.register({name: typestore().fielddefs[name] for name in typestore().fielddefs})
    store.register(definitions_of("turtlesim_msgs/action/RotateAbsolute", ROTATE))
    assert {name: store.hash_rihs01(name) for name in PUBLISHED} == {n: f"RIHS01_{h}" for n, h in PUBLISHED.items()}


def test_hashes_are_those_in_recordings(data_dir: Path) -> None:
    checked = 0
    for path in sorted((data_dir / "ros2").glob("*/metadata.yaml")):
        document = yaml.safe_load(path.read_text(encoding="utf-8"))["rosbag2_bagfile_information"]
        for topic in (entry["topic_metadata"] for entry in document["topics_with_message_count"]):
            if wanted := topic.get("type_description_hash"):
                assert typestore().hash_rihs01(topic["type"]) == wanted, topic["type"]
                checked += 1
    assert checked


def test_our_hashes_are_pinned() -> None:
    """Who changes an interface breaks every robot that has not been built again: it is said in CHANGELOG.md."""
    now = {name: typestore().hash_rihs01(name) for name in OURS}
    assert now == json.loads(PINS.read_text(encoding="utf-8")), f"write to {PINS}:\n{json.dumps(now, indent=1)}"


def test_what_nodes_send_is_the_same_from_humble_to_kilted() -> None:
    standard = ("std_msgs", "sensor_msgs", "geometry_msgs", "nav_msgs", "visualization_msgs", "diagnostic_msgs")
    used = {
        str(node[1])
        for name in typestore().fielddefs
        if name.startswith("embmem_msgs/")
        for _, kind in typestore().fielddefs[name][1]
        for node in (kind if kind[0] == Nodetype.NAME else kind[1][0],)
        if node[0] == Nodetype.NAME and str(node[1]).startswith(standard)
    }
    used |= {
        "sensor_msgs/msg/PointCloud2", "nav_msgs/msg/OccupancyGrid", "nav_msgs/msg/Path", "nav_msgs/msg/Odometry",
        "visualization_msgs/msg/MarkerArray", "diagnostic_msgs/msg/DiagnosticArray", "geometry_msgs/msg/Twist",
    }  # fmt: skip
    assert len(used) > 10
    for name in used:
        hashes = {
            get_typestore(s).hash_rihs01(name) for s in (Stores.ROS2_HUMBLE, Stores.ROS2_JAZZY, Stores.ROS2_KILTED)
        }
        assert hashes == {typestore().hash_rihs01(name)}, name


def test_the_library_carries_the_interfaces() -> None:
    assert OWN.resolve() == PACKAGE.resolve()
    assert (OWN.parent / "embmem_msgs").is_symlink()
    assert len(OURS) >= 15
