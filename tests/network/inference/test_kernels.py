"""Products with what follows them: oneDNN's kernels give what plain torch gives."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from birefnet.network.inference import kernels
from birefnet.network.inference.kernels import Then

PLAIN = {"none": lambda y: y, "relu": F.relu, "gelu": F.gelu}

TOLERANCES = {torch.float32: 1e-5, torch.bfloat16: 5e-2, torch.float64: 1e-12}


@pytest.fixture(params=["fused", "plain"])
def _either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "plain":
        monkeypatch.setattr(kernels, "_fuses", lambda _: False)


@pytest.mark.usefixtures("_either")
@pytest.mark.parametrize("then", ["none", "relu", "gelu"])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 5e-2), (torch.float64, 1e-12)]
)
@torch.inference_mode()
def test_products(then: Then, dtype: torch.dtype, tolerance: float) -> None:
    x, weight, bias = torch.randn(3, 5, 8).to(dtype), torch.randn(6, 8).to(dtype), torch.randn(6).to(dtype)
    for added in (bias, None):
        ours = kernels.linear(x, weight, added, then)
        wanted = PLAIN[then](F.linear(x.double(), weight.double(), None if added is None else added.double()))
        assert ours.dtype == dtype
        torch.testing.assert_close(ours.double(), wanted, atol=tolerance, rtol=tolerance)


@pytest.mark.usefixtures("_either")
@pytest.mark.parametrize("then", ["none", "relu"])
@torch.inference_mode()
def test_convolutions(then: Then) -> None:
    x, weight, bias = torch.randn(2, 4, 9, 8), torch.randn(6, 2, 3, 3), torch.randn(6)
    options = {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2), "groups": 2}
    wanted = PLAIN[then](F.conv2d(x, weight, bias, **options))  # type: ignore[arg-type]
    torch.testing.assert_close(kernels.convolution(x, weight, bias, then, **options), wanted)  # type: ignore[arg-type]
