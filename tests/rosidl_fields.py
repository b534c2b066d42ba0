"""Run by a Python that has ROS's own rosidl: the fields of interfaces as its parser understands them, as JSON.

Arguments: the folder of the package, and one for the .idl files on the way.
"""

from __future__ import annotations

import json
import pathlib
import sys
from typing import Any

from rosidl_adapter.action import convert_action_to_idl
from rosidl_adapter.msg import convert_msg_to_idl
from rosidl_adapter.srv import convert_srv_to_idl
from rosidl_parser import definition
from rosidl_parser.parser import parse_idl_file

CONVERT = {"msg": convert_msg_to_idl, "srv": convert_srv_to_idl, "action": convert_action_to_idl}
NAMES = {"boolean": "bool", "octet": "byte", "float": "float32", "double": "float64"}


def named(kind: Any) -> str:
    if isinstance(kind, definition.AbstractNestedType):
        size = getattr(kind, "size", None) or (f"<={kind.maximum_size}" if kind.has_maximum_size() else "")
        return f"{named(kind.value_type)}[{size}]"
    if isinstance(kind, definition.NamespacedType):
        return "/".join(kind.namespaced_name())
    if isinstance(kind, definition.AbstractGenericString):
        return "string" + (f"<={kind.maximum_size}" if kind.has_maximum_size() else "")
    return NAMES.get(kind.typename, kind.typename)


def fields(message: Any) -> dict[str, Any]:
    made = [[member.name, named(member.type)] for member in message.structure.members]
    constants = {constant.name: constant.value for constant in message.constants}
    return {"fields": made, "constants": constants}


def main() -> None:
    package, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    found: dict[str, Any] = {}
    for path in sorted(package.glob("*/*.*")):
        kind = path.parent.name
        relative = path.relative_to(package)
        idl = CONVERT[kind](package, package.name, relative, out / kind)
        content = parse_idl_file(definition.IdlLocator(out, idl.relative_to(out))).content
        messages = content.get_elements_of_type(definition.Message)
        for service in content.get_elements_of_type(definition.Service):
            messages += [service.request_message, service.response_message]
        for action in content.get_elements_of_type(definition.Action):
            messages += [action.goal, action.result, action.feedback]
        for message in messages:
            found["/".join(message.structure.namespaced_type.namespaced_name())] = fields(message)
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
