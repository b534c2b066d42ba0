"""What images show by themselves and beside their poses: repeats, brightness, values that mean "nothing measured"."""

from __future__ import annotations

import math

import numpy as np

from embmem.doctor.finding import Finding, Number, Setting
from embmem.doctor.glimpses import Glimpse, Glimpses
from embmem.doctor.registration import check_registration
from embmem.geometry import rotation_angle

_TURNED, _WALKED = np.radians(0.1), 0.3  # [rad], and share of the usual step: the camera moved
_REPEATED = 0.05  # share of frames that repeat the one before although the camera moved; some Kinects do 3 %
_FROZEN = 5  # frames in a row with one pose
_MOVED = 0.12  # share of depth that must change while the pose does not
_SAME_VIEW = 0.9  # correlation of two pictures of one thing
_SAME_SHIFTED = 0.95  # of two that had to be moved to coincide
_GAIN = math.log(1.22)  # of brightness between two pictures of one thing
_SPIKE_SHARE, _SPIKE = 0.004, 25.0  # of all values; times as often as its neighbours
_SPARSE = 0.05  # share of pixels with depth
_SMOOTHER = 4.0  # times, after bytes are swapped


def check_images(glimpses: Glimpses, poses: dict[int, np.ndarray], streams: dict[str, str]) -> list[Finding]:
    """All findings of images.

    Args:
        glimpses: of the recording.
        poses: of the camera by number of frame, as recorded; where it has none, empty.
        streams: kind of image -> name of its stream.
    """
    findings: list[Finding] = []
    for kind, name in streams.items():
        findings += _repeated(glimpses, poses, kind, name)
    if "depth" in streams:
        findings += _frozen_poses(glimpses, poses)
        findings += _depth_values(glimpses, streams["depth"])
    if "color" in streams:
        findings += _exposure(glimpses, streams["color"])
    if "color" in streams and "depth" in streams:
        findings += check_registration(glimpses, streams["color"])
    return findings


def _repeated(glimpses: Glimpses, poses: dict[int, np.ndarray], kind: str, name: str) -> list[Finding]:
    """Images equal to the one before, bit for bit, although the pose moved: a driver that hangs."""
    pairs = [(a, b) for a, b in glimpses.neighbours() if getattr(a, kind) and getattr(b, kind)]
    equal = [(a, b) for a, b in pairs if getattr(a, kind).checksum == getattr(b, kind).checksum]
    if not equal:
        return []
    if not poses:
        message = f"{len(equal)} images equal the one before bit for bit: nothing moved, or the driver hung"
        return [Finding("repeated_images", "note", name, message, {"n": len(equal), "of": len(pairs)})]
    moved = [(a, b) for a, b in equal if _has_moved(poses, a.number, b.number)]
    # where both images repeat and the pose stands still between equal frames, nobody moved
    if len(moved) <= 1:
        return []
    message = (
        f"{len(moved)} of {len(pairs)} images equal the one before bit for bit while the pose moves: the driver hung "
        "or repeats frames; leave them out before recording a map"
    )
    severity = "warning" if len(moved) > _REPEATED * len(pairs) else "note"
    return [Finding("repeated_images", severity, name, message, {"n": len(moved), "of": len(pairs)})]


def _has_moved(poses: dict[int, np.ndarray], a: int, b: int) -> bool:
    if a not in poses or b not in poses:
        return False
    T = np.linalg.inv(poses[a]) @ poses[b]
    return bool(rotation_angle(T[:3, :3]) > _TURNED or np.linalg.norm(T[:3, 3]) > _WALKED * _usual_step(poses))


def _usual_step(poses: dict[int, np.ndarray]) -> float:
    steps = [float(np.linalg.norm(poses[n + 1][:3, 3] - T[:3, 3])) for n, T in poses.items() if n + 1 in poses]
    moving = [s for s in steps if s > 0]
    return float(np.median(moving)) if moving else math.inf


def _frozen_poses(glimpses: Glimpses, poses: dict[int, np.ndarray]) -> list[Finding]:
    """Runs of frames with one and the same pose whose depth images change."""
    n_frozen, longest, most = 0, 0, 0.0
    for run in _runs(glimpses, poses):
        change = glimpses.change(run[0], run[-1])
        middle = glimpses.change(run[0], run[len(run) // 2])
        change = max(change or 0.0, middle or 0.0)
        if change > _MOVED:
            n_frozen, longest, most = n_frozen + len(run), max(longest, len(run)), max(most, change)
    if not n_frozen:
        return []
    message = (
        f"{n_frozen} frames share their pose with the one before, up to {longest} in a row, while what they show "
        f"changes (by {most:.0%}): the pose estimate hung; leave these frames out"
    )
    severity = "error" if n_frozen > 0.5 * len(glimpses.frames) else "warning"
    evidence: dict[str, Number] = {"n": n_frozen, "longest": longest, "changed": round(most, 3)}
    return [Finding("frozen_poses", severity, "pose", message, evidence)]


def _runs(glimpses: Glimpses, poses: dict[int, np.ndarray]) -> list[list[Glimpse]]:
    runs: list[list[Glimpse]] = []
    run: list[Glimpse] = glimpses.frames[:1]
    for a, b in zip(glimpses.frames, glimpses.frames[1:], strict=False):
        known = a.number in poses and b.number in poses and b.number == a.number + 1
        if known and np.abs(poses[a.number] - poses[b.number]).max() < 1e-9:
            run.append(b)
            continue
        runs.append(run)
        run = [b]
    return [r for r in (*runs, run) if len(r) >= _FROZEN]


def _exposure(glimpses: Glimpses, name: str) -> list[Finding]:
    """Changes of brightness between two pictures of the same thing."""
    gains = []
    for a, b in glimpses.neighbours():
        if a.color is None or b.color is None or a.color.small.shape != b.color.small.shape:
            continue
        gain = _gain(a.color.small, b.color.small)
        gains += [] if gain is None else [gain]
    steps = [g for g in gains if abs(g) > _GAIN]
    if not steps:
        return []
    worst = max(steps, key=abs)
    message = (
        f"the brightness of colour changes {len(steps)} times between two images of the same thing, by a factor of "
        f"{math.exp(abs(worst)):.2f} at most: fix the exposure and the gain of the camera"
    )
    evidence: dict[str, Number] = {
        "n": len(steps),
        "of": len(gains),
        "factor": round(math.exp(abs(worst)), 3),
    }
    return [Finding("exposure_changes", "warning", name, message, evidence)]


def _gain(a: np.ndarray, b: np.ndarray) -> float | None:
    """Logarithm of how much brighter b is than a, laid over it as the camera turned; None where nothing coincides."""
    width = a.shape[1]
    for shift in sorted(range(-(width * 2 // 5), width * 2 // 5 + 1), key=abs):
        x = a[:, max(0, shift) : width + min(0, shift)].ravel()
        y = b[:, max(0, -shift) : width + min(0, -shift)].ravel()
        lit = (x > 8) & (y > 8) & (x < 245) & (y < 245)
        if lit.sum() < 0.3 * lit.size or x[lit].std() < 2 or y[lit].std() < 2:
            continue
        if np.corrcoef(x[lit], y[lit])[0, 1] > (_SAME_VIEW if abs(shift) < 2 else _SAME_SHIFTED):
            return float(np.median(np.log(y[lit] / x[lit])))
    return None


def _depth_values(glimpses: Glimpses, name: str) -> list[Finding]:
    kept = [g.depth.values for g in glimpses.frames if g.depth is not None and g.depth.values is not None]
    if not kept:
        return []
    raw = np.concatenate(kept)
    swapped = _byte_order([g.depth.small for g in glimpses.frames if g.depth is not None], raw.dtype, glimpses)
    if swapped:
        return [_swapped(name, swapped)]
    valid = raw[glimpses.is_valid(raw)]
    findings = []
    if len(valid) < _SPARSE * len(raw):
        message = f"only {len(valid) / len(raw):.1%} of the pixels hold a depth: too near, too far, or covered?"
        evidence: dict[str, Number] = {"share": round(len(valid) / len(raw), 4)}
        findings.append(Finding("depth_sparse", "warning", name, message, evidence))
    if raw.dtype.kind in "if" and (raw < 0).any():
        value = float(np.median(raw[raw < 0]))
        share = float((raw < 0).mean())
        message = f"{share:.1%} of the depth values are negative, mostly {value:g}: they mean that nothing was measured"
        findings.append(_invalid(name, message, value, share, glimpses))
    found = _spike(valid)
    if found is not None:
        value, share = found
        message = (
            f"{share:.1%} of the depth values are exactly {value:g}, which no surface gives: it means that nothing was "
            "measured"
        )
        findings.append(_invalid(name, message, value, share, glimpses))
    return findings


def _invalid(name: str, message: str, value: float, share: float, glimpses: Glimpses) -> Finding:
    fix: dict[str, Setting] = {"depth_invalid": [*glimpses.depth_invalid, value]}
    return Finding("depth_invalid", "error", name, message, {"value": value, "share": round(share, 4)}, fix)


def _spike(valid: np.ndarray) -> tuple[float, float] | None:
    """(value, share) of the least or the greatest value, if it stands alone and is far too frequent."""
    if len(valid) < 1000:
        return None
    values, counts = np.unique(valid, return_counts=True)
    if len(values) < 20:
        return None
    span = float(np.percentile(valid, 95) - np.percentile(valid, 5))
    for at, inner in ((len(values) - 1, -1), (0, 1)):
        share = counts[at] / len(valid)
        near = np.abs(values.astype(np.float64) - float(values[at])) < max(0.1 * abs(float(values[at])), 0.02 * span)
        near[at] = False
        usual = float(counts[near].mean()) if near.any() else 0.0
        gap = abs(float(values[at + inner]) - float(values[at]))
        is_alone = gap > 0.05 * span or counts[near].sum() < 0.5 * counts[at]
        if share > _SPIKE_SHARE and counts[at] > _SPIKE * max(usual, 1.0) and is_alone:
            return float(values[at]), float(share)
    return None


def _byte_order(images: list[np.ndarray], dtype: np.dtype, glimpses: Glimpses) -> float:
    """How many times smoother depth becomes when its two bytes are swapped; 0 where it does not."""
    if dtype != np.uint16:
        return 0.0

    def roughness(image: np.ndarray) -> float:
        valid = glimpses.is_valid(image)
        both = valid[:, 1:] & valid[:, :-1]
        if both.sum() < 50:
            return np.nan
        steps = np.abs(np.diff(image, axis=1))[both] / max(float(np.median(image[valid])), 1.0)
        return float(np.minimum(steps, 1.0).mean())  # not the median: half of a wall may be of one value

    spread = images[:: max(1, len(images) // 20)]
    plain = np.nanmedian([roughness(i) for i in spread])
    swapped = np.nanmedian([roughness(i.astype(np.uint16).byteswap().astype(np.float32)) for i in spread])
    ratio = float(plain / max(float(swapped), 1e-4))
    return ratio if ratio > _SMOOTHER and plain > 0.1 else 0.0


def _swapped(name: str, ratio: float) -> Finding:
    message = (
        f"the two bytes of each depth value are swapped (depth is {ratio:.0f} times smoother the other way round): "
        "is_bigendian or the PNG is wrong; correct it in the driver"
    )
    return Finding("byte_order", "error", name, message, {"times_smoother": round(ratio, 2)})
