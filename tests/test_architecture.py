"""The house keeps its arrows, importing does nothing, and the core needs nothing optional."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import birefnet
from tests.core_import import is_core

PACKAGE = Path(birefnet.__file__).parent

# room -> what it may import of ours, wherever the import stands
GROUND = {"cache", "cpus", "devices", "errors", "files", "inputs", "libraries", "memory", "processes"}
ARROWS = {
    "cache": set(),
    "libraries": {"cache", "processes"},
    "errors": {"libraries"},
    "files": set(),
    "memory": {"errors"},
    "cpus": set(),
    "processes": set(),
    "devices": {"errors"},
    "inputs": set(),
    "pixels": GROUND,
    "network": GROUND,
    "weights": {*GROUND, "pixels", "network"},
    "runtimes": {*GROUND, "pixels", "network", "weights"},
    "data": {*GROUND, "pixels"},
    "evaluation": {*GROUND, "pixels", "network", "weights", "data", "runtimes", "remover"},
    "training": {*GROUND, "pixels", "network", "weights", "data", "evaluation", "runtimes", "remover"},
    "export": {*GROUND, "pixels", "network", "weights", "data", "runtimes"},
    "benchmarking": {*GROUND, "pixels", "network", "weights", "runtimes", "export"},
    "remover": {*GROUND, "pixels", "runtimes", "weights"},
    "serving": {*GROUND, "pixels", "runtimes", "weights", "remover"},
    "cli": {
        *(*GROUND, "pixels", "network", "weights", "runtimes", "data", "evaluation", "training", "export", "remover"),
        *("benchmarking", "serving"),
    },
    "__main__": {"cli"},
}
# room -> what it may import of others at the head of its modules, besides torch in the modules that need it;
# anything else is imported where it is used
LIBRARIES = {
    "cache": set(),
    "libraries": set(),
    "errors": set(),
    "files": set(),
    "memory": set(),
    "cpus": set(),
    "processes": set(),
    "devices": set(),
    "inputs": set(),
    "pixels": {"numpy", "PIL"},
    "network": set(),
    "weights": {"numpy", "safetensors", "tqdm"},
    "runtimes": {"numpy"},
    "data": {"numpy", "PIL"},
    "evaluation": {"numpy", "PIL"},
    "training": {"numpy", "PIL", "safetensors"},
    "export": {"numpy"},
    "benchmarking": {"numpy"},
    "remover": {"numpy", "PIL"},
    "serving": {"numpy", "PIL"},
    "cli": {"typer", "tqdm"},
    "__main__": set(),
}
# what the modules of the server itself are made of
SERVER = {"fastapi", "starlette", "pydantic", "uvicorn", "python_multipart", "prometheus_client"}


def modules() -> Iterator[tuple[str, str, ast.Module]]:
    """(room, path below the package, syntax tree) of every module but the package's own `__init__`."""
    for path in sorted(PACKAGE.rglob("*.py")):
        relative = path.relative_to(PACKAGE)
        if str(relative) != "__init__.py":
            yield relative.parts[0].removesuffix(".py"), str(relative), ast.parse(path.read_text(encoding="utf-8"))


def dotted(path: str) -> str:
    """`weights/zoo.py` -> `birefnet.weights.zoo`."""
    return ".".join(("birefnet", *Path(path).with_suffix("").parts)).removesuffix(".__init__")


def imported(node: ast.AST) -> list[str]:
    """The dotted names that an import statement names; relative ones are not used here."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"line {node.lineno}: a relative import"
        if node.module == "birefnet":
            return [f"birefnet.{alias.name}" for alias in node.names]
        return [node.module or ""]
    return []


def at_import(tree: ast.Module) -> Iterator[ast.stmt]:
    """The statements that run when a module is imported: not in functions, not under `if TYPE_CHECKING`."""
    todo: list[ast.stmt] = list(tree.body)
    while todo:
        node = todo.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            todo += node.orelse
            continue
        yield node
        todo += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]


def test_every_room_has_its_arrows() -> None:
    assert {room for room, _, _ in modules()} <= set(ARROWS)
    assert set(ARROWS) == set(LIBRARIES)


def test_no_room_imports_against_the_arrows() -> None:
    wrong = []
    for room, path, tree in modules():
        for node in ast.walk(tree):
            for name in imported(node):
                if not name.startswith("birefnet."):
                    continue
                other = name.split(".")[1]
                if other == "__version__":
                    continue
                if other in birefnet._HOMES:  # a public name stands for the room it lives in
                    other = birefnet._HOMES[other].split(".")[1]
                if other != room and other not in ARROWS[room]:
                    wrong.append(f"{path}: {name}")
    assert not wrong, "\n".join(wrong)


def test_libraries_are_imported_where_they_are_allowed_or_used() -> None:
    wrong = []
    for room, path, tree in modules():
        allowed = {"birefnet", *LIBRARIES[room]}
        if not is_core(dotted(path)):
            allowed |= SERVER if room == "serving" else {"torch"}
        for node in at_import(tree):
            for name in imported(node):
                top = name.partition(".")[0]
                if top not in sys.stdlib_module_names and top not in allowed:
                    wrong.append(f"{path}:{node.lineno}: {name}")
    assert not wrong, "\n".join(wrong)


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}, timeout=120
    )


def test_every_core_module_imports_without_anything_optional() -> None:
    script = Path(__file__).with_name("core_import.py")
    result = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert "core modules imported" in result.stdout


def test_importing_is_quick_and_loads_nothing_heavy() -> None:
    code = """
import sys, time
start = time.perf_counter()
import birefnet
print(time.perf_counter() - start)
print([m for m in ("torch", "onnxruntime", "numpy", "PIL", "typer", "huggingface_hub") if m in sys.modules])
"""
    runs = [python(code).stdout.splitlines() for _ in range(3)]
    assert all(loaded == "[]" for _, loaded in runs)
    assert min(float(seconds) for seconds, _ in runs) < 0.5  # the best of three: other work may slow one


def test_a_public_name_that_needs_torch_says_which_extra_brings_it() -> None:
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from core_import import Blocker
sys.meta_path.insert(0, Blocker())
import birefnet
try:
    birefnet.load_model
except birefnet.MissingExtra as error:
    print(error)
"""
    assert "birefnet[torch]" in python(code).stdout


def test_help_loads_no_runtime() -> None:
    code = """
import sys
from birefnet.cli.main import run
codes = run(["--help"]), run(["remove", "--help"])
assert codes == (0, 0), codes
print([m for m in ("torch", "onnxruntime", "numpy", "PIL", "huggingface_hub") if m in sys.modules])
"""
    result = python(code)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "[]"


WATCHED = """
import importlib, logging, os, random, sys, warnings
sys.path.insert(0, {tests!r})
from core_import import core_modules
import birefnet
names = core_modules()
for library in ("numpy", "PIL.Image", "PIL.ImageFilter", "onnxruntime", "huggingface_hub", "typer", "tqdm"):
    importlib.import_module(library)  # what these do is their own affair
torch = importlib.import_module("torch") if {with_torch} else None

def state():
    numpy = sys.modules["numpy"]
    flags = torch and (torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled(),
                       torch.backends.cudnn.benchmark, torch.get_float32_matmul_precision(), torch.initial_seed())
    return (dict(os.environ), os.getcwd(), list(logging.root.handlers), logging.root.level, random.getstate(),
            str(numpy.random.get_state()), numpy.geterr(), flags)

events = []
def watch(event, arguments):
    if event == "open" and not str(arguments[0]).endswith((".py", ".pyc", ".so")) and not isinstance(arguments[0], int):
        if ".dist-info/" in str(arguments[0]):
            return  # torch looks through every installed package for plug-ins
        # Writing of any file, and reading of our own: other libraries read their own data.
        if any(letter in str(arguments[1]) for letter in "wax+") or "birefnet" in str(arguments[0]):
            events.append((event, arguments))
    if event.startswith(("socket.", "subprocess.", "os.mkdir", "os.remove", "os.rename")):
        events.append((event, arguments))

before = state()
sys.dont_write_bytecode = True
sys.addaudithook(watch)
for name in names + {more}:
    importlib.import_module(name)
after = state()
assert before == after, [(b, a) for b, a in zip(before, after) if b != a]
assert not events, events
"""


@pytest.mark.parametrize("with_torch", [False, True], ids=["core", "torch"])
def test_importing_does_nothing(with_torch: bool) -> None:
    more = []
    if with_torch:
        pytest.importorskip("torch")
        pytest.importorskip("yaml")
        pytest.importorskip("fastapi")
        more = [name for name in (dotted(path) for _, path, _ in modules()) if not is_core(name)]
    code = WATCHED.format(tests=str(Path(__file__).parent), with_torch=with_torch, more=more)
    result = python(code)
    assert result.returncode == 0, result.stderr
    assert result.stdout == ""


def test_the_public_names_exist_and_are_listed() -> None:
    assert sorted(birefnet.__all__) == dir(birefnet)
    with pytest.raises(AttributeError, match="no attribute `nonsense`"):
        _ = birefnet.nonsense  # type: ignore[attr-defined]
    assert birefnet.Remover.__module__ == "birefnet.remover"
