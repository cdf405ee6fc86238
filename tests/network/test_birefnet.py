"""The whole network on a tiny size: shapes in every option, modes, errors, and the decoder's rewrites."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from birefnet.errors import ConfigError, InputError
from birefnet.network import BiRefNet, BiRefNetConfig
from birefnet.network.backbones import BACKBONES, Backbone, BackboneSpec
from birefnet.network.backbones.base import Maps
from birefnet.network.decoder import join_at_full_size

NARROW = {"attention_width": 8, "picture_width": 8, "gradient_width": 4, "inner_width": 8}
SIZE = (64, 96)


class Patches(Backbone):
    """The least that is a backbone: a strided convolution per map."""

    def __init__(self, widths: tuple[int, ...], strides: tuple[int, ...]) -> None:
        super().__init__()
        self.maps = nn.ModuleList(nn.Conv2d(3, width, s, s) for width, s in zip(widths, strides, strict=True))

    def forward(self, picture: Tensor) -> Maps:
        # Odd sizes occur at the half scale; a map is then one larger, as in the hierarchical backbones.
        x1, x2, x3, x4 = (
            conv(F.pad(picture, (0, -picture.shape[3] % conv.stride[0], 0, -picture.shape[2] % conv.stride[0])))
            for conv in self.maps
        )
        return x1, x2, x3, x4


@pytest.fixture(autouse=True)
def _tiny_backbones(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, widths, strides in (
        ("tiny", (8, 12, 16, 24), (4, 8, 16, 32)),
        ("tiny_transformer", (16, 16, 16, 16), (16, 16, 16, 16)),
    ):
        spec = BackboneSpec(widths=widths, strides=strides, build=lambda w=widths, s=strides: Patches(w, s))
        monkeypatch.setitem(BACKBONES, name, spec)


def tiny(**options: Any) -> BiRefNet:
    return BiRefNet(BiRefNetConfig(**{"backbone": "tiny", **NARROW, **options}))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"two_scale": "add"},
        {"two_scale": "none"},
        {"context": 0, "squeeze": "none"},
        {"context": 0},
        {"context": 1},
        {"context": 2, "squeeze": "residual"},
        {"squeeze": "aspp"},
        {"squeeze": "aspp_deformable"},
        {"block": "residual"},
        {"attention": "aspp"},
        {"attention": "none"},
        {"inner_width": "adaptive"},
        {"picture_input": "whole"},
        {"picture_input": "none"},
        {"gradient_reference": False},
        {"side_supervision": False},
        {"batch_norm": False},
        {"neck_widths": (6, 10, 14, 18)},
        {"neck_widths": (6, 10, 14, 18), "two_scale": "none"},
        {"backbone": "tiny_transformer"},
        {"backbone": "tiny_transformer", "neck_widths": (6, 10, 14, 18)},
        {"backbone": "mobilenet_v2", "two_scale": "none"},
        {"backbone": "mobilenet_v2"},
    ],
    ids=str,
)
def test_every_option_predicts_and_learns(options: dict[str, Any]) -> None:
    model = tiny(**options)
    height, width = SIZE
    sides = [(2, 1, height // stride, width // stride) for stride in (32, 16, 8)]
    prediction = model(torch.randn(2, 3, *SIZE))
    assert prediction.logits.shape == (2, 1, *SIZE)
    assert [side.shape for side in prediction.side_logits] == (sides if model.config.side_supervision else [])
    assert [edge.shape for edge in prediction.edge_logits] == (sides if model.config.gradient_reference else [])
    torch.stack([part.square().mean() for part in _tensors(prediction)]).sum().backward()
    assert not [name for name, parameter in model.named_parameters() if parameter.grad is None]


def test_outside_training_only_logits() -> None:
    prediction = tiny(classes=5).eval()(torch.randn(1, 3, 32, 32))
    assert prediction.logits.shape == (1, 1, 32, 32)
    assert (prediction.side_logits, prediction.edge_logits, prediction.class_logits) == ((), (), None)


def test_auxiliary_classes() -> None:
    model = tiny(classes=5)
    assert model(torch.randn(2, 3, *SIZE)).class_logits.shape == (2, 5)
    assert model.classifier.in_features == 48  # of the stride-32 map, doubled by the second scale


@torch.no_grad()
def test_pictures_of_a_batch_do_not_meet() -> None:
    model = tiny().eval()
    batch = torch.randn(3, 3, *SIZE)
    torch.testing.assert_close(model(batch).logits[1:2], model(batch[1:2]).logits, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_memory_format_changes_nothing() -> None:
    model, picture = tiny().eval(), torch.randn(1, 3, *SIZE)
    expected = model(picture).logits
    model = model.to(memory_format=torch.channels_last)
    ours = model(picture.contiguous(memory_format=torch.channels_last)).logits
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_on_the_processor(dtype: torch.dtype) -> None:
    model = tiny()
    with torch.autocast("cpu", dtype=dtype):
        prediction = model(torch.randn(2, 3, *SIZE))
    torch.stack([part.float().mean() for part in _tensors(prediction)]).sum().backward()
    assert all(part.isfinite().all() for part in _tensors(prediction))
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())


def test_exports_with_one_node_per_deformable_convolution() -> None:
    model, picture = tiny(two_scale="none", context=0, squeeze="none").eval(), torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        exported = torch.export.export(model, (picture,))
        nodes = [node for node in exported.graph.nodes if "birefnet.deform_conv2d" in str(node.target)]
        assert len(nodes) == 4 * 4
        torch.testing.assert_close(exported.module()(picture).logits, model(picture).logits)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3, 32, 32), r"\(B, 3, H, W\)"),
        ((1, 4, 32, 32), r"\(B, 3, H, W\)"),
        ((1, 3, 100, 64), "nearest size is 96x64"),
        ((1, 3, 64, 5), "nearest size is 64x32"),
        ((1, 3, 0, 32), "nearest size is 32x32"),
    ],
)
def test_wrong_shapes_are_explained(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        tiny()(torch.zeros(shape))


def test_unknown_backbone() -> None:
    with pytest.raises(ConfigError, match="No backbone named `mobilenet_v3`") as caught:
        BiRefNetConfig(backbone="mobilenet_v3")
    assert caught.value.hint == "did you mean `mobilenet_v2`?"


def test_the_module_tree_is_the_one_that_weights_are_saved_in() -> None:
    names = {name.rpartition(".")[0] for name in tiny(block="residual", neck_widths=(6, 10, 14, 18)).state_dict()}
    stage, attention = "decoder.stages.0.", "decoder.stages.0.block.attention."
    assert names >= {
        *(f"decoder.necks.{index}" for index in range(4)),
        *(f"{stage}picture.{part}" for part in ("conv_in", "conv_out")),
        *(f"{stage}block.{part}" for part in ("conv_in", "norm_in", "conv_out", "norm_out", "shortcut")),
        *(f"{stage}gradient.{part}" for part in ("conv", "norm", "attention", "head")),
        *(f"{stage}{part}" for part in ("side_head", "lateral")),
        *(f"{attention}branches.3.conv.{part}" for part in ("offset", "modulation", "kernel")),
        *(f"{attention}{part}" for part in ("pooled.conv", "pooled.norm", "fuse", "fuse_norm")),
        "encoder.squeeze.conv_in",
        "decoder.picture.conv_out",
        "decoder.head",
    }
    last = {name.split(".")[3] for name in names if name.startswith("decoder.stages.3.")}
    assert last == {"picture", "block"}


def test_the_head_may_be_applied_before_resizing() -> None:
    head = nn.Conv2d(7, 1, 1)
    coarse, fine = torch.randn(2, 5, 4, 6), torch.randn(2, 2, 16, 24)
    resized = F.interpolate(coarse, size=(16, 24), mode="bilinear", align_corners=True)
    torch.testing.assert_close(
        join_at_full_size(head, coarse, fine, (16, 24)), head(torch.cat([resized, fine], dim=1)), atol=1e-6, rtol=1e-5
    )


@torch.no_grad()
def test_a_transformer_s_maps_come_to_strides_4_to_32_and_the_decoder_s_widths() -> None:
    model = tiny(backbone="tiny_transformer", neck_widths=(6, 10, 14, 18)).eval()
    picture = torch.randn(1, 3, *SIZE)
    maps = model.encoder(picture)
    assert {tuple(x.shape) for x in maps} == {(1, 32, 4, 6)}
    fitted = model.decoder._fit(maps, picture)
    assert [tuple(x.shape) for x in fitted] == [(1, 12, 16, 24), (1, 20, 8, 12), (1, 28, 4, 6), (1, 36, 2, 3)]
    for x, ours, neck in zip(maps, fitted, model.decoder.necks, strict=True):
        resized = F.interpolate(x, size=ours.shape[2:], mode="bilinear", align_corners=True)
        torch.testing.assert_close(ours, neck(resized), atol=1e-6, rtol=1e-5)


def _tensors(prediction: tuple[Any, ...]) -> list[Tensor]:
    logits, sides, edges, classes = prediction
    return [logits, *sides, *edges] + ([] if classes is None else [classes])
