"""`embmem eval`: agents in the embedded world, a table, a report."""

from __future__ import annotations

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

HELP = """Evaluate agents in the embedded world: a table, a report, pictures.

  embmem eval                                                      a small run: memory against no memory
  embmem eval task=after_the_night episodes=200 workers=2          things have moved since the tour
  embmem eval agent=[frontier,memory,oracle] out=runs/three        an ablation in one run
  embmem eval task.tour=self task.max_steps=300 seed=7             any setting of the task, other houses

tasks: search_again, after_the_night, objectnav, pointnav, multion, questions, from_file
agents: random, forward, frontier, memory, oracle; all of them meet the same houses, starts, goals and noise.
tasks with agents of their own: household/single, composite, complex, personal (docs/households.md); street/e2, e3, e4,
e5, e7, planners, which need EMBMEM_DATA_DIR (docs/streets.md); instructions (docs/instructions.md).
in habitat-sim (docs/habitat.md): world=habitat takes the houses there; task=habitat/pointnav, objectnav, imagenav, r2r
play the episodes of other datasets (task.path) in their scenes (task.scenes).
The folder `out` gets episodes.jsonl, summary.json, report.html, strips/, config.yaml and versions.json. The same
command goes on where an interrupted run stopped. workers=0 runs in this process, for debugging.
"""


def run(cfg: DictConfig) -> None:
    """Run what is left of the evaluation and show its summary.

    Raises:
        EmbmemError: if the folder is taken or a session fails.
        ValueError: if a setting is out of range.
    """
    config = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    if not isinstance(config, dict):
        raise ValueError("the configuration of eval must be a mapping")
    evaluation = config.pop("evaluation")
    instantiate(evaluation)(config=config, console=Console())
