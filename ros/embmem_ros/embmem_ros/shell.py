"""A node of the library as a lifecycle node: parameters with descriptors and veto, TF, transitions, spinning."""

from __future__ import annotations

import math
import traceback
from collections.abc import Sequence
from typing import Any

import rclpy
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from embmem.errors import InputError
from embmem.ros.parameters import USE_SIM_TIME, Parameter, Value, refusal
from embmem.ros.shells import listen_to_tf
from embmem_ros.ports import RosPorts

INT64 = 2**63
AUTOSTART = Parameter("autostart", False, "configure and activate the node when it starts", is_read_only=True)


class Shell(LifecycleNode):
    """Runs a node class of the library."""

    def __init__(self, kind: Any, name: str) -> None:
        super().__init__(name)
        wanted = (AUTOSTART, *(p for p in kind.PARAMETERS if p.name != USE_SIM_TIME.name))  # which is rclpy's own
        self._declared = {p.name: p for p in wanted}
        self._inside: Any = None  # until it is made parameters are checked, and nobody is told
        self._is_active = False
        self.add_on_set_parameters_callback(self._veto)
        for parameter in self._declared.values():
            self.declare_parameter(parameter.name, parameter.default, descriptor_of(parameter))
        self._ports = RosPorts(self, self._value)
        listen_to_tf(self._ports)
        inside = kind(self._ports)
        values = {name: self._value(name) for name in self._declared}
        if hasattr(inside, "refuse") and (reason := inside.refuse(values)) is not None:
            raise InputError(f"node {name}: {reason}")
        self._inside = inside
        if self._value(AUTOSTART.name):
            self._ports.post(self._start)  # once the executor spins

    def _value(self, name: str) -> Value:
        value = self.get_parameter(name).value
        return self._declared[name].taken(value) if name in self._declared else value

    def _veto(self, parameters: Sequence[Any]) -> SetParametersResult:
        changes = {p.name: self._declared[p.name].taken(p.value) for p in parameters if p.name in self._declared}
        node = self._inside
        reason = refusal(tuple(self._declared.values()), changes, is_running=node is not None)
        if node is not None and changes and reason is None:
            reason = node.refuse(changes) if hasattr(node, "refuse") else None
            if reason is None:
                self._ports.post(lambda: node.changed(changes))  # once they are set
        return SetParametersResult(successful=reason is None, reason=reason or "")

    def _start(self) -> None:
        if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Open what is needed, or nothing of it."""
        if self._step("configure"):
            return TransitionCallbackReturn.SUCCESS
        self._step("cleanup")
        return TransitionCallbackReturn.FAILURE

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Begin to take messages; a node that fails with it is unconfigured afterwards."""
        self._is_active = self._step("activate")
        return _returned(self._is_active)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop to take messages."""
        self._is_active = False
        return _returned(self._step("deactivate"))

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Give everything back."""
        return _returned(self._step("cleanup"))

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Give everything back, whatever the state was."""
        self.end()
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Give everything back; the node can be configured again."""
        self.end()
        return TransitionCallbackReturn.SUCCESS

    def end(self) -> None:
        """Stop and give everything back, as far as that goes."""
        if self._is_active:
            self._is_active = False
            self._step("deactivate")
        self._step("cleanup")

    def _step(self, name: str) -> bool:
        try:
            getattr(self._inside, name)()
        except Exception:
            self.get_logger().error(f"{name} failed: {traceback.format_exc()}")
            return False
        return True


def descriptor_of(parameter: Parameter) -> ParameterDescriptor:
    """As `ros2 param describe` shows it. The type is ours to check: rclpy takes an empty list for bytes."""
    made = ParameterDescriptor(
        name=parameter.name, description=parameter.description, read_only=parameter.is_read_only, dynamic_typing=True,
        additional_constraints=f"one of {', '.join(parameter.choices)}" if parameter.choices else "",
    )  # fmt: skip
    low, high = parameter.low, parameter.high
    if low is None and high is None:
        return made
    if isinstance(parameter.default, float):
        ends = -math.inf if low is None else float(low), math.inf if high is None else float(high)
        made.floating_point_range = [FloatingPointRange(from_value=ends[0], to_value=ends[1])]
    else:
        low, high = -INT64 if low is None else int(low), INT64 - 1 if high is None else int(high)
        made.integer_range = [IntegerRange(from_value=low, to_value=high)]
    return made


def _returned(is_good: bool) -> TransitionCallbackReturn:
    return TransitionCallbackReturn.SUCCESS if is_good else TransitionCallbackReturn.ERROR


def run(kind: Any, name: str) -> None:
    """Spin a node class of the library until ROS shuts down; nothing that one message does ends it."""
    rclpy.init()
    shell = Shell(kind, name)
    executor = SingleThreadedExecutor()
    executor.add_node(shell)
    try:
        while rclpy.ok():
            try:
                executor.spin_once()
            except ExternalShutdownException:
                break
            except Exception:
                if rclpy.ok():  # else it is the end that came while it waited
                    shell.get_logger().error(traceback.format_exc())
    except KeyboardInterrupt:
        pass
    finally:
        shell.end()
        shell.destroy_node()
        rclpy.try_shutdown()
