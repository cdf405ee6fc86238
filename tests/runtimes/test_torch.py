"""PyTorch modules as runtimes: precision, devices, and what happens when half precision overflows."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from birefnet.errors import ConfigError, InputError, WeightsError
from birefnet.pixels.prepare import InputSpec
from birefnet.runtimes import machine
from birefnet.runtimes.base import Memory, Runtime
from birefnet.runtimes.machine import computes_in_bfloat16
from birefnet.runtimes.torch import TorchRuntime, choose_dtype

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from birefnet.network.birefnet import BiRefNet, Prediction  # noqa: E402
from birefnet.network.config import BiRefNetConfig  # noqa: E402

SPEC = InputSpec(width=64, height=32)
BATCH = np.random.default_rng(0).normal(size=(2, 3, 32, 64)).astype(np.float32)


class Sum(nn.Module):
    """Logits = scale * the sum of the channels; multiplied and divided by `through` on the way."""

    def __init__(self, scale: float = 1.0, through: float = 1.0) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))
        self.through = through

    def forward(self, x: torch.Tensor) -> Prediction:
        assert not self.training
        y = x.sum(1, keepdim=True) * self.through
        return Prediction(y / self.through * self.scale)


class Fragile(Sum):
    """In half precision, a picture with a value above 50 gives infinity."""

    def forward(self, x: torch.Tensor) -> Prediction:
        y = super().forward(x).logits
        half = x.dtype != torch.float32
        large = x.amax(dim=(1, 2, 3), keepdim=True) > 50
        return Prediction(torch.where(large, float("inf"), y) if half else y)


def test_runs() -> None:
    runtime = TorchRuntime(Sum().train(), SPEC, name="sum", device="cpu", dtype="float32")
    assert isinstance(runtime, Runtime)
    assert (runtime.name, runtime.device, runtime.dtype, runtime.dynamic) == ("sum", "cpu", "float32", True)
    logits = runtime(BATCH)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, BATCH.sum(1, keepdims=True), atol=1e-5)
    assert runtime(np.zeros((1, 3, 96, 32), np.float32)).shape == (1, 1, 96, 32)


def test_a_fixed_size_is_kept() -> None:
    runtime = TorchRuntime(Sum(), SPEC, device="cpu", dynamic=False)
    with pytest.raises(InputError, match="64x32 pixels only"):
        runtime(np.zeros((1, 3, 96, 32), np.float32))


def test_half_precision_is_near() -> None:
    logits = TorchRuntime(Sum(), SPEC, device="cpu", dtype="bfloat16")(BATCH)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, BATCH.sum(1, keepdims=True), atol=0.1)


def test_overflow_in_half_precision_is_repeated_in_float32(caplog: pytest.LogCaptureFixture) -> None:
    runtime = TorchRuntime(Fragile(), SPEC, name="sum", device="cpu", dtype="bfloat16")
    fine, large = BATCH[:1], BATCH[1:] + 100
    before = runtime(fine)
    assert not np.array_equal(before, fine.sum(1, keepdims=True))  # half precision
    with caplog.at_level(logging.WARNING):
        logits = runtime(np.concatenate([fine, large]))
    np.testing.assert_allclose(logits[1:], large.sum(1, keepdims=True), atol=1e-3)  # float32
    np.testing.assert_array_equal(logits[:1], before)
    assert "overflows in bfloat16" in caplog.text
    caplog.clear()
    np.testing.assert_array_equal(runtime(large), logits[1:])
    np.testing.assert_array_equal(runtime(fine), before)  # what ran before it does not matter
    assert runtime.dtype == "bfloat16"
    assert not caplog.text


def test_values_that_are_not_finite_are_an_error() -> None:
    for dtype in ("float32", "bfloat16"):
        with pytest.raises(WeightsError, match="not finite"):
            TorchRuntime(Sum(float("nan")), SPEC, device="cpu", dtype=dtype)(BATCH)


def test_dtypes() -> None:
    assert choose_dtype("auto", "cpu") == ("bfloat16" if computes_in_bfloat16() else "float32")
    assert choose_dtype("auto", "mps") == "float32"
    assert choose_dtype("auto", "cuda:1") == "float16"
    assert choose_dtype("bfloat16", "cpu") == "bfloat16"
    with pytest.raises(ConfigError, match="slower"):
        choose_dtype("float16", "cpu")
    with pytest.raises(ConfigError, match="Unknown dtype"):
        choose_dtype("fp16", "cuda")


@pytest.mark.parametrize(
    ("system", "flags", "wanted"),
    [
        ("x86_64", {"bf16"}, "bfloat16"),
        ("x86_64", {"amx-bf16", "avx2"}, "bfloat16"),
        ("x86_64", {"avx512", "vnni"}, "float32"),
        ("aarch64", {"bf16"}, "float32"),
    ],
)
def test_half_precision_only_where_the_processor_has_it(
    monkeypatch: pytest.MonkeyPatch, system: str, flags: set[str], wanted: str
) -> None:
    monkeypatch.setattr("platform.machine", lambda: system)
    monkeypatch.setattr(machine, "cpu", lambda: {"features": sorted(flags)})
    assert choose_dtype("auto", "cpu") == wanted


@pytest.mark.parametrize("memory", ["normal", "low"])
def test_a_network_runs_in_its_inference_form(memory: Memory) -> None:
    torch.manual_seed(0)
    config = BiRefNetConfig(backbone="mobilenet_v2", inner_width=8, attention_width=8, picture_width=8)
    network = BiRefNet(config).eval()
    with torch.inference_mode():
        wanted = network(torch.from_numpy(BATCH)).logits.numpy()
    assert wanted.std() > 1e-3
    runtime = TorchRuntime(network, SPEC, device="cpu", dtype="float32", memory=memory)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in runtime._model.modules())
    np.testing.assert_allclose(runtime(BATCH), wanted, atol=1e-4)


class Counting(Sum):
    """Notes how many threads there are at each run."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []

    def forward(self, x: torch.Tensor) -> Prediction:
        self.seen.append(torch.get_num_threads())
        return super().forward(x)


def test_threads_are_those_asked_for_while_it_runs() -> None:
    before, network = torch.get_num_threads(), Counting()
    runtime = TorchRuntime(network, SPEC, device="cpu", threads=before + 1)
    assert torch.get_num_threads() == before
    runtime(BATCH)
    assert network.seen == [before + 1]
    assert torch.get_num_threads() == before


def test_graphs_and_unknown_ways() -> None:
    for options, message in (
        ({"mode": "graphs"}, "need a CUDA device"),
        ({"mode": "jit"}, "Unknown mode"),
        ({"memory": "none"}, "Unknown memory"),
    ):
        with pytest.raises(ConfigError, match=message):
            TorchRuntime(Sum(), SPEC, device="cpu", **options)


def test_what_cannot_be_compiled_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no compiler\nmore lines")

    monkeypatch.setattr(torch, "compile", lambda network, **_: broken)
    monkeypatch.setattr("birefnet.runtimes.compiled.cache_folder", lambda: tmp_path)
    with pytest.raises(ConfigError, match=r"could not compile the network: no compiler\. On a CPU"):
        TorchRuntime(Sum(), SPEC, device="cpu", mode="compiled")(BATCH)


def test_what_was_compiled_is_kept_and_found_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    loaded = []
    monkeypatch.setattr(torch, "compile", lambda network, **_: network)  # the code generator takes minutes
    monkeypatch.setattr(torch.compiler, "save_cache_artifacts", lambda: (b"artifacts", None))
    monkeypatch.setattr(torch.compiler, "load_cache_artifacts", loaded.append)
    monkeypatch.setattr("birefnet.runtimes.compiled.cache_folder", lambda: tmp_path)
    for _ in range(2):
        runtime = TorchRuntime(Sum(), SPEC, device="cpu", mode="compiled", dtype="float32")
        np.testing.assert_allclose(runtime(BATCH), BATCH.sum(1, keepdims=True), atol=1e-5)
    assert loaded == [b"artifacts"]
    assert [path.suffix for path in (tmp_path / "compiled").iterdir()] == [".bin"]
    next((tmp_path / "compiled").iterdir()).write_bytes(b"damaged")
    monkeypatch.setattr(torch.compiler, "load_cache_artifacts", lambda _: 1 / 0)
    TorchRuntime(Sum(), SPEC, device="cpu", mode="compiled")(BATCH)
