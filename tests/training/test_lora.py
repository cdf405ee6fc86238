"""Adapters learn, the rest stays, and merging them changes nothing."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from birefnet.errors import ConfigError
from birefnet.network import BiRefNet
from birefnet.network.config import BiRefNetConfig
from birefnet.training.freezing import keep_frozen
from birefnet.training.lora import add_lora, has_lora, merged
from birefnet.training.memory import checkpoint_activations
from birefnet.training.settings import LoraConfig
from birefnet.weights.checkpoint import load_model, save_model

pytest.importorskip("peft")

CONFIG = LoraConfig(rank=4, alpha=8)


def network(backbone: str = "pvt_v2_b0") -> BiRefNet:
    torch.manual_seed(0)
    config = BiRefNetConfig(
        backbone=backbone, two_scale="none", attention="aspp", inner_width=8, attention_width=8, picture_width=8
    )
    return BiRefNet(config).eval()


@pytest.fixture(scope="module")
def pictures() -> Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def train(net: BiRefNet, pictures: Tensor, steps: int = 3) -> None:
    """A few real steps on a made-up task."""
    optimiser = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], lr=1e-2)
    net.train()
    keep_frozen(net)
    for _ in range(steps):
        optimiser.zero_grad()
        (net(pictures).logits - 1).square().mean().backward()
        optimiser.step()
    net.eval()


@pytest.mark.parametrize("backbone", ["swin_v1_t", "pvt_v2_b0", "dino_v3_s"])
@torch.no_grad()
def test_merging_changes_nothing(backbone: str, pictures: Tensor) -> None:
    net = network(backbone)
    if backbone.startswith("dino"):
        for name, parameter in net.named_parameters():
            if "gamma" in name:  # fresh ones nearly switch the blocks off
                parameter.fill_(0.5)
    before, names = net(pictures).logits, list(net.state_dict())
    assert add_lora(net, CONFIG) is net and has_lora(net)
    torch.testing.assert_close(net.eval()(pictures).logits, before, rtol=0, atol=1e-5)
    for name, parameter in net.named_parameters():
        if "lora_B" in name:
            parameter.normal_(std=0.05)
    adapted = net(pictures).logits
    plain = merged(net)
    assert float((adapted - before).abs().max()) > 1e-4
    torch.testing.assert_close(plain(pictures).logits, adapted, rtol=0, atol=1e-5)
    assert list(plain.state_dict()) == names and not plain.training and not has_lora(plain)
    assert has_lora(net)  # and is as it was
    torch.testing.assert_close(net(pictures).logits, adapted, rtol=0, atol=0)


def test_every_linear_layer_is_adapted_and_nothing_else_of_the_backbone_learns(pictures: Tensor) -> None:
    net = network()
    linear = sum(isinstance(part, nn.Linear) for part in net.encoder.backbone.modules())
    plain = {name: value.clone() for name, value in net.named_parameters()}
    add_lora(net, CONFIG)
    learning = {name for name, parameter in net.named_parameters() if parameter.requires_grad}
    inside = {name for name in learning if name.startswith("encoder.backbone.")}
    assert len(inside) == 2 * linear == sum(".lora_A." in name or ".lora_B." in name for name in inside)
    assert learning - inside == {name for name in plain if not name.startswith("encoder.backbone.")}
    train(net, pictures)
    after = {name.replace(".base_layer.", "."): value for name, value in net.named_parameters()}
    same = {name for name, value in plain.items() if torch.equal(value, after[name])}
    assert same >= {name for name in plain if name.startswith("encoder.backbone.")}
    assert "decoder.head.weight" not in same
    assert any(bool(value.any()) for name, value in after.items() if "lora_B" in name)


def test_the_decoder_can_stay_too(pictures: Tensor) -> None:
    net = add_lora(network(), CONFIG, decoder=False)
    assert all(".lora_" in name for name, parameter in net.named_parameters() if parameter.requires_grad)
    before = net.decoder.head.weight.clone()
    train(net, pictures)
    assert torch.equal(net.decoder.head.weight, before)


def test_a_trained_one_is_saved_plain(pictures: Tensor, tmp_path: Path) -> None:
    net = add_lora(network(), CONFIG)
    train(net, pictures)
    loaded = load_model(save_model(merged(net), tmp_path / "a.safetensors"))
    with torch.no_grad():
        torch.testing.assert_close(loaded(pictures).logits, net(pictures).logits, rtol=0, atol=1e-5)


def test_going_on_from_a_state(pictures: Tensor) -> None:
    net = add_lora(network(), CONFIG)
    train(net, pictures, steps=2)
    state = copy.deepcopy(net.state_dict())
    other = network()
    torch.manual_seed(5)  # other fresh adapters
    add_lora(other, CONFIG)
    other.load_state_dict(state, strict=True)
    for each in (net, other):
        torch.manual_seed(6)  # the same dropout
        train(each, pictures, steps=2)
    assert [name for name, _ in net.named_parameters()] == [name for name, _ in other.named_parameters()]
    for name, value in net.state_dict().items():
        torch.testing.assert_close(value, other.state_dict()[name], rtol=0, atol=0)


def test_convolutions_too(pictures: Tensor) -> None:
    net = network("resnet50")
    add_lora(net, CONFIG, convolutions=True)
    train(net, pictures, steps=1)
    with torch.no_grad():
        torch.testing.assert_close(merged(net)(pictures).logits, net(pictures).logits, rtol=0, atol=1e-5)
    net = add_lora(network("mobilenet_v2"), CONFIG, convolutions=True)  # those of each channel by itself are spared
    assert not any("depthwise" in name for name in net.state_dict() if "lora" in name)


@pytest.mark.parametrize("backbone", ["vgg16", "resnet50", "mobilenet_v2"])
def test_a_backbone_without_linear_layers(backbone: str) -> None:
    with torch.device("meta"):
        net = network(backbone)
    with pytest.raises(ConfigError, match=rf"`training\.lora` adapts linear layers, and {backbone} has none"):
        add_lora(net, CONFIG)


def test_adapters_are_added_once() -> None:
    net = add_lora(network(), CONFIG)
    with pytest.raises(ConfigError, match="adapters already"):
        add_lora(net, CONFIG)


def test_without_adapters_it_is_a_copy(pictures: Tensor) -> None:
    net = network()
    plain = merged(net)
    with torch.no_grad():
        torch.testing.assert_close(plain(pictures).logits, net(pictures).logits, rtol=0, atol=0)
        plain.decoder.head.weight.zero_()
    assert bool(net.decoder.head.weight.any())


def test_with_activations_computed_again(pictures: Tensor) -> None:
    net = add_lora(network(), CONFIG)
    gradients = []
    choices: tuple[Literal["none", "backbone"], ...] = ("none", "backbone")
    for which in choices:
        checkpoint_activations(net, which)
        net.train()
        torch.manual_seed(2)
        net.zero_grad()
        net(pictures).logits.square().mean().backward()
        gradients.append({name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None})
    assert any(".lora_B" in name and bool(gradient.any()) for name, gradient in gradients[0].items())
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-5, atol=1e-8)
