"""OpenVINO runs ONNX files and its own, says what they take, and fails with a sentence."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
from onnx import TensorProto, helper
from tests.brightness import STEEPNESS, brightness_model
from tests.processor import needs_avx2

from birefnet.errors import ConfigError, DeviceError, InputError, WeightsError
from birefnet.pixels.prepare import IMAGENET_MEAN, InputSpec
from birefnet.runtimes import machine
from birefnet.runtimes.base import Runtime
from birefnet.runtimes.openvino import FACTS, OpenVinoRuntime, choose_device, choose_dtype, make_settings
from birefnet.runtimes.openvino_graph import read_onnx


@pytest.fixture
def make(tmp_path: Path) -> Any:
    """Write the stand-in with some options and open it."""

    def make(mode: Any = "latency", **options: Any) -> OpenVinoRuntime:
        path = brightness_model(tmp_path / "net.onnx", **options)
        return OpenVinoRuntime(path, threads=1, dtype="float32", mode=mode)

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


def test_metadata_of_onnx_files_are_read(make: Any) -> None:
    metadata = {"size": 128, "mean": [0.5, 0.5, 0.5], "std": [1, 1, 1], "activation": "sigmoid", "upsample": "guided"}
    runtime = make(size=None, metadata=metadata)
    assert runtime.dynamic
    assert runtime.spec == InputSpec(width=128, height=128, mean=(0.5,) * 3, std=(1.0,) * 3, upsample="guided")
    assert runtime(batch(1, 32, 64)).shape == (1, 1, 32, 64)


def test_own_files_and_their_metadata(tmp_path: Path) -> None:
    model = openvino.Core().read_model(brightness_model(tmp_path / "net.onnx", size=64))
    model.set_rt_info(json.dumps([0.5, 0.5, 0.5]), [FACTS, "mean"])
    openvino.save_model(model, tmp_path / "net.xml", compress_to_fp16=False)
    runtime = OpenVinoRuntime(tmp_path / "net.xml", name="mine", dtype="float32")
    assert runtime.name == "mine" and runtime.spec == InputSpec(width=64, height=64, mean=(0.5,) * 3)
    x = batch(1, 64, 64)
    np.testing.assert_allclose(runtime(x), wanted(x), atol=1e-4)
    (tmp_path / "net.bin").unlink()
    with pytest.raises(WeightsError, match=r"no `net\.bin` beside it"):
        OpenVinoRuntime(tmp_path / "net.xml")


def test_defaults_stand_in_for_missing_metadata(tmp_path: Path) -> None:
    path = brightness_model(tmp_path / "net.onnx", size=None, metadata={"size": [64, 32]})
    defaults = InputSpec(width=512, height=512, mean=(0.5,) * 3, std=(1.0,) * 3)
    spec = OpenVinoRuntime(path, defaults=defaults).spec
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
    with pytest.raises(WeightsError, match=r"2 outputs .a, b.; none is named `logits`"):
        make(size=32, outputs=("a", "b"))


def test_wrong_batches_and_values_that_are_not_finite(make: Any) -> None:
    with pytest.raises(InputError, match="64x64 pixels only, got 32x32"):
        make(size=64)(batch(1, 32, 32))
    with pytest.raises(WeightsError, match="not finite"):
        make(size=32, bias=float("nan"))(batch(1, 32, 32))


def test_missing_and_damaged_files(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no file"):
        OpenVinoRuntime(tmp_path / "missing.xml")
    path = brightness_model(tmp_path / "net.onnx")
    whole = path.read_bytes()
    for data in (b"no network at all", whole[: len(whole) // 2]):
        for name in ("bad.onnx", "bad.xml", "bad.bin"):
            (tmp_path / name).write_bytes(data)
        for name in ("bad.onnx", "bad.xml"):
            with pytest.raises(WeightsError, match=name) as caught:
                OpenVinoRuntime(tmp_path / name)
            assert "\n" not in str(caught.value)


def test_networks_with_other_inputs(tmp_path: Path) -> None:
    shape = ["n", 1, 32, 32]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "logits")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["logits"])], "g", ports[:1], ports[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "n.onnx")
    with pytest.raises(WeightsError, match="wanted one input"):
        OpenVinoRuntime(tmp_path / "n.onnx")


def test_devices_modes_and_precisions(make: Any) -> None:
    available = ["CPU", "GPU.0", "GPU.1"]
    assert choose_device(available, "auto") == ("CPU", "cpu")
    assert choose_device(available, "gpu.1") == ("GPU.1", "gpu.1") and choose_device(available, "GPU") == ("GPU", "gpu")
    with pytest.raises(DeviceError, match=r"no device `npu` here; it has: cpu, gpu\.0"):
        choose_device(available, "npu")
    with pytest.raises(ConfigError, match="latency, throughput"):
        make(mode="fastest")
    with pytest.raises(ConfigError, match="Unknown dtype `float16`"):
        choose_dtype("float16", "cpu")
    x = batch(3, 32, 32)
    np.testing.assert_allclose(make(mode="throughput", size=32)(x), wanted(x), atol=1e-4)


def test_bfloat16_only_where_the_processor_computes_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for features, precision in ((["avx512", "vnni"], "float32"), (["bf16"], "bfloat16"), (["amx-bf16"], "bfloat16")):
        monkeypatch.setattr(machine, "cpu", lambda found=features: {"features": found})
        assert choose_dtype("auto", "cpu") == precision
    assert choose_dtype("auto", "gpu") == "auto" and choose_dtype("float32", "gpu") == "float32"


def test_settings_fit_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("BIREFNET_CACHE", str(tmp_path))
    assert make_settings("cpu", "latency", "bfloat16", None, cache=False) == {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "bf16",
        "INFERENCE_NUM_THREADS": 7,
        "NUM_STREAMS": 1,
    }
    assert make_settings("gpu", "throughput", "auto", 2, cache=True) == {
        "PERFORMANCE_HINT": "THROUGHPUT",
        "CACHE_DIR": str(tmp_path / "openvino"),
    }


def deform_file(path: Path, *, groups: int = 1, bias: bool = False, size: Any = 32) -> tuple[Path, np.ndarray]:
    """An ONNX file with one DeformConv (6 -> 1 channels); gives it, and its result by ONNX Runtime."""
    rng = np.random.default_rng(0)
    arrays = {
        "widen": rng.normal(size=(6, 3, 1, 1)),
        "move": rng.normal(size=(18 * groups, 3, 3, 3)) * 0.5,
        "weigh": rng.normal(size=(9 * groups, 3, 3, 3)),
        "w": rng.normal(size=(2, 6 // groups, 3, 3)),
        "b": rng.normal(size=2),
        "join": rng.normal(size=(1, 2, 1, 1)),
    }
    nodes = [
        helper.make_node("Conv", ["x", "widen"], ["wide"]),
        helper.make_node("Conv", ["x", "move"], ["offset"], pads=[1] * 4),
        helper.make_node("Conv", ["x", "weigh"], ["mask"], pads=[1] * 4),
        helper.make_node(
            *("DeformConv", ["wide", "w", "offset", "b" if bias else "", "mask"], ["y"]),
            **{"pads": [1] * 4, "offset_group": groups, "group": groups},
        ),
        helper.make_node("Conv", ["y", "join"], ["logits"]),
    ]
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", c, size, size])
        for name, c in (("x", 3), ("logits", 1))
    ]
    ports[0].type.tensor_type.shape.dim[0].dim_value = 1
    weights = [onnx.numpy_helper.from_array(value.astype(np.float32), name) for name, value in arrays.items()]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.save(model, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"x": batch(1, 32, 32)})
    return path, y


@pytest.mark.parametrize(
    "options",
    [{}, {"bias": True}, {"groups": 2}, pytest.param({"size": "s"}, marks=needs_avx2)],
)
def test_onnx_files_with_deformable_convolutions(tmp_path: Path, options: dict[str, Any]) -> None:
    path, y = deform_file(tmp_path / "net.onnx", **options)
    runtime = OpenVinoRuntime(path, threads=1, dtype="float32")
    np.testing.assert_allclose(runtime(batch(1, 32, 32)), y, atol=2e-4 * np.abs(y).max())
    kinds = {node.get_type_name() for node in read_onnx(openvino.Core(), path).get_ordered_ops()}
    assert ("DeformableConvolution" in kinds) == (options.get("groups") == 2 or "size" in options)


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


def test_the_cache_is_used_when_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIREFNET_CACHE", str(tmp_path / "cache"))
    path = brightness_model(tmp_path / "net.onnx", size=32)
    for _ in range(2):
        x = batch(1, 32, 32)
        np.testing.assert_allclose(OpenVinoRuntime(path, cache=True, dtype="float32")(x), wanted(x), atol=1e-4)
    assert any((tmp_path / "cache" / "openvino").iterdir())
