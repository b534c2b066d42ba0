"""Labels the frames of a build by a detector that looks at their colours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from embmem.detection.segments import Box, painted, segments_of
from embmem.errors import InputError
from embmem.observation import Observation


@runtime_checkable
class BoxDetector(Protocol):
    """Draws boxes around things in images."""

    def detect(self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> list[list[Box]]:
        """For each RGB image its boxes."""


class DetectedLabels:
    """Gives each frame the segments that a detector finds in it, instead of what it was recorded with.

    Args:
        detector: of boxes, e.g. `Owlv2Detector`.
        then: called with the labelled frame, e.g. `LabelEmbeddings`, so that questions in other words work.
    """

    def __init__(self, detector: BoxDetector, then: Callable[[Observation], Observation] | None = None) -> None:
        self._detector, self._then = detector, then

    def __call__(self, observation: Observation) -> Observation:
        """The frame with `semantic`, `instance` and `labels`.

        Raises:
            InputError: if it has no colours, or they are not in the pixels of its depth.
        """
        rgb, depth = observation.rgb, observation.depth
        if rgb is None:
            raise InputError("a detector needs to see colours: set colour=true, and record colour images")
        if depth is not None and rgb.shape[:2] != depth.shape:
            raise InputError(f"colour is {rgb.shape[1]}x{rgb.shape[0]}, depth {depth.shape[1]}x{depth.shape[0]}")
        (boxes,) = self._detector.detect([rgb])
        found = painted(replace(observation, embeddings=None), segments_of(boxes, observation))
        return found if self._then is None else self._then(found)
