"""A corrected view of a recording: its proposed settings as a file, or a new recording; the input is never touched."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from embmem.doctor.finding import Diagnosis, typed
from embmem.errors import InputError
from embmem.output import new_file
from embmem.recordings.opening import read_recording
from embmem.recordings.writing import write_recording

_SETTINGS = (".yaml", ".yml")


def write_fix(diagnosis: Diagnosis, out: str | None) -> str:
    """Write the corrected view and say in a sentence what was written.

    Args:
        diagnosis: whose proposed settings are used.
        out: *.yaml for the settings alone, else a recording: *.mcap, or a folder; None: <recording>.read.yaml.

    Raises:
        OutputExistsError: if the place is taken.
        InputError: if an error has no setting that mends it, or the recording cannot be read by the settings.
    """
    path = Path(out) if out else _beside(Path(diagnosis.recording))
    if path.suffix in _SETTINGS:
        lines = "".join(f"{name}: {typed(value)}\n" for name, value in diagnosis.fix.items())
        with new_file(path) as part:
            part.write_text(f"# read.* settings of {diagnosis.recording}, by embmem doctor\n{lines or '{}'}", "utf-8")
        return f"{len(diagnosis.fix)} settings in {path}"
    unmended = [f.kind for f in diagnosis.findings if f.severity == "error" and not f.fix]
    if unmended:
        raise InputError(f"{diagnosis.recording}: nothing mends {', '.join(unmended)}; no recording was written")
    reading = read_recording(diagnosis.recording, diagnosis.fix, frame="identity", on_fault="skip")
    n = write_recording((o for o in reading if o.depth is not None and np.isfinite(o.depth).any()), path)
    faults = f", {len(reading.faults)} left out" if reading.faults else ""
    return f"{n} corrected frames in {path}{faults}; the recording itself was not touched"


def _beside(recording: Path) -> Path:
    return recording.with_name(f"{recording.name}.read.yaml")
