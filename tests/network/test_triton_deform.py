"""The GPU kernel's own lines, run tile by tile without a GPU; in Triton's interpreter too, where Triton is."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.network.tile_machine import TileMachine
from torch import Tensor

from birefnet.network import triton_deform
from birefnet.network.deform import deform_conv2d

# (B, C, O, H, W, kernel, stride, padding, dilation)
SHAPES = [
    (2, 5, 7, 9, 11, 3, 1, 1, 1),
    (1, 40, 300, 8, 6, 7, 1, 3, 1),
    (2, 3, 20, 9, 9, 3, 2, 2, 2),
    (1, 17, 16, 12, 4, 1, 1, 0, 1),
]
TOLERANCE = {torch.float32: 2e-6, torch.float16: 4e-3, torch.bfloat16: 3e-2}


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> TileMachine:
    made = TileMachine()
    monkeypatch.setattr(triton_deform, "triton", made)
    monkeypatch.setattr(triton_deform, "tl", made.language)
    monkeypatch.setattr(triton_deform, "_kernel", lambda: made.jit(triton_deform._deform))
    return made


def example(shape: tuple[int, ...], dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    batch, channels, out, height, width, kernel, stride, padding, dilation = shape
    reach = dilation * (kernel - 1) + 1
    lines, columns = ((side + 2 * padding - reach) // stride + 1 for side in (height, width))
    x = torch.randn(batch, channels, height, width)
    offset = 4 * torch.randn(batch, 2 * kernel**2, lines, columns)  # many look past the border
    mask = torch.rand(batch, kernel**2, lines, columns)
    weight = torch.randn(out, channels, kernel, kernel) / (channels * kernel**2) ** 0.5
    return x.to(dtype), offset.to(dtype), mask.to(dtype), weight.to(dtype)


def check(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    tensors = example(shape, dtype)
    stride, padding, dilation = ([number, number] for number in shape[-3:])
    y = triton_deform.launch(*tensors, stride, padding, dilation)
    exact = deform_conv2d(
        *(tensor.double() for tensor in tensors), stride=shape[-3], padding=shape[-2], dilation=shape[-1]
    )
    assert y.dtype == dtype and y.shape == exact.shape
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert (y.double() - exact).abs().max() < TOLERANCE[dtype]
    assert exact.std() > 0.1


@pytest.mark.parametrize("dtype", triton_deform.DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_kernel_gives_what_the_operator_does(
    shape: tuple[int, ...], dtype: torch.dtype, machine: TileMachine
) -> None:
    check(shape, dtype)
    assert machine.programs >= 1


def test_any_layout_of_offsets_and_stretched_kernels(machine: TileMachine) -> None:
    x, offset, mask, weight = example((1, 6, 5, 7, 9, 3, 1, 1, 1), torch.float32)
    weight = weight[:, :, :1].contiguous()  # 1 x 3: rows and columns must not be mixed up
    offset, mask = offset[:, :6], mask[:, :3]
    wanted = deform_conv2d(x, offset, mask, weight, padding=(0, 1))
    for layout in (torch.contiguous_format, torch.channels_last):
        tensors = [tensor.contiguous(memory_format=layout) for tensor in (x, offset, mask)]
        y = triton_deform.launch(*tensors, weight, [1, 1], [0, 1], [1, 1])
        torch.testing.assert_close(y, wanted, atol=2e-6, rtol=0)


def test_wild_positions_see_nothing_and_no_number_stays_none(machine: TileMachine) -> None:
    x, offset, mask, weight = example((1, 4, 3, 6, 6, 1, 1, 0, 1), torch.float32)
    offset[0, :, 0, 0] = 1e30
    offset[0, :, 0, 1] = -float("inf")
    offset[0, 0, 0, 2] = float("nan")
    y = triton_deform.launch(x, offset, mask, weight, [1, 1], [0, 0], [1, 1])
    assert (y[0, :, 0, :2] == 0).all()
    assert y[0, :, 0, 2].isnan().all()
    assert y[0, :, 1:].isfinite().all()


def test_a_cpu_keeps_its_own_way() -> None:
    tensors = example(SHAPES[0], torch.float32)
    assert not triton_deform.usable(tensors[0])
    assert triton_deform.fused_deform_conv2d(*tensors, [1, 1], [1, 1], [1, 1]) is None


@pytest.mark.parametrize(
    ("capability", "dtype", "wanted"),
    [
        ((8, 0), torch.float16, True),
        ((9, 0), torch.float32, True),
        ((7, 5), torch.float16, False),
        ((9, 0), torch.float64, False),
    ],
)
def test_which_maps_it_takes(
    capability: tuple[int, int], dtype: torch.dtype, wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class OnGpu:
        is_cuda, device = True, "cuda:0"

    OnGpu.dtype = dtype
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name == "triton")
    assert triton_deform.usable(OnGpu()) is wanted
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert not triton_deform.usable(OnGpu())


@pytest.mark.parametrize("element_size", [2, 4])
@pytest.mark.parametrize(("channels", "out"), [(1, 1), (64, 256), (80, 300), (16, 64)])
def test_tiles_are_what_triton_takes_and_a_gpu_holds(channels: int, out: int, element_size: int) -> None:
    places, outs, inner, warps = triton_deform.tile(channels, out, element_size)
    for side in (places, outs, inner):
        assert side >= 16 and side & (side - 1) == 0
    assert places * outs // (32 * warps) <= 64  # registers of a thread for the sums


@pytest.mark.parametrize("dtype", ["float32", "float16"])  # its interpreter multiplies no bfloat16
def test_tritons_own_interpreter_agrees(dtype: str) -> None:
    pytest.importorskip("triton")
    code = f"""
import torch
from tests.network.test_triton_deform import SHAPES, check
for shape in SHAPES:
    check(shape, torch.{dtype})
"""
    root = Path(__file__).parents[2]
    # Triton reads the variable when it is imported, so this needs a process of its own.
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=root, env=environment, timeout=300
    )
    assert result.returncode == 0, result.stderr
