"""How much a network's results move by rounding alone: the unit in which a lower precision is judged.

What a processor makes of a network in float32 depends on the order in which it sums, which differs between
instruction sets and numbers of threads. So no test says "at most 1e-4 off" because one processor was. A result in a
lower precision is compared with the same network in float64, and the difference is measured in `spread`s: how far the
float64 network itself moves when the values in it are rounded at random to that precision. An ill-conditioned network
has a large spread on every machine, a well-conditioned one a small one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

ROUNDS = 2  # of random rounding; the largest movement of all is the spread
# A term that takes part in a sum of n terms is rounded up to n times, once for every addition that follows, where a
# round of `spread` rounds it once. Roundings at random add up like a random walk: a sum taken one term after the other
# is off by up to sqrt(n / 2) times what rounding each term once does to it, and even the smallest registers that are
# in use (SSE, NEON) take it in four lanes. The widest sums of these networks, 3x3 convolutions of some 3,072 channels,
# have n = 27,648: sqrt(27,648 / 2 / 4) = 59.
FACTOR = 60


class Spread:
    """Results in float64, and how far rounding moves them.

    Attributes:
        exact: the results in float64, in the order in which they were given.
        largest, mean: for each, the largest and the mean absolute movement of its values.
    """

    def __init__(self, exact: list[Tensor], moved: Iterable[list[Tensor]]) -> None:
        self.exact = exact
        steps = [[(a - b).abs() for a, b in zip(exact, one, strict=True)] for one in moved]
        self.largest = [max(float(step[i].max()) for step in steps) for i in range(len(exact))]
        self.mean = [max(float(step[i].mean()) for step in steps) for i in range(len(exact))]

    def off(self, found: list[Tensor]) -> list[tuple[float, float]]:
        """How far other results are from the exact ones: the largest and the mean difference, in spreads."""
        differences = [(a.double() - b).abs() for a, b in zip(found, self.exact, strict=True)]
        return [
            (float(difference.max()) / largest, float(difference.mean()) / mean)
            for difference, largest, mean in zip(differences, self.largest, self.mean, strict=True)
        ]

    def check(self, *found: Tensor, factor: float = FACTOR, name: str = "") -> None:
        """Assert that other results are the exact ones but for rounding."""
        for index, (largest, mean) in enumerate(self.off(list(found))):
            where = f"{name} result {index}: {largest:.1f} (largest), {mean:.1f} (mean) spreads off"
            assert largest <= factor and mean <= factor, where


@torch.no_grad()
def spread(
    module: nn.Module,
    inputs: Tensor | tuple[Tensor, ...],
    results: Callable[[Any], Iterable[Tensor]] = lambda output: [output],
    *,
    dtype: torch.dtype = torch.float32,
    rounds: int = ROUNDS,
    seed: int = 0,
) -> Spread:
    """Run a module in float64, as it is and with its values rounded at random to `dtype`.

    Every weight, every input and what every innermost module gives is multiplied by 1 + u r, where u is half the
    distance from 1 to the next number of `dtype` and r is uniform in [-1, 1].

    Args:
        module: left as it is.
        inputs: of one call.
        results: which tensors of the module's output are meant.
    """
    exact = copy.deepcopy(module).double()
    given = [x.double() for x in ((inputs,) if isinstance(inputs, Tensor) else inputs)]
    noise = _Noise(torch.finfo(dtype).eps / 2, seed)
    weights = [parameter.data for parameter in exact.parameters()]
    buffers = [buffer.clone() for buffer in exact.buffers()]  # statistics move in training

    def run(rounded: Callable[[Any], Any]) -> list[Tensor]:
        for parameter, weight in zip(exact.parameters(), weights, strict=True):
            parameter.data, parameter.grad = rounded(weight), None
        for buffer, before in zip(exact.buffers(), buffers, strict=True):
            buffer.copy_(before)
        return [x.clone() for x in results(exact(*(rounded(x) for x in given)))]

    plain = run(lambda value: value)
    for part in exact.modules():
        if next(part.children(), None) is None:
            part.register_forward_hook(lambda _module, _inputs, output: noise(output))
    return Spread(plain, (run(noise) for _ in range(rounds)))


class _Noise:
    """Multiplies every value of what it is given by 1 + u r, r uniform in [-1, 1].

    The numbers come from one pool, read from a random place on each time: to draw as many as a network has weights
    takes longer than to run it.
    """

    def __init__(self, unit: float, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        uniform = torch.rand(1 << 20, generator=self._generator, dtype=torch.float64)
        self._pool = (1 + unit * (2 * uniform - 1)).repeat(2)

    def __call__(self, value: Any) -> Any:
        if isinstance(value, Tensor) and value.is_floating_point():
            half = len(self._pool) // 2
            first = int(torch.randint(half, (), generator=self._generator))
            parts = value.reshape(-1).split(half)
            return torch.cat([part * self._pool[first : first + len(part)] for part in parts]).view(value.shape)
        return type(value)(self(part) for part in value) if type(value) in (tuple, list) else value
