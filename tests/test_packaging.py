"""The package as it is installed: names, layers, import cost, and what a configuration may hold."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
FOLDERS = ("maps", "policies", "sim_envs", "configs")  # at the root, imported as embmem.<folder>
# Who may import whom; the command line reaches the rest through `_target_` in configs.
ALLOWED = {"core": set(), "maps": {"core"}, "policies": {"core", "maps"}, "sim_envs": {"core", "maps", "policies"}}
IMPORT_BUDGET = 0.5  # [s] of CPU time, so that a busy machine does not fail it


def python_files() -> Iterator[tuple[str, Path]]:
    """(layer, file) of the library."""
    for path in sorted((ROOT / "embmem").rglob("*.py")):
        if path.relative_to(ROOT / "embmem").parts[0] not in FOLDERS:
            yield "core", path
    for folder in ("maps", "policies", "sim_envs"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield folder, path


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer_of(module: str) -> str | None:
    parts = module.split(".")
    if parts[0] != "embmem":
        return None
    return parts[1] if len(parts) > 1 and parts[1] in ALLOWED else "core"


def test_every_package_is_listed() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    listed = set(re.findall(r'^    "(embmem[\w.]*)",$', text, flags=re.MULTILINE))
    found = {"embmem"}
    for init in [
        *(ROOT / "embmem").rglob("__init__.py"),
        *(p for f in FOLDERS for p in (ROOT / f).rglob("__init__.py")),
    ]:
        parts = init.parent.relative_to(ROOT).parts
        found.add(".".join(parts if parts[0] == "embmem" else ("embmem", *parts)))
    assert listed == found


@pytest.mark.parametrize("folder", FOLDERS)
def test_links_point_to_the_folders_at_the_root(folder: str) -> None:
    link = ROOT / "embmem" / folder
    assert link.is_symlink()
    assert link.resolve() == (ROOT / folder).resolve()


def test_imports_point_one_way() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for layer, path in python_files()
        for module in imported(path)
        if (target := layer_of(module)) is not None and target not in ALLOWED[layer] | {layer}
    ]
    assert wrong == []


def test_import_is_cheap_and_pulls_in_nothing_heavy() -> None:
    program = (
        "import sys, time; t = time.process_time(); import embmem, embmem.memory; "
        "heavy = {'torch', 'open3d', 'numba', 'matplotlib', 'cv2', 'gymnasium', 'hydra'} & set(sys.modules); "
        "print(time.process_time() - t, *heavy)"
    )
    runs = [
        subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
        for _ in range(3)
    ]
    assert all(run[1:] == [] for run in runs)
    assert min(float(run[0]) for run in runs) < IMPORT_BUDGET


CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: str(p.relative_to(ROOT / "configs")))
def test_every_target_of_a_config_exists_and_takes_its_arguments(path: Path) -> None:
    from hydra.utils import get_object

    def check(node: object) -> None:
        if isinstance(node, dict):
            if "_target_" in node:
                target = get_object(node["_target_"])
                given = {k: v for k, v in node.items() if not k.startswith("_")}
                parameters = inspect.signature(target).parameters
                takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
                assert takes_any or set(given) <= set(parameters), set(given) - set(parameters)
            for value in node.values():
                check(value)
        elif isinstance(node, list):
            for value in node:
                check(value)

    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    config.pop("defaults", None)  # Hydra's own
    check(config)


def test_versions_agree() -> None:
    import embmem

    assert f'version = "{embmem.__version__}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
