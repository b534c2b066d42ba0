"""Images and texts as vectors of one space, by CLIP and its kin."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from embmem.encoders.checkpoints import loading, model_folder, read_json
from embmem.errors import InputError, import_extra

# How each was trained: SigLIP read every text padded to its full length.
PADDING = {"clip": "longest", "siglip": "max_length"}


class ImageTextEncoder:
    """A checkpoint of CLIP (Radford et al., ICML 2021) or SigLIP (Zhai et al., ICCV 2023) in a local folder.

    Calling it embeds texts, `encode_images` embeds images, and cosines of both compare. Only safetensors are loaded;
    nothing is downloaded, and no code of the folder is run.
    """

    def __init__(
        self, path: str | Path, *, device: str = "cpu", batch_size: int = 32, template: str = "a photo of a {}"
    ) -> None:
        """An encoder on a torch `device`.

        Args:
            path: a folder with config.json, *.safetensors, preprocessor_config.json and the tokenizer's files.
            device: of torch.
            batch_size: images or texts that pass the network together.
            template: the words around a text, as the models were trained on captions; "{}" for none.

        Raises:
            MissingExtraError: if the extra `vision` is not installed.
            InputError: if there is no such folder, or it does not hold the whole of such a model.
            ValueError: if `batch_size` is below 1 or the template has no place for the text.
        """
        if batch_size < 1 or "{}" not in template:
            raise ValueError(f'need batch_size >= 1 and "{{}}" in the template, got {batch_size} and {template!r}')
        self._torch = import_extra("torch", "vision")
        library = import_extra("transformers", "vision")
        import_extra("PIL", "vision")
        folder = model_folder(path)
        family = str(read_json(folder / "config.json", dict).get("model_type"))
        if family not in PADDING:
            raise InputError(f"{folder} holds a model of type {family!r}; known are {', '.join(PADDING)}")
        with loading(folder, "vision"):
            self._model, self._tokenizer, self._processor = _load(library, folder)
            self._model.to(device)
        self._device, self._batch_size, self._template = device, batch_size, template
        self._padding: dict[str, Any] = {
            "padding": PADDING[family],
            "truncation": True,
            "max_length": self._model.config.text_config.max_position_embeddings,
            "return_tensors": "pt",
        }
        self.dim = int(self([""]).shape[1])

    def __call__(self, texts: Sequence[str]) -> Float[np.ndarray, "n d"]:
        """One unit vector a text, float32; what is longer than the model reads is cut."""
        captions = [self._template.replace("{}", text).lower() for text in texts]  # as all of them were trained
        return self._in_batches(captions, self._text_features)

    def encode_images(self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> Float[np.ndarray, "n d"]:
        """One unit vector an RGB image, float32; the images may differ in size.

        Raises:
            ValueError: if an image has no pixels.
        """
        if any(image.size == 0 for image in images):
            raise ValueError("an image has no pixels")
        return self._in_batches(images, self._image_features)

    def _text_features(self, texts: Sequence[str]) -> Any:
        tokens = self._tokenizer(list(texts), **self._padding).to(self._device)
        if self._padding["padding"] == "max_length":
            tokens.pop("attention_mask", None)  # it was trained to read the padding, too
        return self._model.get_text_features(**tokens)

    def _image_features(self, images: Sequence[np.ndarray]) -> Any:
        pixels = self._processor(images=list(images), input_data_format="channels_last", return_tensors="pt")
        return self._model.get_image_features(**pixels.to(self._device))

    def _in_batches(self, items: Sequence[Any], features: Any) -> np.ndarray:
        if not items:
            return np.empty((0, self.dim), np.float32)
        parts = []
        with self._torch.inference_mode():
            for start in range(0, len(items), self._batch_size):
                found = features(items[start : start + self._batch_size]).pooler_output
                parts.append(self._torch.nn.functional.normalize(found.float(), dim=-1).cpu().numpy())
        return np.concatenate(parts)


def _load(library: Any, folder: Path) -> tuple[Any, Any, Any]:
    """The network, ready to be used, its tokenizer and what prepares its images."""
    safe = {"local_files_only": True, "trust_remote_code": False}
    network, report = library.AutoModel.from_pretrained(
        folder, use_safetensors=True, output_loading_info=True, dtype="float32", **safe
    )  # in full precision, also where the weights are kept in half of it
    if report["missing_keys"]:
        names = ", ".join(sorted(report["missing_keys"])[:3])
        raise InputError(f"{folder} lacks {len(report['missing_keys'])} of the model's tensors, among them {names}")
    tokenizer = library.AutoTokenizer.from_pretrained(folder, **safe)
    # Pillow prepares images alike whether torchvision is installed or not.
    processor = library.AutoImageProcessor.from_pretrained(folder, backend="pil", **safe)
    return network.eval(), tokenizer, processor
