"""Parameters of the planner node."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from embmem.ros.parameters import USE_SIM_TIME, Parameter, Value

DRIVES = ("auto", "nav2", "own")
SEQUENCING = ("none", "rules", "language")

PARAMETERS: tuple[Parameter, ...] = (
    USE_SIM_TIME,
    Parameter("memory", "memory", "name of the memory node that is asked", is_read_only=True),
    Parameter("setup", "", "YAML file of what drives and who reads words; empty: as delivered", is_read_only=True),
    Parameter("drive", "auto", "who drives: Nav2, the node itself, or Nav2 where it is there", choices=DRIVES),
    Parameter("nav2_action", "navigate_to_pose", "name of Nav2's NavigateToPose action", is_read_only=True),
    Parameter("behavior_tree", "", "of Nav2 for every goal; empty: its default"),
    Parameter("base_frame", "base_link", "frame of the robot's base, x ahead", is_read_only=True),
    Parameter("stamped_cmd_vel", False, "publish TwistStamped instead of Twist", is_read_only=True),
    Parameter("control_rate", 20.0, "[Hz] of the follower and of all looking after a goal", 1, 100, is_read_only=True),
    Parameter("when_busy", "replace", "what a new goal does to the one before", choices=("replace", "refuse")),
    Parameter("sequencing", "rules", "who finds several stops in one text", choices=SEQUENCING),
    Parameter("radius", 0.22, "[m] of the robot", 0.01, 5),
    Parameter("comfort", 0.5, "[m] from obstacles up to which the way is dearer; more than radius", 0.02, 10),
    Parameter("blind", 0.6, "[m] around the robot where the grid may be unknown", 0, 10),
    Parameter("crosses_unknown", False, "whether own ways may lead through what was never seen"),
    Parameter("speed", 0.3, "[m/s] at most", 0.01, 5),
    Parameter("turn", 1.0, "[rad/s] at most", 0.01, 10),
    Parameter("acceleration", 0.5, "[m/s^2] at most, of braking too", 0.01, 20),
    Parameter("turn_acceleration", 2.0, "[rad/s^2] at most", 0.01, 50),
    Parameter("look_ahead", 0.4, "[m] along the path that is steered for", 0.05, 5),
    Parameter("delay", 0.2, "[s] from a command until the robot does it", 0, 5),
    Parameter("goal_tolerance", 0.25, "[m] from a pose that is near enough", 0.01, 10),
    Parameter("heading_tolerance", 0.15, "[rad] likewise", 0.01, 3.2),
    Parameter("stand_distance", 1.0, "[m] from the edge of a thing at most", 0.1, 10),
    Parameter("k", 10, "items that the memory is asked for", 1, 100),
    Parameter("min_confidence", 0.3, "of an item, to drive to it", 0, 1),
    Parameter("max_attempts", 3, "items that are driven to before the goal is given up", 1, 100),
    Parameter("verify", True, "ask the memory once more when a thing is reached; if it is gone, try the next"),
    Parameter("verify_wait", 2.0, "[s] that the camera gets to see it before", 0, 60),
    Parameter("query_timeout", 5.0, "[s] for one answer of the memory", 0.1, 600),
    Parameter("goal_timeout", 600.0, "[s] for a goal that has no limit of its own; 0: none", 0, 86400),
    Parameter("server_timeout", 5.0, "[s] for Nav2 to be there and to accept a goal", 0.1, 600),
    Parameter("feedback_timeout", 5.0, "[s] without feedback after which Nav2 is lost; 0: never", 0, 600),
    Parameter("cancel_timeout", 5.0, "[s] for Nav2 to stop", 0.1, 600),
    Parameter("tf_timeout", 0.5, "[s] after which the robot's pose is stale", 0.01, 60),
    Parameter(
        "grid_timeout", 10.0, "[s] on the move without a grid or an update, after which it is stale; 0: never", 0
    ),
    Parameter("patience", 15.0, "[s] that the robot stands before something in its way is an end", 0, 3600),
    Parameter("stuck_time", 10.0, "[s] of commands that move nothing, after which the robot is stuck", 0.5, 600),
    Parameter("replan_period", 1.0, "[s] between two looks at the whole grid on the move", 0.05, 60),
)


@dataclass(frozen=True)
class Settings:
    """The values of `PARAMETERS` of one moment, by their names."""

    drive: str
    behavior_tree: str
    base_frame: str
    when_busy: str
    sequencing: str
    crosses_unknown: bool
    verify: bool
    stamped_cmd_vel: bool
    k: int
    max_attempts: int
    control_rate: float
    radius: float
    comfort: float
    blind: float
    speed: float
    turn: float
    acceleration: float
    turn_acceleration: float
    look_ahead: float
    delay: float
    goal_tolerance: float
    heading_tolerance: float
    stand_distance: float
    min_confidence: float
    verify_wait: float
    query_timeout: float
    goal_timeout: float
    server_timeout: float
    feedback_timeout: float
    cancel_timeout: float
    tf_timeout: float
    grid_timeout: float
    patience: float
    stuck_time: float
    replan_period: float

    @classmethod
    def read(cls, parameter: Callable[[str], Value]) -> Settings:
        """As they are now."""
        kinds = {"str": str, "bool": bool, "int": int, "float": float}
        values = {name: kinds[str(kind)](parameter(name)) for name, kind in cls.__annotations__.items()}
        return cls(**values)


def refusal(values: Mapping[str, Value]) -> str | None:
    """Why these values do not go together."""
    radius, comfort = values["radius"], values["comfort"]
    if not float(radius) < float(comfort):  # type: ignore[arg-type]
        return f"comfort {comfort} must be more than radius {radius}"
    return None
