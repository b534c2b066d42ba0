"""Tasks that bring their own world: the runner leaves the whole session to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class OwnWorld(Protocol):
    """A task whose episodes do not happen in the world of `configs/world`.

    `embmem eval` instantiates it with its agents, plays session after session, and makes the same folder, tables and
    report of the rows as for any other task; see `report.summary.METRICS` for the keys that are shown.
    """

    name: str
    per_session: int  # episodes

    def play(
        self,
        agents: Mapping[str, Any],
        *,
        seed: int,
        index: int,
        n: int,
        on_row: Callable[[dict[str, Any]], None],
    ) -> list[dict[str, Any]]:
        """The rows of all agents in session `index` with `n` episodes each, agents in the order given.

        A row has `agent`, `task`, `session`, `episode`, `success` and what the task measures; `on_row` is called
        with each as soon as it is there. The rows of an agent are the same whoever else takes part.
        """
