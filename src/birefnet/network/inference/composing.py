"""Two convolutions with nothing between them are one.

Letters: B batch, C channels in, D channels between, O channels out, H W size of the map.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from birefnet.network.birefnet import BiRefNet
from birefnet.network.blocks import PictureBlock

_STRIP = 3  # lines of the picture that decide one line of the outcome at its border


class ComposedConvolutions(nn.Module):
    """Two 3x3 convolutions, each with one line of zeros around its input, as one 5x5; (B, C, H, W) -> (B, O, H, W).

    The zeros around the map between the two cannot be said in one kernel. They touch only the outermost ring of the
    outcome; it is computed from strips of the picture, by both convolutions.
    """

    def __init__(self, first: nn.Conv2d, second: nn.Conv2d) -> None:
        super().__init__()
        self.first, self.second = first, second
        weight, bias = compose(first, second)
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = nn.Parameter(bias, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        y = F.conv2d(x, self.weight, self.bias, padding=2)
        for axis in (2, 3):
            length = x.shape[axis]
            before = self._both(x.narrow(axis, 0, _STRIP)).narrow(axis, 0, 1)
            behind = self._both(x.narrow(axis, length - _STRIP, _STRIP)).narrow(axis, _STRIP - 1, 1)
            y = torch.cat((before, y.narrow(axis, 1, length - 2), behind), dim=axis)
        return y

    def _both(self, x: Tensor) -> Tensor:
        y: Tensor = self.second(self.first(x))
        return y


def compose(first: nn.Conv2d, second: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Weight (O, C, 5, 5) and bias (O,) of `second` after `first`, inside the map; worked out in float64."""
    inner, outer = first.weight.detach().double(), second.weight.detach().double()  # (D, C, 3, 3), (O, D, 3, 3)
    # Correlating one kernel with the other, turned around, adds up every way through both.
    weight = F.conv2d(inner.transpose(0, 1), outer.flip(2, 3), padding=2).transpose(0, 1)  # (O, C, 5, 5)
    bias = outer.sum(dim=(2, 3)) @ _bias(first) + _bias(second)
    return weight.to(first.weight.dtype).contiguous(), bias.to(first.weight.dtype)


def merge_picture_into_head(network: BiRefNet) -> None:
    """Change `network` in place: what reads the picture at its full size gives one channel, the summand of the logits.

    The head is a 1x1 convolution of that map and the last stage's; its part for the picture becomes part of the
    convolution before it, and the two that read the picture become one: 33 GFLOP fewer at 1024x1024.
    """
    decoder = network.decoder
    if not isinstance(decoder.picture, PictureBlock):
        return
    first, second = decoder.picture.conv_in, decoder.picture.conv_out
    head, read = decoder.head, second.out_channels
    kept = head.weight.detach()[:, :-read]
    part = head.weight.detach()[:, -read:, 0, 0].double()  # (1, read)
    last = nn.Conv2d(second.in_channels, 1, 3, padding=1)
    last.weight = _like(head, torch.einsum("or,rdyx->odyx", part, second.weight.detach().double()))
    last.bias = _like(head, part @ _bias(second))
    decoder.picture = ComposedConvolutions(first, last)  # type: ignore[assignment]
    decoder.head = nn.Conv2d(kept.shape[1] + 1, 1, 1)
    decoder.head.weight = nn.Parameter(torch.cat((kept, torch.ones_like(kept[:, :1])), dim=1), requires_grad=False)
    decoder.head.bias = head.bias


def _bias(conv: nn.Conv2d) -> Tensor:
    if conv.bias is None:
        return torch.zeros(conv.out_channels, dtype=torch.float64)
    return conv.bias.detach().double()


def _like(conv: nn.Conv2d, value: Tensor) -> nn.Parameter:
    return nn.Parameter(value.to(conv.weight.dtype), requires_grad=False)
