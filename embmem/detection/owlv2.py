"""OWLv2 (Minderer et al., Scaling Open-Vocabulary Object Detection, NeurIPS 2023) from a local folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from embmem.detection.open_vocabulary import batches, boxes_of, checked_labels, detector_folder, load_network
from embmem.detection.segments import Box
from embmem.encoders.checkpoints import loading
from embmem.errors import InputError, import_extra


class Owlv2Detector:
    """Looks for words in images. Only safetensors are loaded; nothing is downloaded, no code of the folder is run."""

    def __init__(
        self,
        path: str | Path,
        labels: Sequence[str],
        *,
        threshold: float = 0.2,
        template: str = "a photo of a {}",
        device: str = "cpu",
        batch_size: int = 4,
    ) -> None:
        """A detector on a torch `device`.

        Args:
            path: a folder with config.json, *.safetensors, preprocessor_config.json and the tokenizer's files.
            labels: what to look for.
            threshold: least score of a box.
            template: the words around a label, as the model was trained on captions; "{}" for none.
            device: of torch.
            batch_size: images that pass the network together.

        Raises:
            MissingExtraError: if the extra `vision` is not installed.
            InputError: if there is no such folder, it does not hold the whole of such a model, or a label is too long.
            ValueError: if a setting makes no sense.
        """
        self._labels = checked_labels(labels, threshold, batch_size)
        if "{}" not in template:
            raise ValueError(f'the template needs a place "{{}}" for the label, got {template!r}')
        self._torch = import_extra("torch", "vision")
        import_extra("transformers", "vision")
        folder = detector_folder(path, "owlv2")
        with loading(folder, "vision"):
            self._model, tokenizer, self._processor = load_network(folder, "Owlv2ForObjectDetection")
            self._model.to(device)
            most = int(self._model.config.text_config.max_position_embeddings)
            texts = [template.replace("{}", label).lower() for label in self._labels]
            long = [
                label
                for label, text in zip(self._labels, texts, strict=True)
                if len(tokenizer(text)["input_ids"]) > most
            ]
            if long:
                raise InputError(f"{folder} reads {most} tokens at most; {long[0]!r} is longer")
            self._tokens = tokenizer(texts, padding="max_length", max_length=most, return_tensors="pt").to(device)
        self._device, self._threshold, self._batch_size = device, threshold, batch_size

    def detect(self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> list[list[Box]]:
        """For each RGB image its boxes, surest first.

        Raises:
            ValueError: if an image has no pixels.
        """
        found: list[list[Box]] = []
        for batch in batches(images, self._batch_size):
            pixels = self._processor(images=batch, input_data_format="channels_last", return_tensors="pt")
            queries = {name: self._tokens[name].repeat(len(batch), 1) for name in ("input_ids", "attention_mask")}
            with self._torch.inference_mode():
                seen = self._model(**queries, pixel_values=pixels["pixel_values"].to(self._device))
                scores, boxes = seen.logits.sigmoid().cpu().numpy(), seen.pred_boxes.cpu().numpy()
            height, width = batch[0].shape[:2]
            side = float(max(height, width))  # below and right of the image it is padded to a square
            found += [
                boxes_of(s, b, self._labels, threshold=self._threshold, size=(width, height), unit=(side, side))
                for s, b in zip(scores, boxes, strict=True)
            ]
        return found
