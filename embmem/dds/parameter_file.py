"""Parameter files of ROS 2: YAML with the parameters of nodes by their names, wildcards included.

https://docs.ros.org/en/jazzy/Concepts/Basic/About-Parameters.html; rcl_yaml_param_parser.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from embmem.errors import InputError

_MAX_BYTES = 1 << 20
_KEY = "ros__parameters"


def parameters_for(path: Path, node: str) -> dict[str, object]:
    """What a file says for one node, what stands further down in it before what stands above.

    Args:
        path: of the file.
        node: full name, e.g. /robot_1/memory.

    Raises:
        InputError: if it is missing or no such file.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InputError(f"{path}: no parameter file has more than {_MAX_BYTES} bytes")
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise InputError(f"{path}: {' '.join(str(error).split())}") from None
    found: dict[str, object] = {}
    for name, parameters in _sections(content or {}, "", path):
        if _pattern(name).fullmatch(node):
            found.update(_flat(parameters, "", path))
    return found


def _sections(content: Any, above: str, path: Path) -> Iterator[tuple[str, Any]]:
    """(name of nodes, parameters)."""
    if not isinstance(content, dict):
        raise InputError(f"{path}: {above or 'it'} holds no names of nodes")
    for key, value in content.items():
        if key == _KEY:
            yield above, value
        else:
            yield from _sections(value, f"{above}/{str(key).strip('/')}", path)


def _pattern(name: str) -> re.Pattern[str]:
    """`*` is one part of a name, `**` any number of them."""
    parts = (
        r"(/\w+)*" if part == "**" else r"/\w+" if part == "*" else f"/{re.escape(part)}"
        for part in name[1:].split("/")
    )
    return re.compile("".join(parts))


def _flat(parameters: Any, above: str, path: Path) -> dict[str, object]:
    if not isinstance(parameters, dict):
        raise InputError(f"{path}: {above or _KEY} holds no parameters")
    flat: dict[str, object] = {}
    for key, value in parameters.items():
        flat.update(_flat(value, f"{above}{key}.", path) if isinstance(value, dict) else {f"{above}{key}": value})
    return flat
