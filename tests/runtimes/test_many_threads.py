"""Eight threads with pictures of many sizes get what one gets: the CPU form, graphs, and the float32 fallback."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from birefnet.errors import WeightsError
from birefnet.pixels.prepare import InputSpec
from birefnet.runtimes.torch import TorchRuntime

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from birefnet.network.backbones.swin import Swin  # noqa: E402
from birefnet.network.birefnet import BiRefNet, Prediction  # noqa: E402
from birefnet.network.config import BiRefNetConfig  # noqa: E402
from birefnet.network.inference.recent import Recent  # noqa: E402
from birefnet.network.inference.swin import SwinByBlocks  # noqa: E402
from birefnet.runtimes.cuda_graphs import CudaGraphs, Recording  # noqa: E402

THREADS = 8
SPEC = InputSpec(width=64, height=64)
Array = NDArray[np.float32]


@pytest.fixture(autouse=True)
def _switching_all_the_time() -> Iterator[None]:
    """Threads are interrupted after about every bytecode, and PyTorch adds none of its own."""
    before, threads = sys.getswitchinterval(), torch.get_num_threads()
    sys.setswitchinterval(1e-6)
    torch.set_num_threads(1)
    yield
    sys.setswitchinterval(before)
    torch.set_num_threads(threads)


def batches(count: int, sides: Sequence[int]) -> list[Array]:
    """One picture each, of sizes that change all the time."""
    random = np.random.default_rng(0)
    shapes = random.choice(sides, size=(count, 2))
    return [random.normal(size=(1, 3, *shape)).astype(np.float32) for shape in shapes]


def check(run: Callable[[Array], Array], given: Sequence[Array]) -> None:
    wanted = [run(one) for one in given]
    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(run, given))
    assert all(np.array_equal(a, b) for a, b in zip(found, wanted, strict=True))


def test_the_cpu_form_of_swin() -> None:
    torch.manual_seed(0)
    tiny = Swin(width=8, depths=(2, 1, 1, 1), heads=(1, 1, 1, 1), window=2)
    form = SwinByBlocks(tiny.eval(), block_bytes=1 << 16)

    def run(batch: Array) -> Array:
        with torch.inference_mode():
            found: Array = form(torch.from_numpy(batch))[0].numpy()
        return found

    # More sizes than plans are kept: they come and go all the time.
    check(run, batches(400, [32 * n for n in range(1, 5)]))


def test_a_whole_network() -> None:
    torch.manual_seed(0)
    config = BiRefNetConfig(backbone="swin_v1_t", inner_width=8, attention_width=8, picture_width=8)
    runtime = TorchRuntime(BiRefNet(config), SPEC, device="cpu", dtype="float32")
    check(runtime, batches(24, [32, 64, 96]))


class Mean(nn.Module):
    def forward(self, x: torch.Tensor) -> Prediction:
        return Prediction(x.mean(dim=(1, 2, 3), keepdim=True).expand(-1, 1, *x.shape[2:]))


def record_on_cpu(network: nn.Module, picture: torch.Tensor) -> Recording:
    """As CUDA has it: one place for what is read, and one for what is written."""
    taken = picture.clone()
    given = network(taken).logits.clone()

    def replay() -> None:
        given.copy_(network(taken).logits)

    return Recording(replay, taken, given)


def test_graphs_never_swap_pictures() -> None:
    graphs = CudaGraphs(Mean(), record_on_cpu)

    def run(batch: Array) -> Array:
        with torch.inference_mode():
            return np.asarray(graphs(torch.from_numpy(batch)).logits)

    check(run, batches(600, [32, 64]))  # sizes that stay recorded
    check(run, batches(200, [32, 64, 96]))  # and such as do not


def test_what_graphs_gave_is_not_overwritten() -> None:
    graphs = CudaGraphs(Mean(), record_on_cpu)
    first = graphs(torch.ones(1, 3, 32, 32)).logits
    graphs(torch.zeros(1, 3, 32, 32))
    assert first.unique().tolist() == [1.0]


class Fragile(nn.Module):
    """Its sum overflows in half precision where a picture has a value above 3."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: torch.Tensor) -> Prediction:
        y = x.sum(1, keepdim=True) * self.scale  # an error where the types of both differ
        assert y.dtype == self.scale.dtype
        half = x.dtype != torch.float32
        return Prediction(torch.where(x.amax(dim=(1, 2, 3), keepdim=True) > 3, float("inf"), y) if half else y)


def test_the_fallback_to_float32() -> None:
    given = [np.clip(batch, -2, 2) for batch in batches(400, [32, 64])]
    for batch in given[3::7]:  # neither the first nor the last: what ran before a picture differs in the two orders
        batch[0, 0, 0, 0] = 4
    alone = TorchRuntime(Fragile(), SPEC, device="cpu", dtype="bfloat16")
    wanted = [alone(one) for one in reversed(given)][::-1]
    together = TorchRuntime(Fragile(), SPEC, device="cpu", dtype="bfloat16")
    with ThreadPoolExecutor(THREADS) as pool:  # the very first pictures come at once
        found = list(pool.map(together, given))
    assert all(np.array_equal(a, b) for a, b in zip(found, wanted, strict=True))
    assert np.array_equal(found[3], given[3].sum(1, keepdims=True, dtype=np.float32))
    assert not np.array_equal(found[0], given[0].sum(1, keepdims=True, dtype=np.float32))  # half precision
    with pytest.raises(WeightsError, match="not finite"):
        together(np.full((1, 3, 32, 32), np.nan, np.float32))


def test_what_is_kept() -> None:
    recent: Recent[int] = Recent(2)
    made: list[int] = []

    def get(key: int) -> int:
        return recent.get(key, lambda: made.append(key) or key)

    assert [get(key) for key in (1, 2, 1, 3, 1, 2)] == [1, 2, 1, 3, 1, 2]
    assert made == [1, 2, 3, 2]
