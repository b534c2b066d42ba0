"""Parameter files of ROS 2 from the parameters of a node, with what they mean beside them.

`python -m embmem.ros.parameter_files ros/embmem_ros/config` writes those of all nodes again.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import yaml

from embmem.ros.parameters import USE_SIM_TIME, Parameter

_WIDTH = 100  # characters of a line with a list
# name of the node -> module and class; imported only where they are needed
NODES = {
    "memory": ("embmem.ros.nodes.memory", "MemoryNode"),
    "planner": ("embmem.ros.nodes.planner", "PlannerNode"),
    "perception": ("embmem.ros.nodes.perception", "PerceptionNode"),
    "recorder": ("embmem.ros.nodes.recorder", "RecorderNode"),
}


def parameters_of(node: str) -> tuple[Parameter, ...]:
    """Those of one of our nodes."""
    module, kind = NODES[node]
    parameters: tuple[Parameter, ...] = getattr(import_module(module), kind).PARAMETERS
    return parameters


def yaml_of(title: str, parameters: Sequence[Parameter]) -> str:
    """The defaults as a parameter file for a node of any name in any namespace.

    A list without items stays a comment: rcl has no type for it.
    """
    lines = [f"# {title}", "/**:", "  ros__parameters:"]
    for parameter in parameters:
        if parameter.name == USE_SIM_TIME.name:
            continue
        notes = [parameter.description, *_limits(parameter)]
        lines.append(f"    # {'; '.join(notes)}")
        lines += [f"    {'# ' if parameter.default == [] else ''}{line}" for line in _entry(parameter)]
    return "\n".join(lines) + "\n"


def _entry(parameter: Parameter) -> list[str]:
    """Name and value; a list that is too long for a line has one for each item."""
    line = f"{parameter.name}: {_scalar(parameter.default)}"
    if len(line) <= _WIDTH or not isinstance(parameter.default, list):
        return [line]
    return [f"{parameter.name}:", *(f"  - {_scalar(item)}" for item in parameter.default)]


def _limits(parameter: Parameter) -> list[str]:
    low, high = parameter.low, parameter.high
    limits = []
    if parameter.choices:
        limits = [f"one of {', '.join(choice or repr(choice) for choice in parameter.choices)}"]
    elif low is not None and high is not None:
        limits = [f"{low:g} to {high:g}"]
    elif low is not None:
        limits = [f"at least {low:g}"]
    elif high is not None:
        limits = [f"at most {high:g}"]
    return limits + (["only when the node starts"] if parameter.is_read_only else [])


def _scalar(value: object) -> str:
    if isinstance(value, str):
        return f'"{value}"' if not set(value) & set('"\\') else yaml.safe_dump(value, default_style='"').strip()
    return yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("...\n").strip()


if __name__ == "__main__":
    for name in NODES:
        title = f"Parameters of the {name} node, with their defaults"
        (Path(sys.argv[1]) / f"{name}.yaml").write_text(yaml_of(title, parameters_of(name)), encoding="utf-8")
