"""`embmem build` of several recordings: a map each, or one memory of all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from time import perf_counter

from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from embmem.building.build import Told
from embmem.building.many import Outcome, build_many, outs_for
from embmem.building.plan import BuildPlan
from embmem.building.sessions import build_merged
from embmem.cli.settings import word
from embmem.errors import InputError


def run_many(cfg: DictConfig, plan: BuildPlan, recordings: list[str], console: Console, tell: Told) -> None:
    """Build what is asked for, and say what became of each recording.

    Raises:
        InputError: if one of them could not be built; the others are.
    """
    started = perf_counter()
    plans, out = [replace(plan, recording=recording) for recording in recordings], Path(plan.out)
    if cfg.merge is not None:
        merger = instantiate(cfg.merger)
        outcomes, merged = build_merged(
            plans, out, merger, frame=word(cfg, "merge"), workers=cfg.workers, overwrite=plan.overwrite, tell=tell
        )
        console.print(_table(outcomes, str(out), perf_counter() - started, shows_files=False))
        console.print("\n".join([f"{merged.n_records:,} records", *merged.aligned]), highlight=False, markup=False)
        return
    out.mkdir(parents=True, exist_ok=True)
    named = zip(plans, outs_for(recordings, out), strict=True)
    outcomes = build_many([replace(p, out=str(file)) for p, file in named], workers=cfg.workers, tell=tell)
    console.print(_table(outcomes, f"maps in {out}", perf_counter() - started, shows_files=True))
    n_failed = sum(outcome.record is None for outcome in outcomes)
    if n_failed:
        raise InputError(f"{n_failed} of {len(outcomes)} recordings could not be built; why is said above")


def _table(outcomes: list[Outcome], what: str, seconds: float, *, shows_files: bool) -> Table:
    n_frames = sum(outcome.record.n_frames for outcome in outcomes if outcome.record is not None)
    title = f"built {what}: {n_frames:,} frames in {seconds:.1f} s ({n_frames / seconds:.0f}/s)"
    table = Table("recording", "frames", "hash of the map", title=title, title_justify="left")
    for outcome in outcomes:
        name = Path(outcome.plan.out).name if shows_files else Path(outcome.plan.recording).name
        if outcome.record is None:
            table.add_row(name, "", outcome.error)
        else:
            table.add_row(name, f"{outcome.record.n_frames:,}", outcome.record.map_hash)
    return table
