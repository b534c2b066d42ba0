"""No code of ours runs what a file or a sentence says: held over the syntax trees of every package."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("embmem", "maps", "policies", "sim_envs", "benchmarks")
MODULES = frozenset(
    {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle"}
)
BUILTINS = frozenset({"eval", "exec", "compile", "__import__"})
METHODS = frozenset({"read_pickle", "to_pickle"})


def found_in(source: str) -> Iterator[str]:
    """What a source does that could run foreign code, with its line."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        for what in _faults(node):
            yield f"line {getattr(node, 'lineno', 0)}: {what}"


def _faults(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name.split(".")[0] in MODULES)
    elif isinstance(node, ast.ImportFrom):
        if (node.module or "").split(".")[0] in MODULES:
            yield f"from {node.module}"
        yield from (f"import {a.name}" for a in node.names if a.name in MODULES | METHODS)
        if node.module in ("torch", "numpy", "yaml", "os", "builtins"):  # under a bare name the rules below are blind
            bare = {"load", "unsafe_load", "system", "popen"} | BUILTINS
            yield from (f"{node.module}.{a.name} under a bare name" for a in node.names if a.name in bare)
    elif isinstance(node, ast.Call):
        yield from _call_faults(node)
    elif isinstance(node, ast.Name) and node.id in {"eval", "exec", "__import__"}:
        yield node.id
    elif isinstance(node, ast.Attribute) and node.attr in METHODS:
        yield node.attr


def _call_faults(node: ast.Call) -> Iterator[str]:
    name = ast.unparse(node.func)
    last = name.split(".")[-1]
    given = {keyword.arg: keyword.value for keyword in node.keywords}
    if name == "compile" or name.startswith("builtins."):
        yield name
    first = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else ""
    if name.startswith("importlib") and str(first).split(".")[0] in MODULES:
        yield f"{name} of {first!r}"
    if name in ("torch.load", "torch.jit.load") and not _is(given.get("weights_only"), True):
        yield "torch.load without weights_only=True"
    if "allow_pickle" in given and not _is(given["allow_pickle"], False):
        yield "allow_pickle"
    if last in ("load", "load_all", "unsafe_load", "full_load") and name.startswith("yaml."):
        yield name
    if "shell" in given and not _is(given["shell"], False):
        yield "shell=True"
    if name in ("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"):
        yield name
    if "trust_remote_code" in given and not _is(given["trust_remote_code"], False):
        yield "trust_remote_code"
    if last in ("enable_load_extension", "load_extension"):
        yield name


def _is(node: ast.expr | None, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


SOURCES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py") if not path.is_symlink())


def test_every_package_is_looked_at() -> None:
    looked = {path.resolve() for path in SOURCES}
    assert len(looked) > 150
    for name in ("embmem/store/sqlite.py", "maps/objects.py", "policies/__init__.py", "sim_envs/run_folder.py"):
        assert (ROOT / name).resolve() in looked


def test_no_code_runs_what_a_file_says() -> None:
    faults = [f"{path.relative_to(ROOT)}: {what}" for path in SOURCES for what in found_in(path.read_text("utf-8"))]
    assert faults == []


@pytest.mark.parametrize(
    "bad",
    [
        "import pickle", "import pickle as p", "from pickle import loads", "import joblib.numpy_pickle", "import dill",
        "import shelve", "from marshal import loads", "import cloudpickle", "eval('1')", "exec(text)", "run = eval",
        "compile(text, 'f', 'exec')", "__import__('os')", "builtins.eval('1')", "importlib.import_module('pickle')",
        "torch.load(path)", "torch.load(path, weights_only=False)", "torch.load(path, weights_only=flag)",
        "np.load(path, allow_pickle=True)", "np.load(path, allow_pickle=flag)", "np.save(p, a, allow_pickle=True)",
        "yaml.load(text)", "yaml.load(text, Loader=yaml.Loader)", "yaml.unsafe_load(text)", "from yaml import load",
        "from torch import load", "subprocess.run(command, shell=True)", "subprocess.Popen(c, shell=flag)",
        "os.system('ls')", "from os import system", "pd.read_pickle(path)", "frame.to_pickle(path)",
        "AutoModel.from_pretrained(name, trust_remote_code=True)", "db.enable_load_extension(True)",
        "def f():\n    if a:\n        import pickle",
    ],
)  # fmt: skip
def test_the_check_finds(bad: str) -> None:
    assert list(found_in(bad))


@pytest.mark.parametrize(
    "good",
    [
        "model.eval()", "re.compile('a')", "torch.load(path, weights_only=True)", "np.load(path, allow_pickle=False)",
        "np.load(path)", "yaml.safe_load(text)", "subprocess.run(['ls'])", "json.load(file)", "import json",
        "cursor.execute('SELECT 1')",
    ],
)  # fmt: skip
def test_the_check_lets_pass(good: str) -> None:
    assert list(found_in(good)) == []
