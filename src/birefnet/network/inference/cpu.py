"""The inference form for a CPU: the same function in steps that keep their values in the cache."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from birefnet.network.aspp import ASPP
from birefnet.network.backbones.swin import Swin
from birefnet.network.birefnet import BiRefNet
from birefnet.network.blocks import DecoderBlock, GradientGate
from birefnet.network.deform import DeformableConv
from birefnet.network.inference.composing import merge_picture_into_head
from birefnet.network.inference.deform import DeformableASPPByBlocks
from birefnet.network.inference.folding import fold_batch_norms
from birefnet.network.inference.kernels import Then, convolution, linear
from birefnet.network.inference.swin import SwinByBlocks

BLOCK_BYTES = 4 << 20  # of the widest map between two steps: about what the caches of two cores hold
SMALL_BLOCK_BYTES = 1 << 20


def cpu_form(network: BiRefNet, dtype: torch.dtype = torch.float32, *, low_memory: bool = False) -> BiRefNet:
    """Change `network` in place to an equal one for inference on a CPU; see `inference_form` for what it is not.

    Args:
        network: on the CPU; it is used up, so that its weights are not in memory twice.
        dtype: the type to compute in, float32 or bfloat16; float64 for proofs.
        low_memory: smaller blocks, and the offsets of deformable convolutions a band of lines at a time: some lines
            are computed twice for it.
    """
    network.eval().requires_grad_(False)
    fold_batch_norms(network)
    merge_picture_into_head(network)
    network.to(dtype=dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    _replace(network, low_memory)
    return network


def _replace(parent: nn.Module, low_memory: bool) -> None:
    """Every part of `parent` that has a form of its own here becomes that form, the outermost first."""
    for name, part in parent.named_children():
        form = _form_of(part, low_memory)
        if form is not None:
            setattr(parent, name, form)
        _replace(part if form is None else form, low_memory)


def _form_of(part: nn.Module, low_memory: bool) -> nn.Module | None:
    block_bytes = SMALL_BLOCK_BYTES if low_memory else BLOCK_BYTES
    match part:
        case Swin():
            return SwinByBlocks(part, block_bytes)
        case ASPP() if isinstance(part.branches[-1].get_submodule("conv"), DeformableConv):
            return DeformableASPPByBlocks(part, block_bytes, whole_offsets=not low_memory)
        case DecoderBlock():
            return _DecoderBlock(part)
        case GradientGate():
            return _GradientGate(part)
        case nn.Linear():
            return _Linear(part)
        case _:
            return None


class _Linear(nn.Module):
    """The function of `nn.Linear`."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = layer.weight, layer.bias
        self.out_features = layer.out_features

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


class _Convolution(nn.Module):
    """A convolution, and the activation behind it in the same step."""

    def __init__(self, conv: nn.Conv2d, then: Then = "none") -> None:
        super().__init__()
        self.weight, self.bias, self.then = conv.weight, conv.bias, then
        self.stride, self.padding, self.dilation, self.groups = conv.stride, conv.padding, conv.dilation, conv.groups

    def forward(self, x: Tensor) -> Tensor:
        assert not isinstance(self.padding, str)
        return convolution(
            x,
            self.weight,
            self.bias,
            self.then,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )


class _DecoderBlock(nn.Module):
    """The function of `DecoderBlock`, its norms folded."""

    def __init__(self, block: DecoderBlock) -> None:
        super().__init__()
        self.conv_in = _Convolution(block.conv_in, "relu")
        self.attention, self.conv_out, self.shortcut = block.attention, block.conv_out, block.shortcut

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv_out(self.attention(self.conv_in(x)))
        return y if self.shortcut is None else y.add_(self.shortcut(x))


class _GradientGate(nn.Module):
    """The function of `GradientGate`, its norm folded; its features are not needed outside training."""

    def __init__(self, gate: GradientGate) -> None:
        super().__init__()
        self.conv = _Convolution(gate.conv, "relu")
        self.attention = gate.attention

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.conv(x)
        return x * self.attention(features).sigmoid_(), features
