"""Console scripts: a node class of the library each, imported only where it runs."""

from __future__ import annotations

from importlib import import_module

from embmem.ros.parameter_files import NODES
from embmem_ros.shell import run


def _main(name: str) -> None:
    module, kind = NODES[name]
    run(getattr(import_module(module), kind), name)


def memory() -> None:
    """Maps what the sensors see and answers questions about it."""
    _main("memory")


def planner() -> None:
    """Goes to what is remembered."""
    _main("planner")


def perception() -> None:
    """Brings the things that a detector finds into the map frame."""
    _main("perception")


def recorder() -> None:
    """Writes topics into a bag."""
    _main("recorder")
