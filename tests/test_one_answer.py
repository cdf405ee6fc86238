"""Each question has one place that answers it (the table in docs/architecture.md): no second one may appear.

The first half reads text, the second syntax trees. What a rule allows is another thing, and says which.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import birefnet

PACKAGE = Path(birefnet.__file__).parent

# what only one place may do -> (pattern, where else than in comments it may stand)
ONLY = {
    "what MODEL means": (
        r"\b(hub_weights|try_to_load_from_cache|hf_hub_download|weights_of|onnx_of)\(",
        # The command that fetches one published file, and the page's own model.
        {"weights/resolve.py", "weights/download.py", "weights/zoo.py", "cli/models.py", "serving/nano.py"},
    ),
    "whether a text names a row of the zoo": (
        r"\bzoo\.(knows|find)\(",
        # The server knows its own models by their other names, and the page its own.
        {"weights/resolve.py", "serving/pool.py", "serving/nano.py"},
    ),
    "what a repository calls its weights": (r"pytorch_model\.bin", {"weights/formats.py"}),
    "what a mask holds": (r"def _?(read|decode|load|open)_(mask|truth)\(", {"data/masks.py", "training/validation.py"}),
    "which way up a file is": (r"Base\.Orientation|0x0112|exif_transpose", {"data/reading.py", "pixels"}),
    "which picture files a folder holds": (r"READABLE_SUFFIXES", {"data/pairs.py", "pixels", "cli"}),
    "which word was meant": (r"difflib", {"errors.py"}),
    "how a file appears whole": (
        r"mkstemp|NamedTemporaryFile|os\.replace\(",
        # Proved exports of two files and resumed downloads have reasons of their own, told there.
        {"files.py", "export/proof.py", "export/openvino.py", "weights/transfer.py"},
    ),
    "which suffixes models have": (r"\"\.(pth|pt|pt2|engine|gguf)\"", {"weights/formats.py"}),
    "which known word was meant": (r"get_close_matches", {"errors.py"}),
    "which input a model was made for": (
        r"\bto_spec\(",
        # Runtimes read exported files, and a run reads what it has kept of its start.
        {"weights/facts.py", "weights/resolve.py", "runtimes", "serving/nano.py", "training/start.py"},
    ),
}


@pytest.mark.parametrize("question", ONLY)
def test_nobody_else_answers(question: str) -> None:
    pattern, allowed = ONLY[question]
    found = set()
    for path in PACKAGE.rglob("*.py"):
        name = path.relative_to(PACKAGE).as_posix()
        if re.search(pattern, path.read_text(encoding="utf-8")):
            found.add(name)
    assert found, "the pattern finds nothing any more, not even the one answer"
    assert not {name for name in found if name not in allowed and name.partition("/")[0] not in allowed}


Finder = Callable[[ast.AST], bool]


def called(node: ast.AST) -> str:
    """The dotted name of what is called; "" for anything else. `.name` alone for a method of some value."""
    if not isinstance(node, ast.Call):
        return ""
    function = node.func
    if isinstance(function, ast.Attribute) and not isinstance(function.value, (ast.Name, ast.Attribute)):
        return f".{function.attr}"
    return ast.unparse(function)


def imports(node: ast.AST, *names: str) -> bool:
    """Whether a statement or `import_module("...")` imports one of these libraries."""
    if isinstance(node, ast.Import):
        found = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        found = [node.module or ""]
    elif (
        called(node).endswith("import_module") and isinstance(node, ast.Call) and isinstance(node.args[0], ast.Constant)
    ):
        found = [str(node.args[0].value)]
    else:
        return False
    return any(name.partition(".")[0] in names for name in found)


def loads_by_itself(node: ast.AST) -> bool:
    return imports(node, "onnxruntime", "huggingface_hub", "nncf", "openvino", "openvino_telemetry", "pymatting")


def finds_a_cache(node: ast.AST) -> bool:
    return imports(node, "platformdirs") or called(node).endswith(("Path.home", ".user_cache_path", ".user_cache_dir"))


def gives_a_final_name(node: ast.AST) -> bool:
    """`os.replace`, `Path.replace(target)`, `Path.rename(target)`, `shutil.move`, or a name that ends in `.part`."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value.endswith(".part") or ".part." in node.value
    name = called(node)
    if name in ("os.replace", "os.rename", "shutil.move", "tempfile.mkstemp"):
        return True
    assert isinstance(node, ast.Call) or not name
    method = name.rpartition(".")[2] if "." in name else ""
    one = isinstance(node, ast.Call) and len(node.args) == 1 and not node.keywords
    return method in ("replace", "rename") and one


def guesses_words(node: ast.AST) -> bool:
    return imports(node, "difflib") or called(node).endswith("get_close_matches")


def opens_pictures(node: ast.AST) -> bool:
    return called(node) in ("Image.open", "PIL.Image.open")


def asks_for_devices(node: ast.AST) -> bool:
    return called(node).endswith(("cuda.is_available", "mps.is_available", "xpu.is_available", "cuda.device_count"))


# rule -> where its answer is, and what else may look like it, each with its reason
RULES: dict[Finder, dict[str, str]] = {
    loads_by_itself: {"libraries.py": "the answer"},
    finds_a_cache: {"cache.py": "the answer"},
    gives_a_final_name: {
        "files.py": "the answer",
        "weights/transfer.py": "downloads: the part is kept, for the next attempt to go on with",
        "weights/resolve.py": "text, no file",
        "export/proof.py": "packs that are judged before they get their name; being moved to `files`",
        "export/openvino.py": "two files that appear together; being moved to `files`",
    },
    guesses_words: {"errors.py": "the answer"},
    opens_pictures: {
        "data/augment.py": "a picture of our own, made worse by JPEG in memory; `pixels` opens none without asking",
    },
    asks_for_devices: {
        "devices.py": "the answer",
        "export/aoti.py": "where a package is traced: on the kind of device it is for",
        "runtimes/machine.py": "what `doctor` shows",
        "runtimes/tensorrt_engine.py": "there is nothing to choose: engines are made on NVIDIA's GPUs",
    },
}


class _Running(ast.NodeTransformer):
    """Leaves out what only type checkers read."""

    def visit_If(self, node: ast.If) -> ast.AST:
        if ast.unparse(node.test).endswith("TYPE_CHECKING"):
            return ast.If(node.test, [ast.Pass()], node.orelse)
        return self.generic_visit(node)


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        yield path.relative_to(PACKAGE).as_posix(), _Running().visit(tree)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_no_second_answer(rule: Finder) -> None:
    allowed = RULES[rule]
    found = [
        f"{path}:{getattr(node, 'lineno', 0)}: {ast.unparse(node)[:80]}"
        for path, tree in modules()
        if path not in allowed
        for node in ast.walk(tree)
        if rule(node)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_rule_sees_the_answer(rule: Finder) -> None:
    """A rule that finds nothing where its answer is would find no second one either."""
    answers = [path for path, reason in RULES[rule].items() if reason == "the answer"]
    trees = {path: tree for path, tree in modules() if path in answers}
    if trees and rule is not loads_by_itself:  # which imports by a variable, as it should
        assert any(rule(node) for tree in trees.values() for node in ast.walk(tree))


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        (loads_by_itself, "import onnxruntime as ort"),
        (loads_by_itself, "from huggingface_hub.utils import x"),
        (loads_by_itself, "importlib.import_module('onnxruntime.quantization')"),
        (finds_a_cache, "Path.home() / '.cache'"),
        (gives_a_final_name, "os.replace(a, b)"),
        (gives_a_final_name, "path.with_suffix('.x').replace(path)"),
        (gives_a_final_name, "part.rename(path)"),
        (gives_a_final_name, "f'.{name}.part'"),
        (guesses_words, "import difflib"),
        (opens_pictures, "Image.open(path)"),
        (asks_for_devices, "torch.cuda.is_available()"),
    ],
)
def test_what_the_rules_see(rule: Finder, code: str) -> None:
    assert any(rule(node) for node in ast.walk(ast.parse(code)))


@pytest.mark.parametrize("code", ["text.replace('a', 'b')", "replace(row, status='done')", "base.replace(path='/')"])
def test_what_is_no_writer(code: str) -> None:
    assert not any(gives_a_final_name(node) for node in ast.walk(ast.parse(code)))
