from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from birefnet.errors import ConfigError, WeightsError
from birefnet.export import onnx as export
from birefnet.network import BiRefNet
from birefnet.network.config import BiRefNetConfig
from birefnet.pixels.prepare import InputSpec
from birefnet.runtimes.onnx import OnnxRuntime

SPEC = InputSpec(width=96, height=64, upsample="guided")


@pytest.fixture(scope="module")
def network() -> BiRefNet:
    """A tiny network whose batch norms have statistics of their own, so that folding them is no trifle."""
    torch.manual_seed(0)
    made = BiRefNet(
        BiRefNetConfig(
            backbone="mobilenet_v2",
            attention="aspp",
            inner_width=8,
            picture_input="whole",
            neck_widths=(8, 8, 8, 16),
            picture_width=4,
            attention_width=8,
            gradient_width=4,
        )
    )
    with torch.no_grad():
        for _ in range(3):
            made.train()(torch.randn(2, 3, 64, 64))
        for module in made.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.uniform_(0.7, 1.3)
                module.bias.normal_(0, 0.1)
    return made.eval()


@pytest.fixture(scope="module")
def files(network: BiRefNet, tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    folder = tmp_path_factory.mktemp("onnx")
    paths = {half: folder / f"{half}.onnx" for half in (False, True)}
    for half, path in paths.items():
        export.export_onnx(network, path, SPEC, half=half, source="a test")
    return paths


@pytest.mark.parametrize(("half", "tolerance"), [(False, 1e-5), (True, 5e-3)])
def test_the_file_computes_what_the_network_does(
    network: BiRefNet, files: dict[bool, Path], half: bool, tolerance: float
) -> None:
    picture = np.random.default_rng(5).standard_normal((1, 3, 64, 96), dtype=np.float32)
    with torch.no_grad():
        ours = network(torch.from_numpy(picture)).logits.sigmoid().numpy()
    theirs = 1 / (1 + np.exp(-OnnxRuntime(files[half], device="cpu")(picture)))
    assert np.abs(ours - theirs).max() < tolerance
    assert ours.std() > 0.01  # the network says something


def test_one_input_one_output_and_the_facts(files: dict[bool, Path]) -> None:
    model = onnx.load(files[True])
    assert [port.name for port in model.graph.input] == ["input_image"]
    assert [port.name for port in model.graph.output] == ["logits"]
    facts = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert facts["size"] == [96, 64] and facts["activation"] == "sigmoid" and facts["source"] == "a test"
    assert 0 <= facts["largest_alpha_error"] < 5e-3
    runtime = OnnxRuntime(files[True], device="cpu")
    assert runtime.spec == SPEC


def test_nothing_of_the_machine_is_in_the_file(files: dict[bool, Path]) -> None:
    for path in files.values():
        content = path.read_bytes()
        assert b"stack_trace" not in content
        assert str(Path(export.__file__).parent).encode() not in content


def test_batch_norms_are_gone_and_half_is_half_the_size(files: dict[bool, Path]) -> None:
    assert "BatchNormalization" not in {node.op_type for node in onnx.load(files[False]).graph.node}
    weights = onnx.load(files[True]).graph.initializer
    big = [w for w in weights if np.prod(w.dims) >= 64 and w.data_type != onnx.TensorProto.INT64]
    assert big and all(w.data_type == onnx.TensorProto.FLOAT16 for w in big)
    assert files[True].stat().st_size < 0.6 * files[False].stat().st_size


def test_the_network_itself_is_left_as_it_was(network: BiRefNet, files: dict[bool, Path]) -> None:
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())


def test_a_file_that_differs_is_not_kept(network: BiRefNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(made: BiRefNet) -> BiRefNet:
        folded = export.__dict__["copy"].deepcopy(made)
        with torch.no_grad():
            folded.decoder.head.bias += 1
        return folded

    monkeypatch.setattr(export, "fold_batch_norms", wrong)
    with pytest.raises(WeightsError, match="differs"):
        export.export_onnx(network, tmp_path / "wrong.onnx", SPEC)
    assert list(tmp_path.iterdir()) == []


def test_deformable_convolutions_are_refused_in_words(tmp_path: Path) -> None:
    deformable = BiRefNet(BiRefNetConfig(backbone="mobilenet_v2", inner_width=8, attention_width=8))
    with pytest.raises(ConfigError, match="deformable"):
        export.export_onnx(deformable, tmp_path / "no.onnx", SPEC)
