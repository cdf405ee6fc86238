"""What stays as it is while the rest learns: the first groups of the backbone, all of it, or the norms' statistics.

A frozen parameter has `requires_grad` false, so that no graph is built below the first one that learns: the memory of
a frozen backbone's activations is never taken.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from torch import nn

from birefnet.errors import ConfigError
from birefnet.network import BiRefNet
from birefnet.network.backbones import Backbone, find_backbone
from birefnet.network.recompute import BATCH_NORMS

log = logging.getLogger(__name__)

BACKBONE = "encoder.backbone."  # what the names of the backbone's parameters begin with


@dataclass(frozen=True, slots=True, kw_only=True)
class FreezeReport:
    """What is frozen. Its text is one sentence for a log.

    Attributes:
        groups: of the backbone.
        frozen_groups: how many of them, from the first on, are frozen.
        frozen: values of the backbone that do not learn.
        learning: values of the backbone that do.
    """

    groups: int
    frozen_groups: int
    frozen: int
    learning: int

    def __str__(self) -> str:
        return (
            f"Frozen: {self.frozen_groups} of the backbone's {self.groups} groups, {_millions(self.frozen)} values; "
            f"{_millions(self.learning)} learn"
        )


def freeze_backbone(network: BiRefNet, how: Literal["auto", "none", "all"] | int) -> FreezeReport:
    """Freeze the backbone's first groups; what is frozen already and should not be learns again.

    Call it before adapters are added (`lora.py`), and `keep_frozen` now and after every ``network.train()``.

    Args:
        network: changed in place.
        how: "none", "all", the number of groups (`Backbone.groups`: stem and first stage, second stage, ...; blocks
            for a vision transformer), or "auto": "all" for backbones that are frozen by default (DINOv3), else "none".

    Raises:
        ConfigError: if the backbone has fewer groups.
    """
    backbone = network.encoder.backbone
    assert not any(".lora_" in name for name, _ in backbone.named_parameters()), "freeze before adding adapters"
    groups = [list(_parameters(backbone, names)) for names in backbone.groups()]
    if how == "auto":
        how = "all" if find_backbone(network.config.backbone).frozen_by_default else "none"
    count = {"none": 0, "all": len(groups)}[how] if isinstance(how, str) else how
    if not 0 <= count <= len(groups):
        raise ConfigError(
            f"`training.freeze` is {count}; {network.config.backbone} has {len(groups)} groups, so give 0 to "
            f"{len(groups)}, none, all or auto"
        )
    for index, group in enumerate(groups):
        for parameter in group:
            parameter.requires_grad_(index >= count)
    values = [sum(parameter.numel() for parameter in group) for group in groups]
    report = FreezeReport(
        groups=len(groups), frozen_groups=count, frozen=sum(values[:count]), learning=sum(values[count:])
    )
    if count:
        log.info("%s", report)
    return report


def keep_frozen(network: nn.Module) -> None:
    """Put frozen parts into evaluation mode: their norms keep their statistics, their dropout and drop path rest.

    A part is frozen if it has parameters and none of them learns. Only the layers themselves are switched, not what
    holds them: a frozen decoder still gives its side predictions. Call it after every ``network.train()``.
    """
    for module in network.children():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            for layer in module.modules():
                if next(layer.children(), None) is None:
                    layer.eval()
        else:
            keep_frozen(module)


def freeze_norms(network: nn.Module) -> int:
    """Let every batch norm use the statistics it has and leave them alone; its weight and bias still learn.

    This is how a batch of one trains. It needs statistics that are right already, those of weights to start from:
    a fresh network's are not. Call it after every ``network.train()``.

    Returns:
        How many batch norms there are.
    """
    norms = [module for module in network.modules() if isinstance(module, BATCH_NORMS)]
    for norm in norms:
        norm.eval()
    return len(norms)


def describe_rates(network: nn.Module, lr: float, backbone_lr: float) -> str:
    """What learns and how fast, in one line for a log.

    Args:
        network: after freezing, and with its adapters.
        lr: the rate at its height.
        backbone_lr: factor on it for the backbone.
    """
    parts = []
    for title, rate, inside in (("backbone", lr * backbone_lr, True), ("the rest", lr, False)):
        found = [p for name, p in network.named_parameters() if name.startswith(BACKBONE) == inside]
        learning, all_values = (sum(p.numel() for p in group) for group in (filter(_learns, found), found))
        how = f"learn at {rate:.3g}" if learning else "learn"
        parts.append(f"{title}: {_millions(learning)} of {_millions(all_values)} values {how}")
    return "; ".join(parts)


def _learns(parameter: nn.Parameter) -> bool:
    return parameter.requires_grad


def _parameters(backbone: Backbone, names: tuple[str, ...]) -> Iterator[nn.Parameter]:
    """The parameters of the modules and parameters called `names`."""
    modules = dict(backbone.named_modules())
    for name in names:
        if name in modules:
            yield from modules[name].parameters()
        else:
            yield backbone.get_parameter(name)


def _millions(count: int) -> str:
    return f"{count / 1e6:.2f} M" if count >= 10_000 else str(count)
