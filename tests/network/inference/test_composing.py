"""Two convolutions as one, its border included."""

from __future__ import annotations

import pytest
import torch
from tests.network.inference.networks import randomised
from torch import nn

from birefnet.network import BiRefNet, BiRefNetConfig
from birefnet.network.inference.composing import ComposedConvolutions, compose, merge_picture_into_head


def _pair() -> tuple[nn.Conv2d, nn.Conv2d]:
    return nn.Conv2d(3, 6, 3, padding=1).double(), nn.Conv2d(6, 2, 3, padding=1).double()


@pytest.mark.parametrize("size", [(9, 7), (3, 8), (4, 4)])
def test_the_same_function_up_to_the_last_pixel(size: tuple[int, int]) -> None:
    first, second = _pair()
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    torch.testing.assert_close(ComposedConvolutions(first, second)(x), second(first(x)))


def test_one_kernel_alone_is_wrong_only_at_the_border() -> None:
    first, second = _pair()
    weight, bias = compose(first, second)
    x = torch.randn(1, 3, 8, 8, dtype=torch.float64)
    error = (torch.nn.functional.conv2d(x, weight, bias, padding=2) - second(first(x))).abs().amax((0, 1))
    assert error[1:-1, 1:-1].max() < 1e-12
    assert error[0].min() > 1e-6  # so that the strips are needed


@pytest.mark.parametrize("picture_input", ["tiles", "whole", "none"])
def test_the_head_of_a_network(picture_input: str) -> None:
    network = randomised(
        BiRefNet(
            BiRefNetConfig(backbone="mobilenet_v2", attention="none", inner_width=4, picture_input=picture_input)  # type: ignore[arg-type]
        ).double()
    ).eval()
    x = torch.randn(1, 3, 64, 96, dtype=torch.float64)
    with torch.no_grad():
        wanted = network(x).logits
        merge_picture_into_head(network)
        torch.testing.assert_close(network(x).logits, wanted, rtol=1e-9, atol=1e-9)
    assert network.decoder.head.out_channels == 1
    if picture_input != "none":
        assert network.decoder.head.in_channels == network.decoder.stages[3].block.conv_out.out_channels + 1  # type: ignore[union-attr]
