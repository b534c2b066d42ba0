"""A corrected view of a recording as a small file, or a corrected recording; the input is never touched."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from embmem.doctor.finding import Diagnosis
from embmem.errors import InputError
from embmem.recordings.opening import read_recording
from embmem.recordings.view import SUFFIXES, write_view
from embmem.recordings.writing import write_recording


def write_fix(diagnosis: Diagnosis, out: str | None) -> str:
    """Write the corrected view and say in a sentence what was written.

    Args:
        diagnosis: whose proposed settings are used.
        out: *.yaml for a view, else a recording: *.mcap, or a folder; None: the view <recording>.view.yaml.

    Raises:
        OutputExistsError: if the place is taken.
        InputError: if an error has no setting that mends it, or the recording cannot be read by the settings.
    """
    path = Path(out) if out else _beside(Path(diagnosis.recording))
    if path.suffix in SUFFIXES:
        write_view(path, Path(diagnosis.recording), diagnosis.fix)
        n = len(diagnosis.fix)
        return f"{n} setting{'s' * (n != 1)} in the view {path}: give it to embmem build in place of the recording"
    unmended = [f.kind for f in diagnosis.findings if f.severity == "error" and not f.fix]
    if unmended:
        raise InputError(f"{diagnosis.recording}: nothing mends {', '.join(unmended)}; no recording was written")
    reading = read_recording(diagnosis.recording, diagnosis.fix, frame="identity", on_fault="skip")
    n = write_recording((o for o in reading if o.depth is not None and np.isfinite(o.depth).any()), path)
    faults = f", {len(reading.faults)} left out" if reading.faults else ""
    return f"{n} corrected frames in {path}{faults}; the recording itself was not touched"


def _beside(recording: Path) -> Path:
    return recording.with_name(f"{recording.name}.view.yaml")
