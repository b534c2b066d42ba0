"""What stamps show: duplicates, disorder, clocks that jump or differ, frames that were dropped."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from embmem.doctor.finding import Finding, Number, Setting
from embmem.doctor.survey import NANOSECONDS, Survey, Track, period

SENSORS = ("depth", "color", "cloud", "scan")
_TIMED = (*SENSORS, "pose", "odometry", "imu")
_FEWEST = 10  # samples that show a rate
_GAP = 1.8  # periods from which on a frame is missing
_DROPPED = 0.02  # share of missing frames that is worth a warning
_JUMP = 1.0  # [s] by which a clock jumps at least to be told from a gap
_LATE = 3  # samples after which a stamp that came too late is no longer a matter of order
_SKEW = 1.0  # [s] between two clocks that no latency explains

# Whether the frame after a gap shows what the frame before it showed; None where nobody looked.
Continues = Callable[[int], bool | None]


def check_stamps(looked: Survey, main: str | None, continues: Continues) -> list[Finding]:
    """Findings of every stream's own stamps.

    Args:
        looked: the survey.
        main: name of the stream whose images were looked at.
        continues: of the number of its sample before a gap.
    """
    findings: list[Finding] = []
    for track in looked.of_kind(*_TIMED):
        if looked.recording.is_grouped and track.stream.kind not in SENSORS:
            continue  # the stamps of poses are those of their images
        if looked.recording.is_grouped and track.stream.name != main:
            continue
        findings += _check_track(track, continues if track.stream.name == main else lambda _: None)
    return findings


def _check_track(track: Track, continues: Continues) -> list[Finding]:
    name, stamps = track.stream.name, track.stamps
    findings = []
    if track.n_bad_stamps:
        message = f"{track.n_bad_stamps} samples have a stamp that is no time; they are left out (on_fault=skip)"
        findings.append(Finding("bad_stamps", "warning", name, message, {"n": track.n_bad_stamps}))
    if len(stamps) > 1 and not stamps.any():
        message = "every header stamp is 0: the driver does not fill it; nothing can be matched in time"
        return [*findings, Finding("no_stamps", "error", name, message, {"n": len(stamps)})]
    if len(stamps) < 3:
        return findings
    findings += _duplicates(track) + _disorder(track)
    if len(stamps) >= _FEWEST:
        findings += _gaps(track, continues)
    return findings


def _duplicates(track: Track) -> list[Finding]:
    n = int(np.count_nonzero(np.diff(np.sort(track.stamps)) == 0))
    if not n:
        return []
    message = f"{n} of {len(track.stamps)} samples have the stamp of another; of those only one can be right"
    evidence: dict[str, Number] = {"n": n, "share": round(n / len(track.stamps), 4)}
    return [Finding("duplicate_stamps", "warning", track.stream.name, message, evidence)]


def _disorder(track: Track) -> list[Finding]:
    """Stamps that go back: for good if the clock was set back, for a moment if messages overtook each other."""
    stamps = track.stamps
    back = np.flatnonzero(np.diff(stamps) < 0)
    jumps, reordered, deepest = 0, 0, 0.0
    for at in back.tolist():
        step = float(stamps[at] - stamps[at + 1]) / NANOSECONDS
        after = stamps[at + 1 : at + 2 + _LATE]
        is_for_good = len(after) > _LATE and bool((after <= stamps[at]).all())
        at_end = len(after) <= _LATE and step > _JUMP
        if is_for_good or at_end:
            jumps, deepest = jumps + 1, max(deepest, step)
        else:
            reordered += 1
    findings = []
    if jumps:
        message = (
            f"the clock goes back {jumps} times, by {deepest:.3g} s at most: two times of the recording share their "
            "stamps; split the recording there"
        )
        evidence: dict[str, Number] = {"n": jumps, "seconds": round(-deepest, 6)}
        findings.append(Finding("clock_jump", "error", track.stream.name, message, evidence))
    if reordered:
        message = f"{reordered} samples come later than one with a later stamp; frames are taken by stamp, not by order"
        findings.append(
            Finding("reordered_stamps", "warning", track.stream.name, message, {"n": reordered, "of": len(stamps)})
        )
    return findings


def _gaps(track: Track, continues: Continues) -> list[Finding]:
    """Steps much longer than usual: frames were dropped, or the clock jumped while they kept coming."""
    step = period(track.stamps)
    if step is None:
        return []
    steps = np.diff(track.stamps) / NANOSECONDS
    received = np.diff(track.received)
    usual = float(np.median(received)) if np.isfinite(received).all() else np.nan
    forward = []
    for at in np.flatnonzero(steps > _GAP * step).tolist():
        came_as_usual = np.isfinite(usual) and received[at] < max(_GAP * usual, usual + 0.25 * steps[at])
        goes_on = continues(at) if not np.isfinite(usual) else None
        if steps[at] > _JUMP and steps[at] > 5 * step and (came_as_usual or goes_on):
            forward.append(float(steps[at]))
    # what only came late or under another's stamp is not missing
    gaps = np.diff(np.unique(track.stamps)) / NANOSECONDS
    gaps = gaps[(gaps > _GAP * step) & ~np.isin(np.round(gaps, 6), np.round(forward, 6))]
    missing = int(np.rint(gaps / step - 1).sum()) - (len(track.stamps) - len(np.unique(track.stamps)))
    longest = float(gaps.max()) if len(gaps) else 0.0
    findings = []
    if forward:
        message = (
            f"the clock jumps ahead {len(forward)} times, by {max(forward):.3g} s at most, while samples keep coming; "
            "poses by stamp are wrong behind it: split the recording there"
        )
        evidence: dict[str, Number] = {"n": len(forward), "seconds": round(max(forward), 6)}
        findings.append(Finding("clock_jump", "error", track.stream.name, message, evidence))
    if track.stream.kind in SENSORS and missing > max(2, _DROPPED * len(steps)):
        share = missing / (missing + len(track.stamps))
        message = (
            f"about {missing} of {missing + len(track.stamps)} frames at {1 / step:.3g} Hz are missing, the longest "
            f"gap is {longest:.3g} s; record with less load or larger queues"
        )
        evidence = {"missing": missing, "share": round(share, 4), "longest_s": round(longest, 4)}
        findings.append(Finding("dropped_frames", "warning", track.stream.name, message, evidence))
    return findings


def clock_skew(looked: Survey, main: str) -> float | None:
    """[s] by which the clock of the images is ahead of that of the moving poses, by when both were received."""
    images = looked.tracks[main]
    late = [images.stamps / NANOSECONDS - images.received]
    moving = [t for t in looked.of_kind("tf", "odometry", "pose") if len(t.pose_stamps)]
    if not moving or not np.isfinite(late[0]).all():
        return None
    best = max(moving, key=lambda t: (t.stream.kind == "tf", len(t.pose_stamps)))
    theirs = best.pose_stamps / NANOSECONDS - best.pose_received
    return float(np.median(late[0]) - np.median(theirs)) if np.isfinite(theirs).all() else None


def check_clocks(looked: Survey, main: str, offset: float) -> list[Finding]:
    """Two clocks so far apart that no latency explains it, and clocks that are not the recorder's."""
    skew = clock_skew(looked, main)
    findings = []
    if skew is not None and abs(skew + offset) > _SKEW:
        message = (
            f"the clock of the images is {abs(skew):.6g} s {'ahead of' if skew > 0 else 'behind'} that of the poses, "
            "by when both were received"
        )
        fix: dict[str, Setting] = {"time_offset": round(-skew, 4)}
        findings.append(Finding("time_offset", "error", main, message, {"seconds": round(-skew, 4)}, fix))
    for track in looked.of_kind(*SENSORS, "odometry", "pose"):
        late = track.received - track.stamps / NANOSECONDS
        if len(late) and np.isfinite(late).all() and abs(float(np.median(late))) > 60.0:
            message = "header stamps are not of the recorder's clock: simulated time, or a clock that was never set"
            evidence: dict[str, Number] = {"received_later_s": round(float(np.median(late)), 3)}
            findings.append(Finding("other_clock", "note", track.stream.name, message, evidence))
    return findings
