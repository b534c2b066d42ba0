"""What happened while a memory was built: where the camera was, what was refused, how long each part took."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from embmem.errors import InputError
from embmem.protocols import LayerState
from embmem.store import RecordStore
from embmem.store.snapshots import list_snapshots, read_state, write_layers

ROLE = "build"  # beside the layers of a memory file, and none of them
VERSION = 1
_ARRAYS = {"stamps": (), "T_map_camera": (4, 4), "T_map_camera_corrected": (4, 4)}  # shape after the first axis


@dataclass(frozen=True)
class LoopRecord:
    """A place seen again, and by how much the way there was off."""

    i_stamp: float  # [s] seen first
    j_stamp: float  # [s] seen again
    is_believed: bool  # False: what the other loops and the odometry say speaks against it
    translation: float  # [m] of the correction
    rotation: float  # [rad] likewise


@dataclass(frozen=True, eq=False)
class BuildRecord:
    """One build. Poses are those of the frames in the map, one a frame that was observed."""

    recording: str
    out: str
    n_frames: int  # observed
    refused: dict[str, int] = field(default_factory=dict)  # frames by fault
    repaired: dict[str, int] = field(default_factory=dict)  # likewise, and observed
    seconds: dict[str, float] = field(default_factory=dict)  # by part: open, odometry, read, perceive, observe, ...
    peak_bytes: int = 0  # of RAM that the process held at most; 0 where the system does not tell
    stamps: np.ndarray = field(default_factory=lambda: np.zeros(0))  # (n,) [s]
    T_map_camera: np.ndarray = field(default_factory=lambda: np.zeros((0, 4, 4)))  # as the recording or odometry has it
    T_map_camera_corrected: np.ndarray | None = None  # (n, 4, 4) after loops were closed; None: nothing was corrected
    loops: tuple[LoopRecord, ...] = ()
    map_hash: str = ""
    settings: dict[str, Any] = field(default_factory=dict)  # JSON values

    def to_json(self) -> str:
        """All of it as a JSON object; every number comes back as it was."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        for name in _ARRAYS:
            plain[name] = None if plain[name] is None else plain[name].tolist()
        plain["loops"] = [asdict(loop) for loop in self.loops]
        return json.dumps({"kind": ROLE, "version": VERSION, **plain}, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> BuildRecord:
        """The record that was written.

        Raises:
            InputError: if it is none, of a newer version, or damaged.
        """
        try:
            plain = dict(json.loads(text))
            if plain.pop("kind") != ROLE or plain.pop("version") != VERSION:
                raise ValueError("it is of another kind or version")
            arrays = {name: plain.pop(name) for name in _ARRAYS}
            return _record(plain, {k: np.array(v, dtype=np.float64) for k, v in arrays.items() if v is not None})
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise InputError(f"this is no record of a build: {error}") from error


def write_record(store: RecordStore, record: BuildRecord) -> None:
    """Keep the record in a memory's store, beside the layers; the one of an earlier build goes."""
    plain = json.loads(record.to_json())
    arrays = {name: getattr(record, name) for name in _ARRAYS if getattr(record, name) is not None}
    params = {name: value for name, value in plain.items() if name not in _ARRAYS}
    with store.changing() as db:
        write_layers(db, [LayerState(ROLE, VERSION, params, arrays)], 0, role=ROLE)


def read_record(path: Path | str) -> BuildRecord | None:
    """The record in a memory file; None where it was not built, or before records were kept.

    Raises:
        InputError: if the file or the record is damaged, or the file is missing.
    """
    if not Path(path).is_file():
        raise InputError(f"{path} is not a file")
    with RecordStore(path, read_only=True) as store, store.reading() as db:
        state = next((read_state(str(path), db, s) for s in list_snapshots(db, ROLE) if s.kind == ROLE), None)
    if state is None:
        return None
    if state.version != VERSION:
        raise InputError(f"{path}: its record of the build is of version {state.version}, not {VERSION}")
    params = {name: value for name, value in state.params.items() if name not in ("kind", "version")}
    try:
        return _record(params, state.arrays)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: its record of the build is damaged: {error}") from error


def _record(params: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> BuildRecord:
    """The record, its arrays checked against each other."""
    n = len(arrays["stamps"])
    for name, array in arrays.items():
        shape = (n, *_ARRAYS[name])
        if array.size == 0 and n == 0:
            continue
        if array.shape != shape or array.dtype != np.float64 or not np.isfinite(array).all():
            raise ValueError(f"{name} is {array.dtype}{array.shape}, expected finite float64{shape}")
    sized = {name: np.asarray(array).reshape(n, *_ARRAYS[name]) for name, array in arrays.items()}
    loops = tuple(_loop(one) for one in params["loops"])
    return BuildRecord(**{**params, "loops": loops, **sized})


def _loop(plain: Mapping[str, Any]) -> LoopRecord:
    values: Sequence[float] = [float(plain[name]) for name in ("i_stamp", "j_stamp", "translation", "rotation")]
    return LoopRecord(values[0], values[1], bool(plain["is_believed"]), values[2], values[3])
