"""The configuration read from tensors makes a network with exactly those tensors."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from birefnet.errors import ConfigError, WeightsError
from birefnet.network.backbones import BACKBONES
from birefnet.network.birefnet import BiRefNet
from birefnet.network.config import BiRefNetConfig
from birefnet.weights.infer import find_backbone_of, infer_config, released_config
from birefnet.weights.names import to_released
from tests.goldens import CASES, MANIFESTS, case, manifest

# What the options of the reference are called here.
OPTIONS: dict[tuple[str, Any], dict[str, Any]] = {
    ("batch_size", 1): {"batch_norm": False},
    ("cxt_num", 0): {"context": 0},
    ("dec_att", ""): {"attention": "none"},
    ("dec_att", "ASPP"): {"attention": "aspp"},
    ("dec_blk", "ResBlk"): {"block": "residual"},
    ("dec_channels_inter", "adap"): {"inner_width": "adaptive"},
    ("dec_ipt_split", False): {"picture_input": "whole"},
    ("mul_scl_ipt", ""): {"two_scale": "none"},
    ("mul_scl_ipt", "add"): {"two_scale": "add"},
    ("out_ref", False): {"gradient_reference": False},
    ("squeeze_block", ""): {"squeeze": "none"},
    ("squeeze_block", "ASPPDeformable_x1"): {"squeeze": "aspp_deformable"},
}
OWN = [
    {"backbone": "mobilenet_v2", "two_scale": "none", "picture_width": 12, "attention_width": 20, "inner_width": 16},
    {"gradient_width": 6, "neck_widths": (16, 24, 32, 64), "two_scale": "add", "classes": 3, "context": 2},
    {"picture_input": "none", "side_supervision": False, "squeeze": "aspp", "attention": "none", "context": 1},
    {"squeeze": "residual", "attention": "aspp", "neck_widths": (8, 8, 8, 8), "batch_norm": False},
]


def tensors(config: BiRefNetConfig) -> dict[str, torch.Tensor]:
    with torch.device("meta"):
        return BiRefNet(config).state_dict()


def empty(shapes: dict[str, list[int]]) -> dict[str, torch.Tensor]:
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


def shapes_of(state: dict[str, torch.Tensor]) -> dict[str, list[int]]:
    return {name: list(tensor.shape) for name, tensor in state.items()}


def test_every_backbone_has_a_sign() -> None:
    assert all(spec.sign for spec in BACKBONES.values())
    assert len({spec.sign for spec in BACKBONES.values()}) == len(BACKBONES)


@pytest.mark.parametrize("backbone", MANIFESTS)
def test_released_variants(backbone: str) -> None:
    config = infer_config(empty({f"module._orig_mod.{name}": shape for name, shape in manifest(backbone).items()}))
    assert config == released_config(backbone)
    assert shapes_of(to_released(tensors(config))) == manifest(backbone)


@pytest.mark.parametrize("name", CASES)
def test_golden_variants(name: str) -> None:
    golden = case(name)
    options = dict(released_config(golden["backbone"]).to_dict())
    for override in golden["overrides"].items():
        options |= OPTIONS[override]
    wanted = BiRefNetConfig.from_dict(options)
    config = infer_config(empty(golden["shapes"]), two_scale="add" if wanted.two_scale == "add" else None)
    assert config == wanted
    assert shapes_of(to_released(tensors(config))) == golden["shapes"]


@pytest.mark.parametrize("backbone", ["mobilenet_v2", "pvt_v2_b0", "dino_v3_s"])
@pytest.mark.parametrize("options", OWN)
def test_our_own_variants(backbone: str, options: dict[str, Any]) -> None:
    wanted = BiRefNetConfig(**{"backbone": backbone, **options})
    hint = "add" if wanted.two_scale == "add" else None
    assert infer_config(tensors(wanted), two_scale=hint) == wanted
    assert infer_config(to_released(tensors(wanted)), two_scale=hint) == wanted


def test_hint_that_contradicts() -> None:
    with pytest.raises(ConfigError, match="contradicts"):
        infer_config(empty(manifest("swin_v1_t")), two_scale="add")
    with pytest.raises(ConfigError, match="contradicts"):
        infer_config(tensors(BiRefNetConfig(backbone="pvt_v2_b0", two_scale="none")), two_scale="cat")


def test_no_birefnet_at_all() -> None:
    with pytest.raises(WeightsError, match="hold no backbone"):
        infer_config(empty({"stage1.conv.weight": [3]}))


def test_unknown_backbone() -> None:
    shapes = manifest("swin_v1_t") | {"bb.patch_embed.proj.weight": [64, 3, 4, 4]}
    with pytest.raises(WeightsError, match=r"none of those known .* \[64, 3, 4, 4\]"):
        infer_config(empty(shapes))


@pytest.mark.parametrize(
    ("entry", "shape", "message"),
    [
        ("squeeze_module.0.conv_in.weight", [64, 99, 3, 3], "99 channels"),
        ("decoder.lateral_block4.conv.weight", [768, 99, 1, 1], "99 channels"),
        ("decoder.decoder_block4.conv_in.weight", [65, 1728, 3, 3], "neither all alike nor adaptive"),
        ("decoder.decoder_block4.conv_in.weight", None, "not complete"),
    ],
)
def test_decoder_that_cannot_be(entry: str, shape: list[int] | None, message: str) -> None:
    shapes = manifest("swin_v1_t")
    if shape is None:
        del shapes[entry]
    else:
        shapes[entry] = shape
    with pytest.raises(WeightsError, match=message):
        infer_config(empty(shapes))


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_backbone_alone(name: str) -> None:
    inner = "bb.model." if name.startswith("dino") else "bb."
    shapes = {entry.removeprefix(inner): tuple(shape) for entry, shape in manifest(name).items()}
    assert find_backbone_of(shapes) == name
    sign = BACKBONES[name].sign
    assert sign is not None
    assert find_backbone_of(shapes | {sign.entry: (1, 2, 3)}) is None
