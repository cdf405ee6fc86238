"""No command looks up a name, connects to another machine, or leaves a file outside its output, our cache and the
temporary folder: seen in its system calls, those of native code and of children too.
"""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests import trace

PHOTOS = Path(__file__).parents[1] / "examples" / "photos"
TOOL = trace.strace()
MUST = os.environ.get("BIREFNET_TRACE_TESTS") == "1"  # as `make test-slow` says where CI runs it
pytestmark = pytest.mark.skipif(TOOL is None and not MUST, reason="strace is not installed or may not trace here")


class Traced:
    """A home, a cache, a temporary folder and an output folder that nothing else uses."""

    def __init__(self, root: Path) -> None:
        self.out, self.tmp, self.log = root / "out", root / "tmp", root / "log"
        self.home, self.cache = root / "home", root / "home" / ".cache" / "birefnet"
        for folder in (self.out, self.tmp, self.home):
            folder.mkdir()
        self.photos = root / "photos"
        self.truths = root / "truths"
        y, x = np.mgrid[:64, :96]
        disc = ((y - 32) ** 2 + (x - 40) ** 2 < 300).astype(np.uint8) * 255
        for folder, array in ((self.photos, disc), (self.truths / "im", disc), (self.truths / "gt", disc)):
            folder.mkdir(parents=True)
            for name in ("a.png", "b.png"):
                Image.fromarray(array if folder.name == "gt" else np.dstack([array] * 3)).save(folder / name)

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "OMP_NUM_THREADS") if name in os.environ}
        return {**kept, "HOME": str(self.home), "TMPDIR": str(self.tmp)}

    def start(self, *words: object) -> subprocess.Popen[str]:
        assert TOOL is not None, "BIREFNET_TRACE_TESTS=1 promises strace"
        line = trace.command(TOOL, self.log, [sys.executable, *words])
        pipe: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen(line, cwd=self.out, env=self.environment, **pipe)

    def birefnet(self, *words: object, codes: tuple[int, ...] = (0,)) -> None:
        self.run("-m", "birefnet", *words, codes=codes)

    def run(self, *words: object, codes: tuple[int, ...] = (0,)) -> None:
        process = self.start(*words)
        talk, _ = process.communicate(timeout=1500)
        assert process.returncode in codes, talk
        self.check(talk)

    def check(self, talk: str) -> None:
        seen = trace.read(self.log, self.out)
        assert seen.calls > 100, talk  # it did see something
        assert not seen.lookups, seen.lookups[:5]
        assert not seen.connections, seen.connections[:5]
        assert not trace.outside(seen.written, self.out, self.cache, self.tmp)


@pytest.fixture
def traced(tmp_path: Path) -> Iterator[Traced]:
    yield Traced(tmp_path)


def test_the_tracer_sees_what_it_must(traced: Traced) -> None:
    """A name that is looked up, a connection, a file in the home, made by a child: all are found."""
    code = f"""
import socket, subprocess, sys
def quietly(call, *arguments):
    try:
        call(*arguments)
    except OSError:
        pass
quietly(socket.getaddrinfo, "telemetry.invalid", 443)
quietly(socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect, ("192.0.2.1", 9))
subprocess.run([sys.executable, "-c", "open({str(traced.home / "id")!r}, 'w')"])
"""
    process = traced.start("-c", code)
    process.communicate(timeout=120)
    seen = trace.read(traced.log, traced.out)
    assert seen.lookups
    assert any("192.0.2.1" in line for line in seen.connections)
    assert trace.outside(seen.written, traced.out, traced.cache, traced.tmp) == [str(traced.home / "id")]


def test_remove(traced: Traced) -> None:
    traced.birefnet("remove", traced.photos, "-o", traced.out, "--offline", "-q")
    assert (traced.out / "a.png").is_file()


def test_python(traced: Traced) -> None:
    traced.run("-c", f"from birefnet import remove; remove({str(traced.photos / 'a.png')!r}).save('a.png')")
    assert (traced.out / "a.png").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["torch", "openvino"])
def test_remove_with_other_runtimes(traced: Traced, runtime: str) -> None:
    pytest.importorskip(runtime)
    traced.birefnet("remove", traced.photos, "-o", traced.out, "--runtime", runtime, "--offline", "--threads", "1")
    assert (traced.out / "a.png").is_file()


@pytest.mark.slow
def test_refined_colours(traced: Traced) -> None:
    pytest.importorskip("pymatting")
    traced.birefnet("remove", traced.photos, "-o", traced.out, "--refine-method", "multi_level", "--offline")
    assert (traced.out / "a.png").is_file()


@pytest.mark.slow
def test_doctor_and_models(traced: Traced) -> None:
    traced.birefnet("doctor")
    traced.birefnet("models")


@pytest.mark.slow
def test_serve(traced: Traced) -> None:
    """Idle, then with eight requests at once, then at its end."""
    pytest.importorskip("fastapi")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = traced.start("-m", "birefnet", "serve", "--port", port, "--no-page", "--offline", "--threads", "1")
    assert process.stdout is not None
    talk = ""
    while "http://" not in talk:
        line = process.stdout.readline()
        assert line, talk
        talk += line
    picture = (traced.photos / "a.png").read_bytes()

    def ask(_: int) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
        connection.request("POST", "/v1/remove", picture, {"Content-Type": "image/png"})
        return connection.getresponse().status

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(16))) == {200}
    server = int(next(iter(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split())))
    os.kill(server, signal.SIGTERM)
    talk += process.communicate(timeout=300)[0]
    traced.check(talk)


@pytest.mark.slow
def test_evaluate(traced: Traced) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("cv2")
    traced.birefnet("evaluate", "nano", traced.truths, "-o", traced.out / "report", "--offline", "--workers", "1")
    assert (traced.out / "report").is_dir()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "name", "needs"),
    [
        (["--to", "onnx", "--precision", "int8"], "packed.onnx", "onnxscript"),
        (["--to", "openvino", "--precision", "int8"], "packed", "nncf"),
    ],
    ids=["onnx", "openvino"],
)
def test_export(traced: Traced, words: list[str], name: str, needs: str) -> None:
    pytest.importorskip(needs)
    files = ("--calibration", PHOTOS, "-o", traced.out / name)
    # 1: its proof may refuse it with so few pictures; what counts here is what it did until then.
    traced.birefnet("export", "nano", *words, *files, "--offline", codes=(0, 1))


@pytest.mark.slow
def test_train(traced: Traced) -> None:
    pytest.importorskip("accelerate")
    pytest.importorskip("tensorboard")
    words = ("training.precision=fp32", "training.workers=1", f"data.root={traced.truths.parent}", "data.sets=truths")
    settings = [word for pair in words for word in ("--set", pair)]
    recipe = Path(__file__).parent / "tiny.yaml"
    traced.birefnet("train", recipe, "-o", traced.out / "run", "--device", "cpu", *settings)
    assert (traced.out / "run" / "last.safetensors").is_file()


@pytest.mark.slow
def test_benchmark(traced: Traced) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("torch")
    words = ("--runtimes", "torch,onnx", "--precisions", "fp32", "--repeats", "1", "--threads", "1", "--offline")
    traced.birefnet("benchmark", "nano", *words)
