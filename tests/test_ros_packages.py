"""The colcon packages: what they list is what is there, and the Python one is built."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from embmem.dds.parameter_file import parameters_for
from embmem.ros.parameter_files import NODES, yaml_of
from embmem.ros.parameters import Parameter

ROOT = Path(__file__).parents[1]
MSGS, NODES_PACKAGE = ROOT / "ros" / "embmem_msgs", ROOT / "ros" / "embmem_ros"
LAUNCH = sorted((NODES_PACKAGE / "launch").glob("*.launch.py"))
SHELL_LINES = 420  # of code: the shell has no logic of its own


def used_packages(folder: Path) -> set[str]:
    """ROS packages whose types the interfaces name."""
    found = set()
    for path in folder.glob("*/*.*"):
        for line in path.read_text(encoding="utf-8").splitlines():
            if match := re.match(r"([a-z_0-9]+)/[A-Z]\w*", line):
                found.add(match[1])
    return found


def test_cmake_builds_every_interface_and_finds_what_they_use() -> None:
    text = (MSGS / "CMakeLists.txt").read_text(encoding="utf-8")
    listed = re.findall(r'^  "((?:msg|srv|action)/\w+\.\w+)"$', text, flags=re.MULTILINE)
    there = [str(path.relative_to(MSGS)) for path in sorted(MSGS.glob("*/*.*"))]
    assert listed == there
    depends = set(re.search(r"DEPENDENCIES (.*)", text)[1].split())  # type: ignore[index]
    assert depends == used_packages(MSGS) | {"action_msgs"}
    assert depends | {"ament_cmake", "rosidl_default_generators"} == set(re.findall(r"find_package\((\w+) REQ", text))


@pytest.mark.parametrize("folder", [MSGS, NODES_PACKAGE], ids=lambda path: str(path.name))
def test_package_xml_is_valid(folder: Path) -> None:
    package = pytest.importorskip("catkin_pkg.package", reason="catkin_pkg (comes with colcon-ros) is not installed")
    warnings: list[str] = []
    parsed = package.parse_package(str(folder), warnings=warnings)
    assert warnings == []
    assert (parsed.name, parsed.version, parsed.licenses[0]) == (folder.name, "0.1.0", "Apache-2.0")
    given = {depend.name for depend in parsed.exec_depends}
    if folder == MSGS:
        assert given == used_packages(MSGS) | {"action_msgs", "rosidl_default_runtime"}
        assert [group.name for group in parsed.member_of_groups] == ["rosidl_interface_packages"]


def modules_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


def test_the_nodes_depend_on_what_they_import_and_send() -> None:
    root = ET.parse(NODES_PACKAGE / "package.xml").getroot()
    given = {str(each.text) for each in root.findall("exec_depend")}
    imported = {name for path in NODES_PACKAGE.rglob("*.py") for name in modules_of(path)}
    ours = {"embmem", "embmem_ros", "setuptools"}
    assert imported - ours - set(sys.stdlib_module_names) <= given
    sent = set()
    for path in (ROOT / "embmem" / "ros").rglob("*.py"):
        sent |= set(re.findall(r'"([a-z_0-9]+)/(?:msg|srv|action)/\w+"', path.read_text(encoding="utf-8")))
    not_sent = {"unique_identifier_msgs", "service_msgs", "rosgraph_msgs", "builtin_interfaces", "rcl_interfaces"}
    assert sent - not_sent <= given


def code_lines(path: Path) -> int:
    """Lines that are neither empty nor comments nor docstrings."""
    text = path.read_text(encoding="utf-8")
    told: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and ast.get_docstring(
            node
        ):
            told |= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    lines = enumerate(text.splitlines(), 1)
    return sum(1 for i, line in lines if line.strip() and not line.strip().startswith("#") and i not in told)


def test_the_shell_stays_thin() -> None:
    assert sum(map(code_lines, (NODES_PACKAGE / "embmem_ros").glob("*.py"))) <= SHELL_LINES


def assigned(path: Path) -> dict[str, ast.expr]:
    """What names at the top of a module stand for."""
    return {
        target.id: node.value
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def test_every_node_has_a_script_and_starts_in_a_launch_file() -> None:
    setup = (NODES_PACKAGE / "setup.py").read_text(encoding="utf-8")
    scripts = dict(re.findall(r'"(\w+) = embmem_ros\.nodes:(\w+)"', setup))
    functions = {
        node.name
        for node in ast.parse((NODES_PACKAGE / "embmem_ros" / "nodes.py").read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
    }
    assert scripts == {name: name for name in NODES}
    assert set(NODES) <= functions
    robot = assigned(NODES_PACKAGE / "launch" / "robot.launch.py")
    assert set(ast.literal_eval(robot["NODES"])) == set(NODES)
    for path in (*LAUNCH, NODES_PACKAGE / "setup.py"):
        compile(path.read_text(encoding="utf-8"), str(path), "exec")
    assert {path.name for path in LAUNCH} == {"robot.launch.py", "simulator.launch.py", "bag.launch.py"}


def test_parameter_files_say_what_the_nodes_declare(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "embmem.ros.parameter_files", str(tmp_path)]
    done = subprocess.run(program, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    written = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    there = {path.name: path.read_text(encoding="utf-8") for path in (NODES_PACKAGE / "config").iterdir()}
    assert written == there, "run python -m embmem.ros.parameter_files ros/embmem_ros/config"
    for name in there:
        read = parameters_for(NODES_PACKAGE / "config" / name, "/robot_1/anything")
        assert read == yaml.safe_load(there[name])["/**"]["ros__parameters"]


def test_a_parameter_file_keeps_every_kind_of_value() -> None:
    values: list[Any] = [
        True,
        3,
        -0.5,
        1e-9,
        float("inf"),
        "",
        "a: b #c",
        'say "\\"',
        ["a", "true", "1"],
        ["a b c"] * 40,
        [],
    ]
    parameters = [Parameter(f"p{i}", value, "text: with colon") for i, value in enumerate(values)]
    read = yaml.safe_load(yaml_of("title", parameters))["/**"]["ros__parameters"]
    assert read == {f"p{i}": value for i, value in enumerate(values[:-1])}
    assert {name: type(value) for name, value in read.items()} == {f"p{i}": type(v) for i, v in enumerate(values[:-1])}


def test_rviz_shows_topics_that_the_nodes_send() -> None:
    topics = assigned(ROOT / "embmem" / "ros" / "nodes" / "memory" / "sending.py")["TOPICS"]
    shown = yaml.safe_load((NODES_PACKAGE / "rviz" / "embmem.rviz").read_text(encoding="utf-8"))
    kinds = {"Map": "OccupancyGrid", "PointCloud2": "PointCloud2", "MarkerArray": "MarkerArray"}
    sent = {topic.replace("~", "memory"): type.split("/")[-1] for type, topic in ast.literal_eval(topics).values()}
    checked = 0
    for display in shown["Visualization Manager"]["Displays"]:
        package, kind = display["Class"].split("/")
        assert package == "rviz_default_plugins"
        if kind in kinds:
            assert sent[display["Topic"]["Value"]] == kinds[kind]
            assert display["Topic"]["Durability Policy"] == "Transient Local"
            checked += 1
        if "Update Topic" in display:
            assert sent[display["Update Topic"]["Value"]] == "OccupancyGridUpdate"
    assert checked == len(kinds)


def test_colcon_builds_the_nodes(tmp_path: Path) -> None:
    pytest.importorskip("colcon_core", reason="colcon (colcon-common-extensions) is not installed")
    shutil.copytree(NODES_PACKAGE, tmp_path / "src" / "embmem_ros")
    program = [sys.executable, "-m", "colcon", "--log-base", "log", "build", "--executor", "sequential"]
    done = subprocess.run(program, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    prefix = tmp_path / "install" / "embmem_ros"
    scripts = {path.name for path in (prefix / "lib" / "embmem_ros").iterdir()}
    share = prefix / "share" / "embmem_ros"
    assert scripts == set(NODES)
    assert (prefix / "share" / "ament_index" / "resource_index" / "packages" / "embmem_ros").exists()
    for folder in ("launch", "config", "rviz"):
        installed = {path.name for path in (share / folder).iterdir()}
        assert installed == {path.name for path in (NODES_PACKAGE / folder).iterdir() if path.is_file()}
    site = next((prefix / "lib").glob("python*/site-packages/embmem_ros"))
    assert {p.name for p in site.glob("*.py")} == {p.name for p in (NODES_PACKAGE / "embmem_ros").glob("*.py")}


@pytest.mark.ros
@pytest.mark.parametrize("path", LAUNCH, ids=lambda path: str(path.name))
def test_launch_describes_itself(path: Path) -> None:
    launch = pytest.importorskip("launch", reason="launch is not there: it comes with a ROS 2 installation")
    pytest.importorskip("launch_ros", reason="launch_ros is not there: it comes with a ROS 2 installation")
    source = launch.launch_description_sources.PythonLaunchDescriptionSource(str(path))
    description = source.get_launch_description(launch.LaunchContext())
    assert description.entities


def test_the_workflow_runs_every_distribution() -> None:
    text = (ROOT / ".github" / "workflows" / "ros.yml").read_text(encoding="utf-8")
    jobs = yaml.safe_load(text)["jobs"]
    assert set(jobs["contract"]["strategy"]["matrix"]["distribution"]) == {"humble", "jazzy", "kilted"}
    assert "ros:${{ matrix.distribution }}" in jobs["contract"]["container"]["image"]
    assert "tests/contract" in text
