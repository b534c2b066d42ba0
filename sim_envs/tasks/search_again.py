"""Search again: a tour of the house first, then searches in a row; what was seen on the way may be remembered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from embmem.sim_envs.tasks.objectnav import Goals, ObjectNav
from embmem.sim_envs.tasks.task import Tour


@dataclass(frozen=True, kw_only=True)
class SearchAgain(ObjectNav):
    """ObjectNav for small objects in a house that was shown before; nothing has moved."""

    name: ClassVar[str] = "search_again"

    n_rooms: int = 12  # in 6 rooms 500 steps find everything, with or without memory
    per_session: int = 10
    tour: Tour = "guided"
    keeps_memory: bool = True
    goals: Goals = "objects"
