"""`embmem doctor`: what is in a recording, what is missing, what is wrong, and the setting that mends it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.progress import Progress
from rich.table import Table

from embmem.cli.settings import word
from embmem.doctor.examine import examine
from embmem.doctor.finding import Content, Diagnosis, Finding
from embmem.doctor.fix import write_fix
from embmem.output import write_atomic
from embmem.recordings.opening import FORMATS

POSITIONAL = ("recording",)
STATUS = {None: 0, "note": 0, "warning": 3, "error": 4}
HELP = f"""embmem doctor: what is in a recording, what is missing, what is wrong

  embmem doctor bag                              streams, rates, frames; findings with their numbers and the flag
  embmem doctor bag read.camera_axes=body        again, with a flag that was proposed
  embmem doctor bag fix=view.yaml                a corrected view: embmem build view.yaml out=map.embmem
  embmem doctor bag fix=mended.mcap              write a corrected recording (*.mcap or a folder); the input stays
  embmem doctor bag json=bag.json                all of it as JSON

It reads {FORMATS}.

How it knows: depth of one frame is seen from another by the recorded poses. Where units, axes, order, direction,
clocks and intrinsics are right, surfaces coincide; what else would make them coincide is what is wrong. Nothing is
guessed from names. Stamps, poses and images are looked at by themselves, too. docs/doctor.md lists every finding.

  error     a map built as it stands would be wrong, or cannot be built
  warning   parts of the recording are unusable or doubtful
  note      good to know
Exit status: 0 nothing wrong, 3 warnings, 4 errors, 1 it cannot be read at all, 2 the call was wrong.
"""
_COLORS = {"error": "bold red", "warning": "yellow", "note": "cyan"}


def run(cfg: DictConfig) -> int:
    """Examine, show, write what was asked for; the exit status."""
    console = Console()
    path = word(cfg, "recording")
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("looking", total=None)
        diagnosis = examine(
            path,
            _settings(cfg),
            on_progress=lambda what, done, n: progress.update(bar, description=what, completed=done, total=n),
        )
    show(diagnosis, console)
    if cfg.json is not None:
        write_atomic(Path(word(cfg, "json")), json.dumps(diagnosis.to_json(), indent=1).encode())
    if cfg.fix is not None:
        console.print(write_fix(diagnosis, None if cfg.fix is True else word(cfg, "fix")), highlight=False)
    return STATUS[diagnosis.worst]


def _settings(cfg: DictConfig) -> dict[str, Any]:
    plain = OmegaConf.to_container(cfg.read)
    if not isinstance(plain, dict):
        raise ValueError(f"read must hold settings, got {plain!r}")
    return {str(name): value for name, value in plain.items()}


def show(diagnosis: Diagnosis, console: Console) -> None:
    """The streams as a table, the findings one below the other."""
    console.print(_contents(diagnosis))
    for finding in diagnosis.findings:
        first, *rest = _finding(finding).split("\n")
        console.print(first, highlight=False)
        console.print(Padding("\n".join(rest), (0, 0, 1, 2)), highlight=False)
    numbers = {severity: sum(f.severity == severity for f in diagnosis.findings) for severity in _COLORS}
    said = ", ".join(f"{n} {severity}{'s' if n > 1 else ''}" for severity, n in numbers.items() if n)
    if not (numbers["error"] or numbers["warning"]):
        console.print(f"[bold green]nothing wrong[/]{f' ({said})' if said else ''}", highlight=False)
    else:
        console.print(f"[bold]{said}[/]", highlight=False)
    console.print(_next(diagnosis), highlight=False, soft_wrap=True, markup=False)


def _next(diagnosis: Diagnosis) -> str:
    """What to type now."""
    errors = [f for f in diagnosis.findings if f.severity == "error" and not f.fix]
    if errors:
        return f"no flag mends {', '.join(sorted({f.kind for f in errors}))}"
    flags = Finding("all", "note", "", "", fix=diagnosis.fix).flags
    needs_skip = any(f.severity == "warning" and "on_fault=skip" in f.message for f in diagnosis.findings)
    return " ".join(
        filter(
            None,
            (
                f"next: embmem build {shlex.quote(diagnosis.recording)} out=map.embmem",
                flags,
                "on_fault=skip" * needs_skip,
            ),
        )
    )


def _contents(diagnosis: Diagnosis) -> Table:
    """A row a stream; what is long stands under its name, so that 80 columns are enough."""
    table = Table(
        title=f"{diagnosis.recording}: {diagnosis.format}", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1)
    )
    table.add_column("stream and frame", overflow="fold")
    table.add_column("what", no_wrap=True)
    for name in ("samples", "per s", "from s", "for s"):
        table.add_column(name, justify="right", no_wrap=True)
    moving = [c for c in diagnosis.contents if c.kind != "tf_static" and c.first is not None]
    start = min((c.first for c in moving if c.first is not None), default=0.0)
    for content in diagnosis.contents:
        table.add_row(*_row(content, start))
    return table


def _row(content: Content, start: float) -> tuple[str, ...]:
    has_time = content.first is not None and content.last is not None and content.kind != "tf_static"
    detail = ", ".join(part for part in content.detail.split(", ") if part != content.frame)
    under = [line for line in (detail, content.frame) if line]
    return (
        "\n".join([escape(content.stream), *(f"[dim]  {escape(line)}[/]" for line in under)]),
        escape(content.kind),
        f"{content.n_samples:,}",
        f"{content.rate:.3g}" if content.rate else "",
        f"{(content.first or 0.0) - start:.2f}" if has_time else "",
        f"{(content.last or 0.0) - (content.first or 0.0):.2f}" if has_time else "",
    )


def _finding(f: Finding) -> str:
    """What, where, why, on what evidence, and the setting that mends it."""
    shown = ", ".join(f"{name} {_number(value)}" for name, value in f.evidence.items() if name != "streams")
    head = f"[{_COLORS[f.severity]}]{f.severity}[/]  [bold]{escape(f.kind)}[/]  {escape(f.stream)}".rstrip()
    flags = f"[bold]{escape(f.flags)}[/]" if f.fix else ""
    lines = [escape(f.message), f"[dim]{escape(shown)}[/]" if shown else "", flags]
    return "\n".join([head, *filter(None, lines)])


def _number(value: float | int | str) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
