"""A real shortage of memory in each runtime is one error, and the next picture is right."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from birefnet.errors import OutOfMemory
from birefnet.remover import Remover
from birefnet.runtimes.base import Batch
from birefnet.runtimes.packed import PackedRuntime

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

small = np.random.default_rng(0).normal(size=(1, 3, 128, 128)).astype(np.float32)
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


PACKAGE = """
import torch
from birefnet.runtimes.aoti import AotiRuntime, write_facts

class Brightness(torch.nn.Module):
    def forward(self, input_image):
        return input_image.mean(1, keepdim=True)

side = {{2: torch.export.Dim("height", min=32), 3: torch.export.Dim("width", min=32)}}
package = torch.export.export(Brightness(), (torch.zeros(1, 3, 64, 96),), dynamic_shapes=(side,))
torch.export.save(package, {path!r})
write_facts(Path({path!r}), dict(size=64, batch=1, dynamic=True, device="cpu", compiled=False))
runtime = AotiRuntime({path!r}, name="it")
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


@linux
def test_packages_go_on(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    run_short(PACKAGE.format(path=str(tmp_path / "net.pt2")))


class Failing(PackedRuntime):
    """A network on a GPU whose memory is too small for more than 64x64 pixels."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "it")
        self.device = "cuda"
        self._describe({}, fixed=None, size=None, defaults=None)

    def _infer(self, batch: Batch) -> NDArray[np.floating]:
        if batch.shape[2] > 64:
            raise RuntimeError("CUDA error: out of memory")
        return batch[:, :1]


def test_another_device_is_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "net").touch()
    runtime = Failing(tmp_path / "net")
    with pytest.raises(OutOfMemory, match="`it` at 512x256 pixels on `cuda` did not fit") as caught:
        runtime(np.zeros((1, 3, 256, 512), np.float32))
    assert caught.value.hint == 'take a smaller size (`size=256`) or another device (`device="cpu"`)'
    assert runtime(np.ones((1, 3, 64, 64), np.float32)).all()


def test_a_remover_says_it_and_goes_on(tmp_path: Path) -> None:
    (tmp_path / "net").touch()
    remover = Remover.from_runtime(Failing(tmp_path / "net"), size=256)
    with pytest.raises(OutOfMemory, match="256x256 pixels on `cuda`"):
        remover(np.zeros((40, 40, 3), np.uint8))
    whole = Remover.from_runtime(Failing(tmp_path / "net"), size=64)
    assert whole(np.zeros((40, 40, 3), np.uint8)).alpha.shape == (40, 40)
