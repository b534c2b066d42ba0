"""Points, scans, poses, cameras and inertial readings of ROS messages against plain numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ros_messages import NS, Messages

from embmem.errors import InputError
from embmem.ros import messages

MESSAGES = Messages()
RNG = np.random.default_rng(5)


def points(n: int = 20) -> np.ndarray:
    dtype = np.dtype({"names": ["x", "y", "z", "ring", "t"], "formats": ["<f4", "<f4", "<f4", "<u2", "<f8"],
                      "offsets": [0, 4, 8, 16, 24], "itemsize": 32})  # fmt: skip
    values = np.zeros(n, dtype)
    for name in "xyz":
        values[name] = RNG.normal(size=n)
    values["ring"], values["t"] = np.arange(n), RNG.random(n)
    return values


def test_a_cloud_gives_its_finite_points_and_fields() -> None:
    cloud = points()
    cloud["y"][3], cloud["z"][7] = np.nan, np.inf
    read = messages.cloud_of(MESSAGES.cloud(cloud))
    keep = [i for i in range(20) if i not in (3, 7)]
    np.testing.assert_array_equal(read.points, np.stack([cloud[a][keep] for a in "xyz"], axis=1))
    np.testing.assert_array_equal(read.fields["ring"], keep)
    np.testing.assert_array_equal(read.fields["t"], cloud["t"][keep])


def test_an_organised_cloud_with_padded_rows_is_read() -> None:
    cloud = points(6)
    rows = np.pad(cloud.view(np.uint8).reshape(2, -1), ((0, 0), (0, 9)))
    message = MESSAGES.cloud(cloud, height=2, width=3, row_step=rows.shape[1], data=rows.ravel())
    np.testing.assert_array_equal(messages.cloud_of(message).points[:, 0], cloud["x"])


@pytest.mark.parametrize(
    "more",
    [{"width": 21}, {"height": 1 << 30}, {"point_step": 0}, {"point_step": 20}, {"row_step": 5}, {"fields": []}],
)
def test_a_cloud_that_is_not_what_it_claims_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        messages.cloud_of(MESSAGES.cloud(points(), **more))


def test_a_scan_gives_the_points_inside_its_limits() -> None:
    ranges = np.array([0.05, 1.0, np.inf, 2.0, np.nan, 40.0], np.float32)
    scan = MESSAGES.of(
        "sensor_msgs/msg/LaserScan", header=MESSAGES.header(0, "laser"), angle_min=-0.5, angle_max=0.5,
        angle_increment=0.2, time_increment=0.0, scan_time=0.0, range_min=0.1, range_max=30.0, ranges=ranges,
        intensities=np.zeros(0, np.float32),
    )  # fmt: skip
    angles = [-0.5 + 0.2, -0.5 + 0.6]
    expected = [[np.cos(angles[0]), np.sin(angles[0]), 0], [2 * np.cos(angles[1]), 2 * np.sin(angles[1]), 0]]
    np.testing.assert_allclose(messages.scan_of(scan).points, expected, atol=1e-6)


def test_poses_of_all_messages_keep_their_numbers_and_frames() -> None:
    position, quat = (1.0, 2.0, 3.0), (0.1, 0.2, 0.3, 0.9)
    for message, child in (
        (MESSAGES.odometry("odom", "base", position, quat), "base"),
        (MESSAGES.pose("odom", position, quat), ""),
        (MESSAGES.transform("odom", "base", position, quat), "base"),
    ):
        pose = messages.pose_of(message)
        np.testing.assert_array_equal(pose.position, position)
        np.testing.assert_array_equal(pose.quaternion, quat)
        assert (pose.parent, pose.child) == ("odom", child)


def test_an_imu_without_orientation_has_none() -> None:
    def imu(first: float) -> Any:
        return MESSAGES.of(
            "sensor_msgs/msg/Imu", header=MESSAGES.header(0, "imu"), orientation=MESSAGES.quaternion(0, 0, 0, 1),
            orientation_covariance=np.array([first, *np.zeros(8)]), angular_velocity=MESSAGES.vector(1, 2, 3),
            angular_velocity_covariance=np.zeros(9), linear_acceleration=MESSAGES.vector(0, 0, 9.8),
            linear_acceleration_covariance=np.zeros(9),
        )  # fmt: skip

    assert messages.imu_of(imu(-1.0)).quaternion is None
    read = messages.imu_of(imu(0.0))
    np.testing.assert_array_equal(read.linear_acceleration, [0, 0, 9.8])
    assert read.quaternion is not None


def test_stamps_are_whole_nanoseconds_and_the_nearest_float() -> None:
    time = MESSAGES.header(1_700_000_000 * NS + 333_333_333, "").stamp
    assert messages.stamp_ns(time) == 1_700_000_000_333_333_333
    assert messages.seconds(messages.stamp_ns(time)) == float("1700000000.333333333")


def test_a_camera_keeps_its_raw_and_its_rectified_numbers() -> None:
    p = np.array([400.0, 0, 31, 0, 0, 401, 23, 0, 0, 0, 1, 0])
    camera = messages.camera_of(MESSAGES.camera_info(64, 48, 500.0, p=p, d=np.array([0.1, 0, 0, 0, 0])))
    assert (camera.fx, camera.cx, camera.rectified) == (500.0, 31.5, (400.0, 401.0, 31.0, 23.0))
    assert camera.distortion == (0.1, 0, 0, 0, 0)
