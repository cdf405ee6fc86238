"""From a recipe to a network that is ready to learn, and the optimiser that moves it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn

from birefnet.data.stream import Stream
from birefnet.errors import ConfigError
from birefnet.network import BiRefNet
from birefnet.network.backbones.layers import DropPath
from birefnet.network.recompute import BATCH_NORMS
from birefnet.pixels.prepare import InputSpec
from birefnet.training.config import Recipe
from birefnet.training.freezing import BACKBONE, describe_rates, freeze_backbone, freeze_norms, keep_frozen
from birefnet.training.lora import add_lora, merged
from birefnet.training.memory import checkpoint_activations
from birefnet.training.plan import Plan, cut
from birefnet.training.settings import TrainingConfig
from birefnet.training.start import start_network
from birefnet.training.step import to_network
from birefnet.weights.fit import skeleton_of

log = logging.getLogger(__name__)

_MEASURED, _AT_ONCE, _SIDE = 192, 16, 224  # samples on which a start may measure statistics; their side


def make_network(
    recipe: Recipe, stream: Stream, device: torch.device, spec: InputSpec, *, start: bool, contiguous: bool
) -> BiRefNet:
    """The recipe's network on `device`: started, frozen and adapted as it says, in training mode.

    Args:
        recipe: with its `network` filled in.
        stream: samples of the run, for a start that measures statistics.
        device: where it computes.
        spec: the network's input.
        start: whether to load the weights to start from; a run that goes on has its own.
        contiguous: keep weights as they are instead of channels last, for those who cut them into pieces (FSDP).
    """
    assert recipe.network is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        network = BiRefNet(recipe.network).to(device)
        if start and recipe.start is not None:
            start_network(network, recipe.start, recipe, _pictures(stream, device, spec))
        freeze_backbone(network, recipe.training.freeze)
        if recipe.training.lora is not None:
            network = add_lora(network, recipe.training.lora).to(device)
    set_rates(network, recipe.training)
    checkpoint_activations(network, recipe.training.activation_checkpointing)
    if not contiguous:
        # Convolutions on a CPU run up to twice as fast with the channels last, and those of a GPU in half precision.
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    learn(network, recipe.training)
    log.info("%s", describe_rates(network, recipe.training.lr, recipe.training.backbone_lr))
    return network


def learn(network: nn.Module, config: TrainingConfig) -> None:
    """Training mode, but for what is frozen."""
    network.train()
    keep_frozen(network)
    if config.batch_norm == "frozen":
        freeze_norms(network)


def plain_network(recipe: Recipe, weights: Mapping[str, Tensor], device: torch.device) -> BiRefNet:
    """A network for use, in evaluation mode, from the whole weights of a run; adapters are merged into them.

    Where nothing has to be moved or merged, the tensors given become the network's own.
    """
    assert recipe.network is not None
    skeleton = skeleton_of(recipe.network)  # takes no memory and no time for weights that are replaced at once
    if recipe.training.lora is not None:
        with torch.random.fork_rng(devices=[]):
            skeleton = add_lora(BiRefNet(recipe.network), recipe.training.lora)
    skeleton.load_state_dict(weights, assign=True)
    network = merged(skeleton) if recipe.training.lora is not None else skeleton
    network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.eval()
    return network


def make_optimiser(network: nn.Module, config: TrainingConfig) -> torch.optim.AdamW:
    """AdamW in up to four groups: backbone or not, decayed or not; `height` is a group's rate at its height.

    Raises:
        ConfigError: if nothing learns.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            decayed = config.decay == "all" or parameter.ndim > 1
            groups.setdefault((name.startswith(BACKBONE), decayed), []).append(parameter)
    if not groups:
        raise ConfigError("Nothing of the network learns; lower `training.freeze` or leave out `training.lora`")
    settings = []
    for (backbone, decayed), parameters in sorted(groups.items()):
        height = config.lr * (config.backbone_lr if backbone else 1)
        decay = config.weight_decay if decayed else 0.0
        settings.append({"params": parameters, "lr": height, "height": height, "weight_decay": decay})
    return torch.optim.AdamW(settings, fused=True)


def set_rates(network: nn.Module, config: TrainingConfig) -> None:
    """Give dropout and stochastic depth the recipe's rates, where it has any.

    The blocks keep their proportions: `drop_path` is the rate of the last one.
    """
    paths = [module for module in network.modules() if isinstance(module, DropPath)]
    last = max((module.rate for module in paths), default=0.0)
    if config.drop_path is not None and last:
        for path in paths:
            path.rate *= config.drop_path / last
    if config.dropout is not None:
        for module in network.modules():
            if isinstance(module, nn.Dropout):
                module.p = config.dropout


def check_batches(network: nn.Module, config: TrainingConfig, plan: Plan, processes: int) -> None:
    """Raise ConfigError if a batch norm would have to take statistics from a single sample.

    What it would compute then is no statistics: after pooling, every channel has one value and becomes zero.
    """
    if not any(isinstance(module, BATCH_NORMS) and module.training for module in network.modules()):
        return
    for index, (_, batch) in enumerate(plan.sizes()):
        smallest = min(cut(batch // processes, config.micro_batch))
        alone = smallest == 1 and (config.batch_norm == "batch" or processes == 1)
        if alone:
            raise ConfigError(
                f"In `training.phases.{index}` a process computes a single sample at once, from which batch norm "
                "cannot take statistics; set `training.batch_norm` to frozen (with weights to start from), or take "
                "more samples at once (`batch`, `micro_batch`)"
            )


def check_classes(recipe: Recipe, stream: Stream) -> None:
    """Raise ConfigError if the data have other classes than the network's classifier."""
    assert recipe.network is not None
    classes, wanted = len(stream.class_names), recipe.network.classes
    if recipe.data.classes and wanted and classes > wanted:
        raise ConfigError(
            f"The data have {classes} classes, `network.classes` is {wanted}; set it to {classes}, or leave out "
            "`data.classes`"
        )


def _pictures(stream: Stream, device: torch.device, spec: InputSpec) -> Callable[[], Iterator[Tensor]]:
    def make() -> Iterator[Tensor]:
        for first in range(0, _MEASURED, _AT_ONCE):
            samples = [stream.sample(first + index, _SIDE).picture for index in range(_AT_ONCE)]
            yield to_network(torch.stack([torch.from_numpy(one).permute(2, 0, 1) for one in samples]), device, spec)

    return make
