"""The planner node: an action that goes to what is remembered, by Nav2 or on the memory's own grid."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from embmem.driving import Driver, StopReader
from embmem.errors import EmbmemError, InputError
from embmem.ros.messages import NANOSECONDS
from embmem.ros.nodes.planner import goals, nav2
from embmem.ros.nodes.planner.errand import Errand, Tools
from embmem.ros.nodes.planner.grid_topic import GridTopic
from embmem.ros.nodes.planner.settings import PARAMETERS, Settings, refusal
from embmem.ros.nodes.planner.wheels import Wheels
from embmem.ros.outgoing.diagnostics import OK, WARN, Status, diagnostics
from embmem.ros.parameters import Value
from embmem.ros.ports import LATCHED, Closable, Ports, Publisher, QoS, ServerGoal

ACTION = "embmem_msgs/action/GoToMemory"
_DELIVERED = Path(__file__).parents[3] / "configs" / "ros_setup" / "planner.yaml"
_MOST_DT = 1.0  # [s] that one tick may count for: a clock that jumps must not end a goal
_DIAGNOSTICS = 1.0  # [s]


class PlannerNode:
    """Takes GoToMemory goals one at a time; asks a memory node, then drives.

    Topics: in `<memory>/grid`, `<memory>/grid_updates`; out `cmd_vel` and `~/path` where it drives itself,
    `/diagnostics`. Action server `~/go_to`; client of `<memory>/query` and of Nav2's NavigateToPose.
    """

    PARAMETERS = PARAMETERS

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._settings: Settings | None = None
        self._tools: Tools | None = None
        self._open: list[Closable] = []
        self._errand: Errand | None = None
        self._is_active = False
        self._last_ns = 0
        self._counters: Counter[str] = Counter()

    def refuse(self, changes: Mapping[str, Value]) -> str | None:
        """Why changes do not fit what else is set."""
        names = {parameter.name for parameter in self.PARAMETERS}
        values = {name: changes.get(name, self._ports.parameter(name)) for name in sorted(names)}
        reason = refusal(values)
        if reason is None and self._settings is not None:
            try:
                _composed(str(values["setup"]), Settings.read(values.__getitem__))
            except EmbmemError as error:
                return str(error)
        return reason

    def configure(self) -> None:
        """Open topics, services and actions."""
        ports, memory = self._ports, str(self._ports.parameter("memory"))
        if (reason := self.refuse({})) is not None:
            raise InputError(reason)
        settings = self._settings = Settings.read(ports.parameter)
        driver, reader = _composed(str(ports.parameter("setup")), settings)
        wheels = Wheels(ports, is_stamped=settings.stamped_cmd_vel, frame=settings.base_frame)
        self._open.append(wheels)
        line = self._publisher("nav_msgs/msg/Path", "~/path", LATCHED)
        client = ports.client("embmem_msgs/srv/QueryMemory", f"{memory}/query")
        self._open.append(client)
        nav = ports.action_client(nav2.TYPE, str(ports.parameter("nav2_action")))
        self._open.append(nav)
        worker = ThreadPoolExecutor(1, thread_name_prefix="planner")
        self._tools = Tools(
            ports=ports, memory=client, nav2=nav, driver=driver, reader=reader, grids=GridTopic(), wheels=wheels,
            line=line, worker=worker, counters=self._counters,
        )  # fmt: skip
        self._diagnostics = self._publisher("diagnostic_msgs/msg/DiagnosticArray", "/diagnostics", QoS())
        self._open.append(ports.timer(_DIAGNOSTICS, self._tell, is_steady=True))
        ports.on_jump(self._on_jump)
        server = ports.action_server(
            ACTION, "~/go_to", refuse=self._refuse_goal, on_goal=self._on_goal, on_cancel=self._on_cancel
        )
        self._open.append(server)
        grid, patch = "nav_msgs/msg/OccupancyGrid", "map_msgs/msg/OccupancyGridUpdate"
        self._open.append(ports.subscription(grid, f"{memory}/grid", self._on_grid, LATCHED))
        self._open.append(ports.subscription(patch, f"{memory}/grid_updates", self._on_patch, QoS(depth=50)))

    def activate(self) -> None:
        """Take goals."""
        if self._settings is None:
            raise InputError("configure the node before it is activated")
        self._is_active, self._last_ns = True, self._ports.now_ns()
        self._timer = self._ports.timer(1.0 / self._settings.control_rate, self._tick)

    def deactivate(self) -> None:
        """Stop the wheels, end the goal, take no more."""
        if not self._is_active:
            return
        self._is_active = False
        self._timer.close()
        self._end_errand("deactivated", "the planner was deactivated")
        if self._tools is not None and self._settings is not None and self._settings.drive != "nav2":
            self._tools.wheels.stop()

    def cleanup(self) -> None:
        """Close everything."""
        self.deactivate()
        for thing in reversed(self._open):
            thing.close()
        self._open.clear()
        if self._tools is not None:
            self._tools.worker.shutdown(wait=False, cancel_futures=True)
        self._tools = self._settings = None

    def changed(self, values: Mapping[str, Value]) -> None:
        """New values hold from the next goal on."""
        if self._settings is None or self._tools is None:
            return
        self._settings = Settings.read(self._ports.parameter)
        driver, reader = _composed(str(self._ports.parameter("setup")), self._settings)
        self._tools = replace(self._tools, driver=driver, reader=reader)

    def _publisher(self, type: str, topic: str, qos: QoS) -> Publisher:
        publisher = self._ports.publisher(type, topic, qos)
        self._open.append(publisher)
        return publisher

    def _refuse_goal(self, request: Any) -> str | None:
        reason = goals.refusal(request)
        if not self._is_active or self._settings is None:
            reason = "the planner is not active"
        elif reason is None and self._is_busy() and self._settings.when_busy == "refuse":
            reason = "another goal is under way"
        if reason is not None:
            self._counters["refused"] += 1
            self._ports.log("warning", f"goal refused: {reason}", throttle=1.0)
        return reason

    def _is_busy(self) -> bool:
        return self._errand is not None and not self._errand.is_over

    def _on_goal(self, goal: ServerGoal) -> None:
        tools, settings = self._tools, self._settings
        if tools is None or settings is None or not self._is_active:
            goal.abort({"message": "the planner is not active"})
            return
        self._end_errand("replaced", "another goal took its place")
        self._counters["goals"] += 1
        self._errand = Errand(goal, tools, settings)
        self._errand.begin()

    def _on_cancel(self, goal: ServerGoal) -> bool:
        errand = self._errand
        if errand is None or errand.is_over or errand.goal.id != goal.id:
            return False
        self._ports.post(errand.cancel)  # after the client has been told that it will be
        return True

    def _end_errand(self, fault: str, message: str) -> None:
        if self._errand is not None and not self._errand.is_over:
            self._errand.abort(fault, message)
        self._errand = None

    def _tick(self) -> None:
        now_ns = self._ports.now_ns()
        dt = min(max((now_ns - self._last_ns) / NANOSECONDS, 0.0), _MOST_DT)
        self._last_ns = now_ns
        errand = self._errand
        if errand is None:
            return
        try:
            errand.tick(dt)
        except Exception as error:  # whatever it is, the wheels must not go on
            problem = f"{type(error).__name__}: {' '.join(str(error).split())}"
            if not errand.is_over:
                errand.abort("fault", f"a mistake of the planner: {problem}")

    def _on_jump(self, before_ns: int, after_ns: int) -> None:
        if self._errand is not None and not self._errand.is_over:
            self._counters["clock jumps"] += 1
            self._errand.restart()

    def _on_grid(self, message: Any) -> None:
        self._take_grid(message, is_whole=True)

    def _on_patch(self, message: Any) -> None:
        self._take_grid(message, is_whole=False)

    def _take_grid(self, message: Any, *, is_whole: bool) -> None:
        if self._tools is None:
            return
        grids = self._tools.grids
        try:
            (grids.take if is_whole else grids.patch)(message, self._ports.now_ns())
        except InputError as error:
            self._counters["bad grids"] += 1
            self._ports.log("warning", f"grid dropped: {error}", throttle=5.0)

    def _tell(self) -> None:
        """How it is, for /diagnostics."""
        errand, tools = self._errand, self._tools
        if tools is None:
            return
        is_held = errand is not None and not errand.is_over and errand.is_held
        doing = "no goal" if errand is None or errand.is_over else f"{errand.phase}: {errand.what}"
        state = Status(
            "goal",
            WARN if is_held else OK,
            doing if self._is_active else "not active",
            {"memory": str(tools.memory.is_ready()), "nav2": str(tools.nav2.is_ready()), **self._counters},
        )
        name = f"{self._ports.namespace.rstrip('/')}/{self._ports.name}"
        self._diagnostics.publish(diagnostics(name, [state], self._ports.now_ns()))


def _composed(path: str, settings: Settings) -> tuple[Driver, StopReader | None]:
    """What drives and who reads words, as the file says.

    Raises:
        InputError: if the file is none of this kind.
    """
    from hydra.errors import HydraException
    from hydra.utils import instantiate
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    file = Path(path) if path else _DELIVERED
    try:
        cfg = OmegaConf.merge(OmegaConf.load(file), {"node": vars(settings)})
        driver = instantiate(cfg.driver)
        reader = None if settings.sequencing == "none" else instantiate(cfg.readers[settings.sequencing])
    except HydraException as error:  # what a constructor had against its arguments stands behind it
        raise InputError(f"{file}: {' '.join(str(error.__cause__ or error).split())}") from error
    except (OSError, YAMLError, OmegaConfBaseException) as error:
        raise InputError(f"{file}: {' '.join(str(error).split())}") from error
    if not isinstance(driver, Driver) or not (reader is None or isinstance(reader, StopReader)):
        raise InputError(f"{file}: driver must be a Driver and readers StopReaders")
    return driver, reader
