"""The whole inference forms, in every option of the network and for every golden case."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from tests.goldens import CASES, case, exact, network, picture
from tests.network.inference.networks import randomised
from tests.rounding import spread

from birefnet.network import BiRefNet, BiRefNetConfig
from birefnet.network.inference import cpu_form, fixed_form, inference_form

OPTIONS: list[dict[str, Any]] = [
    {},
    {"two_scale": "add"},
    {"two_scale": "none"},
    {"context": 0, "squeeze": "none"},
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
    {"batch_norm": False},
    {"neck_widths": (6, 10, 14, 18)},
]
# bfloat16 is summed in float32: only what is stored between two operations is rounded, once each.
BFLOAT16 = 4
SLOW = {"swin_l_192"}


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_option_in_double_precision(options: dict[str, Any]) -> None:
    narrow = {"attention_width": 8, "picture_width": 8, "gradient_width": 4, "inner_width": 8}
    network = BiRefNet(BiRefNetConfig(**{"backbone": "mobilenet_v2", **narrow, **options}))
    network = randomised(network).double().eval()
    x = torch.randn(2, 3, 64, 96, dtype=torch.float64)
    with torch.inference_mode():
        wanted = network(x).logits
        for ours in (
            inference_form(network),
            cpu_form(copy.deepcopy(network), torch.float64),
            cpu_form(copy.deepcopy(network), torch.float64, low_memory=True),
        ):
            torch.testing.assert_close(ours(x).logits, wanted, rtol=1e-7, atol=1e-7 * float(wanted.abs().max()))


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in CASES])
def test_every_golden_case(name: str) -> None:
    model, x = network(name), picture(name)
    wanted = exact(name)
    assert wanted.exact[0].sigmoid().std() > 0.005  # the network says something
    with torch.inference_mode():
        wanted.check(inference_form(model)(x).logits, name="inference_form")
        fixed = fixed_form(model, *case(name)["size"])
        wanted.check(torch.cat([fixed(one).logits for one in x.split(1)]), name="fixed_form")  # one picture at a time
        wanted.check(cpu_form(model)(x).logits, name="cpu_form")


@pytest.mark.parametrize("name", ["swin_t_256", "swin_t_wide", "swin_t_layers"])
def test_half_precision_of_the_released_shape(name: str) -> None:
    """In units of what rounding to bfloat16 does to the alpha: single pixels of these random networks move by 0.03."""
    model, x = network(name), picture(name)
    wanted = spread(model, x, lambda output: [output.logits.sigmoid()], dtype=torch.bfloat16)
    with torch.inference_mode():
        wanted.check(cpu_form(model, torch.bfloat16)(x.bfloat16()).logits.float().sigmoid(), factor=BFLOAT16)


def test_the_network_itself_stays_as_it_is() -> None:
    network = BiRefNet(BiRefNetConfig(backbone="mobilenet_v2", inner_width=8, attention_width=8))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    inference_form(network)
    assert network.training and all(parameter.requires_grad for parameter in network.parameters())
    after = network.state_dict()
    assert list(after) == list(before) and all(torch.equal(after[name], before[name]) for name in before)
