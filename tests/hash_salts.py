"""What a program prints when strings hash in other ways."""

from __future__ import annotations

import os
import subprocess
import sys


def outputs_by_salt(script: str) -> set[bytes]:
    """The different outputs of a script over three salts of `hash`; one if the salt changes nothing."""
    return {
        subprocess.run(
            [sys.executable, "-c", script], env={**os.environ, "PYTHONHASHSEED": salt}, capture_output=True, check=True
        ).stdout
        for salt in ("0", "1", "4242")
    }
