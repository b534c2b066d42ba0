"""An evaluation from its configuration to its table: run what is left, summarise, write the report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from embmem.output import write_atomic
from embmem.sim_envs.report import print_summary, summarise, write_report
from embmem.sim_envs.run_folder import config_hash, log_hash
from embmem.sim_envs.runner import evaluate, make_task


def run_evaluation(config: Mapping[str, Any], console: Console) -> Path:
    """The folder of the run, with the rows, summary.json and report.html in it; the table goes to `console`.

    Args:
        config: plain values, see `configs/eval.yaml`; `out` may be None, then the folder is named after the task and
            the configuration, so that the same command finds its run again.
        console: shows the table and where things are; progress goes to standard error.

    Raises:
        EmbmemError: if the folder is taken or a session fails.
        ValueError: if a setting is out of range.
    """
    out = Path(config["out"] or Path("runs") / f"{make_task(config).name}-{config_hash(config)[:8]}")
    rows = evaluate(config, out, workers=config["workers"], console=Console(stderr=True))
    summary = summarise(rows, rng=np.random.default_rng(config["seed"]))
    write_atomic(out / "summary.json", json.dumps(summary, indent=1).encode())
    report = write_report(out, rows, summary)
    print_summary(summary, console)
    console.print(f"episode log {log_hash(rows)}\nreport      {report}", soft_wrap=True, highlight=False)
    return out
