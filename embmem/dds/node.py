"""A node of ours running on the wire: its ports, parameters and lifecycle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from types import TracebackType
from typing import Any, TypeVar, cast

from embmem.dds.lifecycle import ACTIVE, Lifecycle
from embmem.dds.names import Names
from embmem.dds.parameter_services import ParameterServices
from embmem.dds.participant import domain_id
from embmem.dds.ports import DdsPorts
from embmem.errors import EmbmemError, InputError
from embmem.ros.parameters import USE_SIM_TIME, Parameter, Value, refusal
from embmem.ros.ports import Node

T = TypeVar("T")
_LOOK = 1.0  # [s] between two looks whether the thread of the callbacks is there


class RunningNode:
    """A node with the thread that runs it; ends with `close` or the end of a `with`.

    Args:
        node_class: takes its ports; its `PARAMETERS` are declared.
        name: of the node.
        namespace: `/` or `/robot_1`.
        parameters: values other than the defaults.
        remaps: from names of topics and services to others.
        domain: DDS domain, None = that of ROS_DOMAIN_ID.
        autostart: whether it is configured and activated at once.
        log_level: debug, info, warning or error.

    Raises:
        InputError: if a name, a parameter or the domain is refused.
        EmbmemError: if it is to be started and fails.
    """

    def __init__(
        self,
        node_class: Callable[[Any], Node],
        name: str,
        *,
        namespace: str = "/",
        parameters: Mapping[str, object] | None = None,
        remaps: Mapping[str, str] | None = None,
        domain: int | None = None,
        autostart: bool = True,
        log_level: str = "info",
    ) -> None:
        self._declared = _declared(node_class)
        changes = dict(parameters or {})
        if (reason := refusal(self._declared, changes, is_running=False)) is not None:
            raise InputError(f"node {name}: {reason}")
        self.values: dict[str, Value] = {
            p.name: cast(Value, p.taken(changes.get(p.name, p.default))) for p in self._declared
        }
        names = Names(name, namespace, dict(remaps or {}))
        self.ports = DdsPorts(names, domain_id() if domain is None else domain, log_level=log_level)
        self.ports.values = self.values
        self._why = ""
        self.ports.executor.start()
        try:
            self.call(lambda: self._begin(node_class))
            if autostart and not self.call(
                lambda: self.lifecycle.change("configure") and self.lifecycle.change("activate")
            ):
                raise EmbmemError(f"node {name}: {self._why}")
        except BaseException:
            self.ports.close()
            raise

    def _begin(self, node_class: Callable[[Any], Node]) -> None:
        self.ports.use_sim_time(bool(self.values[USE_SIM_TIME.name]))
        self.node = node_class(self.ports)
        veto = getattr(self.node, "refuse", None)
        if veto is not None and (reason := veto(dict(self.values))) is not None:
            raise InputError(f"node {self.ports.name}: {reason}")
        self._services = ParameterServices(self.ports, self._declared, self.values, self.change)
        self.lifecycle = Lifecycle(self.ports, self.node, self._failed)

    @property
    def state(self) -> str:
        """unconfigured, inactive, active or finalized."""
        return self.lifecycle.state

    @property
    def is_active(self) -> bool:
        """Whether it takes messages."""
        return self.state == ACTIVE

    def call(self, function: Callable[[], T]) -> T:
        """Run something on the thread of the callbacks and wait for what it returns or raises."""
        if self.ports.executor.is_mine:
            return function()
        done: Future[T] = Future()

        def run() -> None:
            try:
                done.set_result(function())
            except BaseException as error:
                done.set_exception(error)

        self.ports.post(run)
        while not wait([done], timeout=_LOOK).done:
            if not self.ports.executor.is_alive:
                raise EmbmemError(f"node {self.ports.name} has ended")
        return done.result()

    def change(self, changes: Mapping[str, object]) -> str | None:
        """Set parameters, all or none; why not, or None. On the thread of the callbacks."""
        reason = refusal(self._declared, changes)
        declared = {parameter.name: parameter for parameter in self._declared}
        if reason is not None:
            return reason
        values = {name: cast(Value, declared[name].taken(value)) for name, value in changes.items()}
        veto = getattr(self.node, "refuse", None)
        if veto is not None and (reason := veto(values)) is not None:
            return str(reason)
        before = {name: self.values[name] for name in values}
        self.values.update(values)
        try:
            if USE_SIM_TIME.name in values:
                self.ports.use_sim_time(bool(values[USE_SIM_TIME.name]))
            self.node.changed(values)
        except Exception as error:  # as before, then
            self.values.update(before)
            self.ports.log("error", f"new parameters failed: {error!r}")
            return f"the node failed with it: {error}"
        return None

    def close(self) -> None:
        """Through `shutdown`, then out of the domain."""
        try:
            self.call(self.lifecycle.shut_down)
        finally:
            self.ports.close()

    def __enter__(self) -> RunningNode:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _failed(self, reason: str) -> None:
        self._why = reason
        self.ports.log("error", reason)


def run_node(node_class: Callable[[Any], Node], name: str, **settings: Any) -> RunningNode:
    """A node that runs until it is closed; settings as those of `RunningNode`."""
    return RunningNode(node_class, name, **settings)


def _declared(node_class: Any) -> tuple[Parameter, ...]:
    own = tuple(getattr(node_class, "PARAMETERS", ()))
    return own if any(p.name == USE_SIM_TIME.name for p in own) else (*own, USE_SIM_TIME)
