"""Names of nodes, topics and services (https://design.ros2.org/articles/topic_and_service_names.html)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from embmem.errors import InputError

_TOKEN = r"[A-Za-z_][A-Za-z0-9_]*"
_NODE = re.compile(_TOKEN)
_NAMESPACE = re.compile(rf"/|(/{_TOKEN})+")
_NAME = re.compile(rf"(/|~/)?{_TOKEN}(/{_TOKEN})*|~")


@dataclass(frozen=True)
class Names:
    """What a node calls things, made full: `depth` in `/robot_1` is `/robot_1/depth`, `~/grid` is below the node.

    Args:
        node: name of the node.
        namespace: `/` or `/robot_1`.
        remaps: from names to names, full ones, relative ones or below the node.
    """

    node: str
    namespace: str = "/"
    remaps: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not _NODE.fullmatch(self.node):
            raise InputError(f"a node is named with letters, digits and _, not {self.node!r}")
        if not _NAMESPACE.fullmatch(self.namespace):
            raise InputError(f"a namespace is / or looks like /robot_1, not {self.namespace!r}")
        for name in (*self.remaps, *self.remaps.values()):
            self._expand(name)

    def full(self, name: str) -> str:
        """The name from the root, after the remaps.

        Raises:
            InputError: if it is no name.
        """
        expanded = self._expand(name)
        for given, new in self.remaps.items():
            if self._expand(given) == expanded:
                return self._expand(new)
        return expanded

    @property
    def path(self) -> str:
        """The full name of the node."""
        return f"{self.namespace.rstrip('/')}/{self.node}"

    def _expand(self, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise InputError(f"{name!r} is no name of a topic or service, as camera/depth, ~/grid or /tf are")
        if name.startswith("~"):
            return f"{self.path}{name[1:]}"
        return name if name.startswith("/") else f"{self.namespace.rstrip('/')}/{name}"
