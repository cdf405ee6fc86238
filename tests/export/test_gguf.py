"""GGUF files: the layout both ways, the metadata, the proof, and what has no place in it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch

from birefnet.errors import ConfigError, WeightsError
from birefnet.export import gguf as export
from birefnet.export import gguf_layout as layout
from birefnet.export.gguf import export_gguf, read_gguf
from birefnet.export.options import ExportOptions
from birefnet.network import BiRefNet
from birefnet.network.backbones.base import BACKBONES, BackboneSpec
from birefnet.network.config import BiRefNetConfig
from birefnet.pixels.prepare import InputSpec
from birefnet.weights.names import to_released
from tests.seeded import fill

SPEC = InputSpec(width=128, height=128)
FIXED = ExportOptions(size=(128, 128))


@pytest.fixture(autouse=True)
def small_swin(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Swin of 24 channels in place of the tiny one's 96."""

    def build() -> Any:
        from birefnet.network.backbones.swin import Swin

        return Swin(width=24, depths=(1, 2, 1, 1), heads=(1, 2, 4, 8), window=7)

    monkeypatch.setitem(BACKBONES, "swin_small_for_tests", BackboneSpec(widths=(24, 48, 96, 192), build=build))
    monkeypatch.setitem(layout.SWIN, "swin_small_for_tests", ("tiny", 24))


@pytest.fixture
def network() -> BiRefNet:
    made = BiRefNet(
        BiRefNetConfig(
            backbone="swin_small_for_tests",
            inner_width=8,
            picture_width=4,
            attention_width=8,
            gradient_width=4,
            classes=3,
        )
    )
    made.load_state_dict(fill(made.state_dict()))
    return made.eval()


def facts_of(path: Path) -> dict[str, Any]:
    return {name: field.contents() for name, field in gguf.GGUFReader(path).fields.items()}


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-6), ("fp16", 1e-3)])
def test_what_is_read_back_computes_what_the_network_does(
    network: BiRefNet, tmp_path: Path, precision: Any, tolerance: float
) -> None:
    path = tmp_path / "net.gguf"
    proof = export_gguf(network, path, SPEC, replace(FIXED, precision=precision), source="a test")
    assert proof.mean <= min(tolerance, proof.allowed_mean)
    assert [file.name for file in tmp_path.iterdir()] == ["net.gguf"]
    again = BiRefNet(network.config).eval()
    again.load_state_dict(read_gguf(path, again))
    picture = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours, theirs = network(picture).logits, again(picture).logits
    assert (ours.sigmoid() - theirs.sigmoid()).abs().mean() < tolerance
    assert ours.std() > 0.1


def test_the_metadata_that_vision_cpp_reads_and_ours(network: BiRefNet, tmp_path: Path) -> None:
    path = tmp_path / "net.gguf"
    proof = export_gguf(network, path, SPEC, replace(FIXED, precision="fp16"), source="a test")
    facts = facts_of(path)
    assert facts["general.architecture"] == "birefnet" and facts["general.file_type"] == 1
    assert facts["birefnet.tensor_data_layout"] == "whcn"
    assert (facts["swin.config"], facts["swin.embed_dim"]) == ("tiny", 24)
    assert (facts["birefnet.image_size"], facts["birefnet.image_multiple"]) == (128, 128)
    assert json.loads(facts["birefnet.source"]) == "a test" and json.loads(facts["birefnet.size"]) == [128, 128]
    assert json.loads(facts["birefnet.largest_alpha_error"]) == proof.largest
    tensors = gguf.GGUFReader(path).tensors
    assert {tensor.tensor_type for tensor in tensors} == {gguf.GGMLQuantizationType.F16}  # its reader wants one type
    kernels = {tensor.name for tensor in tensors if len(tensor.shape) == 4}
    named = {tensors[place].name for place in facts["birefnet.conv2d_weights"]}
    assert kernels - named == {"bb.patch_embed.proj.weight"}
    assert named <= kernels
    export_gguf(network, path, SPEC, ExportOptions())
    assert facts_of(path)["birefnet.image_size"] == -1  # any size


def test_names_and_shapes_are_those_of_the_layout(network: BiRefNet) -> None:
    tensors = layout.to_layout(to_released(network.state_dict()))
    shapes = {name: tuple(value.shape) for name, value in tensors.items()}
    assert max(map(len, shapes)) < 64
    assert shapes["bb.patch_embed.proj.weight"] == (24, 4, 4, 3)  # channels-last
    assert shapes["bb.layers.0.blocks.0.attn.relative_position_bias_table"] == (169, 1)
    assert shapes["squeeze_module.0.dec_att.aspp_deforms.2.conv.modulator.weight"] == (49, 8, 7, 7)
    assert shapes["decoder.block1.dec_att.aspp1.conv.conv.weight"] == (8, 8, 1, 1)
    assert shapes["decoder.block1.dec_att.aspp1.bn.bias"] == (8,)
    assert shapes["decoder.block1.dec_att.global_avg_pool.1.bias"] == (8,)  # only the batch norm had one
    assert shapes["decoder.gdt_convs_4.0.bias"] == (4,)
    assert shapes["decoder.conv_out1.0.weight"] == (1, 24 + 6, 1, 1)
    gone = ("running_mean", "running_var", "num_batches_tracked", "relative_position_index", "bn_in", "gdt_convs_4.1.")
    assert not [name for name in shapes for part in gone if part in name]


def test_the_way_there_and_back_is_total(network: BiRefNet) -> None:
    state = to_released(network.state_dict())
    tensors = layout.to_layout(state)
    back = layout.from_layout(tensors, state)
    assert list(back) == list(state)
    twice = layout.to_layout(back)
    assert list(twice) == list(tensors)
    for name, value in tensors.items():
        torch.testing.assert_close(twice[name], value, atol=1e-6, rtol=1e-6)
    with pytest.raises(WeightsError, match=r"no tensor `decoder\.conv_out1\.0\.bias`"):
        layout.from_layout({name: tensors[name] for name in tensors if name != "decoder.conv_out1.0.bias"}, state)
    with pytest.raises(WeightsError, match="no network here has: more"):
        layout.from_layout({**tensors, "more": torch.zeros(1)}, state)
    with pytest.raises(WeightsError, match="shape"):
        layout.from_layout({**tensors, "decoder.conv_out1.0.bias": torch.zeros(2)}, state)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"backbone": "pvt_v2_b0"}, "swin_v1_t and swin_v1_l.*not `pvt_v2_b0`"),
        ({"attention": "aspp"}, "`attention` 'aspp_deformable' only, not 'aspp'"),
        ({"two_scale": "add"}, "`two_scale` 'cat'"),
        ({"batch_norm": False}, "`batch_norm` True"),
    ],
)
def test_networks_without_a_place_in_the_layout(changes: dict[str, Any], words: str, network: BiRefNet) -> None:
    with pytest.raises(ConfigError, match=words):
        layout.check_network(replace(network.config, **changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"width": 256}, "squares in multiples of 128, got 256x128"),
        ({"width": 64, "height": 64}, "got 64x64"),
        ({"mean": (0.5, 0.5, 0.5)}, "normalises with mean"),
    ],
)
def test_inputs_without_a_place_in_the_layout(
    changes: dict[str, Any], words: str, network: BiRefNet, tmp_path: Path
) -> None:
    spec = replace(SPEC, **changes)
    with pytest.raises(ConfigError, match=words):
        export_gguf(network, tmp_path / "net.gguf", spec, ExportOptions(size=(spec.width, spec.height)))
    with pytest.raises(ConfigError, match="not `int8wo`"):
        export_gguf(network, tmp_path / "net.gguf", SPEC, replace(FIXED, precision="int8wo"))
    assert list(tmp_path.iterdir()) == []


def test_values_too_large_for_half_are_refused(network: BiRefNet, tmp_path: Path) -> None:
    with torch.no_grad():
        network.decoder.head.bias.fill_(1e5)
    with pytest.raises(WeightsError, match=r"conv_out1\.0\.bias.*too large"):
        export_gguf(network, tmp_path / "net.gguf", SPEC, replace(FIXED, precision="fp16"))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_differs_is_not_kept(network: BiRefNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = layout.to_layout

    def wrong(state: Any) -> Any:
        tensors = real(state)
        return {**tensors, "decoder.conv_out1.0.bias": tensors["decoder.conv_out1.0.bias"] + 1}

    monkeypatch.setattr(export, "to_layout", wrong)
    with pytest.raises(WeightsError, match="differs"):
        export_gguf(network, tmp_path / "net.gguf", SPEC, FIXED)
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_none_of_ours(network: BiRefNet, tmp_path: Path) -> None:
    path = tmp_path / "net.gguf"
    path.write_bytes(b"anything at all, and long enough")
    with pytest.raises(WeightsError, match="no GGUF file"):
        read_gguf(path, network)
    export_gguf(network, path, SPEC, FIXED)
    path.write_bytes(path.read_bytes()[:20000])
    with pytest.raises(WeightsError, match="damaged"):
        read_gguf(path, network)
    path.unlink()
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tensor("a", np.zeros(4, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(WeightsError, match="another kind"):
        read_gguf(path, network)
