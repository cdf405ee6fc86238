"""What a runtime leaves as it was in the program that uses it, and what it does in a forked process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

MAKERS = {
    "torch": """
import torch
from torch import nn
from birefnet.network.birefnet import Prediction
from birefnet.runtimes.torch import TorchRuntime
from birefnet.pixels.prepare import InputSpec

class Convolution(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 1, 3, padding=1)
    def forward(self, x):
        return Prediction(self.conv(x))

def make(threads):
    torch.manual_seed(0)
    return TorchRuntime(Convolution(), InputSpec(width=256, height=256), device="cpu", dtype="float32", threads=threads)
""",
    "onnx": """
from birefnet.runtimes.onnx import OnnxRuntime
def make(threads):
    return OnnxRuntime({path!r}, device="cpu", threads=threads)
""",
    "openvino": """
from birefnet.runtimes.openvino import OpenVinoRuntime
def make(threads):
    return OpenVinoRuntime({path!r}, threads=threads, dtype="float32")
""",
    "openvino throughput": """
from birefnet.runtimes.openvino import OpenVinoRuntime
def make(threads):
    return OpenVinoRuntime({path!r}, threads=threads, dtype="float32", mode="throughput")
""",
}
# Every call of the C library's that changes how memory is kept would be noticed here.
WATCHED = """
import ctypes, os, signal, sys
import numpy as np
{make}
try:
    import torch
except ImportError:
    torch = None

calls = []
class Library:
    def __init__(self, *arguments):
        self._real = real(*arguments)
    def __getattr__(self, name):
        if name in ("mallopt", "malloc_trim"):
            calls.append(name)
        return getattr(self._real, name)
real, ctypes.CDLL = ctypes.CDLL, Library

def state():
    signals = [signal.getsignal(one) for one in signal.valid_signals()]
    torchs = torch and (torch.get_num_threads(), torch.get_num_interop_threads(), torch.is_grad_enabled(),
                        torch.get_default_dtype(), torch.initial_seed(), torch.backends.mkldnn.enabled)
    return dict(os.environ), signals, torchs, sys.getswitchinterval(), np.geterr()

if torch:
    torch.manual_seed(0)
    torch.set_num_threads(3)
before = state()
for threads in (None, 2):
    make(threads)(np.zeros((1, 3, 256, 256), np.float32))
    assert state() == before, (state(), before)
assert not calls, calls
"""
FORKED = """
import os, sys
import numpy as np
{make}
batch = np.random.default_rng(0).normal(size=(1, 3, 256, 256)).astype(np.float32)
try:
    import torch
    torch.set_num_threads(2)
except ImportError:
    torch = None
runtime = make(2)
wanted = runtime(batch)
child = os.fork()
if not child:
    again = runtime(batch)
    fresh = make(2)(batch)
    good = np.allclose(again, wanted, atol=1e-5) and np.allclose(fresh, wanted, atol=1e-5)
    os._exit(0 if good else 1)
assert os.waitpid(child, 0)[1] == 0
assert np.array_equal(runtime(batch), wanted)
"""


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> str:
    from tests.brightness import brightness_model

    return str(brightness_model(tmp_path_factory.mktemp("host") / "any.onnx", size=None))


def run(script: str, kind: str, path: str) -> None:
    pytest.importorskip(kind.split()[0].replace("onnx", "onnxruntime"))
    code = script.format(make=MAKERS[kind].format(path=path))
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kind", MAKERS)
def test_its_host_stays_as_it_was(kind: str, network: str) -> None:
    run(WATCHED, kind, network)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing is forked on this system")
@pytest.mark.parametrize("kind", ["torch", "onnx", "openvino"])
def test_a_forked_process_gets_the_same(kind: str, network: str) -> None:
    run(FORKED, kind, network)


REFUSED = """
import os
import numpy as np
from birefnet.errors import DeviceError
{make}
batch = np.zeros((1, 3, 64, 64), np.float32)
runtime = make(2)
runtime(batch)
child = os.fork()
if not child:
    try:
        runtime(batch)
    except DeviceError as error:
        os._exit(0 if "forked" in str(error) and "spawn" in error.hint else 1)
    os._exit(2)
assert os.waitpid(child, 0)[1] == 0
runtime(batch)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing is forked on this system")
def test_what_cannot_run_in_a_forked_process_says_so_at_once(network: str) -> None:
    run(REFUSED, "openvino throughput", network)


OWNED = """
import torch
from birefnet.libraries import own_process
{make}
own_process()
torch.set_num_threads(3)
make(2)
assert torch.get_num_threads() == 2
"""


def test_a_program_that_owns_its_process_sets_it_for_good(network: str) -> None:
    run(OWNED, "torch", network)


def test_the_command_line_owns_its_process(standin: Path, tmp_path: Path) -> None:
    code = """
import sys
from birefnet.cli.main import main
from birefnet.libraries import is_own_process
sys.argv = ["birefnet", "--version"]
try:
    main()
except SystemExit:
    pass
assert is_own_process()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
