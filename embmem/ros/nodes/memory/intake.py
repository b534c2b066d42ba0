"""Messages of sensors become posed frames: put together by stamps, looked up in TF, with a bounded patience."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from embmem.errors import InputError
from embmem.recordings.choice import Choice
from embmem.recordings.conventions import Conventions
from embmem.recordings.frames import Assembler, RawFrame
from embmem.recordings.observer import Observer
from embmem.recordings.raw import Sample
from embmem.recordings.recording import Recording, Stream
from embmem.ros.nodes.memory.counters import Counters
from embmem.ros.nodes.memory.poses import PoseSource
from embmem.ros.samples import sample_of
from embmem.ros.tf_buffer import TfBuffer, TransformError

MAIN = {"depth": "depth/image", "points": "points"}
CAMERAS = {"depth/image": "depth/camera_info", "color/image": "color/camera_info"}
LABELS = "semantic/labels"
MOST_LABELS = 1 << 20  # characters
MOST_WAITING = 300  # frames that wait for their poses
DISORDER_NS = 1_000_000_000  # a message that is older than the one before by less came out of order, and is left out
_FINAL = ("tf_gap", "bad_frame")  # faults that no patience mends
_COUNTER = {"extrapolation": "tf_late", "tf_gap": "tf_gap"}  # all else is tf_missing


@dataclass(frozen=True, eq=False)
class PosedFrame:
    """A frame that can be observed."""

    raw: RawFrame
    T_world_camera: Float[np.ndarray, "4 4"]
    observer: Observer
    arrived: float  # [s] of a steady clock
    age: float  # [s] from its stamp to its arrival


@dataclass(frozen=True, eq=False)
class _Waiting:
    raw: RawFrame
    arrived: float  # [s] of a steady clock
    age: float  # [s] from its stamp to its arrival
    deadline_ns: int  # of the node's clock


@dataclass(frozen=True)
class Inputs:
    """Which topics make the frames."""

    main: str  # depth or points
    color: bool = False
    detections: bool = False
    segments: str = "none"  # semantic, or both: instance, too
    is_rectified: bool = False

    def choice(self) -> Choice:
        """As of a recording with these streams."""
        kind = "depth" if self.main == "depth" else "cloud"
        others = {"color": "color/image"} if self.color else {}
        others |= {"detections": "detections"} if self.detections else {}
        kinds = {"none": (), "semantic": ("semantic",), "both": ("semantic", "instance")}[self.segments]
        others |= {kind: f"{kind}/image" for kind in kinds}
        main = Stream(MAIN[self.main], kind, "", 1)
        camera = CAMERAS.get(main.name)
        return Choice(main, others, camera, CAMERAS["color/image"] if self.color else None, self.is_rectified)


class Intake:
    """Takes messages on the thread of the callbacks; converts none of them.

    Args:
        inputs: what makes the frames.
        conventions: what the numbers mean.
        poses: tells where the camera was.
        tf: tells the cameras apart.
        counters: of what is dropped.
        offer: takes the frames that are complete.
        now_ns: the node's clock.
    """

    def __init__(
        self,
        inputs: Inputs,
        conventions: Conventions,
        poses: PoseSource,
        *,
        tf: TfBuffer,
        counters: Counters,
        offer: Callable[[PosedFrame], None],
        now_ns: Callable[[], int],
    ) -> None:
        self.choice = inputs.choice()
        self._conventions, self._poses, self._tf = conventions, poses, tf
        self._counters, self._offer, self._now_ns = counters, offer, now_ns
        self._numbers: dict[str, int] = {}
        self._cameras: dict[str, Sample] = {}  # the latest camera_info by topic
        self._lenses: dict[str, Any] = {}  # what it says
        self._labels: tuple[str, ...] | None = None  # of semantic ids, when they have come
        self._observer: Observer | None = None
        self._waiting: deque[_Waiting] = deque()
        self.wait = 0.5  # [s]
        self.why = ""  # the latest reason of a dropped frame
        self.last_message_ns: int | None = None  # of the node's clock
        self._last_stamp_ns = 0
        self._new_assembler()

    def take(self, message: Any, type: str, topic: str, kind: str) -> None:
        """Take a message of an input."""
        sample = self._sample(message, type, topic, kind)
        if sample is None:
            return
        if topic == self.choice.main.name:
            self._counters.add("received")
            self.last_message_ns = self._now_ns()
            if sample.nanoseconds < self._last_stamp_ns:
                self._counters.add("stamp_backward")
                if sample.nanoseconds >= self._last_stamp_ns - DISORDER_NS:
                    return
                self._let_wait(self._assembler.rest())
                self._new_assembler()
            self._last_stamp_ns = sample.nanoseconds
        self._let_wait(self._assembler.add(sample))
        self.look()

    def _let_wait(self, frames: Iterable[RawFrame]) -> None:
        now, now_ns = time.monotonic(), self._now_ns()
        for frame in frames:
            age = (now_ns - frame.main.nanoseconds) / 1e9
            self._waiting.append(_Waiting(frame, now, age, now_ns + round(self.wait * 1e9)))

    def take_camera(self, message: Any, type: str, topic: str) -> None:
        """Take a camera_info; a new one begins to hold with the next frame."""
        sample = self._sample(message, type, topic, "camera")
        if sample is None:
            return
        try:
            lens = sample.read()
        except InputError as error:
            self._drop("bad_message", str(error))
            return
        if lens == self._lenses.get(topic):
            return
        if topic in self._lenses:
            self._counters.add("camera_changes")
        self._cameras[topic], self._lenses[topic] = sample, lens
        self._observer = None
        self.look()

    def take_labels(self, message: Any) -> None:
        """Take the names of the semantic ids: a std_msgs/String with a JSON list."""
        try:
            labels = json.loads(message.data) if len(message.data) <= MOST_LABELS else None
        except ValueError:
            labels = None
        if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            self._drop("bad_message", f"{LABELS} holds no JSON list of names: {str(message.data)[:40]!r}")
            return
        if tuple(labels) != self._labels:
            self._labels, self._observer = tuple(labels), None
            self.look()

    def look(self) -> None:
        """Give out the frames whose poses have come, in their order, and drop those that have waited for too long."""
        while self._waiting:
            first = self._waiting[0]
            is_over = self._now_ns() >= first.deadline_ns or len(self._waiting) > MOST_WAITING
            try:
                observer = self._observing(first.raw)
                T = self._poses.at(first.raw)
            except TransformError as error:
                if not is_over and error.fault not in _FINAL:
                    return
                self._drop(_COUNTER.get(error.fault, "tf_missing"), str(error))
            except InputError as error:
                if not is_over:
                    return
                self._drop("camera_missing", str(error))
            else:
                self._offer(PosedFrame(first.raw, T, observer, first.arrived, first.age))
            self._waiting.popleft()

    def tick(self) -> None:
        """Look again, as time has passed; a frame waits no longer for other streams when the messages have ended."""
        last = self.last_message_ns
        if last is not None and self._now_ns() - last > self.wait * 1e9:
            self._let_wait(self._assembler.rest())
        self.look()

    def postpone(self) -> None:
        """Let all that wait begin to wait anew, after the clock has jumped forward."""
        deadline = self._now_ns() + round(self.wait * 1e9)
        self._waiting = deque(replace(one, deadline_ns=deadline) for one in self._waiting)

    def flush(self) -> None:
        """Give out what need not wait for other streams, for no more messages will come."""
        self._let_wait(self._assembler.rest())
        self.look()

    def forget(self, counter: str) -> None:
        """Drop all that waits, after time has run backwards or the node has stopped."""
        n = len(self._waiting) + sum(1 for _ in self._assembler.rest())
        self._counters.add(counter, n)
        self._waiting.clear()
        self._new_assembler()
        self._last_stamp_ns, self.last_message_ns = 0, None

    def _new_assembler(self) -> None:
        self._assembler = Assembler(self.choice.main.name, self.choice.others, gap=self._conventions.color_gap)

    def _sample(self, message: Any, type: str, topic: str, kind: str) -> Sample | None:
        number = self._numbers[topic] = self._numbers.get(topic, 0) + 1
        try:
            return sample_of(message, type, stream=topic, kind=kind, number=number)
        except (AttributeError, TypeError, ValueError) as error:
            self._drop("bad_message", f"{topic} message {number}: {error}")
            return None

    def _drop(self, counter: str, why: str) -> None:
        self._counters.add(counter)
        self.why = why

    def _observing(self, frame: RawFrame) -> Observer:
        """What makes observations with the cameras known now.

        Raises:
            InputError: if a camera_info has not come yet.
        """
        if self._observer is not None:
            return self._observer
        needed = [name for name in (self.choice.camera, self.choice.color_camera) if name is not None]
        missing = [name for name in needed if name not in self._cameras]
        missing += [LABELS] if "semantic" in self.choice.others and self._labels is None else []
        if missing:
            raise InputError(f"no message on {', '.join(missing)}")
        cameras = dict(self._cameras)
        streams = tuple(Stream(name, "camera", "", 1) for name in cameras)
        others = tuple(Stream(name, kind, "", 1) for kind, name in self.choice.others.items())
        recording = Recording(
            path=Path("the wire"),
            format="ROS 2",
            streams=(self.choice.main, *others, *streams),
            samples_of=lambda names: iter([s for name, s in cameras.items() if name in names]),
            labels=self._labels or (),
        )
        self._observer = Observer(recording, self._conventions, self.choice, self._tf)
        return self._observer
