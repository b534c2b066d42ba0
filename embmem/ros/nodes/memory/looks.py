"""What the memory node makes of images: embeddings of the views it keeps, and of a picture that somebody asks with."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from embmem.encoders.protocols import ImageEncoder
from embmem.errors import InputError
from embmem.observation import Observation
from embmem.ros.images import compressed_image_of
from embmem.ros.nodes.memory.counters import Counters

MAX_IMAGE = 16 << 20  # bytes of a picture, before it is decoded


class Looks:
    """An image encoder, used by the mapping thread and by the one that answers.

    Args:
        encoder: it.
        counters: of its failures.
    """

    def __init__(self, encoder: ImageEncoder, counters: Counters) -> None:
        self._encoder, self._counters = encoder, counters

    def encode(self, observation: Observation) -> Float[np.ndarray, " d"] | None:
        """The embedding of a view; None, and counted, where the encoder fails: mapping goes on without."""
        if observation.rgb is None:
            return None
        try:
            return self._of(observation.rgb)
        except (RuntimeError, ValueError, OSError):  # of a network, or for want of memory on its device
            self._counters.add("encoder_failures")
            return None

    def picture(self, message: Any) -> Float[np.ndarray, " d"]:
        """The embedding of a sensor_msgs/CompressedImage.

        Raises:
            InputError: if it is damaged, neither JPEG nor PNG, or has no 8 bits a colour.
        """
        pixels = compressed_image_of(message).pixels
        if pixels.dtype != np.uint8:
            raise InputError(f"an image of {pixels.dtype}{pixels.shape}; one of 8 bits a colour is wanted")
        return self._of(np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels)

    def _of(self, rgb: UInt8[np.ndarray, "_ _ 3"]) -> Float[np.ndarray, " d"]:
        return np.asarray(self._encoder.encode_images([np.ascontiguousarray(rgb)])[0])


def able(looks: Looks | None, request: Any) -> Looks:
    """What can answer a QueryMemory request with an image, which is not decoded yet.

    Raises:
        InputError: if it cannot be answered, or makes no sense.
    """
    if looks is None:
        raise InputError(
            "this node keeps no embeddings of images; start it with the parameter image_encoder (layout, or the folder "
            "of a model) and with color: true"
        )
    if len(request.image.data) > MAX_IMAGE:
        raise InputError(f"an image of {len(request.image.data):,} bytes; at most {MAX_IMAGE:,} are taken")
    if request.kind not in ("", "view"):
        raise InputError(f"an image is compared with views, not with {str(request.kind)!r}; leave kind empty")
    if request.text:
        raise InputError("ask with words or with an image, not with both")
    return looks
