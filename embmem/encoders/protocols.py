"""What an encoder is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8


@runtime_checkable
class TextEncoder(Protocol):
    """Anything that can be called like this: a model, a client, a table."""

    def __call__(self, texts: Sequence[str]) -> Float[np.ndarray, "n d"]:
        """One unit vector a text, float32."""


@runtime_checkable
class ImageEncoder(Protocol):
    """Images, and crops of them, as vectors."""

    def encode_images(self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> Float[np.ndarray, "n d"]:
        """One unit vector an RGB image of any size, float32."""
