"""`embmem compare`: the same episodes in two runs."""

from __future__ import annotations

from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console

from embmem.cli.settings import word

HELP = """embmem compare: the same episodes in two runs of `embmem eval`, agent by agent

  embmem eval task=from_file task.path=val.json.gz episodes=50 out=runs/embedded
  embmem eval task=from_file task.path=val.json.gz episodes=50 world=habitat out=runs/habitat
  embmem compare runs/embedded runs/habitat

Shows the means of both, the difference on the same episodes with 95 % intervals and McNemar's p, and how the shortest
paths differ. Runs whose goals or starts are not the same are refused.
"""
POSITIONAL = ("a", "b")


def run(cfg: DictConfig) -> None:
    """Compare, and show the tables."""
    instantiate(cfg.compare)(word(cfg, "a"), word(cfg, "b"), Console(), seed=cfg.seed)
