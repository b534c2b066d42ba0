"""Examine a recording: what is in it, what is missing, what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from embmem.doctor.finding import SEVERITIES, Diagnosis, Finding
from embmem.doctor.survey import survey
from embmem.recordings.opening import open_recording

Progress = Callable[[str, int, int], None]


def examine(
    path: Path | str, settings: Mapping[str, Any] | None = None, *, on_progress: Progress | None = None
) -> Diagnosis:
    """The diagnosis of the recording at `path`.

    Args:
        path: as `open_recording` takes it.
        settings: what `Conventions` are called, where what the format says is not so; None is not given.
        on_progress: called with what is done, how far it is, and of how much.

    Raises:
        InputError: if it cannot be opened at all.
        ValueError: if a setting makes no sense.
    """
    given = {name: value for name, value in (settings or {}).items() if value is not None}
    recording = open_recording(path)
    recording.conventions.but(given)
    looked = survey(recording, None if on_progress is None else lambda done, n: on_progress("stamps", done, n))
    findings: list[Finding] = []
    return Diagnosis(
        recording=str(path),
        format=recording.format,
        contents=looked.contents(),
        findings=in_order(findings),
        settings=given,
    )


def in_order(findings: list[Finding]) -> tuple[Finding, ...]:
    """Worst first, then by kind and stream."""
    return tuple(sorted(findings, key=lambda f: (SEVERITIES.index(f.severity), f.kind, f.stream)))
