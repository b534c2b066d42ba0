"""One short word for what is in the maps of a memory: the same word means the same maps."""

from __future__ import annotations

import hashlib
import json

import numpy as np

from embmem.memory import Memory


def map_hash(memory: Memory) -> str:
    """32 hexadecimal digits of all layers as they would be saved: settings and every bit of every array."""
    digest = hashlib.sha256()
    for layer in memory.layers:
        state = layer.save()
        digest.update(json.dumps([state.kind, state.version, state.params], sort_keys=True).encode())
        for name in sorted(state.arrays):
            array = np.ascontiguousarray(state.arrays[name])
            digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
            digest.update(array.tobytes())
    return digest.hexdigest()[:32]
