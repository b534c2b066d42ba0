"""A corrected view of a recording: a small YAML file that names it and the settings by which it is to be read."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from embmem.errors import InputError
from embmem.output import new_file
from embmem.recordings.recording import Recording

SUFFIXES = (".yaml", ".yml")
MAX_BYTES = 1 << 16
MAX_NUMBERS = 16  # in a list
_KEYS = {"recording", "read"}


def is_view(path: Path) -> bool:
    """Whether it has the name of one: inside a bag's folder `metadata.yaml` is none."""
    return path.is_file() and path.suffix in SUFFIXES and path.name != "metadata.yaml"


def write_view(path: Path, recording: Path, settings: Mapping[str, float | str | list[float]]) -> None:
    """Write the view; the recording is named from the folder of the file, so that both can be moved together.

    Raises:
        OutputExistsError: if the file is there.
        InputError: if the recording is a view itself.
    """
    _refuse_view(path, recording)
    named = os.path.relpath(recording.absolute(), path.absolute().parent)
    text = yaml.safe_dump({"recording": named, "read": dict(settings)}, sort_keys=False, allow_unicode=True)
    with new_file(path) as part:
        part.write_text("# A corrected view: give it to embmem in place of the recording.\n" + text, "utf-8")


def open_view(path: Path, open_recording: Callable[[Path], Recording]) -> Recording:
    """The recording that the file names, with its settings for what the format says; the user may overrule both.

    Raises:
        InputError: if the file is no view, or what it names cannot be opened.
    """
    view = _read(path)
    named = Path(str(view["recording"]))
    target = named if named.is_absolute() else path.parent / named
    _refuse_view(path, target)
    recording = open_recording(target)
    settings = view.get("read") or {}
    if not isinstance(settings, dict) or not all(map(_is_plain, settings.values())):
        raise InputError(f"{path}: read must hold settings: words, numbers, lists of numbers")
    try:
        conventions = recording.conventions.but({str(name): value for name, value in settings.items()})
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
    told = ", ".join(f"{name}={value}" for name, value in sorted(settings.items()))
    return replace(recording, conventions=conventions, format=f"{recording.format} by {path.name}: {told}")


def _refuse_view(path: Path, recording: Path) -> None:
    if is_view(recording):
        raise InputError(f"{path}: {recording.name} is a view itself; name the recording that it is of")


def _is_plain(value: object) -> bool:
    """Checked before any message shows the value: aliases of YAML make a few lines print without end."""
    if isinstance(value, list):
        return len(value) <= MAX_NUMBERS and all(isinstance(x, (int, float)) for x in value)
    return isinstance(value, (str, int, float))


def _read(path: Path) -> dict[str, Any]:
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"{path}: a view has at most {MAX_BYTES:,} bytes")
    try:
        view = yaml.safe_load(path.read_text("utf-8"))
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise InputError(f"{path}: no YAML ({' '.join(str(error).split())[:80]})") from None
    if not isinstance(view, dict) or not set(view) <= _KEYS or not isinstance(view.get("recording"), str):
        raise InputError(f"{path}: no view of a recording: it needs `recording: PATH` and `read:` with settings")
    return view
