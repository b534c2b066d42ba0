"""All message, service and action types that the nodes use, with rosbags' classes: `typestore` and `message_of`.

Services and actions become the messages that ROS 2 sends for them: `pkg/srv/Name_Request`, `pkg/action/Name_Goal`, ...
(https://design.ros2.org/articles/generated_interfaces_cpp.html, .../actions.html).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from embmem.errors import InputError, import_extra
from embmem.ros import vision
from embmem.ros.fields import converter
from embmem.ros.interfaces import TEXTS

OWN = Path(__file__).with_name("embmem_msgs")  # of the colcon package
# A type of the same package: a name without a slash at the begin of a line.
_SIBLING = re.compile(r"^[ \t]*(?=[A-Z]\w*(\[[^\]]*\])?[ \t])", re.MULTILINE)
_FIELDLESS = "uint8 structure_needs_at_least_one_member"  # what rosidl sends for an empty message

Typesdict = dict[str, tuple[list[Any], list[Any]]]


@cache
def typestore() -> Any:
    """rosbags' type store of Jazzy with vision_msgs, octomap_msgs, map_msgs, NavigateToPose, embmem_msgs and services.

    Raises:
        MissingExtraError: without rosbags.
    """
    typesys = import_extra("rosbags.typesys", "ros")
    store = typesys.get_typestore(typesys.Stores.ROS2_JAZZY)
    own = {
        f"embmem_msgs/{kind}/{file.stem}": file.read_text(encoding="utf-8")
        for kind in ("msg", "srv", "action")
        for file in sorted((OWN / kind).glob(f"*.{kind}"))
    }
    types: Typesdict = {}
    for name, text in {**vision.DEFINITIONS, **TEXTS, **own}.items():
        types |= definitions_of(name, text)
    store.register(types)
    store.fielddefs.update(
        {name: (constants, _unsigned(fields)) for name, (constants, fields) in store.fielddefs.items()}
    )
    return store


def _unsigned(description: Any) -> Any:
    """The fields with `uint8` for `char`, as rosidl takes it: the same bytes, but another hash of the type."""
    if isinstance(description, (tuple, list)):
        return description.__class__(map(_unsigned, description))
    return "uint8" if description == "char" else description


def message_of(type: str, fields: Mapping[str, Any]) -> Any:
    """The message with these fields; those that are left out have their defaults, nested ones too.

    Arrays are taken from numpy arrays, sequences or `bytes`, of any shape, without a copy where the dtype is right.

    Raises:
        InputError: if there is no such type or field, or a value does not fit.
    """
    return converter(typestore(), known(type))(fields, type)


def known(type: str) -> str:
    """The type, if there is one.

    Raises:
        InputError: if not.
    """
    if type not in typestore().fielddefs:
        raise InputError(f"no message type {type!r} is known")
    return type


def ready(type: str) -> str:
    """The type, if there is one; what writes and reads it is made now, so that no first message waits for it.

    Raises:
        InputError: if there is none.
    """
    store = typestore()
    store.deserialize_cdr(store.serialize_cdr(message_of(type, {}), type), type)
    return type


def definitions_of(name: str, text: str) -> Typesdict:
    """What a .msg, .srv or .action defines, by the names that ROS gives to the parts."""
    parts = re.split(r"^---[ \t]*$", text, flags=re.MULTILINE)
    kind = name.split("/")[1]
    if kind == "msg":
        return _message(name, text)
    if kind == "srv":
        return {**_message(f"{name}_Request", parts[0]), **_message(f"{name}_Response", parts[1]), **_service(name)}
    types = dict(**_message(f"{name}_Goal", parts[0]), **_message(f"{name}_Result", parts[1]))
    types |= _message(f"{name}_Feedback", parts[2])
    uuid, goal = "unique_identifier_msgs/UUID goal_id", f"{name}_SendGoal"
    types |= _message(f"{goal}_Request", uuid, goal=f"{name}_Goal")
    types |= _message(f"{goal}_Response", "bool accepted\nbuiltin_interfaces/Time stamp")
    types |= _message(f"{name}_GetResult_Request", uuid)
    types |= _message(f"{name}_GetResult_Response", "int8 status", result=f"{name}_Result")
    types |= _message(f"{name}_FeedbackMessage", uuid, feedback=f"{name}_Feedback")
    types |= {**_service(goal), **_service(f"{name}_GetResult")}
    members = {part.lower(): f"{name}_{part}" for part in ("Goal", "Result", "Feedback")}
    members |= {"send_goal_service": goal, "get_result_service": f"{name}_GetResult"}
    return {**types, **_message(name, "", **members, feedback_message=f"{name}_FeedbackMessage")}


def _service(name: str) -> Typesdict:
    """The service itself and its event, which nobody sends: they are what the hash is of."""
    optional = {"request": f"{name}_Request[<=1]", "response": f"{name}_Response[<=1]"}
    members = {f"{part}_message": f"{name}_{part.title()}" for part in ("request", "response", "event")}
    event = _message(f"{name}_Event", "service_msgs/ServiceEventInfo info", **optional)
    return {**event, **_message(name, "", **members)}


def _message(name: str, text: str, **more: str) -> Typesdict:
    """Of one text, with more fields behind it whose types have their whole names."""
    from rosbags.interfaces import Nodetype
    from rosbags.typesys import get_types_from_msg

    package = name.split("/", maxsplit=1)[0]
    if not more and not re.sub(r"#.*|^[^#\n]*=.*", "", text, flags=re.MULTILINE).strip():
        text += f"\n{_FIELDLESS}"
    ((constants, fields),) = get_types_from_msg(_SIBLING.sub(f"{package}/", text), f"{package}/msg/Any").values()
    named: list[Any] = [(field, (Nodetype.NAME, of.removesuffix("[<=1]"))) for field, of in more.items()]
    for i, of in enumerate(more.values()):
        if of.endswith("[<=1]"):
            named[i] = (named[i][0], (Nodetype.SEQUENCE, (named[i][1], 1)))
    return {name: (list(constants), [*fields, *named])}
