"""Activation checkpointing: the same step with less memory, for every kind of backbone and way of training."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed
from torch import Tensor, nn

from birefnet.errors import ConfigError
from birefnet.network import BiRefNet, BiRefNetConfig
from birefnet.network.backbones import BACKBONES, BackboneSpec
from birefnet.network.backbones.classic import ResNet50
from birefnet.network.backbones.dinov3 import DINOv3
from birefnet.network.backbones.pvt_v2 import PVTv2
from birefnet.network.backbones.swin import Swin
from birefnet.network.deform import DeformableConv
from birefnet.network.recompute import Recomputable
from birefnet.training.losses import LossWeights, total_loss
from birefnet.training.memory import checkpoint_activations

NARROW = {"attention_width": 8, "picture_width": 8, "gradient_width": 4, "inner_width": 8}
TINY = {
    "swin": BackboneSpec(
        widths=(8, 16, 32, 64),
        build=lambda: Swin(width=8, depths=(2, 2, 2, 2), heads=(1, 1, 2, 2), window=3),
    ),
    "pvt": BackboneSpec(
        widths=(8, 16, 20, 32),
        build=lambda: PVTv2(widths=(8, 16, 20, 32), depths=(2, 1, 1, 1), mlp_ratios=(2, 2, 2, 2)),
    ),
    "dino": BackboneSpec(
        widths=(16, 16, 16, 16),
        strides=(16, 16, 16, 16),
        build=lambda: DINOv3(width=16, depth=4, heads=2, hidden=32, taps=(0, 1, 2, 3)),
    ),
    "resnet": BackboneSpec(widths=(256, 512, 1024, 2048), build=ResNet50),
}
KINDS = (*TINY, "vgg16bn", "mobilenet_v2")


@pytest.fixture(autouse=True)
def _tiny_backbones(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    for name, spec in TINY.items():
        monkeypatch.setitem(BACKBONES, name, spec)


def tiny(backbone: str = "swin", **options: object) -> BiRefNet:
    """A network in training mode whose deformable convolutions look around."""
    network = BiRefNet(BiRefNetConfig(backbone=backbone, **{"two_scale": "none", **NARROW, **options})).train()
    for part in network.modules():
        if isinstance(part, DeformableConv):
            nn.init.normal_(part.offset.weight, std=0.05)
    return network


class Step:
    """What one training step from seed 5 leaves behind."""

    def __init__(self, network: nn.Module, *, batch: int = 2, bf16: bool = False) -> None:
        torch.manual_seed(5)
        picture, mask = torch.randn(batch, 3, 64, 64), torch.rand(batch, 1, 64, 64).round()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            prediction = network(picture)
        loss, _ = total_loss(prediction, picture, mask, LossWeights())
        network.zero_grad(set_to_none=True)
        loss.backward()
        self.gradients = {name: value.grad for name, value in network.named_parameters()}
        self.state = network.state_dict()
        self.random = torch.get_rng_state()

    def equals(self, other: Step) -> bool:
        """Bit for bit: gradients, the state with the statistics of batch norm, and the random numbers drawn."""
        ours, theirs = self.gradients, other.gradients
        return (
            list(self.state) == list(other.state)
            and all(torch.equal(value, other.state[name]) for name, value in self.state.items())
            and ours.keys() == theirs.keys()
            and all(_equal(value, theirs[name]) for name, value in ours.items())
            and torch.equal(self.random, other.random)
        )


def _equal(a: Tensor | None, b: Tensor | None) -> bool:
    return a is b if a is None or b is None else torch.equal(a, b)


def kept(network: nn.Module) -> int:
    """Bytes of distinct memory that autograd keeps after the forward pass."""
    storages: dict[int, Tensor] = {}

    def keep(value: Tensor) -> Tensor:
        storages[value.untyped_storage().data_ptr()] = value
        return value

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        network(torch.randn(2, 3, 64, 64))
    return sum(value.untyped_storage().nbytes() for value in storages.values())


@pytest.mark.parametrize("which", ["backbone", "all"])
@pytest.mark.parametrize("backbone", KINDS)
def test_the_step_is_the_same(backbone: str, which: str) -> None:
    network = tiny(backbone)
    same = copy.deepcopy(network)
    checkpoint_activations(same, which)
    assert Step(same).equals(Step(network))


@pytest.mark.parametrize(
    "options",
    [
        {"batch": 1},
        {"bf16": True},
        {"backbone": "mobilenet_v2", "two_scale": "cat"},  # statistics move twice
        {"backbone": "mobilenet_v2", "attention": "aspp", "picture_input": "whole"},
        {"squeeze": "aspp_deformable", "block": "residual"},
    ],
    ids=str,
)
def test_so_it_is_in_other_settings(options: dict[str, object]) -> None:
    settings = {name: options[name] for name in ("batch", "bf16") if name in options}
    network = tiny(**{name: value for name, value in options.items() if name not in settings})
    same = copy.deepcopy(network)
    checkpoint_activations(same, "all")
    assert Step(same, **settings).equals(Step(network, **settings))


@pytest.mark.parametrize("backbone", KINDS)
def test_less_is_kept(backbone: str) -> None:
    network = tiny(backbone)
    sizes = {}
    for which in ("none", "backbone", "all"):
        checkpoint_activations(network, which)
        sizes[which] = kept(network)
    assert sizes["all"] < sizes["backbone"] < sizes["none"]


def test_the_last_choice_counts() -> None:
    network = tiny()
    names = list(network.state_dict())
    before = kept(network)
    for which in ("all", "all", "backbone", "none"):
        checkpoint_activations(network, which)
        assert list(network.state_dict()) == names
    assert kept(network) == before
    checkpoint_activations(network, "backbone")
    chosen = {name for name, part in network.named_modules() if getattr(part, "recomputes", False)}
    assert chosen
    assert all(name.startswith("encoder.backbone.") for name in chosen)


def test_no_unknown_choice() -> None:
    with pytest.raises(ConfigError, match="'decoder'; choose one of 'none', 'backbone', 'all'"):
        checkpoint_activations(tiny(), "decoder")  # type: ignore[arg-type]


def test_copies_keep_the_choice() -> None:
    network = tiny()
    plain = Step(copy.deepcopy(network))
    checkpoint_activations(network, "all")
    copied, pickled = copy.deepcopy(network), pickle.loads(pickle.dumps(network))
    for other in (copied, pickled):
        assert all(part.recomputes for part in other.modules() if isinstance(part, Recomputable))
        assert Step(other).equals(plain)
    assert all(value.grad is None for value in network.parameters())  # the copies computed with their own weights


def test_frozen_parts_stay_frozen() -> None:
    network = tiny()
    network.encoder.backbone.requires_grad_(False)
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eval()
    same = copy.deepcopy(network)
    checkpoint_activations(same, "all")
    step = Step(same)
    assert step.equals(Step(network))
    assert {name for name, value in step.gradients.items() if value is None} == {
        name for name in step.gradients if name.startswith("encoder.backbone.")
    }


def test_an_error_in_the_repetition_leaves_the_statistics_in_place() -> None:
    network = tiny("resnet")
    checkpoint_activations(network, "all")
    block = network.encoder.backbone.conv2[0]
    y = network(torch.randn(2, 3, 64, 64)).logits.sum()
    before = {name: id(value) for name, value in network.named_buffers()}

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    handle = block.register_forward_pre_hook(fail)
    with pytest.raises(KeyboardInterrupt):
        y.backward()
    handle.remove()
    assert {name: id(value) for name, value in network.named_buffers()} == before


@pytest.fixture
def _alone(tmp_path: Path) -> Iterator[None]:
    """A process group of this process."""
    if not torch.distributed.is_available():
        pytest.skip("this torch cannot distribute")
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("_alone")
def test_distributed_training_finds_every_gradient() -> None:
    network = tiny("mobilenet_v2")
    plain = Step(copy.deepcopy(network))
    checkpoint_activations(network, "all")
    parallel = nn.parallel.DistributedDataParallel(network)
    for _ in range(2):  # the second forward pass complains if a gradient of the first never came
        torch.manual_seed(5)
        picture, mask = torch.randn(2, 3, 64, 64), torch.rand(2, 1, 64, 64).round()
        loss, _ = total_loss(parallel(picture), picture, mask, LossWeights())
        parallel.zero_grad()
        loss.backward()
    for name, value in network.named_parameters():
        assert value.grad is not None
        torch.testing.assert_close(value.grad, plain.gradients[name], msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("which", ["none", "all"])
def test_compiled_for_autograd(which: str) -> None:
    """Traced by torch.compile, without the code generator, which would need a C++ compiler."""
    network = tiny()
    for part in network.modules():
        if hasattr(part, "rate"):
            part.rate = 0.0
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    plain = Step(copy.deepcopy(network))
    checkpoint_activations(network, which)
    compiled = torch.compile(network, backend="aot_eager")
    step = Step(compiled)
    for name, value in plain.gradients.items():
        torch.testing.assert_close(step.gradients[f"_orig_mod.{name}"], value, atol=1e-3, rtol=1e-3, msg=name)
    for name, value in plain.state.items():
        torch.testing.assert_close(step.state[f"_orig_mod.{name}"], value, msg=name)
