"""Getting hold of habitat_sim, or saying in one line how it is installed."""

from __future__ import annotations

import importlib
from types import ModuleType

from embmem.errors import MissingExtraError

INSTALL = "conda install habitat-sim headless -c conda-forge -c aihabitat-nightly"


def import_habitat() -> ModuleType:
    """The module habitat_sim.

    Raises:
        MissingExtraError: if it is not installed; no package index has it, so no extra of ours can bring it.
    """
    try:
        return importlib.import_module("habitat_sim")
    except ImportError as error:
        raise MissingExtraError(
            f"habitat_sim is not available ({error}); it comes from conda only: {INSTALL} (docs/habitat.md)"
        ) from error
