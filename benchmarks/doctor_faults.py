"""Faults that are seeded into clean recordings, magnitudes drawn by seed, and what the doctor must call them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from doctor_takes import Take, png_cut

from embmem.recordings.interpret import AXES

ALL = ("folder", "tum", "bag")
Rng = np.random.Generator


@dataclass(frozen=True)
class Fault:
    """How a take is spoilt, in which layouts it can be, what it must be called."""

    name: str
    spoil: Callable[[Take, Rng, str], str]  # returns its magnitude in words
    layouts: tuple[str, ...] = ALL
    kinds: tuple[str, ...] = ()  # any of them is right; its own name if empty
    also: tuple[str, ...] = ()  # what follows from it and may be found, too
    only: str = ""  # sources whose name begins so; any if empty


def _log_uniform(rng: Rng, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def camera_axes(take: Take, rng: Rng, layout: str) -> str:
    axes = ("body", "opengl")[int(rng.integers(2))]
    take.set_matrices(take.matrices() @ np.linalg.inv(AXES[axes]))
    return axes


def quaternion_order(take: Take, rng: Rng, layout: str) -> str:
    if layout == "bag":
        take.without.add("plain")
    take.quats = take.quats[:, [3, 0, 1, 2]]
    return "w first"


def inverted_pose(take: Take, rng: Rng, layout: str) -> str:
    if layout == "bag":
        take.without.add("plain")
    take.set_matrices(np.linalg.inv(take.matrices()))
    return "extrinsics"


def depth_unit(take: Take, rng: Rng, layout: str) -> str:
    per_metre = int(rng.choice([10_000, 5_000, 100] if layout == "folder" else [10_000, 4_000, 1_000, 100]))
    if layout == "bag" and rng.random() < 0.5:
        take.depth = [d.astype(np.float32) for d in take.depth]
        return "millimetres as floats"
    if (layout == "bag" and per_metre == 1_000) or (layout == "tum" and per_metre == 5_000):
        per_metre = 10_000
    take.depth = [np.where(d * (per_metre / 1000) < 65535, np.rint(d * (per_metre / 1000)), 0) for d in take.depth]
    take.depth = [d.astype(np.uint16) for d in take.depth]
    take.unit = 0.0002  # written as it is
    return f"{per_metre} a metre"


def depth_invalid(take: Take, rng: Rng, layout: str) -> str:
    value = int(rng.choice([10_000, 9_999, 13_000, 1, 2]))
    share = rng.uniform(0.02, 0.1)
    for depth in take.depth:
        holes = (depth == 0) | (rng.random((depth.shape[0] // 8 + 1, depth.shape[1] // 8 + 1)) < share).repeat(
            8, 0
        ).repeat(8, 1)[: depth.shape[0], : depth.shape[1]]
        depth[holes] = value
    return f"{value}, {share:.0%}"


def intrinsics(take: Take, rng: Rng, layout: str) -> str:
    kind = int(rng.integers(3))
    if kind == 0:
        factor = _log_uniform(rng, 1.08, 1.6) ** (1 if rng.random() < 0.5 else -1)
        take.K[:2] *= factor
        return f"focal length times {factor:.2f}"
    if kind == 1:
        factor = _log_uniform(rng, 1.15, 1.5)
        take.K[0] *= factor
        return f"fx times {factor:.2f}"
    shift = rng.uniform(0.08, 0.2) * take.size[0] * (1 if rng.random() < 0.5 else -1)
    take.K[2] += shift
    return f"principal point off by {shift:.0f} px"


def intrinsics_size(take: Take, rng: Rng, layout: str) -> str:
    factor = float(rng.choice([0.5, 2.0, 1.5, 3.0]))
    take.K = take.K * factor
    take.size = round(take.size[0] * factor), round(take.size[1] * factor)
    return f"for images {factor:g} times as wide"


def time_offset(take: Take, rng: Rng, layout: str) -> str:
    step = float(np.median(np.diff(take.stamps)))
    seconds = rng.uniform(0.06, 0.35) * (1 if rng.random() < 0.5 else -1)
    if layout == "folder":
        n = max(2, round(abs(seconds) / step))
        take.positions = take.positions[np.clip(np.arange(len(take.stamps)) + n, 0, None) % len(take.stamps)]
        take.quats = take.quats[np.clip(np.arange(len(take.stamps)) + n, 0, None) % len(take.stamps)]
        keep = slice(0, len(take.stamps) - n)
        take.stamps, take.depth, take.color = take.stamps[keep], take.depth[keep], take.color[keep]
        take.positions, take.quats, take.pose_stamps = take.positions[keep], take.quats[keep], take.pose_stamps[keep]
        return f"{n} frames"
    take.stamps = take.stamps + seconds
    return f"{seconds:.3f} s"


def other_clock(take: Take, rng: Rng, layout: str) -> str:
    seconds = _log_uniform(rng, 20.0, 1e6) * (1 if rng.random() < 0.5 else -1)
    take.received = take.stamps + 0.01
    take.stamps = take.stamps + seconds
    return f"{seconds:.0f} s"


def pose_gap(take: Take, rng: Rng, layout: str) -> str:
    step = float(np.median(np.diff(take.stamps)))
    n = max(int(np.ceil(0.6 / step)) + 3, int(rng.uniform(0.1, 0.3) * len(take.pose_stamps)))
    at = int(rng.integers(3, len(take.pose_stamps) - n - 3))
    keep = np.ones(len(take.pose_stamps), dtype=bool)
    keep[at : at + n] = False
    take.pose_stamps, take.positions, take.quats = take.pose_stamps[keep], take.positions[keep], take.quats[keep]
    return f"{n * step:.1f} s"


def tf_disconnected(take: Take, rng: Rng, layout: str) -> str:
    take.without.add("static")
    return "static transform missing"


def clock_jump(take: Take, rng: Rng, layout: str) -> str:
    at = int(rng.integers(len(take.stamps) // 4, 3 * len(take.stamps) // 4))
    is_back = rng.random() < 0.5
    most = 0.9 * float(take.stamps[at] - take.stamps[0])
    seconds = -min(most, _log_uniform(rng, 1.0, 5.0)) if is_back else _log_uniform(rng, 3.0, 3000.0)
    take.received, take.pose_received = take.stamps + 0.01, take.pose_stamps + 0.01
    take.stamps, take.pose_stamps = take.stamps.copy(), take.pose_stamps.copy()
    take.stamps[at:] += seconds
    take.pose_stamps[at:] += seconds
    return f"{seconds:.2f} s"


def duplicate_stamps(take: Take, rng: Rng, layout: str) -> str:
    n = max(3, int(rng.uniform(0.04, 0.15) * len(take.stamps)))
    take.received = take.stamps + 0.01
    take.stamps = take.stamps.copy()
    chosen = rng.choice(np.arange(1, len(take.stamps) - 1, 2), n, replace=False)
    take.stamps[chosen] = take.stamps[chosen - 1]
    if layout == "folder":
        take.pose_stamps = take.stamps
    return f"{n} stamps"


def reordered_stamps(take: Take, rng: Rng, layout: str) -> str:
    n = max(3, int(rng.uniform(0.04, 0.15) * len(take.stamps)))
    order = np.arange(len(take.stamps))
    for at in rng.choice(np.arange(1, len(order) - 2, 2), n, replace=False):
        order[[at, at + 1]] = order[[at + 1, at]]
    if layout == "bag":
        take.order, take.received = order, take.stamps + 0.01
    else:
        take.stamps = take.stamps[order]
        take.depth, take.color = [take.depth[k] for k in order], [take.color[k] for k in order]
        take.positions, take.quats = take.positions[order], take.quats[order]
    return f"{n} pairs"


def _moving(take: Take, n: int, rng: Rng) -> int:
    """A place from which on the camera moves for n poses."""
    starts = np.arange(2, len(take.positions) - n - 2)
    T = take.matrices()
    far = [np.linalg.norm(T[s + n, :3, 3] - T[s, :3, 3]) + 1 - T[s, :3, 2] @ T[s + n, :3, 2] for s in starts]
    good = starts[np.array(far) >= np.percentile(far, 60)]
    return int(rng.choice(good))


def frozen_poses(take: Take, rng: Rng, layout: str) -> str:
    n = max(10, int(rng.uniform(0.15, 0.35) * len(take.positions)))
    at = _moving(take, n, rng)
    take.positions[at : at + n], take.quats[at : at + n] = take.positions[at], take.quats[at]
    return f"{n} poses"


def dropped_frames(take: Take, rng: Rng, layout: str) -> str:
    share = rng.uniform(0.08, 0.3)
    keep = rng.random(len(take.stamps)) >= share
    keep[[0, 1, -1]] = True
    take.stamps = take.stamps[keep]
    take.depth = [d for d, k in zip(take.depth, keep, strict=True) if k]
    take.color = [c for c, k in zip(take.color, keep, strict=True) if k]
    if layout == "folder":
        take.pose_stamps, take.positions, take.quats = take.stamps, take.positions[keep], take.quats[keep]
    return f"{1 - keep.mean():.0%}"


def repeated_images(take: Take, rng: Rng, layout: str) -> str:
    share = rng.uniform(0.12, 0.35)
    is_both = rng.random() < 0.6
    for n in range(1, len(take.depth)):
        if rng.random() < share:
            take.depth[n] = take.depth[n - 1]
            if is_both:
                take.color[n] = take.color[n - 1]
    return f"{share:.0%}"


def exposure_changes(take: Take, rng: Rng, layout: str) -> str:
    factor = _log_uniform(rng, 1.5, 2.5)
    places = np.sort(rng.integers(5, len(take.color) - 5, 3))
    for n in range(len(take.color)):
        if np.searchsorted(places, n, side="right") % 2:
            take.color[n] = np.clip(take.color[n] / factor, 0, 255).astype(np.uint8)
    return f"by {factor:.2f}"


def pose_scale(take: Take, rng: Rng, layout: str) -> str:
    usual = [1000.0, 100.0, 1 / 0.3048]
    factor = float(rng.choice(usual)) if rng.random() < 0.5 else _log_uniform(rng, 1.12, 2.5)
    if factor < 3 and rng.random() < 0.5:
        factor = 1 / factor
    take.positions = take.positions * factor
    return f"{factor:.3g}"


def nan_poses(take: Take, rng: Rng, layout: str) -> str:
    n = max(2, int(rng.uniform(0.02, 0.15) * len(take.positions)))
    take.positions[rng.choice(len(take.positions), n, replace=False)] = np.nan
    if layout == "bag":
        take.without.add("plain")
    take.quats = take.quats.copy()
    return f"{n}"


def quaternion_norm(take: Take, rng: Rng, layout: str) -> str:
    factor = _log_uniform(rng, 1.02, 1.5)
    chosen = rng.random(len(take.quats)) < rng.uniform(0.1, 1.0)
    take.quats[chosen] *= factor
    if layout == "bag":
        take.without.add("plain")
    return f"{factor:.3f} of {chosen.sum()}"


def pose_not_rigid(take: Take, rng: Rng, layout: str) -> str:
    take.rotation_scale = _log_uniform(rng, 1.03, 1.5)
    return f"{take.rotation_scale:.2f}"


def flipped_images(take: Take, rng: Rng, layout: str) -> str:
    axis = 1 if rng.random() < 0.6 else (0, 1)
    take.depth = [np.ascontiguousarray(np.flip(d, axis)) for d in take.depth]
    take.color = [np.ascontiguousarray(np.flip(c, axis)) for c in take.color]
    return "mirrored" if axis == 1 else "turned round"


def byte_order(take: Take, rng: Rng, layout: str) -> str:
    take.unit = 0.0002
    take.depth = [d.byteswap() for d in take.depth]
    return "swapped"


def pose_jump(take: Take, rng: Rng, layout: str) -> str:
    metres = rng.uniform(2.5, 6.0)
    at = int(rng.integers(len(take.positions) // 4, 3 * len(take.positions) // 4))
    n = int(rng.choice([1, 2, len(take.positions)]))
    take.positions[at : at + n] += metres * np.array([0.8, 0.6, 0.0])
    return f"{metres:.1f} m for {n} poses"


def damaged(take: Take, rng: Rng, layout: str) -> str:
    n = int(rng.integers(3, 15))
    chosen = rng.choice(len(take.depth), n, replace=False)
    share = rng.uniform(0.2, 0.8)

    def damage(path: Path) -> None:
        for k in chosen.tolist():
            name = f"frame-{k:06d}.depth.png" if layout == "folder" else f"depth/{k:05d}.png"
            png_cut(path / name, share)

    take.damage = damage
    return f"{n} files cut"


def missing(take: Take, rng: Rng, layout: str) -> str:
    n = int(rng.integers(3, 15))
    chosen = rng.choice(np.arange(1, len(take.depth)), n, replace=False)

    def damage(path: Path) -> None:
        for k in chosen.tolist():
            (path / (f"frame-{k:06d}.depth.png" if layout == "folder" else f"depth/{k:05d}.png")).unlink()

    take.damage = damage
    return f"{n} files"


def without(what: str, take: Take, rng: Rng, layout: str) -> str:
    take.without.add(what)
    return f"no {what}"


def odd_topic(kind: str, take: Take, rng: Rng, layout: str) -> str:
    take.odd = kind
    return kind


def depth_along_rays(take: Take, rng: Rng, layout: str) -> str:
    fx, fy, cx, cy = take.K
    v, u = np.mgrid[: take.depth[0].shape[0], : take.depth[0].shape[1]]
    ray = np.sqrt(1 + ((u - cx) / fx) ** 2 + ((v - cy) / fy) ** 2)
    take.depth = [np.rint(d * ray).astype(np.uint16) for d in take.depth]
    return "length of the ray"


def color_not_registered(take: Take, rng: Rng, layout: str) -> str:
    """Houses only: colour of 7-Scenes is not registered to begin with."""
    kind = int(rng.integers(2))
    if kind == 0:
        take.color = [np.ascontiguousarray(c[:, ::-1]) for c in take.color]
        return "mirrored"
    shift = int(rng.uniform(0.03, 0.12) * take.size[0]) * (1 if rng.random() < 0.5 else -1)
    take.color = [np.roll(c, shift, axis=1) for c in take.color]
    return f"{shift} px"


ENDS = ("poses_do_not_reach",)
FAULTS = (
    Fault("camera_axes", camera_axes),
    Fault("quaternion_order", quaternion_order, ("tum", "bag")),
    Fault("inverted_pose", inverted_pose),
    Fault("depth_unit", depth_unit),
    Fault("depth_invalid", depth_invalid, ("folder", "bag")),
    Fault("intrinsics", intrinsics),
    Fault("intrinsics_size", intrinsics_size, ("bag",)),
    Fault("time_offset", time_offset, also=ENDS),
    Fault("other_clock", other_clock, ("bag",), ("time_offset",), ENDS),
    Fault("pose_gap", pose_gap, ("tum", "bag")),
    Fault("tf_disconnected", tf_disconnected, ("bag",), also=("no_poses",)),
    Fault("clock_jump", clock_jump, ("folder", "bag"), also=("duplicate_stamps",)),
    Fault("duplicate_stamps", duplicate_stamps, ("folder", "bag")),
    Fault("reordered_stamps", reordered_stamps, ("folder", "bag")),
    Fault("frozen_poses", frozen_poses, also=("pose_jump",)),
    Fault("dropped_frames", dropped_frames),
    Fault("repeated_images", repeated_images),
    Fault("exposure_changes", exposure_changes),
    Fault("pose_scale", pose_scale),
    Fault("nan_poses", nan_poses, ("folder", "bag"), also=("pose_gap", *ENDS)),
    Fault("quaternion_norm", quaternion_norm, ("folder", "bag"), also=("pose_gap", *ENDS)),
    Fault("pose_not_rigid", pose_not_rigid, ("folder",)),
    Fault("flipped_images", flipped_images),
    Fault("byte_order", byte_order),
    Fault("pose_jump", pose_jump),
    Fault("damaged_image", damaged, ("folder", "tum")),
    Fault("missing_file", missing, ("folder", "tum")),
    Fault("no_intrinsics", partial(without, "camera"), ("bag",)),
    Fault("no_poses", partial(without, "poses"), ("tum", "bag"), also=("tf_disconnected",)),
    Fault("empty_stream", partial(odd_topic, "empty"), ("bag",)),
    Fault("wrong_type", partial(odd_topic, "wrong_type"), ("bag",)),
    Fault("depth_along_rays", depth_along_rays),
    Fault("color_not_registered", color_not_registered, only="house"),
)
