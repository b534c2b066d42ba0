"""What is missing: nothing to see, no poses, poses that do not reach the images, samples that cannot be read."""

from __future__ import annotations

from collections import Counter

from embmem.doctor.finding import Finding, Number
from embmem.doctor.survey import Survey
from embmem.errors import InputError
from embmem.recordings.choice import Choice
from embmem.recordings.conventions import Conventions
from embmem.recordings.frames import RawFrame
from embmem.recordings.poses import NoPosesError, Poses

_NAMES = ("depth", "image", "camera_info", "odom", "pose", "points", "scan")
_ESSENTIAL = ("depth", "color", "camera", "pose", "odometry", "tf", "cloud", "scan")
_MANY, _SOME = 0.5, 0.01  # shares of frames


def check_streams(looked: Survey) -> list[Finding]:
    """Streams that are empty, of a type that nobody reads, or hold what cannot be read."""
    findings = [Finding("reader", "note", "", note) for note in looked.recording.notes]
    for track in looked.tracks.values():
        stream = track.stream
        if not stream.n_samples and stream.kind in _ESSENTIAL:
            message = "was announced and never sent: is the driver running, do the QoS settings match?"
            findings.append(Finding("empty_stream", "warning", stream.name, message, {"n": 0}))
        if stream.kind == "other" and stream.n_samples and any(w in stream.name.lower().split("/")[-1] for w in _NAMES):
            message = f"is called like something a map is made of but holds {stream.type}, which is not read"
            findings.append(Finding("wrong_type", "warning", stream.name, message, {"type": stream.type}))
        for fault, messages in track.faults.items():
            findings.append(_faulty(stream.name, fault, messages, stream.n_samples))
    return findings


def _faulty(stream: str, fault: str, messages: list[str], n: int) -> Finding:
    kind = fault if fault in ("missing_file", "damaged_image") else "unreadable"
    severity = "error" if len(messages) > _MANY * n else "warning"
    message = f"{len(messages)} of {n} samples cannot be read (on_fault=skip leaves them out), the first: {messages[0]}"
    return Finding(kind, severity, stream, message, {"n": len(messages), "of": n})


def check_decoded(faults: dict[str, list[str]], looked: Survey) -> list[Finding]:
    """Images that were found damaged when they were decoded, where the survey had not noticed."""
    return [
        _faulty(name, "damaged_image", messages, looked.tracks[name].stream.n_samples)
        for name, messages in faults.items()
        if not looked.tracks[name].faults
    ]


def nothing_to_see(looked: Survey) -> Finding:
    """The recording holds no image and no points."""
    there = ", ".join(f"{t.stream.name} ({t.stream.type.rsplit('/', 1)[-1]})" for t in looked.tracks.values())
    moves = looked.of_kind("odometry", "pose", "tf")
    use = "; it says where the robot was, but nothing of what it saw" if moves else ""
    message = (
        f"no depth, no points and no images{use}: no map can be built. Record a depth image with its camera_info, or "
        "points"
    )
    return Finding("nothing_to_see", "error", "", message, {"streams": there})


def check_tf(looked: Survey, camera_frame: str) -> list[Finding]:
    """Trees of TF: several of them, or frames with two parents."""
    findings = []
    roots = Counter(_root(child, looked) for child in looked.links)
    for child, link in looked.links.items():
        if len(link.parents) > 1:
            message = f"{child} has several parents ({', '.join(sorted(link.parents))}): two nodes publish it"
            findings.append(Finding("tf_two_parents", "warning", child, message, {"parents": len(link.parents)}))
    frame = camera_frame.removeprefix("/")
    parents = {parent for link in looked.links.values() for parent in link.parents}
    if frame and looked.links and frame not in looked.links and frame not in parents:
        findings.append(_unknown_camera(frame, sorted(set(looked.links) - parents)))
    if len(roots) > 1:
        names = ", ".join(f"{root} ({n} frames below it)" for root, n in roots.most_common(4))
        is_apart = bool(frame) and any(not link.is_static for link in looked.links.values())
        mine = _root(frame, looked) if frame else ""
        moving = {_root(c, looked) for c, link in looked.links.items() if not link.is_static}
        is_apart = is_apart and mine not in moving
        message = f"TF has {len(roots)} trees: {names}; nothing leads from one to the other"
        if is_apart:
            message += f". The camera's frame {frame!r} hangs in {mine!r}, which does not move: a transform is missing"
        evidence: dict[str, Number] = {"trees": len(roots)}
        findings.append(Finding("tf_disconnected", "error" if is_apart else "warning", "tf", message, evidence))
    return findings


def _unknown_camera(frame: str, leaves: list[str]) -> Finding:
    likely = max(leaves, key=lambda leaf: (_shared(leaf, frame), "camera" in leaf, leaf), default="")
    message = (
        f"TF does not know the frame {frame!r} of the images: the static transform to it was not recorded. If "
        f"{likely!r} is the camera, say so, and look again which way its axes point"
    )
    evidence: dict[str, Number] = {"frames": ", ".join(leaves[:6])}
    return Finding("tf_disconnected", "error", "tf", message, evidence, {"camera_frame": likely} if likely else {})


def _shared(a: str, b: str) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _root(frame: str, looked: Survey) -> str:
    seen: set[str] = set()
    while frame in looked.links and frame not in seen:
        seen.add(frame)
        frame = looked.links[frame].parents.most_common(1)[0][0]
    return frame


def check_poses_reach(
    looked: Survey, choice: Choice, conventions: Conventions, source: Poses | NoPosesError, frames: list[RawFrame]
) -> list[Finding]:
    """Whether there is a pose for each frame, and why not."""
    if isinstance(source, NoPosesError):
        is_camera = choice.main.kind in ("depth", "color")
        how = "build with RGB-D odometry, or name the poses with read.pose" if is_camera else "name them with read.pose"
        message = f"{str(source).removeprefix(f'{looked.recording.path}: ')}; {how}"
        return [Finding("no_poses", "error", "", message, {"frames": len(frames)})]
    faults: dict[str, list[float]] = {}
    for frame in frames:
        try:
            source.at(frame)
        except InputError as error:
            if getattr(error, "fault", "") in ("extrapolation", "tf_gap", "not_connected", "unknown_frame"):
                faults.setdefault(getattr(error, "fault", ""), []).append(frame.stamp)
    return [_reach(fault, stamps, len(frames), conventions) for fault, stamps in faults.items() if stamps]


def _reach(fault: str, stamps: list[float], n: int, conventions: Conventions) -> Finding:
    share = len(stamps) / n
    severity = "error" if share > _MANY else "warning" if share > _SOME and len(stamps) > 2 else "note"
    evidence: dict[str, Number] = {"frames": len(stamps), "of": n, "first": min(stamps), "last": max(stamps)}
    if fault == "tf_gap":
        message = (
            f"{len(stamps)} of {n} frames fall into gaps of the poses longer than {conventions.max_gap:g} s; "
            "on_fault=skip leaves them out, read.max_gap lets poses be interpolated over more"
        )
        return Finding("pose_gap", severity, "pose", message, evidence)
    if fault == "extrapolation":
        message = (
            f"{len(stamps)} of {n} frames were taken before the first or after the last pose; on_fault=skip leaves "
            "them out"
        )
        return Finding("poses_do_not_reach", severity, "pose", message, evidence)
    message = f"{len(stamps)} of {n} frames have no chain of transforms to the map; on_fault=skip leaves them out"
    return Finding("tf_disconnected", severity, "tf", message, evidence)
