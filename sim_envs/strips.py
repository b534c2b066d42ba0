"""First-person strips: a few frames of an episode side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from embmem.observation import Observation
from embmem.output import write_atomic

N_FRAMES = 6
WIDTH = 160  # [px] of a frame in the strip


class Strip:
    """Keeps evenly spaced frames of an episode of unknown length in bounded memory.

    Every `stride`-th frame is kept; when twice as many as needed have come, every other one goes and the stride
    doubles.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._frames: list[np.ndarray] = []
        self._last: np.ndarray | None = None
        self._stride = 1
        self._count = 0

    def watch(self, observation: Observation) -> None:
        """Take a frame, if it has colours."""
        if observation.rgb is None:
            return
        if self._count % self._stride == 0:
            self._frames.append(observation.rgb)
        self._last = observation.rgb
        self._count += 1
        if len(self._frames) >= 4 * N_FRAMES:
            self._frames = self._frames[::2]
            self._stride *= 2

    def image(self) -> np.ndarray | None:
        """(h, 6 w, 3) uint8: first to last frame; None if there was none."""
        if self._last is None:
            return None
        frames = [*self._frames, self._last]
        chosen = np.linspace(0, len(frames) - 1, N_FRAMES).round().astype(int)
        return np.concatenate([frames[i] for i in chosen], axis=1)

    def save(self) -> None:
        """Write the PNG, whole or not at all."""
        import cv2

        image = self.image()
        if image is None:
            return
        width, height = N_FRAMES * WIDTH, round(N_FRAMES * WIDTH * image.shape[0] / image.shape[1])
        if width < image.shape[1]:
            image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        data = cv2.imencode(".png", np.ascontiguousarray(image[..., ::-1]))[1]
        write_atomic(self._path, data.tobytes())
