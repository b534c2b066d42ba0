"""What a scripted model answers at junctions; the chat server of the tests imports it, so it imports little."""

from __future__ import annotations

import json
from typing import Any


def follows(request: dict[str, Any]) -> str:
    """A model of rules that knows what it is shown: once past a junction, then right, then stop beside the church."""
    shown = request["messages"][1]["content"]
    near = [json.loads(text) for text in shown.splitlines() if text.startswith('{"landmark"')]
    if any(landmark["metres"] <= 12 for landmark in near):
        choice = ("stop", 0)
    elif ", then right" in shown or "between two junctions" in shown:
        choice = ("forward", 0)
    elif ", then straight on" in shown:
        choice = ("right", 0)
    else:
        choice = ("forward", 0)
    return json.dumps({"thought": "by rule", "move": choice[0], "junctions": choice[1]})
