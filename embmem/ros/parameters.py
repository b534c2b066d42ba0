"""Parameters of nodes: described for `ros2 param describe`, and refused with a reason where a value makes no sense."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Value = bool | int | float | str | list[str]


@dataclass(frozen=True)
class Parameter:
    """One parameter of a node, of the type of its default."""

    name: str
    default: Value
    description: str
    low: int | float | None = None  # least value, inclusive
    high: int | float | None = None  # greatest value, inclusive
    choices: tuple[str, ...] = ()
    is_read_only: bool = False  # set when the node starts, then never again

    def refusal(self, value: object) -> str | None:
        """Why the parameter cannot have this value; None if it can. Whole numbers do for a real one."""
        wanted, given = type(self.default), type(value)
        if given is not wanted and not (wanted is float and given is int):
            return f"{self.name} is a {wanted.__name__}, not {value!r}"
        if isinstance(value, list) and not all(isinstance(item, str) for item in value):
            return f"{self.name} is a list of texts, not {value!r}"
        if self.choices and value not in self.choices:
            return f"{self.name} is one of {', '.join(self.choices)}, not {value!r}"
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            if math.isnan(value):
                return f"{self.name} is not a number"
            if self.low is not None and value < self.low:
                return f"{self.name} is at least {self.low:g}, not {value:g}"
            if self.high is not None and value > self.high:
                return f"{self.name} is at most {self.high:g}, not {value:g}"
        return None

    def taken(self, value: object) -> object:
        """The value in the type of the default where it has another that does: a whole number for a real one."""
        if isinstance(self.default, float) and type(value) is int:
            return float(value)
        return list(value) if isinstance(self.default, list) and isinstance(value, (tuple, list)) else value


USE_SIM_TIME = Parameter("use_sim_time", False, "take the time from /clock")


def refusal(parameters: Sequence[Parameter], changes: Mapping[str, object], *, is_running: bool = True) -> str | None:
    """Why these changes are refused, all of them; None if they are not.

    Args:
        parameters: those that are declared.
        changes: new values by name.
        is_running: whether the node is there already: read-only parameters are refused then.
    """
    declared = {parameter.name: parameter for parameter in parameters}
    for name, value in changes.items():
        if name not in declared:
            return f"no parameter {name!r}, only {', '.join(declared)}"
        if is_running and declared[name].is_read_only:
            return f"{name} is set when the node starts and cannot be changed"
        if (reason := declared[name].refusal(value)) is not None:
            return reason
    return None
