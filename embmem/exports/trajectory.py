"""Where the camera was, as text that evo and its kin read: TUM (stamped) and KITTI (numbered) trajectories."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from embmem.errors import InputError
from embmem.geometry import invert_pose


def write_tum(path: Path, stamps: Float[np.ndarray, " n"], T_map_camera: Float[np.ndarray, "n 4 4"]) -> None:
    """Write lines `stamp x y z qx qy qz qw`: the optical camera in the frame of the map [s, m].

    Format: TUM RGB-D benchmark (Sturm et al., IROS 2012), groundtruth.txt.

    Raises:
        InputError: if there is no pose.
    """
    quat_xyzw = Rotation.from_matrix(_some(T_map_camera, path)[:, :3, :3]).as_quat()
    rows = np.column_stack([T_map_camera[:, :3, 3], quat_xyzw]).tolist()
    lines = [f"{stamp:.9f} {_words(row)}" for stamp, row in zip(stamps.tolist(), rows, strict=True)]
    path.write_text("\n".join(["# stamp x y z qx qy qz qw", *lines, ""]), "utf-8")


def write_kitti(path: Path, stamps: Float[np.ndarray, " n"], T_map_camera: Float[np.ndarray, "n 4 4"]) -> None:
    """Write a line of 12 numbers a pose, the rows of T_first_camera, and a line a stamp to `<path>.times`.

    Poses are relative to the first camera, as KITTI's are (Geiger et al., CVPR 2012, odometry/poses); where the first
    one stood in the map is left to the TUM file. Stamps [s] count from the first, as in KITTI's times.txt.

    Raises:
        InputError: if there is no pose.
    """
    relative = invert_pose(_some(T_map_camera, path)[0]) @ T_map_camera
    lines = [_words(row) for row in relative[:, :3].reshape(-1, 12).tolist()]
    path.write_text("\n".join([*lines, ""]), "utf-8")
    times = [f"{stamp:e}" for stamp in (stamps - stamps[0]).tolist()]
    path.with_name(path.name + ".times").write_text("\n".join([*times, ""]), "utf-8")


def _words(row: list[float]) -> str:
    return " ".join(f"{value:.17g}" for value in row)


def _some(poses: Float[np.ndarray, "n 4 4"], path: Path) -> Float[np.ndarray, "n 4 4"]:
    if not len(poses):
        raise InputError(f"the memory has no pose of a camera to write to {path.name}")
    return poses
