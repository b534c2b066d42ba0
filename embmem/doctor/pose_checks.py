"""What recorded poses show by themselves: numbers that are none, quaternions, jumps, and standing still."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from embmem.doctor.finding import Finding, Number
from embmem.doctor.survey import NANOSECONDS, Survey
from embmem.geometry import UNIT_TOLERANCE
from embmem.recordings.raw import RawPose

_RIGID = 0.02  # of R R^T - I
_JUMP = 8.0  # times the speed that nine of ten steps do not exceed
_FEWEST = 12  # poses that show a usual speed


@dataclass(frozen=True, eq=False)
class Path:
    """The poses that one stream gives one frame, in the order of the recording, raw units."""

    stream: str
    child: str
    stamps: np.ndarray  # (n,) int64 [ns]
    positions: np.ndarray  # (n, 3), NaN where there is none
    rotations: np.ndarray  # (n, 4) quaternions or (n, 9) matrices as recorded


def paths(looked: Survey) -> Iterator[Path]:
    """The paths of all moving frames."""
    for track in looked.of_kind("pose", "odometry", "tf"):
        by_child: dict[str, list[int]] = {}
        for number, pose in enumerate(track.poses):
            by_child.setdefault(pose.child, []).append(number)
        for child, numbers in by_child.items():
            positions, rotations = zip(*(_numbers(track.poses[k]) for k in numbers), strict=True)
            width = max(len(r) for r in rotations)
            same = [r if len(r) == width else np.full(width, np.nan) for r in rotations]
            yield Path(
                track.stream.name, child, track.pose_stamps[numbers], np.array(positions, float), np.array(same, float)
            )


def _numbers(pose: RawPose) -> tuple[np.ndarray, np.ndarray]:
    if pose.matrix is not None and pose.matrix.shape == (4, 4):
        return pose.matrix[:3, 3], pose.matrix[:3, :3].ravel()
    position = np.full(3, np.nan) if pose.position is None else pose.position
    return position, np.full(4, np.nan) if pose.quaternion is None else pose.quaternion


def check_poses(looked: Survey) -> list[Finding]:
    """Findings of every path but frozen ones, which only images can tell from standing still."""
    findings: list[Finding] = []
    for path in paths(looked):
        name = f"{path.stream} {path.child}".strip()
        finite = np.isfinite(path.positions).all(axis=1) & np.isfinite(path.rotations).all(axis=1)
        findings += _bad_numbers(name, path, finite)
        if finite.sum() >= _FEWEST:
            findings += _jumps(name, path.stamps[finite], path.positions[finite])
    return findings


def _bad_numbers(name: str, path: Path, finite: np.ndarray) -> list[Finding]:
    n, findings = len(finite), []
    n_bad = n - int(finite.sum())
    if n_bad:
        severity = "error" if n_bad > n / 2 else "warning"
        message = f"{n_bad} of {n} poses hold numbers that are not finite; their frames are left out by on_fault=skip"
        findings.append(Finding("nan_poses", severity, name, message, {"n": n_bad, "of": n}))
    rotations = path.rotations[finite]
    if rotations.shape[1] == 4:
        length = np.linalg.norm(rotations, axis=1)
        n_off = int(np.count_nonzero(np.abs(length - 1.0) > UNIT_TOLERANCE))
        if n_off:
            message = (
                f"{n_off} of {n} quaternions are not of unit length ({length.min():.4g} to {length.max():.4g}): they "
                "were averaged or written with too few digits; normalise them before recording"
            )
            evidence: dict[str, Number] = {
                "n": n_off,
                "of": n,
                "least": float(length.min()),
                "most": float(length.max()),
            }
            findings.append(
                Finding("quaternion_norm", "error" if n_off > n / 2 else "warning", name, message, evidence)
            )
    elif rotations.shape[1] == 9 and len(rotations):
        R = rotations.reshape(-1, 3, 3)
        error = np.abs(R @ R.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2))
        n_off = int(np.count_nonzero((error > _RIGID) | (np.linalg.det(R) < 0)))
        if n_off:
            message = f"{n_off} of {n} matrices hold no rotation; such a pose can also scale or mirror what is seen"
            evidence = {"n": n_off, "of": n, "worst": float(error.max()), "least_det": float(np.linalg.det(R).min())}
            findings.append(Finding("pose_not_rigid", "error" if n_off > n / 2 else "warning", name, message, evidence))
    return findings


def _jumps(name: str, stamps: np.ndarray, positions: np.ndarray) -> list[Finding]:
    """Steps that nobody makes: a localisation that was lost and found again, a loop that was closed."""
    order = np.argsort(stamps, kind="stable")
    step = np.linalg.norm(np.diff(positions[order], axis=0), axis=1)
    dt = np.diff(stamps[order]) / NANOSECONDS
    usual = float(np.median(dt[dt > 0])) if (dt > 0).any() else 1.0
    speed = step / np.maximum(dt, usual)
    limit = _JUMP * float(np.percentile(speed, 90))
    far = np.flatnonzero(speed > max(limit, 1e-9)) if limit > 0 else np.array([], dtype=int)
    if not len(far) or len(far) > 0.1 * len(step):
        return []
    worst = far[step[far].argmax()]
    message = (
        f"{len(far)} jumps of the pose, the farthest by {step[worst]:.3g} units in {dt[worst]:.3g} s (nine of ten "
        f"steps are under {np.percentile(step, 90):.3g}): the localisation was reset; build the parts one by one, or "
        "smooth the poses"
    )
    times = float(speed[far].max() / (limit / _JUMP))
    evidence: dict[str, Number] = {"n": len(far), "farthest": float(step[worst]), "times_usual": round(times, 1)}
    # map -> odom is corrected in jumps by design (REP 105)
    severity = "note" if name.endswith("odom") else "warning"
    return [Finding("pose_jump", severity, name, message, evidence)]
