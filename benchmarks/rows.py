"""The row of a figure as every benchmark writes it with `--json`."""

from __future__ import annotations

from typing import Any


def row(
    name: str,
    ours: float,
    *,
    goal: str = "none set",
    met: bool = True,
    peer: float | None = None,
    peer_name: str = "none",
) -> dict[str, Any]:
    """A figure, a peer's where there is one, and whether the goal is met; `ratio` is ours / peer."""
    ratio = ours / peer if peer else None
    return {
        "name": name, "ours": ours, "peer": peer, "peer_name": peer_name, "ratio": ratio, "goal": goal,
        "met": bool(met),
    }  # fmt: skip
