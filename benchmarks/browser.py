"""What a picture costs in a browser: size, loading, time and memory of models for browsers in headless Chromium.

    python benchmarks/browser.py FOLDER ... [--dtypes int8 fp16 fp32] [--pictures 4] [--backend wasm|webgpu]
    python benchmarks/browser.py --random-weights swin_v1_t --sizes 512 1024 --keep folders

FOLDER is what `birefnet export MODEL --to web` wrote; `--random-weights` makes such folders of seeded random weights,
which cost the same as trained ones. The model in the box is always measured too, unless `--no-nano`. Each row is a
browser of its own, in which the page's own worker loads the model and cuts one photo out several times; the files come
from this machine. `later` is the median of all pictures but the first; `peak` the largest memory of the renderer's
process (VmHWM) from its start on, `after` what it holds after each picture (growth would show there); `differs` is the
alpha, in steps of 1/255, against the same network run by ONNX Runtime in Python from float32 weights, at most and on
average. Every row also gives the time of a product of two 2048x2048 float32 matrices on this machine at that moment,
M, in milliseconds, to compare machines and noise. Needs Chromium, and `pip install 'birefnet[export,clients]'`.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a script: for the tests' browser
from tests.web.browser import launch
from tests.web.transformers_host import host

from birefnet.remover import Remover
from birefnet.runtimes.onnx import OnnxRuntime
from birefnet.serving.site import Site

PHOTO = Path(__file__).resolve().parents[1] / "examples" / "photos" / "chelsea.jpg"
SIDE = 2048
PATIENCE = 900_000  # milliseconds
COLUMNS = (
    *("model", "size", "weights", "MB", "load s", "first s", "later s"),
    *("peak GB", "after GB", "differs", "estimate GB", "M ms"),
)

LOAD = """async ([name, dtype, backend]) => {
    const { Channel } = await import("./channel.js");
    const { listModels, variantOf } = await import("./models.js");
    const model = (await listModels()).models.find((one) => one.name === name);
    const channel = (window.bench = new Channel("./compute-worker.js"));
    const started = performance.now();
    const { threads } = await channel.call("load", { model, variant: variantOf(model, dtype), backend });
    return { threads, seconds: (performance.now() - started) / 1000 };
}"""
CUT = """async (text) => {
    const { unpack } = await import("./packing.js");
    const file = new Blob([Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))]);
    const { alpha, seconds } = await window.bench.call("remove", { file });
    const bytes = await unpack(alpha);
    let letters = "";
    for (let at = 0; at < bytes.length; at += 8192) letters += String.fromCharCode(...bytes.subarray(at, at + 8192));
    return { seconds, alpha: btoa(letters) };
}"""


def measure(playwright: Any, address: str, manifest: dict[str, Any], dtype: str, options: Any) -> dict[str, Any]:
    """One row: a browser that loads one variant and cuts one photo out several times."""
    variant = next(one for one in manifest["variants"] if one["dtype"] == dtype)
    side = f"{manifest['input']['width']}x{manifest['input']['height']}"
    row: dict[str, Any] = {"model": manifest["name"], "size": side, "dtype": dtype, "MB": variant["bytes"] / 1e6}
    row |= {"M": product_milliseconds(), "estimate": variant["memory"] / 1e9}
    browser = launch(playwright, *options.flags)
    try:
        page = browser.new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(f"{address}/bench.html")  # without the page's own scripts, which would load a model too
        row["load"] = page.evaluate(LOAD, [manifest["name"], dtype, options.backend])["seconds"]
        photo = base64.b64encode(PHOTO.read_bytes()).decode()
        seconds, after = [], []
        for _ in range(options.pictures):
            made = page.evaluate(CUT, photo)
            seconds.append(made["seconds"])
            after.append(renderer_memory()["VmRSS"])
        row |= {"first": seconds[0], "later": statistics.median(seconds[1:] or seconds)}
        row |= {"peak": renderer_memory()["VmHWM"], "after": after}
        row["alpha"] = np.frombuffer(base64.b64decode(made["alpha"]), np.uint8)
    except Exception as error:  # a row that does not work is a result
        row["fails"] = str(error).splitlines()[0]
    finally:
        browser.close()
    return row


def renderer_memory() -> dict[str, float]:
    """VmRSS and VmHWM, in GB, of the largest renderer that this process started."""
    found = [{"VmRSS": 0.0, "VmHWM": 0.0}]
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and "--type=renderer" in Path(f"/proc/{entry}/cmdline").read_text() and ours(int(entry)):
                lines = Path(f"/proc/{entry}/status").read_text().splitlines()
                facts = dict(line.split(":", 1) for line in lines if ":" in line)
                found.append({name: int(facts[name].split()[0]) * 1024 / 1e9 for name in found[0]})
        except OSError:
            continue  # it ended meanwhile
    return max(found, key=lambda one: one["VmHWM"])


def ours(process: int) -> bool:
    """Whether this process is an ancestor."""
    while process > 1:
        if process == os.getpid():
            return True
        process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    return False


def product_milliseconds() -> float:
    """The best of eight products of two matrices, on two threads at most."""
    import torch

    torch.set_num_threads(2)
    a, best = torch.ones(SIDE, SIDE), float("inf")
    for _ in range(8):
        start = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - start)
    return best * 1000


def reference(folder: Path, manifest: dict[str, Any]) -> np.ndarray:
    """(H, W) uint8: the alpha of the photo, by ONNX Runtime in Python from the best weights of the folder."""
    best = {variant["dtype"]: variant for variant in manifest["variants"]}
    chosen = next(best[dtype] for dtype in ("fp32", "fp16", "int8") if dtype in best)
    return Remover.from_runtime(OnnxRuntime(folder / chosen["graph"], device="cpu"))(PHOTO).mask


def random_folders(options: Any) -> Iterator[Path]:
    """Folders of seeded random weights."""
    from birefnet.benchmarking.random_weights import random_network
    from birefnet.export.options import ExportOptions
    from birefnet.export.web import export_web
    from birefnet.pixels.prepare import InputSpec

    for backbone in options.random_weights:
        network = random_network(backbone)
        for size in options.sizes:
            folder = options.keep / f"{backbone}-{size}"
            if not folder.exists():
                print(f"making {folder}", file=sys.stderr)
                spec = InputSpec(width=size, height=size)
                export_web(network, folder, spec, ExportOptions(size=(size, size)), source=f"{backbone}-{size}")
            yield folder


def as_line(row: Mapping[str, Any]) -> str:
    """A row of the table."""
    head = f"| {row['model']} | {row['size']} | {row['dtype']} | {row['MB']:.1f} |"
    if "fails" in row:
        return f"{head} does not work: {row['fails']} |"
    after = " ".join(f"{one:.2f}" for one in row["after"])
    differs = f"{row['largest']}, {row['mean']:.2f}" if "largest" in row else ""
    times = f"{row['load']:.1f} | {row['first']:.1f} | {row['later']:.2f}"
    return f"{head} {times} | {row['peak']:.2f} | {after} | {differs} | {row['estimate']:.2f} | {row['M']:.0f} |"


def main() -> None:
    """Measure and print, row by row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--random-weights", nargs="*", default=[], metavar="BACKBONE")
    parser.add_argument("--sizes", nargs="*", type=int, default=[512, 1024])
    parser.add_argument("--dtypes", nargs="*", default=["int8", "fp16", "fp32"])
    parser.add_argument("--pictures", type=int, default=4)
    parser.add_argument("--backend", choices=("wasm", "webgpu"), default="wasm")
    parser.add_argument("--flags", nargs="*", default=[], help="for Chromium")
    parser.add_argument("--keep", type=Path, help="where folders of random weights are kept")
    parser.add_argument("--no-nano", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        options.keep = options.keep or Path(scratch)
        folders = [*options.folders, *random_folders(options)]
        table(folders, options)


def table(folders: list[Path], options: Any) -> None:
    """All rows."""
    from playwright.sync_api import sync_playwright

    files = {**Site(folders).files(), "bench.html": b"<!doctype html><title>benchmark</title>"}
    print(
        "| model | size | weights | MB | load s | first s | later s | peak GB | after GB | differs | estimate | M ms |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")
    names = json.loads(files["models/index.json"])["models"]
    homes = {json.loads((folder / "birefnet.json").read_text("utf-8"))["name"]: folder for folder in folders}
    with host(files) as address, sync_playwright() as playwright:
        for name in (one["name"] for one in names if one["name"] != "nano" or not options.no_nano):
            source = files[f"models/{name}/birefnet.json"]
            manifest = json.loads(source if isinstance(source, bytes) else source.read_text("utf-8"))
            wanted = Remover()(PHOTO).mask if name not in homes else reference(homes[name], manifest)
            for dtype in [one["dtype"] for one in manifest["variants"] if one["dtype"] in options.dtypes]:
                row = measure(playwright, address, manifest, dtype, options)
                if "alpha" in row:
                    distance = np.abs(row["alpha"].reshape(wanted.shape).astype(int) - wanted)
                    row |= {"largest": int(distance.max()), "mean": float(distance.mean())}
                print(as_line(row), flush=True)


if __name__ == "__main__":
    main()
