"""Which streams of a recording make the frames: a proposal by names, types and counts, overruled by `Conventions`."""

from __future__ import annotations

from dataclasses import dataclass

from embmem.errors import InputError
from embmem.recordings.conventions import Conventions
from embmem.recordings.recording import Recording, Stream

NONE = "none"  # leaves a stream out
_MAIN = ("depth", "cloud", "scan", "color")  # what gives a frame its stamp, best first
_TRANSPORTS = ("/compressed", "/compressedDepth", "/raw", "/theora", "/ffmpeg")


@dataclass(frozen=True)
class Choice:
    """Names of streams; `others` by kind go with `main`."""

    main: Stream
    others: dict[str, str]
    camera: str | None  # of the intrinsics of the main images
    color_camera: str | None
    is_rectified: bool  # whether the main images are


def choose(recording: Recording, conventions: Conventions) -> Choice:
    """The streams to use.

    Raises:
        InputError: if there is nothing to see in the recording, or a stream that was named is not there.
    """
    chosen = {kind: _one(recording, kind, getattr(conventions, kind, None)) for kind in _MAIN}
    main = next((stream for kind in _MAIN if (stream := chosen[kind]) is not None), None)
    if main is None:
        there = ", ".join(f"{s.name} ({s.type})" for s in recording.streams) or "nothing"
        raise InputError(f"{recording.path}: no depth, no points and no images to build from; there is {there}")
    others = {}
    if main.kind in ("depth", "color"):
        for kind in ("color", "semantic", "instance", "detections"):
            stream = chosen["color"] if kind == "color" else _one(recording, kind, getattr(conventions, kind, None))
            if stream is not None and stream is not main:
                others[kind] = stream.name
    color = others.get("color")
    return Choice(
        main=main,
        others=others,
        camera=_camera(recording, main.name, conventions.camera) if main.kind in ("depth", "color") else None,
        color_camera=_camera(recording, color, None) if color else None,
        is_rectified="rect" in main.name.lower().rsplit("/", 2)[-1] or "_rect" in main.name.lower(),
    )


def color_camera_of(recording: Recording, conventions: Conventions) -> str | None:
    """The stream of the intrinsics of the colour images, whether or not these are read."""
    named = None if conventions.color == NONE else conventions.color
    color = _one(recording, "color", named)
    return None if color is None else _camera(recording, color.name, None)


def _one(recording: Recording, kind: str, named: str | None) -> Stream | None:
    """The stream that was named, or the best of its kind."""
    if named == NONE:
        return None
    if named is not None:
        stream = recording.stream(named)
        if stream is None:
            there = ", ".join(s.name for s in recording.streams)
            raise InputError(f"{recording.path}: no stream {named!r} for read.{kind}, only {there}")
        # what the user calls depth is depth
        return (
            stream if stream.kind == kind else Stream(stream.name, kind, stream.type, stream.n_samples, stream.detail)
        )
    return max(recording.of_kind(kind), key=_rank, default=None)


def _rank(stream: Stream) -> tuple[bool, bool, int, bool, bool, int]:
    """Aligned before raw, plain before compressed, more before fewer; short names in the end."""
    name = stream.name.lower()
    is_aligned = any(word in name for word in ("aligned", "registered"))
    is_side = any(word in name for word in ("right", "fisheye", "infra", "debug", "overlay"))
    return is_aligned, not is_side, stream.n_samples, "rect" in name, "compressed" not in name, -len(name)


def _camera(recording: Recording, image: str, named: str | None) -> str | None:
    """The stream of intrinsics that was named, or the one whose name begins most like that of the images."""
    if named is not None:
        return _one_camera(recording, named)
    base = image
    for transport in _TRANSPORTS:
        base = base.removesuffix(transport)
    parts = base.split("/")

    def shared(stream: Stream) -> tuple[int, bool]:
        theirs = stream.name.split("/")
        n = next(
            (i for i, (a, b) in enumerate(zip(parts, theirs, strict=False)) if a != b), min(len(parts), len(theirs))
        )
        return n, stream.n_samples > 0

    best = max(recording.of_kind("camera"), key=shared, default=None)
    return None if best is None else best.name


def _one_camera(recording: Recording, named: str) -> str | None:
    if named == NONE:
        return None
    if recording.stream(named) is None:
        there = ", ".join(s.name for s in recording.of_kind("camera")) or "none"
        raise InputError(f"{recording.path}: no stream {named!r} for read.camera; of intrinsics there is {there}")
    return named
