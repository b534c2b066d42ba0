"""Batches cut into parts for threads; the kernels that work on them release the interpreter's lock."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

_FEW = 512  # points or rays that are not worth a thread


def in_parts(work: Callable[[slice], Any], n: int, threads: int) -> None:
    """Do the work on slices of 0..n, side by side; what it writes must not depend on how they are cut.

    Raises:
        ValueError: if threads < 1.
    """
    if threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}")
    n_parts = min(threads, 1 + n // _FEW)
    if n_parts == 1:
        work(slice(0, n))
        return
    cuts = [n * i // n_parts for i in range(n_parts + 1)]
    with ThreadPoolExecutor(n_parts) as executor:
        list(executor.map(work, [slice(a, b) for a, b in pairwise(cuts)]))
