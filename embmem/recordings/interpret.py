"""The one place where raw numbers get a meaning: units, invalid values, axes, order and direction by `Conventions`.

Errors name the setting (`read.<name>=...`) that may mend them.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from embmem.errors import InputError, RefusedObservation
from embmem.geometry import invert_pose, pose_matrix
from embmem.observation import Intrinsics
from embmem.recordings.conventions import Conventions
from embmem.recordings.raw import RawCamera, RawImage, RawPose

# T_frame_optical: the optical camera in the frame that the poses move.
AXES = {
    "optical": np.eye(4),
    "body": np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]]),  # x ahead, y left, z up (REP 103)
    "opengl": np.diag([1.0, -1.0, -1.0, 1.0]),  # x right, y up, z behind
}
# A nanometre. The digits behind it differ between the matrix of a text file and the quaternion of a bag, and would in
# the end decide into which voxel a pixel falls.
POSE_STEP = 2.0**-30
MAX_NUMBER = 1e12  # in a pose; what is larger is damage, and its square might not be finite
_PINHOLE = ("", "none", "pinhole", "plumb_bob", "rational_polynomial", "radtan")


def depth_of(image: RawImage, conventions: Conventions) -> Float[np.ndarray, "h w"]:
    """Depth [m] as float32, NaN where nothing was measured.

    Raises:
        InputError: if the image is no single channel of numbers.
    """
    raw = image.pixels
    if raw.ndim != 2 or raw.dtype.kind not in "uif":
        raise InputError(f"depth of encoding {image.encoding!r} is {raw.dtype}{raw.shape}, not one channel of numbers")
    unit = conventions.depth_unit
    if unit is None:
        unit = 1.0 if raw.dtype.kind == "f" else 0.001
    per_metre = 1.0 / unit
    if abs(per_metre - round(per_metre)) < 1e-6 * per_metre:
        depth = raw.astype(np.float32) / np.float32(round(per_metre))  # correctly rounded, unlike a product
    else:
        depth = (raw.astype(np.float64) * unit).astype(np.float32)
    for value in conventions.depth_invalid:
        depth[raw == value] = np.nan
    if raw.dtype.kind == "f":
        depth[~np.isfinite(raw)] = np.nan
    return depth


def rgb_of(image: RawImage) -> np.ndarray:
    """(h, w, 3) uint8; grey becomes colour, 16 bits become 8.

    Raises:
        InputError: if the image is neither grey nor colour.
    """
    pixels = image.pixels
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    if pixels.ndim == 2 and pixels.dtype == np.uint8:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise InputError(f"colour of encoding {image.encoding!r} is {pixels.dtype}{pixels.shape}, not 8-bit colour")
    return pixels


def ids_of(image: RawImage) -> np.ndarray:
    """(h, w) integers of a semantic or instance image.

    Raises:
        InputError: if they are none.
    """
    if image.pixels.ndim != 2 or image.pixels.dtype.kind not in "ui":
        raise InputError(f"ids of encoding {image.encoding!r} are {image.pixels.dtype}{image.pixels.shape}")
    return image.pixels


def intrinsics_of(
    camera: RawCamera | None, conventions: Conventions, size: tuple[int, int], *, is_rectified: bool = False
) -> Intrinsics:
    """The pinhole camera of images of `size` (width, height).

    Args:
        camera: as recorded; None where there is none.
        conventions: `intrinsics` and `distortion` overrule what was recorded.
        size: of the images.
        is_rectified: whether the images have been straightened, so that the lens distorts them no longer.

    Raises:
        InputError: without a camera, or if it is of another size or a lens that is no pinhole.
    """
    distortion = conventions.distortion
    if conventions.intrinsics is not None:
        fx, fy, cx, cy = conventions.intrinsics
        return Intrinsics(*size, fx, fy, cx, cy, distortion or ())
    if camera is None:
        raise InputError("no intrinsics were recorded; give them with read.intrinsics=[fx,fy,cx,cy] in pixels")
    if (camera.width, camera.height) != size:
        raise InputError(
            f"the intrinsics are for images of {camera.width}x{camera.height}, the images have {size[0]}x{size[1]}; "
            "name the right camera with read.camera or give read.intrinsics=[fx,fy,cx,cy]"
        )
    numbers = (camera.fx, camera.fy, camera.cx, camera.cy)
    if is_rectified and camera.rectified is not None:
        return Intrinsics(*size, *camera.rectified, distortion=distortion or ())
    if distortion is None:
        distortion = camera.distortion if any(camera.distortion) else ()
        if distortion and camera.model not in _PINHOLE:
            raise InputError(
                f"the lens has the model {camera.model!r}; undistort the images and say so with read.distortion=[]"
            )
    return Intrinsics(*size, *numbers, distortion=tuple(distortion))


def matrix_of(pose: RawPose, conventions: Conventions) -> Float[np.ndarray, "4 4"]:
    """`T_parent_child` of a recorded pose, metres, its direction and the order of its quaternion settled.

    A matrix is taken as it is; whether it is rigid is for the ingress gate to say.

    Raises:
        InputError: if the quaternion is not of unit length or a number not finite.
    """
    for numbers in (pose.matrix, pose.position, pose.quaternion):
        if numbers is not None and (np.abs(numbers[np.isfinite(numbers)]) > MAX_NUMBER).any():
            raise InputError(f"a pose with the number {np.nanmax(np.abs(numbers)):.3g}")
    if pose.matrix is not None:
        T = np.array(pose.matrix, dtype=np.float64)
    elif pose.position is None or pose.quaternion is None:
        raise InputError("a pose without a position and a quaternion")
    else:
        quat_xyzw = pose.quaternion if conventions.quaternion == "xyzw" else pose.quaternion[[1, 2, 3, 0]]
        try:
            T = pose_matrix(pose.position, quat_xyzw)
        except ValueError as error:
            raise InputError(str(error)) from None
    T[:3, 3] *= conventions.pose_scale
    if conventions.pose_direction == "camera_to_world":
        return T
    if not (np.isfinite(T).all() and np.abs(T[:3, :3] @ T[:3, :3].T - np.eye(3)).max() < 0.1):
        raise RefusedObservation("pose_not_rigid", "a pose that is no rotation and position cannot be inverted")
    return invert_pose(T)


def camera_pose_of(T_world_frame: Float[np.ndarray, "4 4"], conventions: Conventions) -> Float[np.ndarray, "4 4"]:
    """The pose of the optical camera where that of the frame is known that `camera_axes` describes."""
    return T_world_frame @ AXES[conventions.camera_axes] if conventions.camera_axes != "optical" else T_world_frame


def steady(T: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "4 4"]:
    """The pose to whole steps of `POSE_STEP`, so that two ways of writing it down give one map."""
    return np.asarray(np.rint(T / POSE_STEP) * POSE_STEP)
