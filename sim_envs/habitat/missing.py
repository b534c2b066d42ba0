"""Getting hold of habitat_sim, or saying in one line how it is installed."""

from __future__ import annotations

import importlib
import os
from types import ModuleType

from embmem.errors import MissingExtraError

INSTALL = "conda install habitat-sim headless -c conda-forge -c aihabitat-nightly"


def import_habitat() -> ModuleType:
    """The module habitat_sim, which is told to log errors only unless the environment says otherwise.

    Raises:
        MissingExtraError: if it is not installed; no package index has it, so no extra of ours can bring it.
    """
    for name in ("HABITAT_SIM_LOG", "MAGNUM_LOG"):
        os.environ.setdefault(name, "quiet")  # it reads them when it is imported
    try:
        return importlib.import_module("habitat_sim")
    except ImportError as error:
        raise MissingExtraError(
            f"habitat_sim is not available ({error}); it comes from conda only: {INSTALL} (docs/habitat.md)"
        ) from error
