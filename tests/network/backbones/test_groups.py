"""What every backbone says of its own parts."""

from __future__ import annotations

import pytest
import torch

from birefnet.network.backbones import BACKBONES


@pytest.mark.parametrize("name", BACKBONES)
def test_groups_hold_every_parameter_once_and_in_order(name: str) -> None:
    with torch.device("meta"):
        backbone = BACKBONES[name].build()
    groups = backbone.groups()
    assert len(groups) == (len(backbone.get_submodule("blocks")) if name.startswith("dino") else 4)
    of = [
        [index for index, group in enumerate(groups) if any(f"{parameter}.".startswith(f"{part}.") for part in group)]
        for parameter, _ in backbone.named_parameters()
    ]
    assert all(len(found) == 1 for found in of)
    assert {index for found in of for index in found} == set(range(len(groups)))
    for group in groups:
        for part in group:
            assert part in dict(backbone.named_modules()) or part in dict(backbone.named_parameters())


@pytest.mark.parametrize("name", ["swin_v1_t", "pvt_v2_b0", "vgg16bn", "resnet50", "mobilenet_v2"])
def test_each_group_ends_with_its_map(name: str) -> None:
    """Changing what a group holds changes its map and those after it, never those before it."""
    torch.manual_seed(0)
    backbone = BACKBONES[name].build().eval()
    picture = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        before = backbone(picture)
        for part in backbone.groups()[2]:
            for parameter in backbone.get_submodule(part).parameters():
                parameter.mul_(1.3)
        after = backbone(picture)
    assert [torch.equal(x, y) for x, y in zip(before, after, strict=True)] == [True, True, False, False]
