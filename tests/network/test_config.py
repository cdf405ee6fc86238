"""The config: checked at birth, and the same after a journey through JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from birefnet.errors import ConfigError
from birefnet.network import BiRefNetConfig


def test_defaults_are_the_released_large_model() -> None:
    config = BiRefNetConfig()
    assert (config.backbone, config.two_scale, config.context) == ("swin_v1_l", "cat", 3)
    assert (config.squeeze, config.block, config.attention) == ("basic", "basic", "aspp_deformable")
    assert (config.inner_width, config.picture_input, config.neck_widths) == (64, "tiles", None)


@pytest.mark.parametrize(
    "config",
    [
        BiRefNetConfig(),
        BiRefNetConfig(backbone="mobilenet_v2", inner_width="adaptive", classes=3, batch_norm=False),
        BiRefNetConfig(backbone="dino_v3_s", neck_widths=(192, 384, 768, 1536)),
    ],
)
def test_json_and_back(config: BiRefNetConfig) -> None:
    assert BiRefNetConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"backbone": "swin_v1_x"}, "No backbone named `swin_v1_x`; known: swin_v1_t, "),
        ({"two_scale": "sum"}, "'none', 'add', 'cat'"),
        ({"context": 4}, "0, 1, 2 or 3"),
        ({"squeeze": "none"}, "choose a squeeze block or context 0"),
        ({"block": "big"}, "'basic', 'residual'"),
        ({"attention": None}, "'aspp_deformable'"),
        ({"picture_input": True}, "'tiles'"),
        ({"inner_width": 0}, "above 0"),
        ({"inner_width": "wide"}, "above 0"),
        ({"attention_width": 2.5}, "whole number"),
        ({"classes": -1}, "0 or more"),
        ({"batch_norm": "no"}, "True, False"),
        ({"neck_widths": (1, 2, 3)}, "4 widths"),
        ({"neck_widths": (1, 2, 3, 0)}, "above 0"),
    ],
)
def test_nonsense_is_refused_with_the_way_out(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BiRefNetConfig(**wrong)


def test_unknown_entries_are_named() -> None:
    with pytest.raises(ConfigError, match="batch_size"):
        BiRefNetConfig.from_dict({"batch_size": 4})
