"""Every annotation of embmem is checked while the tests run (jaxtyping shapes, beartype types)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

install_import_hook("embmem", "beartype.beartype")

# Compilation makes the first example slow, so a deadline would fail at random; the same examples on every run.
# HYPOTHESIS_PROFILE=thorough looks longer, and elsewhere every time.
settings.register_profile("embmem", deadline=None, derandomize=True, max_examples=30)
settings.register_profile("thorough", deadline=None, max_examples=500)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "embmem"))


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The public recordings, where they are present."""
    path = Path(os.environ.get("EMBMEM_DATA_DIR", "../shared/data"))
    if not path.is_dir():
        pytest.skip(f"no public data at {path} (set EMBMEM_DATA_DIR)")
    return path
