"""What is frozen stays as it is, and costs no memory."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from birefnet.errors import ConfigError
from birefnet.network import BiRefNet
from birefnet.network.backbones.layers import DropPath
from birefnet.network.config import BiRefNetConfig
from birefnet.training.freezing import describe_rates, freeze_backbone, freeze_norms, keep_frozen


def network(backbone: str, **options: object) -> BiRefNet:
    torch.manual_seed(0)
    narrow = {"two_scale": "none", "attention": "aspp", "inner_width": 8, "attention_width": 8, "picture_width": 8}
    return BiRefNet(BiRefNetConfig.from_dict({"backbone": backbone, **narrow, **options}))


@pytest.fixture(scope="module")
def pictures() -> Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def frozen_names(net: nn.Module) -> set[str]:
    return {name for name, parameter in net.named_parameters() if not parameter.requires_grad}


def trained(net: BiRefNet, pictures: Tensor) -> None:
    """One step of plain gradient descent in training mode."""
    net.train()
    keep_frozen(net)
    net(pictures).logits.square().sum().backward()
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.grad is not None:
                parameter -= 1e-3 * parameter.grad


def test_the_first_groups_stay_and_the_rest_moves(pictures: Tensor) -> None:
    net = network("resnet50")
    report = freeze_backbone(net, 2)
    assert (report.groups, report.frozen_groups) == (4, 2)
    assert report.frozen == sum(p.numel() for p in net.parameters() if not p.requires_grad)
    assert report.frozen + report.learning == sum(p.numel() for p in net.encoder.backbone.parameters())
    before = {name: value.clone() for name, value in net.state_dict().items()}
    trained(net, pictures)
    changed = {name for name, value in net.state_dict().items() if not torch.equal(value, before[name])}
    frozen = ("encoder.backbone.conv1.", "encoder.backbone.conv2.")
    assert not [name for name in changed if name.startswith(frozen)]  # statistics of batch norm included
    for name in ("conv3.0.conv1.weight", "conv3.0.bn1.running_mean", "conv4.2.bn3.num_batches_tracked"):
        assert f"encoder.backbone.{name}" in changed
    assert "decoder.head.weight" in changed


@pytest.mark.parametrize(
    ("backbone", "how", "groups"),
    [("mobilenet_v2", "auto", 0), ("mobilenet_v2", "none", 0), ("mobilenet_v2", "all", 4), ("pvt_v2_b0", 1, 1)],
)
def test_how_much(backbone: str, how: str | int, groups: int) -> None:
    net = network(backbone)
    report = freeze_backbone(net, how)  # type: ignore[arg-type]
    assert report.frozen_groups == groups
    assert frozen_names(net.decoder) == set()
    everything = {name for name, _ in net.encoder.backbone.named_parameters()}
    frozen = frozen_names(net.encoder.backbone)
    assert frozen == (everything if groups == 4 else {name for name in everything if name.startswith(_FIRST[groups])})


_FIRST: dict[int, tuple[str, ...]] = {0: (), 1: ("patch_embed1.", "block1.", "norm1.")}


def test_a_vision_transformer_is_frozen_unless_told_otherwise(pictures: Tensor) -> None:
    with torch.device("meta"):
        net = network("dino_v3_s")
    assert freeze_backbone(net, "auto").frozen_groups == 12
    assert freeze_backbone(net, "none").frozen == 0 and not frozen_names(net)  # and it learns again
    assert freeze_backbone(net, 3).frozen_groups == 3
    frozen = frozen_names(net)
    assert {"encoder.backbone.cls_token", "encoder.backbone.patch_embed.proj.weight"} < frozen
    assert "encoder.backbone.blocks.2.gamma_1" in frozen and "encoder.backbone.blocks.3.gamma_1" not in frozen


def test_more_groups_than_there_are() -> None:
    for how in (5, -1):
        with pytest.raises(ConfigError, match=rf"`training\.freeze` is {how}; mobilenet_v2 has 4 groups"):
            freeze_backbone(network("mobilenet_v2"), how)


def saved_bytes(function: Callable[[], Tensor]) -> int:
    """Bytes of the tensors that autograd keeps of a forward pass, each counted once."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        function()
    return sum(kept.values())


def test_no_graph_is_built_through_a_frozen_backbone(pictures: Tensor) -> None:
    net = network("pvt_v2_b0")
    net.train()
    everything = saved_bytes(lambda: net.encoder.backbone(pictures)[3])
    assert everything > 1_000_000
    freeze_backbone(net, "all")
    keep_frozen(net)
    assert saved_bytes(lambda: net.encoder.backbone(pictures)[3]) == 0
    maps = net.encoder.backbone(pictures)
    assert not any(x.requires_grad or x.grad_fn is not None for x in maps)
    net(pictures).logits.sum().backward()
    assert all(parameter.grad is None for parameter in net.encoder.backbone.parameters())
    assert net.decoder.head.weight.grad is not None
    freeze_backbone(net, 2)
    assert [x.requires_grad for x in net.encoder.backbone(pictures)] == [False, False, True, True]


def test_frozen_layers_stay_in_evaluation_mode(pictures: Tensor) -> None:
    net = network("swin_v1_t")
    freeze_backbone(net, 3)
    net.train()
    keep_frozen(net)
    drops = {name: part for name, part in net.named_modules() if isinstance(part, DropPath)}
    assert {part.training for name, part in drops.items() if "layers.3." not in name} == {False}
    assert {part.training for name, part in drops.items() if "layers.3." in name} == {True}
    first, second = (net.encoder.backbone(pictures) for _ in range(2))
    assert [torch.equal(x, y) for x, y in zip(first, second, strict=True)] == [True, True, True, False]


def test_a_frozen_decoder_still_gives_side_predictions(pictures: Tensor) -> None:
    net = network("mobilenet_v2")
    for parameter in net.decoder.parameters():
        parameter.requires_grad_(False)
    before = {name: value.clone() for name, value in net.decoder.state_dict().items()}
    net.train()
    keep_frozen(net)
    assert len(net(pictures).side_logits) == 3
    assert all(torch.equal(value, before[name]) for name, value in net.decoder.state_dict().items())


def test_frozen_statistics_make_a_batch_of_one_train(pictures: Tensor) -> None:
    net = network("mobilenet_v2")
    net.train()
    with pytest.raises(ValueError, match="more than 1 value"):  # the squeezed map of one small picture
        net(pictures[:1, :, :32, :32])
    count = freeze_norms(net)
    assert count == sum(isinstance(part, nn.BatchNorm2d) for part in net.modules()) > 50
    before = {name: value.clone() for name, value in net.named_buffers()}
    net(pictures[:1, :, :32, :32]).logits.sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in net.named_buffers())
    norm = net.get_submodule("encoder.backbone.stem.norm")
    assert isinstance(norm, nn.BatchNorm2d) and norm.weight.grad is not None  # its weights still learn


def test_the_rates_in_a_line() -> None:
    net = network("mobilenet_v2")
    freeze_backbone(net, "all")
    text = describe_rates(net, 1e-4, 0.1)
    assert text.startswith("backbone: 0 of 1.81 M values learn; the rest: ")
    assert text.endswith("values learn at 0.0001")
    freeze_backbone(net, "none")
    assert describe_rates(net, 1e-4, 0.1).startswith("backbone: 1.81 M of 1.81 M values learn at 1e-05; ")
