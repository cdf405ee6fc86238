"""Where a run starts: a backbone as its authors publish it, or a whole network; loaded strictly and reported.

What the files may be, and where they are published, is in docs/starting.md.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from birefnet.errors import ConfigError, WeightsError
from birefnet.inputs import MULTIPLE
from birefnet.network import BiRefNet
from birefnet.network.config import BiRefNetConfig, TwoScale
from birefnet.pixels.prepare import InputSpec
from birefnet.training.config import Recipe, StartConfig
from birefnet.weights.backbones import LoadReport, fill_backbone, find_backbone_file
from birefnet.weights.checkpoint import load_model, read_config
from birefnet.weights.facts import read_facts, to_spec
from birefnet.weights.fit import is_finite
from birefnet.weights.reading import read_weights
from birefnet.weights.resolve import resolve

log = logging.getLogger(__name__)

StartReport = LoadReport


def network_config(recipe: Recipe) -> BiRefNetConfig:
    """The network that a recipe means: its own, or else that of the weights it starts from.

    Raises:
        ConfigError: if the recipe has neither.
        UnknownModel, WeightsError, DownloadError: if the weights cannot be read; see `load_model`.
    """
    if recipe.network is not None:
        return recipe.network
    if recipe.start is None or recipe.start.weights is None:
        raise ConfigError("`network` is missing; give it, or `start.weights` to take it from a whole checkpoint")
    return read_config(recipe.start.weights)


def input_spec(recipe: Recipe, kept: Mapping[str, str] | None = None) -> InputSpec:
    """The input of a run's network: mean, deviation and way of enlarging are those of the weights it starts from.

    Its size is the recipe's `validation.size`, else that of those weights, else that of the run's last phase.

    Args:
        recipe: all about the run.
        kept: what the state of a run that goes on says of it (`from_spec`); the start is not read again then.

    Raises:
        UnknownModel, WeightsError, DownloadError: if the weights cannot be read; see `load_model`.
    """
    size = recipe.validation.size if recipe.validation is not None else None
    if kept is not None:
        path = Path("state")
        spec = to_spec(read_facts(kept, path), path)
    elif recipe.start is not None and recipe.start.weights is not None:
        spec = resolve(recipe.start.weights, weights=True).fetch().spec()
    else:
        size = size or recipe.training.phases[-1].shape
        spec = InputSpec(width=MULTIPLE, height=MULTIPLE)
    if size is None:
        return spec
    width, height = (size, size) if isinstance(size, int) else size
    return replace(spec, width=width, height=height)


def start_network(
    network: BiRefNet, start: StartConfig, recipe: Recipe, pictures: Callable[[], Iterator[Tensor]]
) -> StartReport:
    """Give a fresh network the weights that a run starts from, and log what was loaded and what was not.

    Call it before anything is frozen or adapted (`freezing.py`, `lora.py`).

    Args:
        network: of the recipe's configuration; changed in place, where it is and in the types it has.
        start: the recipe's.
        recipe: for messages.
        pictures: makes batches (B, 3, H, W), normalised, about 200 pictures in all, on the network's device. Only a
            MobileNetV2 whose norms were folded away needs them, to measure its statistics.

    Raises:
        ConfigError: if whole weights are of another network; it lists what differs.
        UnknownModel: if there is no such file or model.
        DownloadError: if it must be fetched and cannot be.
        WeightsError: if the weights are damaged, not finite, or do not fit; it lists what differs.
    """
    if start.backbone is not None:
        report = _start_backbone(network, start.backbone, pictures)
    else:
        assert start.weights is not None  # a StartConfig has one of the two
        report = _start_whole(network, start.weights, recipe.name)
    log.info("%s", report)
    return report


def _start_backbone(network: BiRefNet, source: str, pictures: Callable[[], Iterator[Tensor]]) -> StartReport:
    path = find_backbone_file(source)
    state, where = read_weights(path).state, f"`{path}`"
    backbone, name = network.encoder.backbone, network.config.backbone
    if name == "mobilenet_v2" and "stem.weight" in state:
        bad = [key for key, tensor in state.items() if not is_finite(tensor)]
        if bad:
            raise WeightsError(f"{where} holds values that are not finite, in `{bad[0]}`")
        start_folded(backbone, {key: tensor.float() for key, tensor in state.items()}, pictures())
        layout = "MobileNetV2 with its norms folded into the convolutions; they were measured on this run's pictures"
        return StartReport(source=where, layout=layout, loaded=len(state))
    return fill_backbone(backbone, name, state, where)


def _start_whole(network: BiRefNet, source: str, recipe: str) -> StartReport:
    # Tensors cannot tell "add" from "none", so a network that adds has to say so.
    two_scale: TwoScale | None = "add" if network.config.two_scale == "add" else None
    loaded = load_model(source, two_scale=two_scale)
    ours, theirs = asdict(network.config), asdict(loaded.config)
    differences = [f"{key} is {ours[key]!r}, not {theirs[key]!r}" for key in ours if ours[key] != theirs[key]]
    # The auxiliary classifier is no part of the function; released weights never have one.
    if any(not text.startswith("classes ") for text in differences):
        raise ConfigError(
            f"The network of recipe `{recipe}` is not that of `{source}`: {'; '.join(differences)}. Set these keys of "
            "`network` to the latter, or leave `network` out to take all of it from the weights"
        )
    state = loaded.state_dict()
    classifier = tuple(name for name in state if name.startswith("classifier."))
    left_out = classifier if differences else ()
    wanted = network.state_dict()
    fresh = tuple(name for name in wanted if name.startswith("classifier.")) if differences else ()
    kept = {name: tensor for name, tensor in state.items() if name not in left_out}
    network.load_state_dict({**{name: wanted[name] for name in fresh}, **kept}, strict=True)
    return StartReport(
        source=f"`{source}`",
        layout="a whole BiRefNet",
        loaded=len(kept),
        left_out={"auxiliary classifier": left_out} if left_out else {},
        fresh=fresh,
    )


def start_folded(backbone: nn.Module, folded: dict[str, Tensor], pictures: Iterable[Tensor]) -> None:
    """Give a backbone of conv + norm units the weights of one whose norms were folded into its convolutions.

    Each batch norm gets the mean and variance that its convolution's output really has on `pictures`, and the
    weight and bias that undo them: the function is that of the file, but it trains like one with batch norm.

    Args:
        backbone: its units are modules with a `conv` without bias and a `norm`; changed in place.
        folded: `UNIT.weight` and `UNIT.bias` for every unit.
        pictures: batches (B, 3, H, W), normalised, about 200 pictures in all.

    Raises:
        WeightsError: if the names or shapes differ.
    """
    modules = backbone.named_modules()
    units = {name: unit for name, unit in modules if isinstance(getattr(unit, "conv", None), nn.Conv2d)}
    expected = {f"{name}.{part}" for name in units for part in ("weight", "bias")}
    if expected != folded.keys():
        raise WeightsError(
            f"The start weights do not fit the backbone: {len(expected - folded.keys())} missing, "
            f"{len(folded.keys() - expected)} unexpected, for example {sorted(expected ^ folded.keys())[:3]}"
        )
    with torch.no_grad():
        for name, unit in units.items():
            conv, norm = unit.get_submodule("conv"), unit.get_submodule("norm")
            assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
            if conv.weight.shape != folded[f"{name}.weight"].shape:
                raise WeightsError(
                    f"`{name}.weight` is {tuple(folded[f'{name}.weight'].shape)}, "
                    f"the backbone's is {tuple(conv.weight.shape)}"
                )
            conv.weight.copy_(folded[f"{name}.weight"])
            _set_norm(norm, torch.zeros_like(norm.bias), torch.ones_like(norm.bias), folded[f"{name}.bias"])
        for name, (mean, variance) in _measure(backbone, units, pictures).items():
            norm = units[name].get_submodule("norm")
            assert isinstance(norm, nn.BatchNorm2d)
            _set_norm(norm, mean, variance, folded[f"{name}.bias"])


def _set_norm(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, bias: Tensor) -> None:
    """Statistics as given, weight and bias such that the norm only adds `bias`."""
    assert norm.running_mean is not None and norm.running_var is not None
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
    norm.weight.copy_((variance + norm.eps).sqrt())
    norm.bias.copy_(bias + mean)


def _measure(
    backbone: nn.Module, units: dict[str, nn.Module], pictures: Iterable[Tensor]
) -> dict[str, tuple[Tensor, Tensor]]:
    """Mean and variance per channel of every unit's convolution, over all pictures."""
    sums: dict[str, list[Tensor]] = {}

    def watch(name: str) -> object:
        def hook(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            y = output.double()
            found = [y.new_tensor(y.numel() / y.shape[1]), y.sum(dim=(0, 2, 3)), (y * y).sum(dim=(0, 2, 3))]
            sums[name] = [a + b for a, b in zip(sums[name], found, strict=True)] if name in sums else found

        return units[name].get_submodule("conv").register_forward_hook(hook)

    handles = [watch(name) for name in units]
    training = backbone.training
    backbone.eval()
    for batch in pictures:
        backbone(batch)
    backbone.train(training)
    for handle in handles:
        handle.remove()  # type: ignore[attr-defined]
    measured = {}
    for name, (count, total, squares) in sums.items():
        mean = total / count
        # A channel that is always the same would otherwise be divided by nearly nothing.
        measured[name] = mean.float(), (squares / count - mean * mean).clamp_min(1e-3).float()
    return measured
