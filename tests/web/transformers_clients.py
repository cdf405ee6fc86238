"""transformers.js as tests drive it: in Node, and in headless Chromium."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.web.node import absent
from tests.web.transformers_host import host

HERE = Path(__file__).parent
LIBRARY = HERE / "node_modules" / "@huggingface" / "transformers"
TYPES = {"pixels": np.float32, "logits": np.float32, "own": np.float32, "mask": np.uint8, "cutout": np.uint8}
PATIENCE = 240  # seconds

Found = dict[str, NDArray[Any]]


def need_library() -> None:
    """Stop here where the packages are not installed: see `absent`."""
    node = shutil.which("node")
    if node and (LIBRARY / "package.json").is_file():
        return
    absent("Node.js with its packages (npm ci --ignore-scripts --prefix tests/web)")


def in_node(
    model: Path, picture: Path, folder: Path, *, dtype: str | None = None, own: NDArray[np.float32] | None = None
) -> Found:
    """What transformers.js finds in Node; see `transformers-run.mjs`."""
    folder.mkdir(parents=True)  # new: what an earlier job left would be taken for this one's
    job = {"model": str(model), "picture": str(picture), "dtype": dtype, "out": str(folder)}
    if own is not None:
        (folder / "given.bin").write_bytes(own.tobytes())
        job["own"] = str(folder / "given.bin")
    (folder / "job.json").write_text(json.dumps(job), "utf-8")
    words = ["node", str(HERE / "transformers-node.mjs"), str(folder / "job.json")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    return {
        name: np.frombuffer((folder / f"{name}.bin").read_bytes(), kind)
        for name, kind in TYPES.items()
        if (folder / f"{name}.bin").is_file()
    }


@contextmanager
def in_chromium(
    browser: Any, models: Mapping[str, Path], pictures: Mapping[str, Path]
) -> Iterator[Callable[..., Found]]:
    """A function (model, picture, dtype=..., own=...) that gives what transformers.js finds in a page of `browser`.

    The page loads the library's own build for pages, with no bundler, as its documentation shows.
    """
    with host(_site(models, pictures), _ISOLATED) as address:
        page = browser.new_page()
        page.goto(f"{address}/index.html")
        try:
            yield partial(_call, page)
        finally:
            page.close()


# What a page must send to get threads. Our page's policy is not for others: this library makes `blob:` scripts.
_ISOLATED = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}


def _site(models: Mapping[str, Path], pictures: Mapping[str, Path]) -> dict[str, Path | bytes]:
    files: dict[str, Path | bytes] = {"index.html": b'<!doctype html><script type="module" src="page.mjs"></script>'}
    files["page.mjs"] = HERE / "transformers-page.mjs"
    files["transformers-run.mjs"] = HERE / "transformers-run.mjs"
    files["library/transformers.min.js"] = LIBRARY / "dist" / "transformers.min.js"
    nested = LIBRARY / "node_modules" / "onnxruntime-web" / "dist"
    runtime = nested if nested.is_dir() else HERE / "node_modules" / "onnxruntime-web" / "dist"
    files |= {f"runtime/{path.name}": path for path in runtime.glob("ort-wasm*") if path.is_file()}
    for name, folder in models.items():
        for path in folder.rglob("*"):
            if path.is_file():
                files[f"models/{name}/{path.relative_to(folder).as_posix()}"] = path
    return files | {f"pictures/{name}": path for name, path in pictures.items()}


def _call(
    page: Any, model: str, picture: str, *, dtype: str | None = None, own: NDArray[np.float32] | None = None
) -> Found:
    job: dict[str, Any] = {"model": model, "picture": f"pictures/{picture}", "dtype": dtype}
    if own is not None:
        job["own"] = base64.b64encode(own.tobytes()).decode()
    end = time.monotonic() + PATIENCE
    while not page.evaluate("typeof window.start === 'function'"):
        assert time.monotonic() < end, "the page's module did not load"
        time.sleep(0.1)
    page.evaluate("job => { window.start(job); }", job)
    while (found := page.evaluate("window.found ?? null")) is None:
        assert time.monotonic() < end, "no answer from the page"
        time.sleep(0.2)
    assert "error" not in found, found["error"]
    return {name: np.frombuffer(base64.b64decode(found[name]), kind) for name, kind in TYPES.items() if name in found}
