"""The folder of an evaluation: what was run, the rows of every finished session, and nothing half-written.

Every session is one file that appears whole or not at all, so a run that was cut off goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from embmem.errors import InputError, OutputExistsError
from embmem.output import write_atomic

Row = dict[str, Any]
# What decides the rows; the number of workers, pictures and the folder's name do not.
DECISIVE = ("task", "agents", "world", "noise", "episodes", "seed")
SHOWN = 3  # differences that an error message names
MEASURED = "seconds"  # the one field of a row that no seed decides
LIBRARIES = (
    "embmem",
    "numpy",
    "scipy",
    "numba",
    "opencv-python-headless",
    "gymnasium",
    "hydra-core",
    "torch",
    "habitat-sim",
)


def canonical(value: Any) -> str:
    """JSON with one form for one value; NaN is refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def config_hash(config: Mapping[str, Any]) -> str:
    """SHA-256 of the part of a configuration that decides the rows."""
    return hashlib.sha256(canonical({key: config.get(key) for key in DECISIVE}).encode()).hexdigest()


def log_hash(rows: Iterable[Row]) -> str:
    """SHA-256 of the episode log: all rows in a fixed order, without what was measured by a clock."""
    digest = hashlib.sha256()
    for row in sorted(rows, key=lambda r: (r["session"], r["agent"], r["episode"])):
        digest.update(canonical({k: v for k, v in row.items() if k != MEASURED}).encode() + b"\n")
    return digest.hexdigest()


class RunFolder:
    """A folder that belongs to one configuration; opening it again with the same one resumes the run."""

    def __init__(self, path: Path, config: Mapping[str, Any]) -> None:
        """Create the folder, or take up the run that is in it.

        Raises:
            OutputExistsError: if it holds something else, or a run with another configuration.
        """
        self.path = path
        self._config_file = path / "config.yaml"
        if path.exists() and not path.is_dir():
            raise OutputExistsError(f"out={path} is a file")
        if self._config_file.exists():
            self._check_same(config)
        elif path.is_dir() and any(path.iterdir()):
            raise OutputExistsError(f"out={path} is not empty and holds no run of `embmem eval`")
        (path / "sessions").mkdir(parents=True, exist_ok=True)
        if not self._config_file.exists():
            write_atomic(self._config_file, OmegaConf.to_yaml(OmegaConf.create(dict(config))).encode())
        write_atomic(path / "versions.json", json.dumps(versions(), indent=1).encode())

    def _check_same(self, config: Mapping[str, Any]) -> None:
        try:
            there = OmegaConf.to_container(OmegaConf.load(self._config_file))
        except (ValueError, YAMLError, OmegaConfBaseException) as error:
            raise InputError(f"{self._config_file}: not a configuration ({error})") from error
        if not isinstance(there, dict):
            raise InputError(f"{self._config_file}: not a configuration")
        different = list(_differences({k: there.get(k) for k in DECISIVE}, {k: config.get(k) for k in DECISIVE}))
        if different:
            more = f" and {len(different) - SHOWN} more" if len(different) > SHOWN else ""
            raise OutputExistsError(
                f"out={self.path} holds a run with another configuration ({', '.join(different[:SHOWN])}{more}); "
                "choose another folder"
            )

    def finished(self) -> dict[int, list[Row]]:
        """The rows of every finished session.

        Raises:
            InputError: if a file is damaged.
        """
        return {int(file.stem): _read_rows(file) for file in sorted((self.path / "sessions").glob("*.jsonl"))}

    def add(self, session: int, rows: Sequence[Row]) -> None:
        """Keep the rows of a session, all at once."""
        write_atomic(self.path / "sessions" / f"{session:06d}.jsonl", _lines(rows))

    def close(self) -> list[Row]:
        """Gather all sessions into `episodes.jsonl`; returns all rows, ordered by session, agent, episode."""
        rows = [row for _, rows in sorted(self.finished().items()) for row in rows]
        write_atomic(self.path / "episodes.jsonl", _lines(rows))
        return rows


def _differences(there: Any, here: Any, name: str = "") -> Iterator[str]:
    """The settings that differ, as `name: value there, value here`."""
    if there == here:
        return
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        for key in (*there, *(key for key in here if key not in there)):
            yield from _differences(there.get(key), here.get(key), f"{name}.{key}" if name else str(key))
    else:
        shown = [value if not isinstance(value, Mapping) else "set" for value in (there, here)]
        yield f"{name}: {shown[0]} there, {shown[1]} here"


def versions() -> dict[str, str]:
    """The versions that a result may depend on."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _lines(rows: Iterable[Row]) -> bytes:
    return "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows).encode()


def _read_rows(file: Path) -> list[Row]:
    rows = []
    for number, line in enumerate(file.read_text().splitlines(), start=1):
        try:
            rows.append(json.loads(line))
        except ValueError as error:
            raise InputError(f"{file}: line {number} is not JSON ({error})") from error
    return rows
