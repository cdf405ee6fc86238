"""The whole inference forms, in every option of the network and for every golden case."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from tests.goldens import CASES, case
from tests.network.inference.networks import randomised
from tests.seeded import image, state_dict

from birefnet.network import BiRefNet, BiRefNetConfig
from birefnet.network.inference import cpu_form, fixed_form, inference_form
from birefnet.weights.checkpoint import load_model

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
TOLERANCE = 1e-4  # of the alpha
# Its seeded features reach 1500 and its offsets hundreds of pixels: tests/weights/test_parity.py tells more.
ILL_CONDITIONED = {"resnet50": 1e-2}
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
    golden = case(name)
    two_scale = "add" if golden["overrides"].get("mul_scl_ipt") == "add" else None
    network = load_model(state_dict(golden["shapes"]), two_scale=two_scale)
    picture = torch.from_numpy(image(*golden["size"], batch=golden["batch"], seed=golden["seed"]))
    with torch.inference_mode():
        wanted = network(picture).logits.sigmoid()
        assert wanted.std() > 0.005  # the network says something
        forms = [inference_form(network), fixed_form(network, *golden["size"]), cpu_form(network)]
        for ours in forms:
            pictures = picture[:1] if ours is forms[1] else picture  # that form takes one at a time
            difference = (ours(pictures).logits.sigmoid() - wanted[: len(pictures)]).abs().max()
            assert difference < ILL_CONDITIONED.get(name, TOLERANCE)


@pytest.mark.parametrize("name", ["swin_t_256", "swin_t_wide", "swin_t_layers"])
def test_half_precision_of_the_released_shape(name: str) -> None:
    """Rounding the backbone's weights alone already moves single pixels of these random networks by 0.03."""
    golden = case(name)
    network = load_model(state_dict(golden["shapes"]))
    picture = torch.from_numpy(image(*golden["size"], batch=golden["batch"], seed=golden["seed"]))
    with torch.inference_mode():
        wanted = network(picture).logits.sigmoid()
        ours = cpu_form(network, torch.bfloat16)(picture.bfloat16()).logits.float().sigmoid()
    difference = (ours - wanted).abs()
    assert difference.mean() < 1e-3
    assert difference.max() < 6e-2


def test_the_network_itself_stays_as_it_is() -> None:
    network = BiRefNet(BiRefNetConfig(backbone="mobilenet_v2", inner_width=8, attention_width=8))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    inference_form(network)
    assert network.training and all(parameter.requires_grad for parameter in network.parameters())
    after = network.state_dict()
    assert list(after) == list(before) and all(torch.equal(after[name], before[name]) for name in before)
