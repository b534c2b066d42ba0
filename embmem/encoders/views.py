"""Which image encoder a memory uses, by the name that a setting gives it, and what it makes of observations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from embmem.encoders.checkpoints import model_folder
from embmem.encoders.layout import LayoutEncoder
from embmem.encoders.protocols import ImageEncoder
from embmem.encoders.vision import ImageTextEncoder
from embmem.observation import Observation

LAYOUT = "layout"


@dataclass(frozen=True)
class ViewEncoder:
    """Embeddings of observations by their colour images: an `encode_view` of a `Memory`."""

    encoder: ImageEncoder

    def __call__(self, observation: Observation) -> Float[np.ndarray, " d"] | None:
        """One unit vector, float32; None where there is no colour image."""
        if observation.rgb is None:
            return None
        return np.asarray(self.encoder.encode_images([observation.rgb])[0])


def image_encoder(name: str) -> ImageEncoder | None:
    """What a setting names: nothing, `layout`, or a folder with a checkpoint of CLIP or SigLIP.

    Raises:
        MissingExtraError: if it is a folder and the extra `vision` is not installed.
        InputError: if there is no such folder, or it holds no such model.
    """
    if not name:
        return None
    return LayoutEncoder() if name == LAYOUT else ImageTextEncoder(model_folder(name))
