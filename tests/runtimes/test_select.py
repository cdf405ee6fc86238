"""A name or file becomes the right runtime, and `explain` tells the truth about this machine."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from tests.brightness import brightness_model

from birefnet.errors import ConfigError, MissingExtra, UnknownModel, WeightsError
from birefnet.pixels.prepare import IMAGENET_MEAN, InputSpec
from birefnet.runtimes import machine
from birefnet.runtimes.explain import explain
from birefnet.runtimes.onnx import OnnxRuntime
from birefnet.runtimes.options import RuntimeName
from birefnet.runtimes.select import OPENERS, check_size, select
from birefnet.weights import download
from birefnet.weights.facts import read_safetensors, to_spec
from birefnet.weights.formats import FORMATS, RUNTIMES, find_target


def test_an_onnx_file(standin: Path) -> None:
    runtime = select(standin, device="cpu")
    assert isinstance(runtime, OnnxRuntime)
    assert runtime.name == "bright"
    assert isinstance(select(str(standin)), OnnxRuntime)


def test_nano_is_the_file_in_the_box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "BUNDLED", tmp_path)
    with pytest.raises(WeightsError, match=r"nano\.onnx"):
        select("nano")
    brightness_model(tmp_path / "nano.onnx", size=96)
    runtime = select()
    assert (runtime.name, runtime.spec.width) == ("nano", 96)
    assert select("birefnet-nano").name == "nano"


def test_sizes(tmp_path: Path, standin: Path) -> None:
    path = brightness_model(tmp_path / "any.onnx", size=None, metadata={"size": 64})
    assert select(path).spec == InputSpec(width=64, height=64)
    assert select(path, size=128).spec == InputSpec(width=128, height=128)
    assert select(path, size=(96, 32)).spec == InputSpec(width=96, height=32)
    assert select(path, size="native").spec == InputSpec(width=64, height=64)
    own = select(standin).spec
    assert select(standin, size=(own.width, own.height)).spec == own
    with pytest.raises(ConfigError, match=r"takes pictures of .* only, not 2048x2048"):
        select(standin, size=2048)
    with pytest.raises(ConfigError, match="cannot be `native`"):
        select(standin, size="native")


@pytest.mark.parametrize("size", [1000, (1000, 512), 0, -32, (32, 32, 32), "big", (32.0, 32)])
def test_wrong_sizes(size: object) -> None:
    with pytest.raises(ConfigError):
        check_size(size)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="nearest: 992x512"):
        check_size((1000, 512))


def test_unknown_models(tmp_path: Path) -> None:
    with pytest.raises(UnknownModel, match="no file"):
        select(tmp_path / "missing.onnx")
    pytest.importorskip("torch")
    with pytest.raises(UnknownModel):
        select("nanoo", offline=True)


def test_an_onnx_file_has_its_own_precision(standin: Path) -> None:
    with pytest.raises(ConfigError, match="precision of its own"):
        select(standin, dtype="float16")


def test_without_torch_the_family_is_an_extra(monkeypatch: pytest.MonkeyPatch, standin: Path) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtra, match=r"birefnet\[torch\]"):
        select("general", offline=True)
    assert select(standin).name == "bright"


def test_wrong_options_are_told_before_any_download() -> None:
    pytest.importorskip("torch")
    for options, message in (
        ({"dtype": "fp8"}, "Unknown dtype"),
        ({"mode": "fast"}, "Unknown mode"),
        ({"mode": "graphs", "device": "cpu"}, "need a CUDA device"),
        ({"memory": "none"}, "Unknown memory"),
        ({"runtime": "caffe"}, "Unknown runtime `caffe`"),
        ({"runtime": "openvino"}, "not in the runtime `openvino`"),
    ):
        with pytest.raises(ConfigError, match=message):
            select("general", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("runtime", [name for name in RUNTIMES if name != "torch"])
def test_the_hint_for_another_runtime_names_a_format_that_exists(runtime: RuntimeName) -> None:
    """Bug G: the hint for `package` named no format that `birefnet export` knew."""
    with pytest.raises(ConfigError, match=f"weights, which run in PyTorch, not in the runtime `{runtime}`") as caught:
        select("general", runtime=runtime)
    assert caught.value.hint == f"pack it first: birefnet export general --to {runtime}"
    assert find_target(runtime)[0] == runtime
    if runtime not in FORMATS["onnx"].runtimes:
        with pytest.raises(ConfigError, match=f"does not run in the runtime `{runtime}`") as caught:
            select("nano", runtime=runtime)
        assert caught.value.hint == f"pack it first: birefnet export nano --to {runtime}"


def test_the_names_of_runtimes_are_those_of_the_table() -> None:
    assert get_args(RuntimeName) == ("auto", *RUNTIMES) == ("auto", *OPENERS)


def test_nano_runs_in_torch_when_asked() -> None:
    pytest.importorskip("torch")
    runtime = select("nano", runtime="torch", device="cpu", dtype="float32")
    assert type(runtime).__name__ == "TorchRuntime"
    assert (runtime.name, runtime.spec) == (select("nano").name, select("nano").spec)


def test_a_file_runs_only_where_it_can(standin: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not run in the runtime `package`"):
        select(standin, runtime="package")
    with pytest.raises(UnknownModel, match="no file"):
        select(tmp_path / "missing.xml")


def test_a_folder_exported_for_openvino(standin: Path, tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    openvino.save_model(openvino.Core().read_model(standin), tmp_path / "packed" / "model.xml")
    runtime = select(tmp_path / "packed", dtype="float32")
    assert type(runtime).__name__ == "OpenVinoRuntime"
    assert select(tmp_path / "packed" / "model.xml", runtime="openvino").name == runtime.name


def test_an_onnx_file_in_openvino(standin: Path) -> None:
    pytest.importorskip("openvino")
    from birefnet.runtimes.openvino import OpenVinoRuntime

    runtime = select(standin, runtime="openvino", dtype="float32", device="cpu")
    assert isinstance(runtime, OpenVinoRuntime)
    batch = np.random.default_rng(0).standard_normal((1, 3, runtime.spec.height, runtime.spec.width), dtype=np.float32)
    np.testing.assert_allclose(runtime(batch), select(standin)(batch), atol=1e-5)


def test_explain_is_plain_data() -> None:
    facts = explain()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["packages"]["numpy"]
    assert facts["choice"]["onnx"] in ("cpu", "cuda")
    why = facts["choice"]["why"]
    assert len(why) == 3
    assert facts["choice"]["torch"] is None or f"in {facts['choice']['dtype']}" in why[1]
    assert ".onnx in onnxruntime" in why[2] and ".engine (tensorrt)" in why[2]
    assert facts["cpu"]["cores"] >= 1
    assert facts["cache"]["folder"]


def test_explain_warns_of_what_goes_wrong(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(download, "BUNDLED", tmp_path)
    onnx = {"providers": ["CPUExecutionProvider"], "clash": True, "telemetry": "on"}
    monkeypatch.setattr(machine, "onnxruntime_facts", lambda: onnx)
    devices = [{"name": "cpu", "model": "x"}, {"name": "cuda:0", "model": "y"}]
    monkeypatch.setattr(machine, "torch_facts", lambda: {"devices": devices, "cuda": "13"})
    facts = explain()
    assert facts["choice"]["onnx"] == "cpu"
    assert facts["choice"]["torch"] == "cuda"
    text = "\n".join(facts["warnings"])
    assert "overwrite each other" in text
    assert "telemetry of ONNX Runtime is on" in text
    assert "onnxruntime-gpu" in text
    assert "nano.onnx" in text


def test_explain_survives_broken_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    facts = explain()
    assert facts["choice"]["onnx"] is None
    assert facts["choice"]["torch"] is None
    assert any("onnxruntime does not import" in warning for warning in facts["warnings"])


def test_a_checkpoint_says_which_input_it_takes(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    from birefnet.network.birefnet import BiRefNet
    from birefnet.network.config import BiRefNetConfig
    from birefnet.weights.checkpoint import save_model

    network = BiRefNet(BiRefNetConfig(backbone="pvt_v2_b0", attention="none", squeeze="none", context=0))
    path = save_model(network, tmp_path / "own.safetensors", {"size": "[64, 96]", "upsample": "guided"})
    runtime = select(path, device="cpu")
    assert (runtime.name, runtime.spec) == ("own", InputSpec(width=64, height=96, upsample="guided"))
    assert runtime(np.zeros((1, 3, 96, 64), np.float32)).shape == (1, 1, 96, 64)
    assert select(path, device="cpu", size=64).spec.height == 64

    # The same weights without such facts; a published file's name, given to a file, tells nothing.
    with safe_open(path, framework="np") as file:
        header = {key: text for key, text in file.metadata().items() if key not in ("size", "upsample")}
    for name in ("x.safetensors", "BiRefNet-DIS_ep580.safetensors", "hr.safetensors"):
        save_file(load_file(path), tmp_path / name, header)
        assert select(tmp_path / name, device="cpu").spec.mean == IMAGENET_MEAN
        assert select(tmp_path / name, device="cpu").spec.width == 1024


def test_facts_of_a_checkpoint_that_make_no_sense(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    path = tmp_path / "a.safetensors"
    save_file({"x": np.zeros(1, np.float32)}, path, {"size": "[100, 100]"})
    with pytest.raises(WeightsError, match="multiples of 32"):
        to_spec(read_safetensors(path), path)
    path.write_bytes(b"damaged")
    assert read_safetensors(path) == {}
    assert read_safetensors(tmp_path / "b.pth") == {}
