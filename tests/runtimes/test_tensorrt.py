"""TensorRT engines, with a stand-in for TensorRT and for the GPU: keys, profiles, files, refusals, and all the way."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.brightness import brightness_model
from tests.runtimes import fake_tensorrt

from birefnet.errors import ConfigError, DeviceError, InputError, MissingExtra, WeightsError
from birefnet.pixels.prepare import InputSpec
from birefnet.runtimes import tensorrt as runtimes
from birefnet.runtimes import tensorrt_engine as engines
from birefnet.runtimes.base import Runtime
from birefnet.runtimes.onnx import OnnxRuntime
from birefnet.runtimes.tensorrt import TensorRtRuntime

GPU = {"gpu": "A GPU", "capability": "8.9"}
SPEC = InputSpec(width=96, height=64)


@pytest.fixture
def tensorrt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The stand-in, a CPU that passes for a GPU, and a cache of its own."""
    made = fake_tensorrt.make()
    monkeypatch.setitem(sys.modules, "tensorrt", made)
    monkeypatch.setenv("BIREFNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(engines, "gpu_facts", lambda device: dict(GPU))
    monkeypatch.setattr(runtimes, "choose_device", lambda device: device)
    monkeypatch.setattr(runtimes, "_place", lambda device: "cpu")
    monkeypatch.setattr(runtimes, "_make_stream", lambda torch, place: None)
    monkeypatch.setattr(runtimes, "_on", lambda torch, stream: contextlib.nullcontext())
    monkeypatch.setattr(runtimes, "_handle", lambda stream: 0)
    return made


def batch(count: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, 3, height, width)).astype(np.float32) * 0.3


def test_an_onnx_file_becomes_an_engine_once(tensorrt: Any, tmp_path: Path) -> None:
    path = brightness_model(tmp_path / "net.onnx", size=(96, 64), batch=2)
    runtime = TensorRtRuntime(path, precision="fp16")
    assert isinstance(runtime, Runtime)
    assert (runtime.name, runtime.device, runtime.dynamic, runtime.spec) == ("net", "cuda", False, SPEC)
    x = batch(3, 64, 96)  # an engine for two at once takes three in two runs
    np.testing.assert_allclose(runtime(x), np.concatenate([OnnxRuntime(path, device="cpu")(p) for p in pairs(x)])[:3])
    shape = (2, 3, 64, 96)
    assert tensorrt.calls == [
        ("plugins", ""),
        ("clear", "TF32"),
        ("set", "FP16"),
        ("profile", "input_image", shape, shape, shape),
        ("build",),
        ("plugins", ""),
        ("execute", shape),
        ("execute", shape),
    ]
    TensorRtRuntime(path, precision="fp16")
    assert tensorrt.calls.count(("build",)) == 1  # the second comes from the cache
    TensorRtRuntime(path, precision="fp32")
    assert tensorrt.calls.count(("build",)) == 2
    assert tensorrt.calls.count(("set", "FP16")) == 1


def pairs(x: np.ndarray) -> list[np.ndarray]:
    return [x[:2], np.concatenate([x[2:], np.zeros_like(x[2:])])]


def test_free_sizes_and_numbers_have_a_profile(tensorrt: Any, tmp_path: Path) -> None:
    path = brightness_model(tmp_path / "net.onnx", size=None, metadata={"size": [320, 256]})
    runtime = TensorRtRuntime(path)
    assert runtime.dynamic
    ((*_, smallest, usual, largest),) = [call for call in tensorrt.calls if call[0] == "profile"]
    assert (smallest, usual, largest) == ((1, 3, 256, 256), (1, 3, 256, 320), (8, 3, 2304, 2304))
    assert runtime(batch(2, 256, 288)).shape == (2, 1, 256, 288)
    with pytest.raises(InputError, match=r"sides of 256 to 2304 pixels, got 64x256"):
        runtime(batch(1, 256, 64))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"outputs": ("alpha",)}, "does not fit"),
        ({"half": True}, "in float32"),
        ({"metadata": {"activation": "none"}}, "alpha itself"),
    ],
)
def test_foreign_onnx_files(options: dict[str, Any], words: str, tensorrt: Any, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=words):
        TensorRtRuntime(brightness_model(tmp_path / "net.onnx", **options))
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(WeightsError, match="damaged"):
        TensorRtRuntime(tmp_path / "text.onnx")
    with pytest.raises(WeightsError, match="no file"):
        TensorRtRuntime(tmp_path / "none.onnx")


@pytest.mark.parametrize(
    ("dynamic", "count", "wanted"),
    [
        (False, 2, [(2, 3, 64, 96)] * 3),
        (False, None, [(1, 3, 64, 96), (1, 3, 64, 96), (8, 3, 64, 96)]),
        (True, 1, [(1, 3, 64, 96), (1, 3, 64, 96), (1, 3, 2304, 2304)]),
    ],
)
def test_plans(dynamic: bool, count: int | None, wanted: list[tuple[int, ...]]) -> None:
    plan = engines.make_plan(SPEC, dynamic=dynamic, batch=count, precision="fp32")
    assert [plan.smallest, plan.usual, plan.largest] == wanted
    assert plan.dynamic is dynamic
    with pytest.raises(ConfigError, match="fp32 or fp16, not `int8`"):
        engines.make_plan(SPEC, dynamic=dynamic, batch=count, precision="int8")


def test_the_key_changes_with_all_that_an_engine_depends_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def key(*, model: bytes = b"model", version: str = "10.3.0", gpu: dict[str, str] = GPU, **changes: Any) -> str:
        monkeypatch.setattr(engines, "gpu_facts", lambda device: gpu)
        values = {"dynamic": False, "batch": 1, "precision": "fp32", **changes}
        plan = engines.make_plan(values.pop("spec", SPEC), **values)
        return engines.key_of(model, engines.engine_facts(fake_tensorrt.make(version), "cuda", plan))

    others = [
        key(model=b"other"),
        key(version="10.4.0"),
        key(gpu={**GPU, "gpu": "Another"}),
        key(gpu={**GPU, "capability": "9.0"}),
        key(precision="fp16"),
        key(batch=2),
        key(dynamic=True),
        key(spec=InputSpec(width=64, height=96)),
    ]
    assert key() == key()
    assert len({key(), *others}) == 1 + len(others)


def test_engine_files(tmp_path: Path, tensorrt: Any) -> None:
    path = tmp_path / "net.engine"
    engines.write_engine(path, {"a": [1, 2]}, b"plan")
    assert engines.read_engine(path) == ({"a": [1, 2]}, b"plan")
    with pytest.raises(WeightsError, match="does not say what its engine was built for"):
        TensorRtRuntime(path)
    path.write_bytes(b"anything")
    with pytest.raises(WeightsError, match="no engine that this program wrote"):
        TensorRtRuntime(path)
    path.write_bytes(engines.MAGIC + b"\x02\0\0\0{]")
    with pytest.raises(WeightsError, match="damaged"):
        TensorRtRuntime(path)
    with pytest.raises(WeightsError, match="no file"):
        TensorRtRuntime(tmp_path / "none.engine")


@pytest.mark.parametrize("changed", [{"gpu": "Another"}, {"capability": "9.0"}, {"tensorrt": "10.1.0"}])
def test_an_engine_for_another_machine_is_refused(changed: dict[str, str], tensorrt: Any, tmp_path: Path) -> None:
    plan = engines.make_plan(SPEC, dynamic=False, batch=1, precision="fp32")
    facts = engines.engine_facts(tensorrt, "cuda", plan) | {"size": [96, 64]}
    model = brightness_model(tmp_path / "net.onnx", size=(96, 64)).read_bytes()
    engine = engines.build(tensorrt, model, plan)
    engines.write_engine(tmp_path / "net.engine", facts, engine)
    assert TensorRtRuntime(tmp_path / "net.engine").spec == SPEC
    engines.write_engine(tmp_path / "net.engine", facts | changed, engine)
    with pytest.raises(DeviceError, match="export it again here"):
        TensorRtRuntime(tmp_path / "net.engine")
    engines.write_engine(tmp_path / "net.engine", facts, b"no plan")
    with pytest.raises(WeightsError, match="holds no engine"):
        TensorRtRuntime(tmp_path / "net.engine")


def test_what_tensorrt_refuses_is_said_in_its_words(tensorrt: Any) -> None:
    plan = engines.make_plan(SPEC, dynamic=False, batch=1, precision="fp16")
    with pytest.raises(WeightsError, match=r"no DeformConv here.*--deform decomposed"):
        engines.build(fake_tensorrt.make(error="no DeformConv here"), b"", plan)
    with pytest.raises(DeviceError, match="types from the graph alone"):
        engines.build(fake_tensorrt.make("11.0.0"), b"", plan)


def test_without_tensorrt_or_a_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(MissingExtra, match="pip install tensorrt"):
        TensorRtRuntime(tmp_path / "net.engine")
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt.make("8.6.1"))
    with pytest.raises(DeviceError, match="too old"):
        TensorRtRuntime(tmp_path / "net.engine")
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt.make())
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    (tmp_path / "net.engine").touch()
    with pytest.raises(DeviceError, match="NVIDIA GPU"):
        TensorRtRuntime(tmp_path / "net.engine")
    with pytest.raises(DeviceError, match="not on `cpu`"):
        TensorRtRuntime(tmp_path / "net.engine", device="cpu")
