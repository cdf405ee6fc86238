"""What OpenVINO computes on an x86 processor without VNNI, emulated: which layers saturate, and which cannot."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from birefnet.errors import WeightsError

LARGEST = 127 * 255 * 9  # the sum of a 3x3 kernel of the largest weights over the largest values, for each input
CODE = """
import numpy as np, openvino
from openvino import opset13 as op

def computed(shape):
    picture = op.parameter([1, 16, 8, 8], np.float32)
    low, high = op.constant(np.float32(0)), op.constant(np.float32(255))
    values = op.fake_quantize(picture, low, high, low, high, 256)
    steps = op.convert(op.constant(np.full(shape, 127, np.int8)), "f32")
    weights = op.multiply(steps, op.constant(np.full((shape[0],) + (1,) * (len(shape) - 1), 1, np.float32)))
    layer = op.group_convolution if len(shape) == 5 else op.convolution
    model = openvino.Model([layer(values, weights, [1, 1], [1, 1], [1, 1], [1, 1])], [picture], "one layer")
    options = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    made = openvino.Core().compile_model(model, "CPU", options)
    return int(made(np.full((1, 16, 8, 8), 255, np.float32))[0][0, 0, 4, 4])

print(computed((16, 16, 3, 3)), computed((16, 1, 1, 3, 3)))
"""


@pytest.mark.slow
def test_depthwise_convolutions_do_not_saturate_and_dense_ones_of_the_full_range_do() -> None:
    """Why `check_sums` lets depthwise weights have the full range, and no others."""
    pytest.importorskip("openvino")
    emulator = shutil.which("qemu-x86_64")
    if emulator is None or not sys.platform.startswith("linux"):
        pytest.skip("no qemu-user to emulate an older processor with")
    python = os.path.realpath(sys.executable)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    words = [emulator, "-cpu", "Haswell", python, "-c", CODE]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    dense, depthwise = map(int, done.stdout.split())
    assert depthwise == LARGEST
    assert dense < 16 * LARGEST  # the control: the emulated processor does saturate


def test_full_range_weights_are_refused_but_in_depthwise_convolutions() -> None:
    openvino = pytest.importorskip("openvino")
    from openvino import opset13 as op

    from birefnet.export.openvino_int8 import check_sums

    def model(shape: tuple[int, ...]) -> object:
        picture = op.parameter([1, 4, 8, 8], np.float32)
        weights = op.convert(op.constant(np.full(shape, 127, np.int8)), "f32")
        layer = op.group_convolution if len(shape) == 5 else op.convolution
        return openvino.Model([layer(picture, weights, [1, 1], [1, 1], [1, 1], [1, 1])], [picture], "one layer")

    check_sums(model((4, 1, 1, 3, 3)))
    for shape in ((4, 4, 3, 3), (2, 2, 2, 3, 3)):
        with pytest.raises(WeightsError, match="without VNNI"):
            check_sums(model(shape))
