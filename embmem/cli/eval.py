"""`embmem eval`: agents in the embedded world, a table, a report."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

HELP = """Evaluate agents in the embedded world: a table, a report, pictures.

  embmem eval                                                      a small run: memory against no memory
  embmem eval task=after_the_night episodes=200 workers=2          things have moved since the tour
  embmem eval agent=[frontier,memory,oracle] out=runs/three        an ablation in one run
  embmem eval task.tour=self task.max_steps=300 seed=7             any setting of the task, other houses

tasks: search_again, after_the_night, objectnav, pointnav, multion, questions
agents: random, forward, frontier, memory, oracle; all of them meet the same houses, starts, goals and noise.
The folder `out` gets episodes.jsonl, summary.json, report.html, strips/, config.yaml and versions.json. The same
command goes on where an interrupted run stopped. workers=0 runs in this process, for debugging.
"""


def run(cfg: DictConfig) -> None:
    """Run what is left of the evaluation and show its summary.

    Raises:
        EmbmemError: if the folder is taken or a session fails.
        ValueError: if a setting is out of range.
    """
    # The simulator is above the core, which may reach it at run time only.
    runner = importlib.import_module("embmem.sim_envs.runner")
    folder = importlib.import_module("embmem.sim_envs.run_folder")
    config = _plain(cfg)
    task = runner.make_task(config)
    out = Path(cfg.out or Path("runs") / f"{task.name}-{folder.config_hash(config)[:8]}")
    console = Console(stderr=True)
    rows = runner.evaluate(config, out, workers=cfg.workers, console=console)
    _publish(rows, config, out)
    Console().print(f"episode log {folder.log_hash(rows)}\nreport      {out / 'report.html'}", soft_wrap=True)


def _plain(cfg: DictConfig) -> dict[str, Any]:
    config = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    if not isinstance(config, dict):
        raise ValueError("the configuration of eval must be a mapping")
    return {str(key): value for key, value in config.items()}


def _publish(rows: list[dict[str, Any]], config: dict[str, Any], out: Path) -> None:
    """Summary and report beside the rows, the table in the terminal."""
    report = importlib.import_module("embmem.sim_envs.report")
    summary = report.summarise(rows, rng=np.random.default_rng(config["seed"]))
    importlib.import_module("embmem.sim_envs.run_folder").write_atomic(
        out / "summary.json", json.dumps(summary, indent=1).encode()
    )
    report.write_report(out, rows, summary)
    report.print_summary(summary, Console())
