"""`embmem play`: play a ROS 2 bag on the wire."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console

from embmem.cli.node import remaps_of, stopped_by_signals
from embmem.cli.settings import word

HELP = """embmem play: play a ROS 2 bag as topics with /clock, without ROS (pip install 'embmem[dds]')

  embmem play drive                              a folder with metadata.yaml, or one .mcap or .db3
  embmem play drive rate=10 'remap={/odom:/robot_1/odom}'
  embmem play drive 'topics=[/tf,/odom]' loop=true
  embmem play drive 'wait_for=[/odom]'           begins when somebody listens to /odom

Nodes take the time of the bag with use_sim_time=true.
"""
POSITIONAL = ("file",)


def run(cfg: DictConfig) -> None:
    """Play it to its end, or until a signal ends it."""
    from embmem.dds.names import Names
    from embmem.dds.participant import domain_id
    from embmem.dds.play import Player
    from embmem.dds.ports import DdsPorts

    settings: dict[str, Any] = {
        "rate": float(cfg.rate),
        "is_looping": cfg.loop,
        "clock": float(cfg.clock),
        "topics": list(cfg.topics),
        "start": float(cfg.start),
        "duration": float(cfg.duration),
        "wait_for": list(cfg.wait_for),
    }
    names = Names(word(cfg, "name"), "/", remaps_of(cfg))
    with stopped_by_signals() as stop:
        player = Player(Path(word(cfg, "file")), stop=stop, **settings)
        ports = DdsPorts(names, domain_id() if cfg.domain is None else cfg.domain)
        ports.executor.start()
        try:
            player.play(ports)
        finally:
            ports.close()
    console = Console()
    for topic, n in sorted(player.played.items()):
        console.print(f"{n:8,}  {topic}", markup=False, highlight=False)
