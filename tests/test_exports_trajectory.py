"""Trajectories as text, read back by evo and by our own readers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from embmem.errors import InputError
from embmem.exports.trajectory import write_kitti, write_tum
from embmem.recordings.conventions import Conventions
from embmem.recordings.interpret import matrix_of
from embmem.recordings.trajectories import read_matrices, read_tum

Folder = pytest.TempPathFactory


def drawn(seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    T = np.tile(np.eye(4), (n, 1, 1))
    T[:, :3, :3] = Rotation.random(n, rng=rng).as_matrix()
    T[:, :3, 3] = rng.normal(0, 50, (n, 3))
    return 1.7e9 + np.sort(rng.uniform(0, 100, n)), T


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 9))
def test_both_forms_come_back(tmp_path_factory: Folder, seed: int, n: int) -> None:
    stamps, T = drawn(seed, n)
    folder = tmp_path_factory.mktemp("way")
    write_tum(folder / "a.tum", stamps, T)
    write_kitti(folder / "a.kitti", stamps, T)
    read = read_tum(folder / "a.tum")
    assert [stamp for stamp, _ in read] == pytest.approx(stamps.tolist(), abs=1e-6)
    np.testing.assert_allclose([matrix_of(pose, Conventions()) for _, pose in read], T, atol=1e-12)
    relative = [matrix_of(pose, Conventions()) for pose in read_matrices(folder / "a.kitti")]
    np.testing.assert_allclose(T[0] @ relative, T, atol=1e-9)
    np.testing.assert_allclose(relative[0], np.eye(4), atol=1e-12)
    times = np.loadtxt(folder / "a.kitti.times", ndmin=1)
    np.testing.assert_allclose(times, stamps - stamps[0], atol=1e-4)


def test_evo_opens_both(tmp_path: Path) -> None:
    file_interface: Any = pytest.importorskip("evo.tools.file_interface", reason="the oracle, evo, is not installed")
    stamps, T = drawn(0, 20)
    write_tum(tmp_path / "a.tum", stamps, T)
    write_kitti(tmp_path / "a.kitti", stamps, T)
    tum = file_interface.read_tum_trajectory_file(str(tmp_path / "a.tum"))
    np.testing.assert_allclose(tum.poses_se3, T, atol=1e-9)
    np.testing.assert_allclose(tum.timestamps, stamps, atol=1e-6)
    assert tum.check()[0]
    kitti = file_interface.read_kitti_poses_file(str(tmp_path / "a.kitti"))
    np.testing.assert_allclose(T[0] @ np.array(kitti.poses_se3), T, atol=1e-9)
    assert kitti.check()[0]


def test_no_pose_is_no_trajectory(tmp_path: Path) -> None:
    for write in (write_tum, write_kitti):
        with pytest.raises(InputError, match="no pose of a camera"):
            write(tmp_path / "a", np.zeros(0), np.zeros((0, 4, 4)))
    assert list(tmp_path.iterdir()) == []
