"""`embmem node`: run a ROS 2 node without ROS."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from embmem.cli.settings import word
from embmem.errors import InputError

HELP = """embmem node: run a ROS 2 node without ROS (pip install 'embmem[dds]'); it talks to robots on rmw_cyclonedds

  embmem node memory name=memory domain=0                               until Ctrl-C or SIGTERM
  embmem node memory namespace=/robot_1 'remap={depth/image:/robot_1/camera/depth/image_raw}'
  embmem node memory "remap=['~/grid:=/map','odom:=/odometry']"          as ROS writes them
  embmem node planner parameters=planner.yaml use_sim_time=true          a parameter file as ROS 2 has them
  embmem node memory 'set={resolution:0.1}' autostart=false              then: ros2 lifecycle set /memory configure

A domain that is not set is that of ROS_DOMAIN_ID. ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST keeps it on this machine,
CYCLONEDDS_URI is heeded.
"""
POSITIONAL = ("kind",)
_TURN = 0.0001  # [s] that a working thread keeps callbacks waiting; Python's own 5 ms are a tenth of a frame


def run(cfg: DictConfig) -> None:
    """Run it until a signal ends it."""
    from embmem.dds.names import Names
    from embmem.dds.node import RunningNode
    from embmem.dds.parameter_file import parameters_for
    from embmem.ros.parameter_files import NODES

    kind = word(cfg, "kind")
    if kind not in NODES:
        raise InputError(f"kind is one of {', '.join(NODES)}, not {kind!r}")
    module, node_class = NODES[kind]
    names = Names(kind if cfg.name is None else word(cfg, "name"), word(cfg, "namespace"), remaps_of(cfg))
    values = {} if cfg.parameters is None else parameters_for(Path(word(cfg, "parameters")), names.path)
    single = _plain(cfg, "set")
    if not isinstance(single, dict):
        raise InputError(f"set looks like {{name:value}}, not {single!r}")
    values |= {str(name): value for name, value in single.items()}
    if cfg.use_sim_time is not None:
        values["use_sim_time"] = cfg.use_sim_time
    settings: dict[str, Any] = {
        "namespace": names.namespace,
        "parameters": values,
        "remaps": names.remaps,
        "domain": cfg.domain,
        "autostart": cfg.autostart,
        "log_level": word(cfg, "log_level"),
    }
    made = getattr(import_module(module), node_class)
    sys.setswitchinterval(_TURN)
    with stopped_by_signals() as stop, RunningNode(made, names.node, **settings) as node:
        node.ports.log("info", f"{names.path} is {node.state}")
        stop.wait()


@contextmanager
def stopped_by_signals() -> Iterator[threading.Event]:
    """An event that SIGINT or SIGTERM sets; a second signal ends the process at once."""
    stop, numbers = threading.Event(), (signal.SIGINT, signal.SIGTERM)

    def on_signal(number: int, _: Any) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    before = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def remaps_of(cfg: DictConfig) -> dict[str, str]:
    """The setting `remap`: {from:to}, or as ROS writes it, [from:=to, ...].

    Raises:
        InputError: if it is neither.
    """
    value = _plain(cfg, "remap")
    if isinstance(value, str):
        value = [value]
    if isinstance(value, list):
        pairs = [str(item).partition(":=") for item in value]
        if not all(between for _, between, _ in pairs):
            raise InputError(f"remap looks like {{a:b}} or ['a:=b'], not {value!r}")
        value = {old: new for old, _, new in pairs}
    if not isinstance(value, dict):
        raise InputError(f"remap looks like {{a:b}} or ['a:=b'], not {value!r}")
    return {str(old): str(new) for old, new in value.items()}


def _plain(cfg: DictConfig, name: str) -> Any:
    """The setting as plain values; nothing is an empty mapping (that default would be a closed one to Hydra)."""
    value = OmegaConf.to_container(cfg[name], resolve=True) if OmegaConf.is_config(cfg[name]) else cfg[name]
    return {} if value is None else value
