"""One goal from being taken to its end: words become stops, the memory is asked, one candidate after another driven to.

What the memory answers is data: its texts are shown and compared, and never read as anything else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np

from embmem.driving import Driver, Stop, StopReader, Target
from embmem.errors import InputError
from embmem.geometry import pose_matrix
from embmem.ros.messages import quaternion_of, vector_of
from embmem.ros.nodes.planner import goals
from embmem.ros.nodes.planner.choosing import Choice, choose, last_heading, straight
from embmem.ros.nodes.planner.driving import ARRIVED, CANCELED, Drive, Progress
from embmem.ros.nodes.planner.goals import Candidate
from embmem.ros.nodes.planner.grid_topic import GridTopic
from embmem.ros.nodes.planner.nav2 import Nav2Drive
from embmem.ros.nodes.planner.own import OwnDrive
from embmem.ros.nodes.planner.settings import Settings
from embmem.ros.nodes.planner.wheels import Wheels
from embmem.ros.nodes.planner.where import newest_transform, pose_stamped, robot_pose, yaw_of
from embmem.ros.outgoing.parts import Fields, pose, time_of
from embmem.ros.ports import ActionClient, Client, Ports, Publisher, ServerGoal

_FEEDBACK = 0.2  # [s] between two
_THERE = 1.0  # [m] from where a thing was, within which it is still there
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Tools:
    """What a goal is carried out with."""

    ports: Ports
    memory: Client  # QueryMemory
    nav2: ActionClient
    driver: Driver
    reader: StopReader | None
    grids: GridTopic
    wheels: Wheels
    line: Publisher
    worker: Executor
    counters: Counter[str]


class Errand:
    """One goal. It ends exactly once: with success, aborted with a reason, or canceled.

    Args:
        goal: that was accepted.
        tools: to carry it out.
        settings: of the node, for the whole of the goal.
    """

    def __init__(self, goal: ServerGoal, tools: Tools, settings: Settings) -> None:
        self.goal, self._tools, self._settings = goal, tools, settings
        self.is_over = False
        self.phase = "reading"
        self.what = goals.describe(goal.request)
        self._limit = goals.seconds_of(goal.request.timeout) or settings.goal_timeout
        self._tolerance = float(goal.request.tolerance) or settings.goal_tolerance
        self._stops: list[Stop] = []
        self._words = ""
        self._candidates: list[Candidate] = []
        self._current: Candidate | None = None
        self._spot: tuple[str, float, float, float] | None = None  # frame, x, y, yaw of where it is driving to
        self._drive: Drive | None = None
        self._progress = Progress()
        self._elapsed = self._since_feedback = self._looked = 0.0  # [s]
        self._frame = ""  # that is driven in
        self._step = 0  # grows with every phase: answers to an earlier one are late
        self._n_attempts = 0
        self._is_canceling = False

    @property
    def is_held(self) -> bool:
        """Whether the robot stands before something in its way."""
        return self._drive is not None and self._progress.is_waiting

    def begin(self) -> None:
        """Find out where to go."""
        request = self.goal.request
        if str(request.pose.header.frame_id):
            self._stops = [Stop("")]
            self._at_pose(request.pose)
        elif str(request.text).strip() and self._tools.reader is not None:
            text = str(request.text).strip()
            self._enter("reading")
            self._background(lambda: self._read(text), self._with_stops)
        else:
            self._with_stops((Stop(str(request.text).strip()),))

    def tick(self, dt: float) -> None:
        """Look after it; `dt` [s] have passed."""
        if self.is_over:
            return
        self._elapsed += dt
        self._since_feedback += dt
        if self._since_feedback >= _FEEDBACK:
            self._since_feedback = 0.0
            self.goal.feedback(self._feedback())
        if self._limit and self._elapsed > self._limit:
            self.abort("goal_timeout", f"not there after {self._limit:g} s")
        elif self._drive is not None:
            self._after(self._drive.tick(dt))
        elif self.phase == "verifying":
            self._looked += dt
            if self._looked >= self._settings.verify_wait:
                self._look_again()

    def restart(self) -> None:
        """The clock has jumped."""
        if isinstance(self._drive, OwnDrive):
            self._drive.restart()

    def cancel(self) -> None:
        """The client wants it no more."""
        if self.is_over or self._is_canceling:
            return
        self._is_canceling = True
        if self._drive is None:
            self._end("canceled", "canceled")
            return
        self._drive.cancel()
        self._after(self._drive.tick(0.0))

    def abort(self, fault: str, message: str) -> None:
        """Give it up."""
        if self._drive is not None:
            self._drive.abandon()
        self._end("aborted", message, fault)

    def _enter(self, phase: str) -> None:
        self.phase, self._step = phase, self._step + 1

    def _only_now(self, callback: Callable[[T], None]) -> Callable[[T], None]:
        """The callback, unless the goal has gone on or ended meanwhile."""
        step = self._step

        def guarded(value: T) -> None:
            if not self.is_over and self._step == step:
                callback(value)

        return guarded

    def _background(self, work: Callable[[], T], then: Callable[[T], None]) -> None:
        """Work on another thread; what it gives comes back here."""
        callback, ports = self._only_now(then), self._tools.ports
        failed = self._only_now(lambda error: self.abort("fault", f"a mistake of the planner: {error}"))

        def run() -> None:
            try:
                result = work()
            except Exception as error:  # must not end the node
                problem = f"{type(error).__name__}: {' '.join(str(error).split())}"
                ports.post(lambda: failed(problem))
            else:
                ports.post(lambda: callback(result))

        self._tools.worker.submit(run)

    def _read(self, text: str) -> Sequence[Stop]:
        stops = () if self._tools.reader is None else self._tools.reader.read(text)
        return stops or (Stop(text),)

    def _with_stops(self, stops: Sequence[Stop]) -> None:
        self._stops = list(stops)
        self._next_stop()

    def _next_stop(self) -> None:
        self._words = self._stops[0].words
        self._enter("recalling")
        settings, words = self._settings, self._words
        asked = goals.question(self.goal.request, words, settings.k, settings.min_confidence)
        self._tools.memory.call(asked, self._only_now(self._with_answer), timeout=settings.query_timeout)

    def _with_answer(self, response: Any | None) -> None:
        about = self._words or self.what
        if response is None:
            limit, ready = self._settings.query_timeout, self._tools.memory.is_ready()
            why = "it is there but slow" if ready else "is its node running?"
            self.abort("memory_silent", f"the memory did not answer in {limit:g} s; {why}")
        elif not response.success:
            self.abort("memory_refused", f"the memory cannot answer: {_short(response.message)}")
        else:
            found = self._found(response)
            if not found:
                said = _short(response.message)
                self.abort("nothing_found", f"the memory knows no place for {about!r}{f': {said}' if said else ''}")
            else:
                self._candidates = found
                self._choose(is_ranked=bool(str(self.goal.request.object).strip()) and len(found) > 1)

    def _found(self, response: Any) -> list[Candidate]:
        """The candidates in the frame that is driven in."""
        settings, frame = self._settings, str(response.found.header.frame_id)
        found = goals.candidates(
            response.found,
            tolerance=self._tolerance,
            stand_distance=settings.stand_distance,
            min_confidence=settings.min_confidence,
        )
        if not len(self.goal.request.image.data):  # where a thing was seen from is no answer while it is known itself
            found = [candidate for candidate in found if candidate.item["kind"] != "view"] or found
        return self._in_drive_frame(found, frame)

    def _in_drive_frame(self, found: list[Candidate], frame: str) -> list[Candidate]:
        """In the frame of the grid; where there is none in their own."""
        tools = self._tools
        self._frame = tools.grids.frame or frame
        if frame == self._frame or not found:
            return found
        try:
            T, _ = newest_transform(tools.ports.tf, self._frame, frame, tools.ports.now_ns())
            return [goals.in_frame(candidate, T) for candidate in found]
        except InputError as error:
            tools.ports.log("warning", f"what the memory answered lies nowhere: {error}", throttle=5.0)
            return []

    def _at_pose(self, message: Any) -> None:
        """A goal that says itself where it is."""
        position, quat = vector_of(message.pose.position), quaternion_of(message.pose.orientation)
        target = Target(position[:2], heading=yaw_of(quat), tolerance=self._tolerance)
        where = pose(pose_matrix(position, quat))
        item = {"id": -1, "kind": "pose", "label": self.what, "has_pose": True, "pose": where}
        here = [Candidate(target, item, self.what, 1.0, position)]
        self._candidates = self._in_drive_frame(here, str(message.header.frame_id))
        if not self._candidates:
            self.abort("stale_tf", f"TF does not lead from {message.header.frame_id!r} to {self._frame!r}")
            return
        self._choose(is_ranked=False)

    def _choose(self, *, is_ranked: bool) -> None:
        """Plan to the best of the candidates."""
        self._enter("planning")
        tools, settings = self._tools, self._settings
        ports, grid, candidates = tools.ports, tools.grids.grid, list(self._candidates)
        robot = robot_pose(ports.tf, self._frame, settings.base_frame, ports.now_ns())
        uses_nav2 = settings.drive == "nav2" or (settings.drive == "auto" and tools.nav2.is_ready())
        if grid is None and not uses_nav2:
            self.abort("no_grid", "no grid of the memory has come, and there is no Nav2 to drive without one")
        elif robot is None:
            self.abort("stale_tf", f"TF does not know {settings.base_frame!r} in {self._frame!r}")
        elif grid is None:
            way = straight(candidates[0].target, robot.position)
            self._with_way(Choice(candidates, 0, way), uses_nav2)
        else:
            work = partial(
                choose, tools.driver, grid, robot.position, candidates, is_ranked=is_ranked, is_urgent=uses_nav2
            )
            self._background(work, lambda choice: self._with_way(choice, uses_nav2))

    def _with_way(self, choice: Choice, uses_nav2: bool) -> None:
        """Drive to the first candidate that a way leads to."""
        way = choice.way
        if way is None:
            names = _short(", ".join(dict.fromkeys(candidate.name for candidate in choice.ordered)))
            self.abort("no_way", f"no way on the memory's grid leads to {names}")
            return
        self._current, self._candidates = choice.ordered[choice.i], choice.ordered[choice.i + 1 :]
        self._n_attempts += 1
        self._enter("driving")
        tools, settings = self._tools, self._settings
        x, y = way.path[-1].tolist()
        self._spot = self._frame, x, y, last_heading(way)
        self._progress = Progress()
        if uses_nav2:
            there = pose_stamped(self._frame, tools.ports.now_ns(), x, y, last_heading(way))
            self._drive = Nav2Drive(tools.nav2, there, settings)
        else:
            self._drive = OwnDrive(
                tools.ports, tools.driver, tools.grids, tools.wheels, tools.line,
                worker=tools.worker, settings=settings, target=self._current.target, way=way,
            )  # fmt: skip

    def _after(self, progress: Progress) -> None:
        """What follows from how the drive is."""
        if progress.fault and progress.is_waiting and progress.fault != self._progress.fault:
            self._tools.counters[f"held: {progress.fault}"] += 1
            self._tools.ports.log("warning", f"standing: {progress.message}", throttle=5.0)
        self._progress = progress
        if not progress.end:
            return
        self._drive = None
        if self._is_canceling or progress.end == CANCELED:
            self._end("canceled", progress.message or "canceled")
        elif progress.end == ARRIVED:
            self._arrived()
        else:
            self._end("aborted", progress.message, progress.fault)

    def _arrived(self) -> None:
        current = self._current
        is_seen = current is not None and current.target.is_thing and current.item.get("layer") != "records"
        if self._settings.verify and is_seen and current is not None and current.item.get("label"):
            self._looked = 0.0
            self._enter("verifying")
        else:
            self._stop_done("")

    def _look_again(self) -> None:
        """Ask whether the thing is still believed to be where the robot went."""
        current, settings = self._current, self._settings
        if current is None:
            return
        self._enter("asking again")
        asked = {"entity": current.item["label"], "k": settings.k, "min_confidence": settings.min_confidence}
        self._tools.memory.call(asked, self._only_now(self._with_second_answer), timeout=settings.query_timeout)

    def _with_second_answer(self, response: Any | None) -> None:
        current = self._current
        if response is None or not response.success or current is None:
            self._stop_done("; whether it is still there could not be asked")
            return
        near = [
            c for c in self._found(response)
            if np.linalg.norm(c.position[:2] - current.position[:2]) <= _THERE + current.target.size / 2.0
        ]  # fmt: skip
        if near:
            self._stop_done("")
            return
        self._tools.counters["gone"] += 1
        if self._candidates and self._n_attempts < self._settings.max_attempts:
            self._tools.ports.log("info", f"{current.name!r} is not there any more; on to the next")
            self._choose(is_ranked=len(self._candidates) > 1)
        else:
            self._end("aborted", f"{_short(current.name)!r} is not there any more, and nothing else is known", "gone")

    def _stop_done(self, note: str) -> None:
        self._stops = self._stops[1:]
        if self._stops:
            self._next_stop()
            return
        name = "" if self._current is None else self._current.name
        self._end("succeeded", f"reached {_short(name or self.what)!r}{note}")

    def _end(self, how: str, message: str, fault: str = "") -> None:
        """Tell the client, once."""
        if self.is_over:
            return
        self.is_over, self._step, self._drive = True, self._step + 1, None
        counters = self._tools.counters
        counters[how] += 1
        if fault:
            counters[f"aborted: {fault}"] += 1
        result: Fields = {"success": how == "succeeded", "message": message, "n_attempts": self._n_attempts}
        result["reached"] = self._robot_fields()
        if self._current is not None:
            result["item"] = self._current.item
        self._tools.ports.log("info" if how != "aborted" else "warning", f"goal {self.what!r} {how}: {message}")
        {"succeeded": self.goal.succeed, "canceled": self.goal.canceled}.get(how, self.goal.abort)(result)

    def _robot_fields(self) -> Fields:
        """A PoseStamped of the robot; empty where TF does not know it."""
        ports = self._tools.ports
        frame = self._spot[0] if self._spot is not None else self._tools.grids.frame
        if not frame:
            return {}
        robot = robot_pose(ports.tf, frame, self._settings.base_frame, ports.now_ns())
        return {} if robot is None else pose_stamped(frame, robot.stamp_ns, robot.x, robot.y, robot.yaw)

    def _feedback(self) -> Fields:
        told: Fields = {
            "phase": "waiting" if self.is_held else self.phase,
            "target": self._current.name if self._current is not None else self._words or self.what,
            "robot": self._robot_fields(),
            "distance_remaining": self._progress.remaining,
            "attempt": max(self._n_attempts, 1),
            "elapsed": time_of(round(self._elapsed * 1e9)),
        }
        if self._spot is not None:
            frame, x, y, yaw = self._spot
            told["goal"] = pose_stamped(frame, self._tools.ports.now_ns(), x, y, yaw)
        return told


def _short(text: Any) -> str:
    """A text of somebody else on one line."""
    words = " ".join(str(text).split())
    return words if len(words) <= 200 else f"{words[:199]}…"
