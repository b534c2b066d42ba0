"""One observation as bytes and back, bit for bit, without executing anything.

Images are differences along the rows, split into planes of bytes and deflated: as small as PNG, faster, and good for
every integer image as well as for the bits of float32. Depth that lies on a grid of steps is kept in 16 bits.
"""

from __future__ import annotations

import json
import math
import zlib
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from embmem.errors import InputError
from embmem.observation import Intrinsics, Observation
from embmem.records import Record

FORMAT = 1
IMAGES = ("depth", "rgb", "semantic", "instance")
STEPS = (0.001, 0.0002)  # [m] of what sensors and recordings deliver
_MAX_BYTES = 1 << 30  # of one image; what claims more is damaged
_MAX_HEADER = 16 << 20
_MAX_STEPS = 65535


def canonical(observation: Observation, depth_step: float | None = None) -> Observation:
    """The observation as it comes back from its bytes: native contiguous arrays, float64 pose, float32 depth.

    With `depth_step` [m] depth is rounded to whole steps where all of it fits into 16 bits; less than half a step is
    invalid then.
    """
    images = {name: getattr(observation, name) for name in IMAGES}
    dense: dict[str, Any] = {
        name: None if image is None else np.ascontiguousarray(image, dtype=image.dtype.newbyteorder("="))
        for name, image in images.items()
    }
    if dense["depth"] is not None:
        dense["depth"] = dense["depth"].astype(np.float32, copy=False)
        steps = None if depth_step is None else _steps(dense["depth"], depth_step)
        if depth_step is not None and steps is not None:
            dense["depth"] = _metres(steps, depth_step)
    embeddings = observation.embeddings
    if embeddings:
        vectors = np.stack([np.asarray(vector) for vector in embeddings.values()])
        embeddings = {int(n): vector for n, vector in zip(embeddings, vectors, strict=True)}
    return replace(
        observation,
        stamp=float(observation.stamp),
        T_map_camera=np.ascontiguousarray(observation.T_map_camera, dtype=np.float64),
        labels=tuple(observation.labels),
        embeddings=embeddings or None,
        **dense,
    )


def pack(observation: Observation) -> bytes:
    """A canonical observation without stamp and pose, which are facts of its record."""
    parts: dict[str, bytes] = {}
    header: dict[str, Any] = {
        "format": FORMAT,
        "intrinsics": asdict(observation.intrinsics),
        "labels": list(observation.labels),
        "images": {},
    }
    for name in IMAGES:
        image = getattr(observation, name)
        if image is None:
            continue
        step, stored = _on_grid(image) if name == "depth" else (None, image)
        header["images"][name] = {"dtype": stored.dtype.newbyteorder("<").str, "shape": stored.shape, "step": step}
        parts[name] = _deflate(stored)
    if observation.embeddings:
        vectors = np.stack(list(observation.embeddings.values()))
        vectors = np.ascontiguousarray(vectors, dtype=vectors.dtype.newbyteorder("<"))
        header["embeddings"] = {
            "numbers": list(observation.embeddings), "dtype": vectors.dtype.str, "shape": vectors.shape,
        }  # fmt: skip
        parts["embeddings"] = zlib.compress(vectors.tobytes(), 1)
    parts["header"] = zlib.compress(json.dumps(header).encode(), 1)
    return save({name: np.frombuffer(data, dtype=np.uint8) for name, data in parts.items()})


def unpack(record: Record) -> Observation:
    """The observation of a record.

    Raises:
        InputError: if its bytes are damaged, or of a newer format.
    """
    try:
        if record.blob is None or record.T_map_obs is None:
            raise ValueError("it has no pose or no images")
        parts = {name: array.tobytes() for name, array in load(record.blob).items()}
        header = json.loads(_inflate(parts["header"], None))
        if header["format"] != FORMAT:
            raise ValueError(f"its format is {header['format']!r}, this embmem reads {FORMAT}")
        images = {name: _image(parts[name], form) for name, form in header["images"].items() if name in IMAGES}
        intrinsics = dict(header["intrinsics"])
        intrinsics["distortion"] = tuple(intrinsics["distortion"])
        return Observation(
            stamp=record.t_event, T_map_camera=np.array(record.T_map_obs), intrinsics=Intrinsics(**intrinsics),
            labels=tuple(header["labels"]), embeddings=_embeddings(parts, header.get("embeddings")), **images,
        )  # fmt: skip
    except (SafetensorError, zlib.error, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise InputError(f"the images of record {record.id} are damaged: {error}") from error


def _steps(depth: np.ndarray, step: float) -> np.ndarray | None:
    """(h, w) uint16 whole steps, 0 = invalid; None if a depth is too far for them."""
    with np.errstate(invalid="ignore"):
        steps = np.nan_to_num(np.round(depth.astype(np.float64) / step), nan=0.0)
    return steps.astype(np.uint16) if not steps.size or 0 <= steps.min() <= steps.max() <= _MAX_STEPS else None


def _metres(steps: np.ndarray, step: float) -> np.ndarray:
    depth = (steps * step).astype(np.float32)
    depth[steps == 0] = np.nan
    return depth


def _on_grid(depth: np.ndarray) -> tuple[float | None, np.ndarray]:
    """The grid that gives these very bits back and the steps on it, or the depth itself."""
    for step in STEPS:
        steps = _steps(depth, step)
        if steps is not None and np.array_equal(_metres(steps, step).view(np.uint32), depth.view(np.uint32)):
            return step, steps
    return None, depth


def _deflate(image: np.ndarray) -> bytes:
    words = image.astype(image.dtype.newbyteorder("<"), copy=False).view(f"<u{image.dtype.itemsize}")
    change = words.copy()
    change[:, 1:] -= words[:, :-1]
    planes = change.reshape(-1).view(np.uint8).reshape(-1, image.dtype.itemsize).T
    return zlib.compress(planes.tobytes(), 1)


def _image(data: bytes, form: dict[str, Any]) -> np.ndarray:
    dtype, shape = _form(form)
    if len(shape) not in (2, 3):
        raise ValueError(f"an image of shape {shape}")
    planes = np.frombuffer(_inflate(data, dtype.itemsize * math.prod(shape)), dtype=np.uint8)
    change = np.ascontiguousarray(planes.reshape(dtype.itemsize, -1).T).view(f"<u{dtype.itemsize}").reshape(shape)
    words = np.cumsum(change, axis=1, dtype=change.dtype)
    image = words.view(dtype).astype(dtype.newbyteorder("="), copy=False)
    return image if form["step"] is None else _metres(image, float(form["step"]))


def _embeddings(parts: dict[str, bytes], form: dict[str, Any] | None) -> dict[int, np.ndarray] | None:
    if form is None:
        return None
    dtype, shape = _form(form)
    flat = np.frombuffer(_inflate(parts["embeddings"], dtype.itemsize * math.prod(shape)), dtype=dtype)
    vectors = flat.reshape(shape).astype(dtype.newbyteorder("="))
    return {int(n): vector for n, vector in zip(form["numbers"], vectors, strict=True)}


def _form(form: dict[str, Any]) -> tuple[np.dtype[Any], tuple[int, ...]]:
    dtype, shape = np.dtype(form["dtype"]), tuple(int(n) for n in form["shape"])
    if dtype.kind not in "iuf" or dtype.itemsize > 8 or min(shape, default=0) < 0:
        raise ValueError(f"an array of {dtype}{shape}")
    if dtype.itemsize * math.prod(shape) > _MAX_BYTES:
        raise ValueError(f"an array of {dtype}{shape} claims more than {_MAX_BYTES} bytes")
    return dtype, shape


def _inflate(data: bytes, size: int | None) -> bytes:
    """The bytes that were deflated, never more than they should be."""
    expand = zlib.decompressobj()
    out = expand.decompress(data, _MAX_HEADER if size is None else size + 1)
    if not expand.eof or (size is not None and len(out) != size):
        raise ValueError(f"{len(out)} bytes where {size} were written")
    return out
