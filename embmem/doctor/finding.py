"""What the doctor says of a recording, as plain data: what is in it, and each thing that is missing or wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

SEVERITIES = ("error", "warning", "note")  # worst first
_EXACT = 1e-6  # to which settings are typed, in whatever unit
Number = float | int | str
Setting = float | int | str | list[float]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, missing or worth knowing, with the numbers that show it and the settings that mend it.

    `error`: a map built as it stands would be wrong or cannot be built; `warning`: parts of the recording are unusable
    or doubtful; `note`: good to know.
    """

    kind: str
    severity: str  # one of SEVERITIES
    stream: str  # where it shows; empty: the recording as a whole
    message: str  # a sentence: what is wrong, and what to do
    evidence: Mapping[str, Number] = field(default_factory=dict)
    fix: Mapping[str, Setting] = field(default_factory=dict)  # settings under `read.`; empty where none mends it

    def __post_init__(self) -> None:
        if self.severity not in SEVERITIES:
            raise ValueError(f"severity must be one of {', '.join(SEVERITIES)}, got {self.severity!r}")

    @property
    def flags(self) -> str:
        """The settings as they are typed."""
        return " ".join(f"read.{name}={typed(value)}" for name, value in self.fix.items())


@dataclass(frozen=True)
class Content:
    """One stream of the recording."""

    stream: str
    kind: str  # one of `recordings.recording.KINDS`
    type: str  # message type or file format
    n_samples: int
    rate: float | None  # [1/s] by the median step of its stamps; None for less than two
    first: float | None  # [s]
    last: float | None
    frame: str = ""  # frame_id, of a TF the frames that it moves
    detail: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """All that was found out about one recording; findings come worst first, then by kind."""

    recording: str
    format: str
    contents: tuple[Content, ...] = ()
    findings: tuple[Finding, ...] = ()
    facts: dict[str, Number] = field(default_factory=dict)  # numbers that were measured, good or bad
    settings: dict[str, Setting] = field(default_factory=dict)  # under `read.`, with which it was examined

    @property
    def worst(self) -> str | None:
        """The severity of the worst finding; None without any."""
        return min((f.severity for f in self.findings), key=SEVERITIES.index, default=None)

    @property
    def fix(self) -> dict[str, Setting]:
        """The settings with which it was examined and all that the findings propose, those of worse findings first."""
        proposed: dict[str, Setting] = {}
        for finding in self.findings:
            for name, value in finding.fix.items():
                proposed.setdefault(name, value)
        return {**self.settings, **proposed}

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json`; numbers that are not finite become None."""
        plain: dict[str, Any] = _finite(asdict(self))
        return {**plain, "kind": "embmem diagnosis", "version": 1, "worst": self.worst}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Diagnosis:
        """What `to_json` gave.

        Raises:
            ValueError: if it is not that.
        """
        if data.get("kind") != "embmem diagnosis" or data.get("version") != 1:
            raise ValueError(f"no diagnosis of version 1: {data.get('kind')!r} {data.get('version')!r}")
        try:
            return cls(
                recording=str(data["recording"]),
                format=str(data["format"]),
                contents=tuple(Content(**row) for row in data["contents"]),
                findings=tuple(Finding(**row) for row in data["findings"]),
                facts=dict(data["facts"]),
                settings=dict(data["settings"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"no whole diagnosis: {error}") from None


def typed(value: Setting) -> str:
    """A setting as it is typed after `read.<name>=`."""
    if isinstance(value, (list, tuple)):
        return f"[{','.join(typed(x) for x in value)}]"
    if isinstance(value, float):
        short = f"{value:.9g}"
        return short if abs(float(short) - value) < _EXACT else repr(float(value))  # offsets of clocks are long
    return str(value)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
