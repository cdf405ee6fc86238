"""Deformable convolution: against plain convolution, ONNX Runtime, numerical gradients, and awkward input."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from birefnet.network import sampling
from birefnet.network.deform import DeformableConv, deform_conv2d


class Case(NamedTuple):
    size: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    batch: int = 2
    width: int = 3
    out_width: int = 4

    @property
    def options(self) -> dict[str, Any]:
        return {"stride": self.stride, "padding": self.padding, "dilation": self.dilation}

    def inputs(self, dtype: torch.dtype = torch.float32, spread: float = 2.0) -> tuple[Tensor, ...]:
        """x, offset, mask, weight, bias."""
        height, width = (
            (self.size[i] + 2 * self.padding[i] - self.dilation[i] * (self.kernel[i] - 1) - 1) // self.stride[i] + 1
            for i in (0, 1)
        )
        taps = self.kernel[0] * self.kernel[1]
        return (
            torch.randn(self.batch, self.width, *self.size, dtype=dtype),
            spread * torch.randn(self.batch, 2 * taps, height, width, dtype=dtype),
            torch.rand(self.batch, taps, height, width, dtype=dtype),
            torch.randn(self.out_width, self.width, *self.kernel, dtype=dtype),
            torch.randn(self.out_width, dtype=dtype),
        )


CASES = {
    "1x1": Case((4, 3), (1, 1)),
    "3x3": Case((4, 5), (3, 3), padding=(1, 1), width=2, out_width=2),
    "7x7": Case((4, 3), (7, 7), padding=(3, 3), batch=1, width=2, out_width=1),
    "oblong": Case((7, 5), (3, 2), stride=(2, 1), padding=(0, 2), dilation=(1, 2)),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


@every_case
def test_without_offsets_it_is_a_plain_convolution(case: Case) -> None:
    x, offset, mask, weight, bias = case.inputs(torch.float64)
    ours = deform_conv2d(x, 0 * offset, mask**0, weight, bias, **case.options)
    torch.testing.assert_close(ours, F.conv2d(x, weight, bias, **case.options))


@every_case
def test_gradients(case: Case) -> None:
    inputs = [value.requires_grad_() for value in case.inputs(torch.float64)]
    assert torch.autograd.gradcheck(lambda *values: deform_conv2d(*values, **case.options), inputs)


@pytest.mark.parametrize("name", ["3x3", "oblong"])
def test_one_operator_for_compilers(name: str) -> None:
    case = CASES[name]
    x, offset, mask, weight, _ = (value.requires_grad_() for value in case.inputs())
    options = [list(pair) for pair in case.options.values()]
    torch.library.opcheck(torch.ops.birefnet.deform_conv2d.default, (x, offset, mask, weight, *options))


@every_case
@pytest.mark.parametrize("spread", [0.3, 6.0])
def test_equals_onnx_runtime(case: Case, spread: float) -> None:
    inputs = case.inputs(spread=spread)
    ours = deform_conv2d(*inputs, **case.options).numpy()
    np.testing.assert_allclose(ours, _onnx_runtime(case, inputs), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("lines_at_a_time", [1, 5])
def test_blocks_change_nothing(lines_at_a_time: int, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case((9, 8), (3, 3), padding=(1, 1))
    inputs = case.inputs(torch.float64)
    whole = _value_and_gradients(case, inputs)
    monkeypatch.setattr(sampling, "_BLOCK_BYTES_CPU", lines_at_a_time * 8 * 9 * case.width * 8)
    for ours, expected in zip(_value_and_gradients(case, inputs), whole, strict=True):
        torch.testing.assert_close(ours, expected)


def test_devices_without_the_fused_sum_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    case = CASES["oblong"]
    inputs = case.inputs(torch.float64)
    fused = _value_and_gradients(case, inputs)
    monkeypatch.setattr(sampling, "_FUSED_DEVICES", ())
    monkeypatch.setattr(sampling, "_LEARNING_DEVICES", ())
    for ours, expected in zip(_value_and_gradients(case, inputs), fused, strict=True):
        torch.testing.assert_close(ours, expected)


def test_past_the_map_is_zero_and_feels_no_gradient() -> None:
    case = CASES["3x3"]
    x, offset, mask, weight, bias = case.inputs()
    for far in (-1e9, 1e9, float("inf")):
        moved = torch.full_like(offset, far).requires_grad_()
        y = deform_conv2d(x, moved, mask, weight, bias, **case.options)
        torch.testing.assert_close(y, bias[:, None, None].expand_as(y))
        y.sum().backward()
        assert moved.grad is not None and not moved.grad.any()


def test_at_the_border_the_gradient_is_that_of_the_outside() -> None:
    """A fresh network has every offset at 0, where padded taps lie exactly one pixel outside."""
    case = CASES["3x3"]
    x, offset, mask, weight, _ = case.inputs()
    offset = torch.zeros_like(offset).requires_grad_()
    deform_conv2d(x, offset, mask, weight, **case.options).sum().backward()
    assert offset.grad is not None
    assert not offset.grad[:, :6, 0].any()  # the upper three taps of the first line
    assert offset.grad[:, :6, 1].any()


def test_what_is_not_a_number_stays_so() -> None:
    case = CASES["3x3"]
    x, offset, mask, weight, _ = case.inputs()
    offset[0, 0, 2, 2] = float("nan")
    y = deform_conv2d(x, offset, mask, weight, **case.options)
    assert y[0, :, 2, 2].isnan().all()
    assert y.isnan().sum() == case.out_width


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_does_not_move_the_samples(dtype: torch.dtype) -> None:
    """Beyond 256 a bfloat16 position would skip pixels."""
    x = torch.randn(1, 2, 2, 700).to(dtype)
    weight = torch.eye(2, dtype=dtype)[:, :, None, None]
    offset, mask = torch.zeros(1, 2, 2, 700, dtype=dtype), torch.ones(1, 1, 2, 700, dtype=dtype)
    assert torch.equal(deform_conv2d(x, offset, mask, weight), x)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast(dtype: torch.dtype) -> None:
    case = Case((12, 10), (3, 3), padding=(1, 1), width=16, out_width=8)
    inputs = [value.requires_grad_() for value in case.inputs()]
    with torch.autocast("cpu", dtype=dtype):
        low = deform_conv2d(*inputs, **case.options)
    assert low.dtype == dtype
    gradients = torch.autograd.grad(low.float().square().sum(), inputs)
    wide = deform_conv2d(*inputs, **case.options)
    expected = torch.autograd.grad(wide.square().sum(), inputs)
    for ours, right in zip((low, *gradients), (wide, *expected), strict=True):
        assert ours.isfinite().all()
        assert (ours.float() - right).norm() < 0.02 * right.norm()
    assert all(gradient.dtype == torch.float32 for gradient in gradients)


def test_module_starts_as_a_plain_convolution() -> None:
    module = DeformableConv(4, 6, kernel=3)
    x = torch.randn(2, 4, 5, 7)
    torch.testing.assert_close(module(x), module.kernel(x))
    assert sorted(module.state_dict()) == [
        "kernel.weight",
        "modulation.bias",
        "modulation.weight",
        "offset.bias",
        "offset.weight",
    ]


def test_module_learns_where_to_look() -> None:
    module = DeformableConv(4, 6, kernel=3)
    module(torch.randn(2, 4, 5, 7)).square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in module.parameters())


def _value_and_gradients(case: Case, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    leaves = [value.clone().requires_grad_() for value in inputs]
    y = deform_conv2d(*leaves, **case.options)
    return (y, *torch.autograd.grad(y.square().sum(), leaves))


def _onnx_runtime(case: Case, inputs: tuple[Tensor, ...]) -> np.ndarray:
    """The same by ONNX's DeformConv (opset 19), which takes the weight and bias before the mask."""
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    x, offset, mask, weight, bias = inputs
    feed = {"x": x, "weight": weight, "offset": offset, "bias": bias, "mask": mask}
    float_type, helper = onnx.TensorProto.FLOAT, onnx.helper
    node = helper.make_node(
        "DeformConv",
        list(feed),
        ["y"],
        kernel_shape=case.kernel,
        strides=case.stride,
        dilations=case.dilation,
        pads=(*case.padding, *case.padding),
    )
    graph = helper.make_graph(
        [node],
        "deform",
        [helper.make_tensor_value_info(name, float_type, value.shape) for name, value in feed.items()],
        [helper.make_tensor_value_info("y", float_type, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    y: np.ndarray = session.run(None, {name: value.numpy() for name, value in feed.items()})[0]
    return y
