"""Frames of a video by time, forwards without decoding anything twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from embmem.errors import InputError, import_extra

_FAR = 5.0  # [s]; farther ahead it pays to seek


class VideoCursor:
    """A place in one video at a time."""

    def __init__(self) -> None:
        self._file: Path | None = None
        self._container: Any = None
        self._frames: Iterator[Any] = iter(())
        self._last: tuple[float, Any] | None = None

    def at(self, file: Path, time: float, *, tolerance: float) -> np.ndarray:
        """(h, w, 3) uint8 of the frame at `time` [s], at most `tolerance` [s] away.

        Raises:
            InputError: if there is none, or the video is missing or damaged.
            MissingExtraError: without PyAV.
        """
        av = import_extra("av", "lerobot")
        try:
            if file != self._file or self._last is None or not -tolerance <= time - self._last[0] <= _FAR:
                self._seek(av, file, time)
            while self._last is None or self._last[0] < time - tolerance:
                frame = next(self._frames, None)
                if frame is None:
                    break
                self._last = float(frame.time or 0.0), frame
            if self._last is None or abs(self._last[0] - time) > tolerance:
                raise InputError(f"{file}: no frame at {time:.3f} s")
            return np.asarray(self._last[1].to_ndarray(format="rgb24"))
        except (av.FFmpegError, OSError, ValueError, IndexError) as error:
            raise InputError(f"{file}: {error}") from None

    def _seek(self, av: Any, file: Path, time: float) -> None:
        if file != self._file:
            self.close()
            self._container, self._file = av.open(str(file)), file
        stream = self._container.streams.video[0]
        if stream.time_base is not None:
            self._container.seek(max(0, int(time / stream.time_base)), stream=stream, backward=True)
        self._frames, self._last = self._container.decode(stream), None

    def close(self) -> None:
        """Let go of the file."""
        if self._container is not None:
            self._container.close()
        self._container, self._file, self._last = None, None, None
