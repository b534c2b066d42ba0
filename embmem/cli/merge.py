"""`embmem merge`: one memory of several."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from embmem.cli.settings import word
from embmem.merge.files import Merged

HELP = """embmem merge: make one memory of several: of sessions, or of robots

  embmem merge a.embmem b.embmem out=c.embmem               find the session of b in the map of a, then merge both
  embmem merge a.embmem b.embmem out=c.embmem frame=same    both robots had the same map frame
  embmem merge c.embmem a.embmem out=d.embmem               what was merged before, and what a has taken in since

Nothing is there twice, and what was withdrawn, corrected or purged in one file is so in the merged one. Layers are
replayed from the frames of all files, in the order of time. A session that cannot be found for sure is not merged.
"""
POSITIONAL = ("files...",)


def run(cfg: DictConfig) -> None:
    """Merge, and say what came of it."""
    if not OmegaConf.is_list(cfg.files):
        raise ValueError(f"files must be a list of two files or more, e.g. files=[a.embmem,b.embmem], got {cfg.files}")
    files, out = [Path(str(file)) for file in cfg.files], Path(word(cfg, "out"))
    merge = instantiate(cfg.merge)
    merged: Merged = merge(files, out, frame=word(cfg, "frame"), layers=cfg.layers, overwrite=cfg.overwrite)
    console = Console()
    if cfg.json:
        console.out(json.dumps(asdict(merged)), highlight=False)
        return
    gone = f", {merged.n_purged:,} stay away because they were purged" if merged.n_purged else ""
    memories = "memory" if merged.n_memories == 1 else "memories"
    told = f"{out}  {merged.n_records:,} records of {merged.n_memories} {memories}{gone}"
    console.print("\n".join([told, *merged.aligned]), highlight=False, soft_wrap=True, markup=False)
