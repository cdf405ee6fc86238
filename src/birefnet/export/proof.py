"""An exported file carries its proof: it is compared with the network before it gets its name, or does not get it.

Every format of this package is written to a place of `birefnet.files` and judged by `compare`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from birefnet.errors import WeightsError
from birefnet.network import BiRefNet

Pictures = NDArray[np.float32]  # (N, 3, h, w), normalised
Run = Callable[[Pictures], NDArray[np.float32]]  # -> logits (N, 1, h, w)
Rounding = Literal["fp32", "fp16", "int8wo", "int8"]

_TIMES = 4  # how much more than the network's own rounding a file may differ
# But never more than this on average: a network that noisy proves nothing.
_MOST: dict[Rounding, float] = {"fp32": 1e-3, "fp16": 2e-2, "int8wo": 0.15, "int8": 0.15}

_WAYS_OUT: dict[Rounding, str] = {
    "fp32": "the two should be equal, so please report this, with what `birefnet doctor` prints",
    "fp16": 'take `precision="fp32"`',
    "int8wo": 'take `precision="fp16"`',
    "int8": 'take `precision="fp16"`; or, for `precision="int8"`, calibrate with more pictures like those it will see',
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """How far an exported file's alpha, in [0, 1], is from its network's.

    Attributes:
        largest: the largest difference of a pixel.
        mean: the mean difference.
        allowed_largest, allowed_mean: what was allowed.
        own_largest, own_mean: how far the network's own alpha moves when its weights are rounded, which is what made
            the limits wider; None where the usual limits were enough.
    """

    largest: float
    mean: float
    allowed_largest: float
    allowed_mean: float
    own_largest: float | None = None
    own_mean: float | None = None

    def facts(self) -> dict[str, object]:
        """What goes into the file's metadata or manifest."""
        return {f"{name}_alpha_error": value for name, value in asdict(self).items() if value is not None}


def worst(proofs: Sequence[Proof]) -> Proof:
    """The one of several proofs with the largest difference."""
    return max(proofs, key=lambda proof: proof.largest)


def compare(
    network: BiRefNet, run: Run, pictures: Pictures, *, largest: float, mean: float, rounding: Rounding | None = None
) -> Proof:
    """Run both on `pictures`.

    Args:
        network: the original, run in float32 as it is.
        run: the file, loaded by its runtime.
        pictures: what both see.
        largest, mean: the allowed differences of the alphas.
        rounding: some networks (those of random weights, say) enlarge the slightest rounding. Where the limits are
            passed, a few times as much is allowed as the network's own alpha moves when its weights are rounded in
            this way; for "fp32" that is by one unit in the last place, and then in float64. None allows no more than
            the limits.

    Raises:
        WeightsError: if the alphas differ by more than allowed, or the file gives values that are not finite.
    """
    ours = alpha_of(network, pictures)
    theirs = torch.from_numpy(run(pictures)).float().sigmoid()
    proof = Proof(**difference(ours, theirs), allowed_largest=largest, allowed_mean=mean)
    if not _holds(proof) and rounding is not None and math.isfinite(proof.largest):
        for alpha in rounded_alphas(network, pictures, rounding):
            proof = _widened(proof, difference(ours, alpha), largest, mean, _MOST[rounding])
            if _holds(proof):
                break
    if not _holds(proof):
        raise WeightsError(_exceeded(proof), hint=_WAYS_OUT.get(rounding or "fp32"))
    return proof


def _exceeded(proof: Proof) -> str:
    """A sentence that says by how much each limit that does not hold was passed."""
    if not math.isfinite(proof.largest):
        return "The exported file gives values that are not numbers where the network gives an alpha; it was deleted"
    pairs = (
        ("on average", proof.mean, proof.allowed_mean),
        ("at one pixel", proof.largest, proof.allowed_largest),
    )
    parts = [
        f"by {found:.2g} {where}, {found / allowed:.1f} times the {allowed:.2g} that is allowed"
        for where, found, allowed in pairs
        if found > allowed
    ]
    return f"The exported file's alpha, from 0 to 1, differs from the network's {' and '.join(parts)}; it was deleted"


def difference(ours: Tensor, theirs: Tensor) -> dict[str, float]:
    """The largest and the mean difference of two alphas."""
    distance = (ours - theirs).abs()
    return {"largest": float(distance.max()), "mean": float(distance.mean())}


def alpha_of(network: nn.Module, pictures: Pictures) -> Tensor:
    """(N, 3, h, w) -> (N, 1, h, w) in [0, 1], float32; in the type of the network's own weights."""
    dtype = next(network.parameters()).dtype
    with torch.inference_mode():
        alphas = [network.eval()(torch.from_numpy(one[None]).to(dtype)).logits.sigmoid().float() for one in pictures]
    return torch.cat(alphas)


def rounded_alphas(network: BiRefNet, pictures: Pictures, rounding: Rounding) -> Iterator[Tensor]:
    """The network's alpha when it is rounded otherwise, cheapest first; see `compare`."""
    rounded = copy.deepcopy(network)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in rounded.parameters():
            parameter.copy_(_ROUNDED[rounding](parameter, generator))
    yield alpha_of(rounded, pictures)
    if rounding == "fp32":  # rounds the places of resizings too, but takes several times the memory
        yield alpha_of(rounded.double(), pictures)


def _widened(proof: Proof, own: dict[str, float], largest: float, mean: float, most: float) -> Proof:
    """A proof whose limits have grown with the network's own rounding."""
    return replace(
        proof,
        allowed_largest=max(largest, min(_TIMES * own["largest"], 1.0)),
        allowed_mean=max(mean, min(_TIMES * own["mean"], most)),
        own_largest=own["largest"],
        own_mean=own["mean"],
    )


def _last_place(values: Tensor, generator: torch.Generator) -> Tensor:
    """Moved by up to one unit in float32's last place: as a sum does that is taken in another order."""
    return values * (1 + _LAST_PLACE * (2 * torch.rand(values.shape, generator=generator) - 1))


def _half(values: Tensor, _: torch.Generator) -> Tensor:
    return values.half().float()


def _in_steps(most: int) -> Callable[[Tensor, torch.Generator], Tensor]:
    """Weights of layers in whole steps, the largest of each output's being step `most`; all else as it is."""

    def rounded(values: Tensor, _: torch.Generator) -> Tensor:
        if values.ndim < 2:
            return values
        largest = values.flatten(1).abs().amax(1).clamp(min=1e-12)
        step = largest.reshape(-1, *[1] * (values.ndim - 1)) / most
        return (values / step).round() * step

    return rounded


_LAST_PLACE = 2.0**-23
_ROUNDED: dict[Rounding, Callable[[Tensor, torch.Generator], Tensor]] = {
    "fp32": _last_place,
    "fp16": _half,
    "int8wo": _in_steps(127),
    "int8": _in_steps(64),  # as files of 8 bits hold them: more could saturate (`export.quantise`)
}


def _holds(proof: Proof) -> bool:
    return proof.largest <= proof.allowed_largest and proof.mean <= proof.allowed_mean  # not so if one is no number
