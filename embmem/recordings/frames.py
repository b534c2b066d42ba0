"""Samples that belong together: a depth image, its colour, its ids, its pose."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
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


def assemble(samples: Iterable[Sample], main: str, others: dict[str, str], *, gap: float) -> Iterator[RawFrame]:
    """The frames of a pass over the samples, in the order of their main stream; a few seconds are kept in RAM.

    Samples of one group form a frame, whatever their stamps. Without groups each other stream gives the sample nearest
    in time, none if it is farther than `gap`.

    Args:
        samples: in the order of the recording.
        main: name of the stream that gives one sample a frame.
        others: kind -> name of the streams that go with it.
        gap: [s].
    """
    kinds = {name: kind for kind, name in others.items()}
    waiting: deque[Sample] = deque()
    recent: dict[str, deque[Sample]] = {kind: deque(maxlen=_MAX_WAITING) for kind in others}
    group: list[Sample] = []
    lag = max(_LAG, gap)
    for sample in samples:
        if sample.group >= 0:
            if group and group[0].group != sample.group:
                yield from _grouped(group, main, kinds)
                group = []
            group.append(sample)
            continue
        if sample.stream == main:
            waiting.append(sample)
        if sample.stream in kinds:
            recent[kinds[sample.stream]].append(sample)
        while waiting and (_is_complete(waiting[0], recent, gap) or sample.stamp > waiting[0].stamp + lag):
            yield _nearest(waiting.popleft(), recent, gap)
        if len(waiting) > _MAX_WAITING:
            yield _nearest(waiting.popleft(), recent, gap)
    yield from _grouped(group, main, kinds)
    for sample in waiting:
        yield _nearest(sample, recent, gap)


def _grouped(group: list[Sample], main: str, kinds: dict[str, str]) -> Iterator[RawFrame]:
    first = next((sample for sample in group if sample.stream == main), None)
    if first is not None:
        yield RawFrame(first, {kinds.get(s.stream, s.kind): s for s in group if s.stream in kinds or s is first})


def _is_complete(main: Sample, recent: dict[str, deque[Sample]], gap: float) -> bool:
    """Whether every stream has gone past what could be nearest."""
    return all(samples and samples[-1].stamp >= main.stamp + gap for samples in recent.values())


def _nearest(main: Sample, recent: dict[str, deque[Sample]], gap: float) -> RawFrame:
    parts = {main.kind: main}
    for kind, samples in recent.items():
        best = min(samples, key=lambda s: (abs(s.stamp - main.stamp), s.stamp), default=None)
        if best is not None and abs(best.stamp - main.stamp) <= gap:
            parts[kind] = best
    return RawFrame(main, parts)
