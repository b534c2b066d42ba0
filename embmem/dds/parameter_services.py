"""The six parameter services of a node and /parameter_events, as `ros2 param` uses them (rcl_interfaces)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from embmem.ros.parameters import Parameter, Value
from embmem.ros.ports import Fields, Ports, QoS

BOOL, INTEGER, DOUBLE, STRING, STRING_ARRAY = 1, 2, 3, 4, 9  # rcl_interfaces/ParameterType
_KINDS = {
    1: "bool_value", 2: "integer_value", 3: "double_value", 4: "string_value", 5: "byte_array_value",
    6: "bool_array_value", 7: "integer_array_value", 8: "double_array_value", 9: "string_array_value",
}  # fmt: skip
_LOWEST, _HIGHEST = -(1 << 63), (1 << 63) - 1
Change = Callable[[Mapping[str, object]], str | None]  # why not; None: done


def kind_of(value: Value) -> int:
    """The number that rcl_interfaces has for the type of a value."""
    kinds: dict[type, int] = {bool: BOOL, int: INTEGER, float: DOUBLE, str: STRING, list: STRING_ARRAY}
    return kinds[type(value)]


def to_message(value: Value | None) -> Fields:
    """A rcl_interfaces/ParameterValue; None is not set."""
    return {} if value is None else {"type": kind_of(value), _KINDS[kind_of(value)]: value}


def of_message(message: Any) -> object:
    """The value of a rcl_interfaces/ParameterValue; None where it is not set."""
    name = _KINDS.get(int(message.type))
    value: Any = None if name is None else getattr(message, name)
    return value.tolist() if isinstance(value, np.ndarray) else value


def descriptor(parameter: Parameter) -> Fields:
    """A rcl_interfaces/ParameterDescriptor."""
    fields: dict[str, Any] = {
        "name": parameter.name,
        "type": kind_of(parameter.default),
        "description": parameter.description,
        "read_only": parameter.is_read_only,
    }
    if parameter.choices:
        fields["additional_constraints"] = f"one of {', '.join(parameter.choices)}"
    low, high = parameter.low, parameter.high
    if low is not None or high is not None:
        if isinstance(parameter.default, int):
            whole = {
                "from_value": _LOWEST if low is None else int(low),
                "to_value": _HIGHEST if high is None else int(high),
            }
            fields["integer_range"] = [whole]
        else:
            infinity = float("inf")
            real = {"from_value": -infinity if low is None else low, "to_value": infinity if high is None else high}
            fields["floating_point_range"] = [real]
    return fields


class ParameterServices:
    """Serves them below the node.

    Args:
        ports: of the node.
        declared: its parameters.
        values: as they are now; `change` keeps them.
        change: sets values, all or none of them.
    """

    def __init__(
        self, ports: Ports, declared: Sequence[Parameter], values: Mapping[str, Value], change: Change
    ) -> None:
        self._ports, self._values, self._change = ports, values, change
        self._declared = {parameter.name: parameter for parameter in declared}
        self._events = ports.publisher("rcl_interfaces/msg/ParameterEvent", "/parameter_events", QoS(depth=1000))
        handlers: dict[str, Callable[[Any], Fields]] = {
            "DescribeParameters": self._describe,
            "GetParameterTypes": self._types,
            "GetParameters": self._get,
            "ListParameters": self._list,
            "SetParameters": self._set,
            "SetParametersAtomically": self._set_atomically,
        }
        for name, handler in handlers.items():
            ports.service(f"rcl_interfaces/srv/{name}", f"~/{_snake(name)}", handler)
        self._tell("new_parameters", values)

    def _tell(self, kind: str, values: Mapping[str, Value]) -> None:
        sec, nanosec = divmod(self._ports.now_ns(), 1_000_000_000)
        self._events.publish({
            "stamp": {"sec": sec, "nanosec": nanosec},
            "node": f"{self._ports.namespace.rstrip('/')}/{self._ports.name}",
            kind: [{"name": name, "value": to_message(value)} for name, value in values.items()],
        })  # fmt: skip

    def _describe(self, request: Any) -> Fields:
        return {"descriptors": [descriptor(self._declared[name]) for name in request.names if name in self._declared]}

    def _types(self, request: Any) -> Fields:
        known = [name for name in request.names if name in self._declared]
        return {"types": [kind_of(self._declared[name].default) for name in known]}

    def _get(self, request: Any) -> Fields:
        return {"values": [to_message(self._values.get(name)) for name in request.names]}

    def _list(self, request: Any) -> Fields:
        """Those below the prefixes, as deep as asked (rcl_interfaces/ListParameters)."""
        names = []
        for name in self._declared:
            below = [name] if not request.prefixes else [
                name[len(p) :].lstrip(".") for p in request.prefixes if name == p or name.startswith(f"{p}.")
            ]  # fmt: skip
            if any(request.depth == 0 or rest.count(".") < request.depth for rest in below):
                names.append(name)
        prefixes = {name.rpartition(".")[0] for name in names} - {""}
        return {"result": {"names": names, "prefixes": sorted(prefixes)}}

    def _set(self, request: Any) -> Fields:
        return {"results": [self._result({p.name: of_message(p.value)}) for p in request.parameters]}

    def _set_atomically(self, request: Any) -> Fields:
        return {"result": self._result({p.name: of_message(p.value) for p in request.parameters})}

    def _result(self, changes: Mapping[str, object]) -> Fields:
        reason = self._change(changes)
        if reason is None and changes:
            self._tell("changed_parameters", {name: self._values[name] for name in changes})
        return {"successful": reason is None, "reason": reason or ""}


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name)[1:]
