"""Names of topics and nodes, and parameter files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embmem.dds.names import Names
from embmem.dds.parameter_file import parameters_for
from embmem.errors import InputError

token = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,5}", fullmatch=True)
namespaces = st.just("/") | st.lists(token, min_size=1, max_size=3).map(lambda parts: "/" + "/".join(parts))


@pytest.mark.parametrize(
    ("given", "full"),
    [("depth/image", "/robot_1/depth/image"), ("/tf", "/tf"), ("~/grid", "/robot_1/memory/grid"),
     ("~", "/robot_1/memory"), ("odom", "/robot_1/wheels/odom"), ("~/map", "/map"), ("/scan", "/robot_1/laser")],
)  # fmt: skip
def test_names_are_expanded_and_remapped(given: str, full: str) -> None:
    remaps = {"odom": "wheels/odom", "/robot_1/memory/map": "/map", "/scan": "laser"}
    assert Names("memory", "/robot_1", remaps).full(given) == full


@given(token, namespaces, st.lists(token, min_size=1, max_size=3).map("/".join))
def test_every_kind_of_name_ends_where_the_rules_say(node: str, namespace: str, name: str) -> None:
    names, root = Names(node, namespace), namespace.rstrip("/")
    assert names.full(name) == f"{root}/{name}"
    assert names.full(f"~/{name}") == f"{root}/{node}/{name}"
    assert names.full(f"/{name}") == f"/{name}"
    assert Names(node, namespace, {name: "/other"}).full(f"{root}/{name}") == "/other"


@pytest.mark.parametrize("name", ["", "/", "a//b", "a/", "1st", "a b", "a-b", "~a", "/~/a", "a\0", "ü"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="is no name of a topic or service"):
        Names("memory").full(name)
    with pytest.raises(InputError, match="is no name"):
        Names("memory", remaps={"a": name})


@pytest.mark.parametrize(
    ("node", "namespace"), [("a/b", "/"), ("", "/"), ("a", "robot"), ("a", "/robot/"), ("a", "//")]
)
def test_what_is_no_node_is_refused(node: str, namespace: str) -> None:
    with pytest.raises(InputError, match=r"a node is named|a namespace is"):
        Names(node, namespace)


FILE = """
/**:
  ros__parameters: {resolution: 0.1, name: all, tf: {wait: 0.5, frames: [map, odom]}}
robot_1:
  memory:
    ros__parameters: {resolution: 0.2}
/robot_2/*:
  ros__parameters: {name: second}
/**/planner:
  ros__parameters: {name: planner}
"""


@pytest.mark.parametrize(
    ("node", "changes"),
    [
        ("/memory", {}),
        ("/robot_1/memory", {"resolution": 0.2}),
        ("/robot_2/memory", {"name": "second"}),
        ("/robot_2/arm/memory", {}),
        ("/planner", {"name": "planner"}),
        ("/robot_2/planner", {"name": "planner"}),
    ],
)
def test_a_parameter_file_is_read_as_ros_reads_it(tmp_path: Path, node: str, changes: dict[str, Any]) -> None:
    (tmp_path / "p.yaml").write_text(FILE)
    everywhere = {"resolution": 0.1, "name": "all", "tf.wait": 0.5, "tf.frames": ["map", "odom"]}
    assert parameters_for(tmp_path / "p.yaml", node) == {**everywhere, **changes}


@pytest.mark.parametrize(
    ("text", "match"),
    [("- a", "no names of nodes"), ("a: 3", "/a holds no names"), ("a: {ros__parameters: 3}", "no parameters"),
     ("a: [", "p.yaml: while parsing"), ("a: !!python/object:os.system x", "could not determine"),
     ("x: " * 3, "p.yaml: mapping values"), ("a: \x07", "p.yaml")],
)  # fmt: skip
def test_what_is_no_parameter_file_is_refused(tmp_path: Path, text: str, match: str) -> None:
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(InputError, match=match):
        parameters_for(tmp_path / "p.yaml", "/a")
    with pytest.raises(InputError, match=re.escape(str(tmp_path / "q.yaml"))):
        parameters_for(tmp_path / "q.yaml", "/a")
