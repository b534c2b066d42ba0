"""What detectors have in common that look for whatever they are told, from a checkpoint in a local folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from embmem.detection.segments import Box
from embmem.encoders.checkpoints import model_folder, read_json
from embmem.errors import InputError, import_extra

SAFE = {"local_files_only": True, "trust_remote_code": False}
_FROM_ELSEWHERE = ("use_pretrained_backbone", "use_timm_backbone")  # settings with which weights would be fetched


def checked_labels(labels: Sequence[str], threshold: float, batch_size: int) -> tuple[str, ...]:
    """The words to look for.

    Raises:
        ValueError: if there are none, one is empty or twice there, or a number makes no sense.
    """
    words = tuple(" ".join(str(label).split()) for label in labels)
    if not words or not all(words) or len(set(words)) < len(words):
        raise ValueError(f"labels must be different words to look for, at least one, got {list(labels)}")
    if not 0.0 <= threshold < 1.0 or batch_size < 1:
        raise ValueError(f"need 0 <= threshold < 1 and batch_size >= 1, got {threshold} and {batch_size}")
    return words


def detector_folder(path: str | Path, family: str) -> Path:
    """A folder with a model of that family that holds all of its weights.

    Raises:
        InputError: if it is none.
    """
    folder = model_folder(path)
    config = read_json(folder / "config.json", dict)
    if config.get("model_type") != family:
        raise InputError(f"{folder} holds a model of type {config.get('model_type')!r}, not {family!r}")
    if any(config.get(name) for name in _FROM_ELSEWHERE):
        raise InputError(f"{folder}: its backbone lies elsewhere, and nothing is downloaded; save the model with it")
    return folder


def load_network(folder: Path, name: str, **settings: Any) -> tuple[Any, Any, Any]:
    """(network, tokenizer, what prepares images); safetensors only, no code of the folder is run.

    Raises:
        InputError: if tensors of the network are missing.
    """
    library = import_extra("transformers", "vision")
    network, report = getattr(library, name).from_pretrained(
        folder, use_safetensors=True, output_loading_info=True, dtype="float32", **SAFE, **settings
    )
    if report["missing_keys"]:
        names = ", ".join(sorted(report["missing_keys"])[:3])
        raise InputError(f"{folder} lacks {len(report['missing_keys'])} of the model's tensors, among them {names}")
    tokenizer = library.AutoTokenizer.from_pretrained(folder, **SAFE)
    # Pillow prepares images alike whether torchvision is installed or not.
    processor = library.AutoImageProcessor.from_pretrained(folder, backend="pil", **SAFE)
    return network.eval(), tokenizer, processor


def batches(images: Sequence[UInt8[np.ndarray, "_ _ 3"]], most: int) -> Iterator[list[np.ndarray]]:
    """Images in their order, together while they are of one size, so that none needs padding for another.

    Raises:
        ValueError: if an image has no pixels.
    """
    batch: list[np.ndarray] = []
    for image in images:
        if image.size == 0:
            raise ValueError("an image has no pixels")
        if batch and (len(batch) == most or image.shape != batch[0].shape):
            yield batch
            batch = []
        batch.append(image)
    if batch:
        yield batch


def boxes_of(
    scores: Float[np.ndarray, "n k"],
    boxes: Float[np.ndarray, "n 4"],
    labels: Sequence[str],
    *,
    threshold: float,
    size: tuple[int, int],
    unit: tuple[float, float],
) -> list[Box]:
    """The boxes whose best label is sure enough, surest first, cut to the image.

    Args:
        scores: [0, 1] of each box for each label.
        boxes: middle, width and height, in parts of `unit`.
        labels: k words.
        threshold: least score.
        size: (width, height) of the image [px].
        unit: (width, height) [px] that 1 stands for.
    """
    best = scores.argmax(axis=1)
    sure = scores[np.arange(len(scores)), best]
    is_kept = (sure >= threshold) & np.isfinite(boxes).all(axis=1)
    order = np.flatnonzero(is_kept)[np.argsort(-sure[is_kept], kind="stable")]
    middle, half = boxes[:, :2], boxes[:, 2:] / 2
    # the edges of an image lie half a pixel beyond the middles of its outer pixels
    low = np.clip((middle - half) * unit, 0.0, size) - 0.5
    high = np.clip((middle + half) * unit, 0.0, size) - 0.5
    return [
        Box(labels[int(best[i])], float(sure[i]), *map(float, (*low[i], *high[i])))
        for i in order.tolist()
        if (high[i] > low[i]).all()
    ]
