"""`.pt2` packages: the operator in plain operations, the graph, the compiled code (slow), and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from birefnet.errors import ConfigError, DeviceError, InputError, WeightsError
from birefnet.export import aoti as export
from birefnet.export import aoti_deform
from birefnet.export.aoti import export_package
from birefnet.export.options import ExportOptions
from birefnet.network import BiRefNet
from birefnet.network.deform import deform_conv2d
from birefnet.pixels.prepare import InputSpec
from birefnet.runtimes.aoti import FACTS, AotiRuntime
from birefnet.runtimes.base import Runtime
from tests.export.packing import tiny_network

SPEC = InputSpec(width=96, height=64, upsample="guided")


@pytest.fixture(scope="module")
def network() -> BiRefNet:
    return tiny_network()


@pytest.fixture(scope="module")
def graph(network: BiRefNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("aoti") / "net.exported.pt2"
    export_package(network, path, SPEC, source="a test")
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    return path


@pytest.mark.parametrize("most_bytes", [1, 64 << 20])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"),
    [((3, 3), 1, 1, 1), ((7, 7), 1, 3, 1), ((3, 3), 2, 2, 2), ((1, 3), 1, 0, 1), ((1, 1), 1, 0, 1)],
)
def test_plain_operations_give_what_the_operator_does(
    kernel: tuple[int, int], stride: int, padding: int, dilation: int, most_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aoti_deform, "_BLOCK_BYTES", most_bytes)
    torch.manual_seed(0)
    batch, channels, out, taps = 2, 5, 7, kernel[0] * kernel[1]
    lines, columns = (
        (side + 2 * padding - dilation * (length - 1) - 1) // stride + 1
        for side, length in zip((9, 11), kernel, strict=True)
    )
    x = torch.randn(batch, channels, 9, 11, dtype=torch.float64)
    offset = 4 * torch.randn(batch, 2 * taps, lines, columns, dtype=torch.float64)
    offset[0, 0, 0, 0] = 1e30
    mask = torch.rand(batch, taps, lines, columns, dtype=torch.float64)
    weight = torch.randn(out, channels, *kernel, dtype=torch.float64)
    pairs = [[number, number] for number in (stride, padding, dilation)]
    wanted = deform_conv2d(x, offset, mask, weight, stride=stride, padding=padding, dilation=dilation)
    y = aoti_deform.deform_in_plain_operations(x, offset, mask, weight, *pairs)
    torch.testing.assert_close(y, wanted, atol=1e-12, rtol=0)
    assert y.stride() == wanted.stride()


def test_the_graph_computes_what_the_network_does(network: BiRefNet, graph: Path) -> None:
    runtime = AotiRuntime(graph)
    assert isinstance(runtime, Runtime)
    assert (runtime.name, runtime.device, runtime.dynamic, runtime.spec) == ("net.exported", "cpu", False, SPEC)
    pictures = np.random.default_rng(0).standard_normal((2, 3, 64, 96), dtype=np.float32)  # it takes one at a time
    with torch.no_grad():
        ours = network(torch.from_numpy(pictures)).logits
    torch.testing.assert_close(torch.from_numpy(runtime(pictures)), ours, atol=1e-3, rtol=0)
    assert ours.std() > 0.1
    with pytest.raises(InputError, match="96x64 pixels only"):
        runtime(np.zeros((1, 3, 64, 64), np.float32))


def test_it_runs_without_this_package(graph: Path) -> None:
    code = f"""
import sys, torch
program = torch.export.load({str(graph)!r})
print(program.module()(torch.zeros(1, 3, 64, 96)).shape[1:])
assert "birefnet" not in sys.modules
assert not [node for node in program.graph.nodes if "birefnet" in str(node.target)]
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "torch.Size([1, 64, 96])"


def test_what_is_in_the_file(graph: Path) -> None:
    facts, names = opened(graph)
    assert facts["size"] == [96, 64] and facts["source"] == "a test" and facts["upsample"] == "guided"
    assert facts["compiled"] is False and facts["device"] == "cpu" and facts["precision"] == "fp32"
    assert 0 <= facts["largest_alpha_error"] < 1e-4
    assert {name.partition("/")[0] for name in names} == {"birefnet"}
    says_nothing_of_the_machine(graph)


def opened(path: Path) -> tuple[dict[str, Any], list[str]]:
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read(f"birefnet/{FACTS}")), archive.namelist()


def says_nothing_of_the_machine(path: Path) -> None:
    folders = (Path(export.__file__).parents[2], Path(torch.__file__).parents[1], path.parent)
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            content = archive.read(name)
            assert b"stack_trace" not in content and not name.endswith(".cpp"), name
            for folder in (*map(str, folders), "torchinductor_"):
                assert folder.encode() not in content, (name, folder)


def test_a_package_that_differs_is_not_kept(
    network: BiRefNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, graph: Path
) -> None:
    wrong = tiny_network()
    with torch.no_grad():
        wrong.decoder.head.bias += 1
    monkeypatch.setattr(export, "trace", lambda *_: None)
    monkeypatch.setattr(export, "_save", lambda program, path: path.write_bytes(graph.read_bytes()))
    with pytest.raises(WeightsError, match="differs"):
        export_package(wrong, tmp_path / "net.exported.pt2", SPEC)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_made(network: BiRefNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.pt2"
    with pytest.raises(ConfigError, match="fp32 or fp16, not `int8wo`"):
        export_package(network, path, SPEC, ExportOptions(precision="int8wo"))
    with pytest.raises(ConfigError, match="sides from 128 pixels"):
        export_package(network, path, SPEC, ExportOptions(size=None))

    def nothing() -> str:
        raise RuntimeError("No working C++ compiler found")

    monkeypatch.setattr("torch._inductor.cpp_builder.get_cpp_compiler", nothing)
    with pytest.raises(DeviceError, match=r"C\+\+ compiler.*\.exported\.pt2"):
        export_package(network, path, SPEC)
    monkeypatch.setattr(torch, "__version__", "2.5.1+cpu")
    with pytest.raises(DeviceError, match=r"2\.6 or newer, this is 2\.5\.1"):
        export_package(network, path, SPEC)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_compiled_code_computes_what_the_network_does(network: BiRefNet, tmp_path: Path, precision: Any) -> None:
    path = tmp_path / "net.pt2"
    proof = export_package(network, path, SPEC, ExportOptions(size=(96, 64), precision=precision), source="a test")
    assert [file.name for file in tmp_path.iterdir()] == ["net.pt2"]
    facts, _ = opened(path)
    assert facts["compiled"] is True and facts["largest_alpha_error"] == proof.largest
    says_nothing_of_the_machine(path)
    runtime = AotiRuntime(path)
    assert runtime.spec == SPEC
    picture = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours = network(picture).logits.sigmoid()
    theirs = torch.from_numpy(runtime(picture.numpy())).sigmoid()
    assert (ours - theirs).abs().mean() < (1e-6 if precision == "fp32" else 5e-3)


@pytest.mark.slow
def test_a_graph_for_any_size_and_number(tmp_path: Path) -> None:
    # Tracing free sizes takes long: as few parts as show it.
    network = tiny_network(two_scale="none", context=1, picture_input="none", gradient_reference=False)
    path = tmp_path / "net.exported.pt2"
    spec = InputSpec(width=160, height=128)
    export_package(network, path, spec, ExportOptions(batch=None))
    runtime = AotiRuntime(path)
    assert runtime.dynamic and runtime.spec == spec
    pictures = torch.randn(3, 3, 192, 128, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours = network(pictures).logits.sigmoid()
    theirs = torch.from_numpy(runtime(pictures.numpy())).sigmoid()
    assert (ours - theirs).abs().mean() < 1e-4  # random weights enlarge every rounding
    assert ours.std() > 0.1
    with pytest.raises(InputError, match="sides from 128 pixels, got 64x128"):
        runtime(np.zeros((1, 3, 128, 64), np.float32))
