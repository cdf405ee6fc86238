"""Shared options are one object in every command that has them."""

from __future__ import annotations

import ast
from pathlib import Path

import birefnet.cli
from birefnet.cli import options

COMMANDS = Path(birefnet.cli.__file__).parent
SHARED = ("--device", "--dtype", "--json", "--memory", "--offline", "--overwrite", "--quiet", "--runtime")
# What the name means there is another thing: `serve` takes several devices, judging has an exact default.
OWN = {("serve.py", "--device"), ("train.py", "--json"), ("judging.py", "--dtype")}


def test_shared_options_are_declared_once() -> None:
    again = []
    for path in COMMANDS.glob("*.py"):
        if path.name == "options.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "typer.Option":
                words = [word.value for word in node.args if isinstance(word, ast.Constant)]
                again += [(path.name, word) for word in SHARED if word in words and (path.name, word) not in OWN]
    assert not again


def test_every_shared_option_is_declared_here() -> None:
    declared = {word for value in vars(options).values() for word in _flags(value)}
    assert declared >= set(SHARED)


def _flags(value: object) -> tuple[str, ...]:
    """The words that an `Annotated[..., typer.Option(...)]` declares; typer keeps the first of them as its default."""
    metadata = getattr(value, "__metadata__", ())
    return tuple(word for option in metadata for word in (option.default, *option.param_decls))
