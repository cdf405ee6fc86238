"""The way to a TensorRT engine, with a stand-in for TensorRT that runs the graph it is given on a CPU."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from birefnet.errors import ConfigError, MissingExtra, WeightsError
from birefnet.export import tensorrt as export
from birefnet.export.options import ExportOptions
from birefnet.network import BiRefNet
from birefnet.pixels.prepare import InputSpec
from birefnet.runtimes import tensorrt as runtimes
from birefnet.runtimes import tensorrt_engine as engines
from birefnet.runtimes.tensorrt import TensorRtRuntime
from tests.export.packing import tiny_network
from tests.runtimes import fake_tensorrt

SPEC = InputSpec(width=64, height=64, upsample="guided")


@pytest.fixture(scope="module")
def network() -> BiRefNet:
    return tiny_network()


def put(tensorrt: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Let the stand-in pass for TensorRT, and a CPU for a GPU."""
    monkeypatch.setitem(sys.modules, "tensorrt", tensorrt)
    monkeypatch.setenv("BIREFNET_CACHE", str(tmp_path / "cache"))
    facts = {"gpu": "A GPU", "capability": "8.9"}
    for module in (engines, runtimes.engines):
        monkeypatch.setattr(module, "gpu_facts", lambda device: facts)
    monkeypatch.setattr(runtimes, "choose_device", lambda device: device)
    monkeypatch.setattr(runtimes, "_place", lambda device: "cpu")
    monkeypatch.setattr(runtimes, "_make_stream", lambda torch, place: None)
    monkeypatch.setattr(runtimes, "_on", lambda torch, stream: contextlib.nullcontext())
    monkeypatch.setattr(runtimes, "_handle", lambda stream: 0)
    return tensorrt


def test_the_engine_computes_what_the_network_does(
    network: BiRefNet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tensorrt = put(fake_tensorrt.make("10.0.1"), monkeypatch, tmp_path)  # too old for DeformConv
    path = tmp_path / "net.engine"
    options = ExportOptions(size=(64, 64), precision="fp16")
    proof = export.export_tensorrt(network, path, SPEC, options, source="a test")
    assert proof.largest < 1e-4  # the stand-in computes in float32
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["net.engine"]
    facts, _ = engines.read_engine(path)
    assert facts["size"] == [64, 64] and facts["upsample"] == "guided" and facts["source"] == "a test"
    assert facts["deform"] == "decomposed" and facts["precision"] == "fp16" and facts["gpu"] == "A GPU"
    assert facts["largest_alpha_error"] == proof.largest
    assert ("set", "FP16") in tensorrt.calls
    runtime = TensorRtRuntime(path)
    assert runtime.spec == SPEC
    picture = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours = network(picture).logits
    torch.testing.assert_close(torch.from_numpy(runtime(picture.numpy())), ours, atol=1e-3, rtol=0)
    assert ours.std() > 0.1


def test_an_engine_that_differs_is_not_kept(network: BiRefNet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    put(fake_tensorrt.make(), monkeypatch, tmp_path)
    other = tiny_network()
    with torch.no_grad():
        other.decoder.head.bias += 1
    real = export.build_model
    monkeypatch.setattr(export, "build_model", lambda network, spec, options: real(other, spec, options))
    with pytest.raises(WeightsError, match="differs"):
        export.export_tensorrt(network, tmp_path / "net.engine", SPEC)
    assert not [file for file in tmp_path.iterdir() if file.is_file()]


@pytest.mark.parametrize(("version", "deform"), [("10.0.1", "decomposed"), ("10.1.0", "native"), ("11.2.0", "native")])
def test_own_deformable_convolutions_where_tensorrt_has_them(version: str, deform: str) -> None:
    tensorrt = fake_tensorrt.make(version)
    assert export.fitting(tensorrt, ExportOptions()).deform == deform
    assert export.fitting(tensorrt, ExportOptions(deform="decomposed")).deform == "decomposed"


def test_refusals_come_before_any_work(network: BiRefNet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(MissingExtra, match="pip install tensorrt"):
        export.export_tensorrt(network, tmp_path / "net.engine", SPEC)
    with pytest.raises(ConfigError, match="not `int8wo`"):
        export.export_tensorrt(network, tmp_path / "net.engine", SPEC, ExportOptions(precision="int8wo"))
    assert list(tmp_path.iterdir()) == []
