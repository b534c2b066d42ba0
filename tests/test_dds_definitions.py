"""Types of messages, services and actions, and plain mappings made into messages."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embmem.errors import InputError
from embmem.ros.definitions import message_of, typestore

pytest.importorskip("rosbags", reason="rosbags (the extra ros) is not installed")

# As `ros2 service type -v`, `ros2 topic info -v` and public projects print them for Jazzy.
HASHES = {
    "std_msgs/msg/String": "df668c740482bbd48fb39d76a70dfd4bd59db1288021743503259e948f6b1a18",
    "std_srvs/srv/Trigger": "eeff2cd6fa5ad9d27cdf4dec64818317839b62f212a91e6b5304b634b2062c5f",
    "rcl_interfaces/msg/Log": "e28ce254ca8abc06abf92773b74602cdbf116ed34fbaf294fb9f81da9f318eac",
}


@pytest.mark.parametrize("name", HASHES)
def test_hashes_are_those_that_others_publish(name: str) -> None:
    assert typestore().hash_rihs01(name) == f"RIHS01_{HASHES[name]}"


def test_defaults_of_every_type_go_out_and_come_back() -> None:
    store = typestore()
    for name in store.types:
        raw = store.serialize_cdr(message_of(name, {}), name)
        assert bytes(store.serialize_cdr(store.deserialize_cdr(raw, name), name)) == bytes(raw), name


def test_a_service_and_an_action_are_messages() -> None:
    types = typestore().types
    for name in ("std_srvs/srv/Trigger", "rcl_interfaces/srv/SetParameters", "embmem_msgs/srv/QueryMemory"):
        assert {f"{name}_Request", f"{name}_Response"} <= set(types)
    for part in ("Goal", "Result", "Feedback", "SendGoal_Request", "GetResult_Response", "FeedbackMessage"):
        assert f"nav2_msgs/action/NavigateToPose_{part}" in types
    assert message_of("geometry_msgs/msg/Pose", {}).orientation.w == 1.0


def test_an_image_is_taken_without_a_copy() -> None:
    pixels = np.arange(480 * 640 * 3, dtype=np.uint32).astype(np.uint8).reshape(480, 640, 3)
    image = message_of("sensor_msgs/msg/Image", {"header": {"frame_id": "camera"}, "height": 480, "data": pixels})
    assert np.shares_memory(image.data, pixels)
    assert (image.height, image.width, image.header.frame_id) == (480, 0, "camera")
    assert message_of("sensor_msgs/msg/Image", {"data": b"\x01\x02"}).data.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("type", "fields", "match"),
    [
        ("no_msgs/msg/None", {}, "no message type 'no_msgs/msg/None'"),
        ("std_msgs/msg/String", {"text": "a"}, "no field text in std_msgs/msg/String, only data"),
        ("std_msgs/msg/String", {"data": 3}, r"String.data is a text, not int 3"),
        ("std_msgs/msg/String", {"data": "a\0b"}, "is a text"),
        ("std_msgs/msg/UInt8", {"data": 256}, "a whole number from 0 to 255, not int 256"),
        ("std_msgs/msg/UInt8", {"data": True}, "a whole number"),
        ("std_msgs/msg/Bool", {"data": 1}, "true or false"),
        ("std_msgs/msg/Float64", {"data": "1"}, "is a number"),
        ("sensor_msgs/msg/Image", {"data": np.array([300])}, "300 to 300 do not fit uint8"),
        ("sensor_msgs/msg/Image", {"data": np.array([1.5])}, "an array of uint8, not of float64"),
        ("sensor_msgs/msg/CameraInfo", {"k": [1.0]}, "k holds 9 values, not 1"),
        ("sensor_msgs/msg/LaserScan", {"ranges": b"1234"}, "holds float32, and 4 bytes are not that"),
        ("geometry_msgs/msg/PoseStamped", {"pose": {"position": 3}}, r"pose.position is a geometry_msgs/msg/Point"),
        ("tf2_msgs/msg/TFMessage", {"transforms": [{"header": {"stamp": 1.0}}]}, r"transforms\[0\].header.stamp is a"),
        ("rcl_interfaces/msg/ParameterDescriptor", {"integer_range": [{}, {}]}, "at most 1 values, not 2"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_its_place(type: str, fields: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        message_of(type, fields)


@given(
    st.dictionaries(st.sampled_from(["x", "y", "z"]), st.floats(allow_nan=False)),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    st.lists(st.floats(width=32, allow_nan=False)),
)
def test_values_go_out_and_come_back(point: dict[str, float], frame: str, ranges: list[float]) -> None:
    store = typestore()
    cases: dict[str, dict[str, Any]] = {
        "geometry_msgs/msg/PointStamped": {"header": {"frame_id": frame}, "point": point},
        "sensor_msgs/msg/LaserScan": {"header": {"frame_id": frame}, "ranges": ranges},
    }
    for name, fields in cases.items():
        back = store.deserialize_cdr(store.serialize_cdr(message_of(name, fields), name), name)
        assert back.header.frame_id == frame
        if hasattr(back, "point"):
            assert {axis: getattr(back.point, axis) for axis in point} == point
        else:
            assert back.ranges.tolist() == ranges
