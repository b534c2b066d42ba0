"""Grounding DINO (Liu et al., Marrying DINO with Grounded Pre-Training, ECCV 2024) from a local folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from embmem.detection.open_vocabulary import batches, boxes_of, checked_labels, detector_folder, load_network
from embmem.detection.segments import Box
from embmem.encoders.checkpoints import loading
from embmem.errors import InputError, import_extra


class GroundingDinoDetector:
    """Looks for words in images. Only safetensors are loaded; nothing is downloaded, no code of the folder is run.

    All labels are read as one sentence, "mug. red chair."; the score of a label is that of the surest of its tokens.
    """

    def __init__(
        self,
        path: str | Path,
        labels: Sequence[str],
        *,
        threshold: float = 0.3,
        device: str = "cpu",
        batch_size: int = 1,
    ) -> None:
        """A detector on a torch `device`.

        Args:
            path: a folder with config.json, *.safetensors, preprocessor_config.json and the tokenizer's files.
            labels: what to look for.
            threshold: least score of a box.
            device: of torch.
            batch_size: images that pass the network together.

        Raises:
            MissingExtraError: if the extra `vision` is not installed.
            InputError: if there is no such folder, it does not hold all of such a model, or the labels are too long.
            ValueError: if a setting makes no sense.
        """
        self._labels = checked_labels(labels, threshold, batch_size)
        parted = [label for label in self._labels if "." in label or "?" in label]
        if parted:
            raise ValueError(f"labels are told apart by full stops, so none can stand in {parted[0]!r}")
        self._torch = import_extra("torch", "vision")
        import_extra("transformers", "vision")
        folder = detector_folder(path, "grounding-dino")
        with loading(folder, "vision"):
            self._model, tokenizer, self._processor = load_network(
                folder, "GroundingDinoForObjectDetection", disable_custom_kernels=True
            )
            self._model.to(device)
            sentence = " ".join(f"{label.lower()}." for label in self._labels)
            self._tokens = tokenizer(sentence, return_token_type_ids=True, return_tensors="pt").to(device)
            ids = self._tokens["input_ids"][0].tolist()
            stop = tokenizer.convert_tokens_to_ids(".")
            self._spans = _spans(ids, stop, len(self._labels), folder)
            most = int(self._model.config.max_text_len)
            if len(ids) > most:
                raise InputError(f"{folder} reads {most} tokens at most, and the labels are {len(ids)}; look for fewer")
        self._device, self._threshold, self._batch_size = device, threshold, batch_size

    def detect(self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> list[list[Box]]:
        """For each RGB image its boxes, surest first.

        Raises:
            ValueError: if an image has no pixels.
        """
        found: list[list[Box]] = []
        for batch in batches(images, self._batch_size):
            pixels = self._processor(images=batch, input_data_format="channels_last", return_tensors="pt")
            text = {name: tokens.repeat(len(batch), 1) for name, tokens in self._tokens.items()}
            with self._torch.inference_mode():
                seen = self._model(**pixels.to(self._device), **text)
                scores, boxes = seen.logits.sigmoid().cpu().numpy(), seen.pred_boxes.cpu().numpy()
            height, width = batch[0].shape[:2]
            found += [
                boxes_of(
                    self._of_labels(s), b, self._labels, threshold=self._threshold, size=(width, height),
                    unit=(float(width), float(height)),
                )
                for s, b in zip(scores, boxes, strict=True)
            ]  # fmt: skip
        return found

    def _of_labels(self, tokens: Float[np.ndarray, "n t"]) -> Float[np.ndarray, "n k"]:
        """Scores of labels from those of tokens."""
        return np.stack([tokens[:, first:last].max(axis=1) for first, last in self._spans], axis=1)


def _spans(ids: list[int], stop: int, n: int, folder: Path) -> list[tuple[int, int]]:
    """First and last token (excluded) of each label in a sentence that begins with a mark and ends with one."""
    stops = [i for i, token in enumerate(ids) if token == stop]
    spans = list(zip([1, *(i + 1 for i in stops)], stops, strict=False))
    if len(spans) != n or any(last <= first for first, last in spans):
        raise InputError(f"{folder}: its tokenizer does not keep {n} labels apart by full stops")
    return spans
