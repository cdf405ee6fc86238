"""A real shortage of memory in each runtime is one error, and the next picture is right."""

from __future__ import annotations

import subprocess
import sys

import pytest

SIDE = 4096

# Runs a picture, then one that does not fit, then the first one again, with the limit gone and in force.
SHORT = """
import resource, sys
from pathlib import Path
import numpy as np
from birefnet.errors import OutOfMemory
from birefnet.pixels.prepare import InputSpec

def limit(spare):
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + spare if spare else resource.RLIM_INFINITY, resource.RLIM_INFINITY))

{make}

small = np.random.default_rng(0).normal(size=(1, 3, 64, 64)).astype(np.float32)
large = np.zeros((1, 3, {side}, {side}), np.float32)
wanted = runtime(small)
limit(8 << 20)
try:
    runtime(large)
except OutOfMemory as error:
    print(error)
    print(error.hint)
assert np.array_equal(runtime(small), wanted)
limit(None)
assert np.array_equal(runtime(small), wanted)
assert runtime(large).shape == (1, 1, {side}, {side})
"""
TORCH = """
import torch
from torch import nn
from birefnet.network.birefnet import Prediction
from birefnet.runtimes.torch import TorchRuntime

class Sum(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))
    def forward(self, x):
        return Prediction(x.sum(1, keepdim=True) * self.scale)

runtime = TorchRuntime(Sum(), InputSpec(width=64, height=64), name="it", device="cpu", dtype="float32")
"""
ONNX = """
from birefnet.runtimes.onnx import OnnxRuntime
runtime = OnnxRuntime({path!r}, name="it", device="cpu", threads=1, keep_memory={keep})
"""
OPENVINO = """
from birefnet.runtimes.openvino import OpenVinoRuntime
runtime = OpenVinoRuntime({path!r}, name="it", threads=1, dtype="float32")
"""


def run_short(make: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SHORT.format(make=make, side=SIDE)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    sentence, hint = done.stdout.splitlines()
    assert sentence == f"`it` at {SIDE}x{SIDE} pixels on `cpu` did not fit into memory."
    assert "`size=2048`" in hint


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> str:
    from tests.brightness import brightness_model

    return str(brightness_model(tmp_path_factory.mktemp("short") / "any.onnx", size=None))


linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts its memory as Linux does")


@linux
def test_torch_goes_on() -> None:
    pytest.importorskip("torch")
    run_short(TORCH)


@linux
@pytest.mark.parametrize("keep", [True, False])
def test_onnx_runtime_goes_on(network: str, keep: bool) -> None:
    run_short(ONNX.format(path=network, keep=keep))


@linux
def test_openvino_goes_on_and_never_gives_the_last_picture(network: str) -> None:
    pytest.importorskip("openvino")
    run_short(OPENVINO.format(path=network))
