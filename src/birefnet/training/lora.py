"""Fine-tuning through low-rank adapters: beside a layer's weight W stands a product B A of small matrices that learns.

E. Hu et al., "LoRA: Low-rank adaptation of large language models", ICLR 2022; the layers are those of `peft`. They
stand in the network under the names `...base_layer.weight`, `...lora_A.default.weight` and `...lora_B.default.weight`,
so that a state dict with them goes on with a run; `merged` gives the plain network for use.
"""

from __future__ import annotations

import logging

from torch import Tensor, nn

from birefnet.errors import ConfigError, require
from birefnet.network import BiRefNet
from birefnet.training.settings import LoraConfig
from birefnet.weights.fit import skeleton_of

log = logging.getLogger(__name__)

ADAPTER = "default"  # peft's own name for the only one
_BASE = ".base_layer."
_ADAPTERS = ".lora_"


def add_lora(network: BiRefNet, config: LoraConfig, *, convolutions: bool = False, decoder: bool = True) -> BiRefNet:
    """Put adapters beside the backbone's linear layers; its own weights are frozen from then on.

    The adapters begin as zero, so that the function is the same at first. Call it after the weights were loaded and
    before the optimiser is made; to go on with a run, before its state is loaded.

    Args:
        network: changed in place.
        config: rank, scale and dropout.
        convolutions: adapt the backbone's convolutions too, except those of each channel by itself.
        decoder: whether everything outside the backbone learns, as usual; if not, only the adapters do.

    Returns:
        The network.

    Raises:
        ConfigError: if the backbone has no layers that could be adapted, or the network has adapters already.
        MissingExtra: if `peft` is not installed.
    """
    peft = require("peft", "lora")
    if has_lora(network):
        raise ConfigError("The network has adapters already; add them once")
    backbone = network.encoder.backbone
    targets = [name for name, module in backbone.named_modules() if _adaptable(module, convolutions)]
    if not targets:
        raise ConfigError(
            f"`training.lora` adapts linear layers, and {network.config.backbone} has none: leave it out, or choose a "
            "transformer (Swin, PVTv2, DINOv3) as backbone"
        )
    settings = peft.LoraConfig(
        r=config.rank, lora_alpha=config.alpha, lora_dropout=config.dropout, target_modules=targets, bias="none"
    )
    peft.inject_adapter_in_model(settings, backbone, adapter_name=ADAPTER)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(_ADAPTERS in name if name.startswith("encoder.backbone.") else decoder)
    values = sum(parameter.numel() for name, parameter in network.named_parameters() if _ADAPTERS in name)
    log.debug("Adapters of rank %d beside %d layers of the backbone: %d values", config.rank, len(targets), values)
    return network


def has_lora(network: nn.Module) -> bool:
    """Whether the network has adapters."""
    return any(_ADAPTERS in name for name, _ in network.named_parameters())


def merged(network: BiRefNet) -> BiRefNet:
    """A plain network in evaluation mode that computes the same, its adapters added to the weights beside them.

    The network given is not changed; without adapters the result is a copy of it.
    """
    state = {
        name.replace(_BASE, "."): tensor.detach().clone()
        for name, tensor in network.state_dict().items()
        if _ADAPTERS not in name
    }
    for name, layer in network.named_modules():
        if hasattr(layer, "get_delta_weight"):
            delta: Tensor = layer.get_delta_weight(ADAPTER).detach()
            weight = f"{name}.weight"
            state[weight] += delta.to(state[weight].dtype)
    plain = skeleton_of(network.config)
    plain.load_state_dict(state, strict=True, assign=True)
    plain.to(next(network.parameters()).device)
    plain.eval()
    return plain


def _adaptable(module: nn.Module, convolutions: bool) -> bool:
    if isinstance(module, nn.Conv2d):
        return convolutions and module.groups == 1
    return isinstance(module, nn.Linear)
