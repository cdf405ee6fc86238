"""ONNX files run, say what they take, and fail with a sentence."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tests.brightness import STEEPNESS, brightness_model

from birefnet.errors import DeviceError, InputError, WeightsError
from birefnet.pixels.prepare import IMAGENET_MEAN, InputSpec
from birefnet.runtimes.base import Runtime
from birefnet.runtimes.onnx import OnnxRuntime


@pytest.fixture
def make(tmp_path: Path) -> Any:
    """Write the stand-in with some options and open it."""

    def make(**options: Any) -> OnnxRuntime:
        return OnnxRuntime(brightness_model(tmp_path / "net.onnx", **options), device="cpu", threads=1)

    return make


def batch(count: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, 3, height, width)).astype(np.float32)


def wanted(x: np.ndarray) -> np.ndarray:
    grey = (x * np.array([0.229, 0.224, 0.225])[:, None, None] + np.array(IMAGENET_MEAN)[:, None, None]).mean(1)
    return (STEEPNESS * (grey - 0.5))[:, None]


def test_runs_and_says_what_it_takes(make: Any) -> None:
    runtime = make(size=(96, 64))
    assert isinstance(runtime, Runtime)
    assert (runtime.name, runtime.device, runtime.dynamic) == ("net", "cpu", False)
    assert runtime.spec == InputSpec(width=96, height=64)
    x = batch(2, 64, 96)
    logits = runtime(x)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, wanted(x), atol=1e-4)


def test_metadata_are_read(make: Any) -> None:
    metadata = {"size": 128, "mean": [0.5, 0.5, 0.5], "std": [1, 1, 1], "activation": "sigmoid", "upsample": "guided"}
    runtime = make(size=None, metadata=metadata)
    assert runtime.dynamic
    assert runtime.spec == InputSpec(width=128, height=128, mean=(0.5,) * 3, std=(1.0,) * 3, upsample="guided")
    assert runtime(batch(1, 32, 64)).shape == (1, 1, 32, 64)


def test_a_file_without_metadata_is_as_the_released_ones(make: Any) -> None:
    assert make(size=None, metadata={}).spec == InputSpec(width=1024, height=1024)
    assert make(size=64, metadata={}).spec == InputSpec(width=64, height=64)


def test_defaults_stand_in_for_missing_metadata(tmp_path: Path) -> None:
    path = brightness_model(tmp_path / "net.onnx", size=None, metadata={"size": [64, 32]})
    defaults = InputSpec(width=512, height=512, mean=(0.5,) * 3, std=(1.0,) * 3)
    spec = OnnxRuntime(path, device="cpu", defaults=defaults).spec
    assert spec == InputSpec(width=64, height=32, mean=(0.5,) * 3, std=(1.0,) * 3)


def test_an_output_that_is_the_alpha_becomes_logits(make: Any) -> None:
    x = batch(1, 32, 32) * 0.1
    runtime = make(size=32, sigmoid=True, metadata={"activation": "none"})
    np.testing.assert_allclose(runtime(x), wanted(x), rtol=0.02, atol=0.02)


def test_half_precision_and_batch_of_one(make: Any) -> None:
    x = batch(3, 32, 32) * 0.3
    np.testing.assert_allclose(make(size=32, half=True)(x), wanted(x), atol=0.05)
    np.testing.assert_allclose(make(size=32, batch=1)(x), wanted(x), atol=1e-4)


def test_the_final_map_is_chosen_by_its_name(make: Any) -> None:
    x = batch(1, 32, 32)
    np.testing.assert_allclose(make(size=32, outputs=("coarse", "logits"))(x), wanted(x), atol=1e-4)
    np.testing.assert_allclose(make(size=32, outputs=("output_image",))(x), wanted(x), atol=1e-4)
    np.testing.assert_allclose(make(size=32, outputs=("anything",))(x), wanted(x), atol=1e-4)
    with pytest.raises(WeightsError, match=r"2 outputs .a, b.; none is named `logits`"):
        make(size=32, outputs=("a", "b"))


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"size": [100, 100]}, "multiples of 32"),
        ({"size": "big"}, "which input"),
        ({"mean": [1, 2]}, "three means"),
        ({"std": [0, 0, 0]}, "positive"),
        ({"activation": "softmax"}, "activation `softmax`"),
        ({"upsample": "magic"}, "magic"),
    ],
)
def test_metadata_that_make_no_sense(make: Any, metadata: dict[str, Any], words: str) -> None:
    with pytest.raises(WeightsError, match=words):
        make(size=None, metadata=metadata)


def test_metadata_that_are_no_json(tmp_path: Path) -> None:
    path = brightness_model(tmp_path / "net.onnx", size=None)
    model = onnx.load(path)
    helper.set_model_props(model, {"mean": "0.5;0.5;0.5"})
    onnx.save(model, path)
    with pytest.raises(WeightsError, match="not JSON"):
        OnnxRuntime(path)
    helper.set_model_props(model, {"activation": "sigmoid", "upsample": "guided"})  # words need no quotes
    onnx.save(model, path)
    assert OnnxRuntime(path, device="cpu").spec.upsample == "guided"


def test_wrong_batches(make: Any) -> None:
    runtime = make(size=64)
    with pytest.raises(InputError, match="64x64 pixels only, got 32x32"):
        runtime(batch(1, 32, 32))
    for bad in (np.zeros((3, 64, 64), np.float32), np.zeros((1, 3, 64, 64)), np.zeros((1, 1, 64, 64), np.float32)):
        with pytest.raises(InputError, match="Wanted a batch"):
            runtime(bad)
    with pytest.raises(InputError, match=r"multiples of 32, got 50x64; nearest: 64x64"):
        make(size=None)(np.zeros((1, 3, 64, 50), np.float32))


def test_values_that_are_not_finite_are_an_error_not_a_picture(make: Any) -> None:
    with pytest.raises(WeightsError, match="not finite"):
        make(size=32, bias=float("nan"))(batch(1, 32, 32))
    with pytest.raises(WeightsError, match="not finite"):
        make(size=32, bias=float("inf"))(batch(1, 32, 32))


def test_missing_and_damaged_files(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no file"):
        OnnxRuntime(tmp_path / "missing.onnx")
    path = brightness_model(tmp_path / "net.onnx")
    whole = path.read_bytes()
    for data in (b"", b"no network at all", whole[: len(whole) // 2], bytes(1000)):
        path.write_bytes(data)
        with pytest.raises(WeightsError, match=r"net\.onnx") as caught:
            OnnxRuntime(path, device="cpu")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [["n", 1, 32, 32], ["n", 3, 32], None])
def test_networks_with_other_inputs(shape: list[Any] | None, tmp_path: Path) -> None:
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape or ["n", 3, 32, 32])]
    if shape is None:
        inputs.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3, 32, 32]))
    out = helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["logits"])], "g", inputs, [out])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "n.onnx")
    with pytest.raises(WeightsError, match="wanted one input"):
        OnnxRuntime(tmp_path / "n.onnx", device="cpu")


def test_devices(tmp_path: Path) -> None:
    path = brightness_model(tmp_path / "net.onnx")
    assert OnnxRuntime(path, device="auto").device in ("cpu", "cuda")
    with pytest.raises(DeviceError, match="Unknown device `gpu`"):
        OnnxRuntime(path, device="gpu")
    with pytest.raises(DeviceError, match="Unknown device `cuda:x`"):
        OnnxRuntime(path, device="cuda:x")
    import onnxruntime

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        with pytest.raises(DeviceError, match="has no `cuda`; it has: cpu") as caught:
            OnnxRuntime(path, device="cuda")
        assert caught.value.hint == "install onnxruntime-gpu in place of onnxruntime"


def test_many_threads_at_once(make: Any) -> None:
    runtime = make(size=None)
    wrong: list[int] = []

    def work(seed: int) -> None:
        x = np.random.default_rng(seed).normal(size=(1, 3, 32, 32 * (1 + seed % 3))).astype(np.float32)
        if not np.allclose(runtime(x), wanted(x), atol=1e-4):
            wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_fixed_number_of_pictures_is_filled_up(make: Any) -> None:
    runtime = make(size=32, batch=2)
    for count in (1, 2, 3, 5):
        x = batch(count, 32, 32) * 0.3
        np.testing.assert_allclose(runtime(x), wanted(x), atol=1e-4)


def test_memory_is_given_back_on_request(tmp_path: Path) -> None:
    path = brightness_model(tmp_path / "net.onnx", size=32)
    x = batch(1, 32, 32)
    np.testing.assert_allclose(OnnxRuntime(path, device="cpu", keep_memory=False)(x), wanted(x), atol=1e-4)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : Could not find an implementation for DeformConv(19) node with "
            "name 'node_deform_conv2d'",
            "export it with `--deform decomposed`",
        ),
        ("[ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : Could not find an implementation for Gelu(20) node", "no Gelu"),
    ],
)
def test_an_operator_that_an_old_library_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    import onnxruntime

    def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError(text)

    path = brightness_model(tmp_path / "net.onnx", size=32)
    monkeypatch.setattr(onnxruntime, "InferenceSession", refuse)
    with pytest.raises(DeviceError, match=said) as caught:
        OnnxRuntime(path, device="cpu")
    assert "pip install -U onnxruntime" in str(caught.value) and "\n" not in str(caught.value)
