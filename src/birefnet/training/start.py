"""Where a run starts: backbone weights from a file, put in without changing the function they stand for."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

from birefnet.errors import WeightsError


def load_folded(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, as float32.

    Raises:
        WeightsError: if the file is missing or no safetensors file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return {name: tensor.float() for name, tensor in load_file(path).items()}
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"The weights `{path}` cannot be read: {error}") from error


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
