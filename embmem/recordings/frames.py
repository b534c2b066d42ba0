"""Samples that belong together: a depth image, its colour, its ids, its pose."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from embmem.recordings.raw import Sample

_LAG = 2.0  # [s] by which one stream may come later in the recording than another
_MAX_WAITING = 64  # samples of a stream that are kept for others to come


@dataclass(frozen=True, eq=False)
class RawFrame:
    """One instant as it was recorded; `parts` by kind: depth, color, semantic, instance, cloud, scan, pose."""

    main: Sample  # what gives the frame its stamp and its name
    parts: dict[str, Sample] = field(default_factory=dict)

    @property
    def stamp(self) -> float:
        """[s]."""
        return self.main.stamp

    def describe(self) -> str:
        """What names the frame in a message: its pose where that is a file of its own, else its main sample."""
        pose = self.parts.get("pose")
        return self.main.source if pose is None else pose.source


class Assembler:
    """Puts the samples of several streams together as they come, in the order of the main stream.

    Each other stream gives the sample nearest in time, none if it is farther than `gap`. A frame is given out when no
    nearer sample can come, or when the streams have gone on by some seconds without it.

    Args:
        main: name of the stream that gives one sample a frame.
        others: kind -> name of the streams that go with it.
        gap: [s].
    """

    def __init__(self, main: str, others: Mapping[str, str], *, gap: float) -> None:
        self._main, self._kinds, self._gap = main, {name: kind for kind, name in others.items()}, gap
        self._waiting: deque[Sample] = deque()
        self._recent: dict[str, deque[Sample]] = {kind: deque(maxlen=_MAX_WAITING) for kind in others}

    def add(self, sample: Sample) -> Iterator[RawFrame]:
        """The frames that this sample completes."""
        waiting, recent, gap = self._waiting, self._recent, self._gap
        if sample.stream == self._main:
            waiting.append(sample)
        if sample.stream in self._kinds:
            recent[self._kinds[sample.stream]].append(sample)
        lag = max(_LAG, gap)
        while waiting and (_is_complete(waiting[0], recent, gap) or sample.stamp > waiting[0].stamp + lag):
            yield _nearest(waiting.popleft(), recent, gap)
        if len(waiting) > _MAX_WAITING:
            yield _nearest(waiting.popleft(), recent, gap)

    def rest(self) -> Iterator[RawFrame]:
        """The frames that still wait, with what there is of them."""
        while self._waiting:
            yield _nearest(self._waiting.popleft(), self._recent, self._gap)


def assemble(samples: Iterable[Sample], main: str, others: dict[str, str], *, gap: float) -> Iterator[RawFrame]:
    """The frames of a pass over the samples, in the order of their main stream; a few seconds are kept in RAM.

    Samples of one group form a frame, whatever their stamps; without groups see `Assembler`.

    Args:
        samples: in the order of the recording.
        main: name of the stream that gives one sample a frame.
        others: kind -> name of the streams that go with it.
        gap: [s].
    """
    kinds = {name: kind for kind, name in others.items()}
    assembler = Assembler(main, others, gap=gap)
    group: list[Sample] = []
    for sample in samples:
        if sample.group >= 0:
            if group and group[0].group != sample.group:
                yield from _grouped(group, main, kinds)
                group = []
            group.append(sample)
            continue
        yield from assembler.add(sample)
    yield from _grouped(group, main, kinds)
    yield from assembler.rest()


def _grouped(group: list[Sample], main: str, kinds: dict[str, str]) -> Iterator[RawFrame]:
    first = next((sample for sample in group if sample.stream == main), None)
    if first is not None:
        yield RawFrame(first, {kinds.get(s.stream, s.kind): s for s in group if s.stream in kinds or s is first})


def _is_complete(main: Sample, recent: dict[str, deque[Sample]], gap: float) -> bool:
    """Whether every stream has gone past what could be nearest, or has what nothing can be nearer than."""
    return all(
        any(sample.stamp == main.stamp or sample.stamp >= main.stamp + gap for sample in reversed(samples))
        for samples in recent.values()
    )


def _nearest(main: Sample, recent: dict[str, deque[Sample]], gap: float) -> RawFrame:
    parts = {main.kind: main}
    for kind, samples in recent.items():
        best = min(samples, key=lambda s: (abs(s.stamp - main.stamp), s.stamp), default=None)
        if best is not None and abs(best.stamp - main.stamp) <= gap:
            parts[kind] = best
    return RawFrame(main, parts)
