"""Which services and actions there are in a domain, by the readers of their requests."""

from __future__ import annotations

import re
from typing import Any

from embmem.dds.types import ros_name

_SEND_GOAL = re.compile(r"(?P<name>.+)/_action/send_goal")
_HIDDEN = re.compile(r".+/_action/(cancel_goal|get_result)")


class Discovery:
    """Hears of the readers of others.

    Args:
        participant: an entity of cyclonedds in the domain.
    """

    def __init__(self, participant: Any) -> None:
        from cyclonedds.builtin import BuiltinDataReader, BuiltinTopicDcpsSubscription

        self._reader = BuiltinDataReader(participant, BuiltinTopicDcpsSubscription)
        self._found: dict[str, str] = {}

    def servers(self) -> dict[str, str]:
        """The type of every service and action heard of so far, by name: `pkg/srv/Name` or `pkg/action/Name`."""
        for endpoint in self._reader.take(N=1000):
            topic, type = str(getattr(endpoint, "topic_name", "")), ros_name(str(getattr(endpoint, "type_name", "")))
            if not topic.startswith("rq/") or not topic.endswith("Request") or type is None:
                continue
            name, type = topic[len("rq") : -len("Request")], type.removesuffix("_Request")
            action = _SEND_GOAL.fullmatch(name)
            if action is not None:
                self._found[action["name"]] = type.removesuffix("_SendGoal")
            elif not _HIDDEN.fullmatch(name):
                self._found[name] = type
        return dict(sorted(self._found.items()))
