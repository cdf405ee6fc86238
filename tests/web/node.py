"""Calling the page's JavaScript from tests: arrays go to Node in files and come back in files."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

WEB = Path(__file__).parents[2] / "src" / "birefnet" / "serving" / "web"
_numbers = itertools.count()


def absent(what: str) -> NoReturn:
    """Skip what needs it; one that sets BIREFNET_BROWSER_TESTS, as `make test-browser` does, promised it: fail."""
    if os.environ.get("BIREFNET_BROWSER_TESTS"):
        pytest.fail(f"This run promises {what}; it is not installed")
    pytest.skip(f"needs {what}; it is not installed")


class Node:
    """Calls functions of the page's modules with Node.js; files are kept in `folder`."""

    def __init__(self, folder: Path) -> None:
        found = shutil.which("node")
        if found is None:
            absent("Node.js, which runs the page's modules")
        self.program: str = found
        self.folder = folder

    def __call__(self, module: str, function: str, *arguments: Any, returns_argument: int | None = None) -> Any:
        """The result of `function(*arguments)` of `web/module`; arrays are uint8, int32 or float32.

        Args:
            returns_argument: which argument to return instead, for functions that work in place.
        """
        job = self.folder / f"job-{next(_numbers)}.json"
        order: dict[str, Any] = {
            "module": str(WEB / module),
            "function": function,
            "args": [self._write(value) for value in arguments],
            "result": str(job.with_suffix(".result.json")),
        }
        if returns_argument is not None:
            order["returns_argument"] = returns_argument
        job.write_text(json.dumps(order))
        script = Path(__file__).with_name("call.mjs")
        done = subprocess.run([self.program, script, job], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return _read(json.loads(Path(order["result"]).read_text())["result"])

    def _write(self, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            place = self.folder / f"array-{next(_numbers)}.bin"
            place.write_bytes(np.ascontiguousarray(value).tobytes())
            return {"array": str(place), "kind": value.dtype.name}
        if isinstance(value, dict):
            return {key: self._write(part) for key, part in value.items()}
        return value


def _read(value: Any) -> Any:
    if isinstance(value, dict) and set(value) == {"array", "kind"}:
        return np.frombuffer(Path(value["array"]).read_bytes(), value["kind"])
    if isinstance(value, dict):
        return {key: _read(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_read(part) for part in value]
    return value


def size_of(array: np.ndarray) -> dict[str, int]:
    """The size of an (H, W, ...) array as the page's modules take it."""
    return {"width": int(array.shape[1]), "height": int(array.shape[0])}


def rgba(rgb: np.ndarray, alpha: np.ndarray | None = None) -> np.ndarray:
    """(H, W, 3) uint8 -> (H, W, 4) uint8, opaque unless an alpha (H, W) uint8 is given."""
    cover = np.full(rgb.shape[:2], 255, np.uint8) if alpha is None else alpha
    return np.dstack([rgb, cover])
