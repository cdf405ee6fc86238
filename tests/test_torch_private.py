"""What is used of PyTorch that it does not promise: each name stands here, with the versions it was tried with."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import birefnet

torch = pytest.importorskip("torch")

TRIED = ("2.13",)  # major.minor; where another one is installed, these tests are what tells
# module -> private names
USED = {
    "export/aoti.py": {"torch._inductor", "torch._inductor.cpp_builder"},
    "network/inference/kernels.py": {"_C", "_has_mkldnn", "_linear_pointwise", "_convolution_pointwise"},
    "network/sampling.py": {"_embedding_bag_per_sample_weights_backward"},
    "runtimes/aoti.py": {"torch._inductor"},
    "training/average.py": {"_foreach_lerp_"},
    "training/measuring.py": {"_cdata", "torch.utils._python_dispatch", "torch.utils._pytree"},
}


def _private(path: Path) -> set[str]:
    """Private names that a module takes from torch: modules it imports, and attributes."""
    tree = ast.parse(path.read_text())
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("torch."):
            found |= {node.module or ""} if "._" in (node.module or "") else set()
            found |= {alias.name for alias in node.names if alias.name.startswith("_")}
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            of_torch = ast.unparse(node).startswith("torch.") or node.attr == "_cdata"
            found |= {node.attr} if of_torch else set()
    return found


def test_no_other_private_name_of_torch_is_used() -> None:
    root = Path(birefnet.__file__).parent
    found = {path.relative_to(root).as_posix(): _private(path) for path in root.rglob("*.py")}
    assert {name: names for name, names in found.items() if names} == USED


def test_they_do_what_they_are_used_for() -> None:
    version = ".".join(torch.__version__.split(".")[:2])
    told = f"tried with PyTorch {', '.join(TRIED)}; this is {version}"
    values = [torch.zeros(3), torch.zeros(2)]
    torch._foreach_lerp_(values, [torch.ones(3), torch.ones(2)], 0.25)
    assert all(bool((value == 0.25).all()) for value in values), told
    whole = torch.zeros(4)
    assert whole.untyped_storage()._cdata == whole[1:].untyped_storage()._cdata, told
    assert whole.untyped_storage()._cdata != torch.zeros(4).untyped_storage()._cdata, told
    assert isinstance(torch._C._has_mkldnn, bool), told
    assert hasattr(torch.ops.aten, "_embedding_bag_per_sample_weights_backward"), told
