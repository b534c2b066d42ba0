"""Driving without Nav2: a way on the memory's grid is followed; whatever is stale or in the way stops the wheels."""

from __future__ import annotations

import math
from concurrent.futures import Executor, Future

import numpy as np

from embmem.driving import Driver, Grid, Target, Way
from embmem.ros.messages import NANOSECONDS
from embmem.ros.nodes.planner.driving import ARRIVED, CANCELED, FAILED, Progress
from embmem.ros.nodes.planner.grid_topic import GridTopic
from embmem.ros.nodes.planner.settings import Settings
from embmem.ros.nodes.planner.wheels import Wheels
from embmem.ros.nodes.planner.where import Pose, pose_stamped, robot_pose
from embmem.ros.outgoing.parts import header
from embmem.ros.ports import Ports, Publisher

_MOVED = 0.05  # [m], or [rad], that count as having moved
_NEAR = 0.3  # [m] from the end of a free way, where no other one is looked for
_MOST_DT = 0.25  # [s] that one command is taken to have lasted


class OwnDrive:
    """Follows a way on the newest grid, which is planned anew all the time.

    The wheels stand while the pose or the grid is stale, or something is in the way; if that lasts, the drive has
    failed.

    Args:
        ports: of the node.
        driver: that plans and follows.
        grids: of the memory.
        wheels: of the robot.
        line: where the way is published, as nav_msgs/Path.
        worker: plans.
        settings: of the node.
        target: to drive to.
        way: the first way there.
    """

    def __init__(
        self,
        ports: Ports,
        driver: Driver,
        grids: GridTopic,
        wheels: Wheels,
        line: Publisher,
        *,
        worker: Executor,
        settings: Settings,
        target: Target,
        way: Way,
    ) -> None:
        self._ports, self._driver, self._grids = ports, driver, grids
        self._wheels, self._line, self._worker, self._settings = wheels, line, worker, settings
        self._target = target
        self._now = Progress()
        self._held = self._since_plan = self._commanded = 0.0  # [s]
        self._moving = 0.0  # [s] driven since the grid was heard of
        self._heard_ns = grids.heard_ns
        self._anchor: Pose | None = None  # where the robot moved last
        self._planning: Future[Way | None] | None = None
        self._take(way)

    def tick(self, dt: float) -> Progress:
        """Give the next command."""
        if self._now.end:
            return self._now
        now_ns, settings = self._ports.now_ns(), self._settings
        pose = robot_pose(self._ports.tf, self._grids.frame, settings.base_frame, now_ns)
        grid = self._grids.grid
        reason = self._stale(pose, grid, now_ns)
        if reason is not None or pose is None or grid is None:
            return self._hold(*(reason or ("stale_tf", "")), dt)
        self._replan(grid, pose, dt)
        move = self._driver.move(grid, (pose.x, pose.y, pose.yaw), min(dt, _MOST_DT))
        if move.has_arrived:
            return self._finish(Progress(ARRIVED, 0.0, "arrived"))
        if math.isnan(move.remaining):
            return self._hold("no_way", "no way leads there any more", dt)
        if move.is_blocked:
            return self._hold("blocked", "something is in the way", dt)
        self._held = 0.0
        self._moving += dt if move.speed > 0 else 0.0
        self._wheels.drive(move.speed, move.turn)
        if self._is_stuck(pose, dt):
            return self._fail("stuck", f"the robot does not move, for {settings.stuck_time:g} s of commands")
        self._now = Progress(remaining=move.remaining)
        return self._now

    def restart(self) -> None:
        """The clock has jumped, and the robot may be elsewhere: stand until there is a new way."""
        if not self._now.end:
            self._driver.follow(None)
            self._wheels.stop()
            self._planning, self._anchor = None, None
            self._since_plan = self._settings.replan_period
            self._now = Progress()

    def cancel(self) -> None:
        """Stop at once."""
        if not self._now.end:
            self._finish(Progress(CANCELED, message="canceled"))

    def abandon(self) -> None:
        """Stop at once."""
        self.cancel()

    def _stale(self, pose: Pose | None, grid: Grid | None, now_ns: int) -> tuple[str, str] | None:
        """(fault, message) of what is too old to drive by."""
        settings = self._settings
        if now_ns == 0:
            return "no_clock", "no /clock has come, and use_sim_time is set"
        if grid is None:
            return "no_grid", "no grid of the memory has come"
        if pose is None:
            return "stale_tf", f"TF does not know {settings.base_frame!r} in {self._grids.frame!r}"
        age = (now_ns - pose.stamp_ns) / NANOSECONDS
        if not -settings.tf_timeout <= age <= settings.tf_timeout:
            return "stale_tf", f"the pose of the robot is {age:.2f} s old"
        if self._heard_ns != self._grids.heard_ns:
            self._heard_ns, self._moving = self._grids.heard_ns, 0.0
        if 0 < settings.grid_timeout < self._moving:
            return "stale_grid", f"no grid or update in {self._moving:.1f} s on the move; is the memory node mapping?"
        return None

    def _hold(self, fault: str, message: str, dt: float) -> Progress:
        """Stand, for a while."""
        self._wheels.stop()
        self._held += dt
        if self._held > self._settings.patience:
            return self._fail(fault, f"{message}, for {self._settings.patience:g} s")
        self._now = Progress(message=message, fault=fault, is_waiting=True)
        return self._now

    def _replan(self, grid: Grid, pose: Pose, dt: float) -> None:
        """Take the way that was planned meanwhile, and have the next one planned when it is time."""
        self._since_plan += dt
        if self._planning is not None:
            if not self._planning.done():
                return
            planned, self._planning = self._planning, None
            way = planned.result()
            if way is None:
                self._driver.follow(None)
            else:
                self._take(way)
        is_due = self._since_plan >= self._settings.replan_period
        if is_due and not self._now.remaining < _NEAR:
            self._since_plan = 0.0
            self._planning = self._worker.submit(self._driver.way, grid, pose.position, self._target)

    def _take(self, way: Way) -> None:
        self._driver.follow(way)
        frame, stamp = self._grids.frame, self._ports.now_ns()
        steps = np.diff(way.path, axis=0) if len(way.path) > 1 else np.zeros((1, 2))
        yaws = np.arctan2(steps[:, 1], steps[:, 0]).tolist()
        yaws = [*yaws, yaws[-1]][: len(way.path)]
        if way.heading is not None:
            yaws[-1] = way.heading
        poses = [pose_stamped(frame, stamp, x, y, yaw) for (x, y), yaw in zip(way.path.tolist(), yaws, strict=True)]
        self._line.publish({"header": header(stamp, frame), "poses": poses})

    def _is_stuck(self, pose: Pose, dt: float) -> bool:
        """Whether commands have moved nothing for long."""
        anchor = self._anchor
        turned = 0.0 if anchor is None else abs(math.remainder(pose.yaw - anchor.yaw, 2 * math.pi))
        if anchor is None or math.hypot(pose.x - anchor.x, pose.y - anchor.y) > _MOVED or turned > _MOVED:
            self._anchor, self._commanded = pose, 0.0
            return False
        self._commanded += dt
        return self._commanded > self._settings.stuck_time

    def _fail(self, fault: str, message: str) -> Progress:
        return self._finish(Progress(FAILED, message=message, fault=fault))

    def _finish(self, progress: Progress) -> Progress:
        self._now = progress
        if self._planning is not None:
            self._planning.cancel()
        self._driver.follow(None)
        self._wheels.stop()
        return progress
