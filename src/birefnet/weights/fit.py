"""Do these tensors fit that network? If not, the error says what differs and which known variant they fit best."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from birefnet.errors import WeightsError
from birefnet.network.backbones import BACKBONES
from birefnet.network.birefnet import BiRefNet
from birefnet.network.config import BiRefNetConfig
from birefnet.weights.infer import released_config
from birefnet.weights.names import to_released

SHOWN = 4  # examples of each kind of difference


class _NoMemory(TorchFunctionMode):
    """While a network is made under it, uninitialised tensors (the weights-to-be) take no memory.

    Unlike a default device of "meta", it leaves real what layers work out for themselves, such as index tables.
    """

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        kwargs = dict(kwargs or {})
        if func is torch.empty:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)


def skeleton_of(config: BiRefNetConfig) -> BiRefNet:
    """The network of a configuration, its weights without memory."""
    with _NoMemory():
        return BiRefNet(config)


def check_fit(network: BiRefNet, state: Mapping[str, Tensor], where: str, *, released_names: bool) -> None:
    """Make sure that `state` (our names) has exactly the entries of `network`, each of its shape and finite.

    Whole-number buffers that layers work out for themselves (counters, index tables) may be missing.

    Args:
        network: only the names and shapes of its entries are read.
        where: what the weights are of, for the error's text.
        released_names: whether the error should use the released names, because the weights' file does.

    Raises:
        WeightsError: if they do not fit, or are not finite.
    """
    wanted = network.state_dict()
    missing = [name for name in wanted if name not in state and wanted[name].is_floating_point()]
    unexpected = [name for name in state if name not in wanted]
    other_shape = [name for name in state if name in wanted and state[name].shape != wanted[name].shape]
    shown = {ours: name for name, ours in to_released({name: name for name in [*wanted, *state]}).items()}

    def named(names: list[str]) -> list[str]:
        return [f"`{shown.get(name, name) if released_names else name}`" for name in names]

    if missing or unexpected or other_shape:
        differences = [several(named(missing), "missing"), several(named(unexpected), "unexpected")]
        shapes = [
            f"{name} is {list(state[ours].shape)}, not {list(wanted[ours].shape)}"
            for ours, name in zip(other_shape, named(other_shape), strict=True)
        ]
        differences.append(several(shapes, "of another shape"))
        raise WeightsError(
            f"{where[0].upper()}{where[1:]} does not fit a BiRefNet on {network.config.backbone}: "
            f"{'; '.join(filter(None, differences))}. {_nearest(state)}"
        )
    for name, tensor in state.items():
        if not is_finite(tensor):
            raise WeightsError(f"{where[0].upper()}{where[1:]} holds values that are not finite, in {named([name])[0]}")


def several(names: list[str], kind: str, shown: int = SHOWN) -> str:
    """ "3 entries missing (`a`, `b`, ...)", with `shown` names at most; "" where there are none."""
    if not names:
        return ""
    more = ", ..." if len(names) > shown else ""
    return f"{len(names)} {'entry' if len(names) == 1 else 'entries'} {kind} ({', '.join(names[:shown])}{more})"


def _nearest(state: Mapping[str, Tensor]) -> str:
    """The released variant that most entries fit."""
    best, fitting, entries = "", -1, 0
    for backbone in BACKBONES:
        wanted = skeleton_of(released_config(backbone)).state_dict()
        fits = sum(name in state and state[name].shape == tensor.shape for name, tensor in wanted.items())
        if fits > fitting:
            best, fitting, entries = backbone, fits, len(wanted)
    return f"The nearest known variant is {best} with the released options: {fitting} of its {entries} entries fit"


def is_finite(tensor: Tensor) -> bool:
    """Whether all values of a tensor are finite; whole numbers always are."""
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    low, high = torch.aminmax(tensor)  # one pass without a second tensor; a NaN anywhere gives NaN
    return bool(torch.isfinite(low) & torch.isfinite(high))
