"""A `perceive` that ends its process as a full memory or an operator would, once, in the middle of a recording."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from embmem.observation import Observation


class KilledOnce:
    """Adds nothing to observations; at the n-th one kills its process, unless that was done before.

    Args:
        mark: a file that says that it was done.
        at: which observation.
    """

    def __init__(self, mark: str, at: int) -> None:
        self._mark, self._at, self._n = Path(mark), at, 0

    def __call__(self, observation: Observation) -> Observation:
        self._n += 1
        if self._n == self._at and not self._mark.exists():
            self._mark.write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        return observation
