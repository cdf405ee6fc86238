"""Every kind of source loads, strictly, into the same model; what does not fit is said in words."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from birefnet.errors import ConfigError, DeviceError, DownloadError, UnknownModel, WeightsError
from birefnet.network.birefnet import BiRefNet
from birefnet.network.config import BiRefNetConfig
from birefnet.weights.checkpoint import load_model, read_config, save_model
from birefnet.weights.names import to_released
from tests.seeded import fill

State = dict[str, Tensor]


def clone(model: nn.Module) -> State:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(a: nn.Module, b: nn.Module) -> bool:
    left, right = a.state_dict(), b.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


# -- sources ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nest", [(), ("model",), ("state_dict",), ("model_state_dict",), ("ema",), ("model", "ema")])
@pytest.mark.parametrize("prefix", ["", "module._orig_mod."])
@pytest.mark.parametrize("released", [True, False])
def test_dictionaries(tiny: BiRefNet, nest: tuple[str, ...], prefix: str, released: bool) -> None:
    state: Mapping[str, Any] = to_released(clone(tiny)) if released else clone(tiny)
    state = {prefix + name: tensor for name, tensor in state.items()}
    for key in nest:
        state = {"epoch": 3, key: state}
    model = load_model(state)
    assert same(model, tiny)
    assert not model.training


@pytest.mark.parametrize("name", ["model.pth", "model.pt", "pytorch_model.bin", "model.safetensors"])
@pytest.mark.parametrize("as_folder", [True, False])
def test_files_and_folders(tiny: BiRefNet, tmp_path: Path, name: str, as_folder: bool) -> None:
    path = tmp_path / name
    state = to_released(clone(tiny))
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"state_dict": state, "epoch": 7}, path)
    assert same(load_model(tmp_path if as_folder else path), tiny)
    assert same(load_model(str(tmp_path if as_folder else path)), tiny)


def test_file_of_the_old_format(tiny: BiRefNet, tmp_path: Path) -> None:
    torch.save(to_released(clone(tiny)), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert same(load_model(tmp_path / "old.pth"), tiny)


def test_configuration_without_the_model(tiny: BiRefNet, tmp_path: Path) -> None:
    torch.save(to_released(clone(tiny)), tmp_path / "a.pth")
    assert read_config(tmp_path / "a.pth") == read_config(save_model(tiny, tmp_path / "b.safetensors")) == tiny.config
    assert read_config(tmp_path / "a.pth", two_scale="add").two_scale == "add"
    assert read_config("nano", offline=True).backbone == "mobilenet_v2"


def test_averaged_weights_come_first(tiny: BiRefNet) -> None:
    other = {name: tensor + 1 for name, tensor in clone(tiny).items()}
    averaged = {"n_averaged": torch.tensor(9), **{f"module.{name}": tensor for name, tensor in clone(tiny).items()}}
    assert same(load_model({"model": other, "ema": averaged}), tiny)


def test_model_does_not_share_memory_with_its_source(tiny: BiRefNet, tmp_path: Path) -> None:
    state = clone(tiny)
    model = load_model(state)
    state["decoder.head.weight"].fill_(9)
    assert same(model, tiny)
    save_model(tiny, tmp_path / "a.safetensors")
    model = load_model(tmp_path / "a.safetensors")
    (tmp_path / "a.safetensors").write_bytes(b"")
    assert same(model, tiny)


def test_loaded_model_can_be_trained(tiny: BiRefNet) -> None:
    model = load_model(clone(tiny))
    assert all(parameter.requires_grad and parameter.is_leaf for parameter in model.parameters())
    assert load_model(dict(tiny.state_dict(keep_vars=True))).decoder.head.weight.is_leaf


def test_half_precision_becomes_single_unless_asked(tiny: BiRefNet) -> None:
    half = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in clone(tiny).items()}
    assert {parameter.dtype for parameter in load_model(half).parameters()} == {torch.float32}
    model = load_model(half, dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert model.encoder.backbone.stem.norm.num_batches_tracked.dtype == torch.int64


def test_counters_and_tables_may_be_missing() -> None:
    config = BiRefNetConfig(backbone="swin_v1_t", two_scale="none", attention="none", inner_width=8, picture_width=8)
    with torch.random.fork_rng():
        whole = BiRefNet(config).eval()
    floats = {name: tensor for name, tensor in clone(whole).items() if tensor.is_floating_point()}
    assert len(floats) < len(whole.state_dict())
    assert same(load_model(floats), whole)


def test_adding_two_scales_must_be_told(tiny: BiRefNet, tmp_path: Path) -> None:
    assert load_model(clone(tiny)).config.two_scale == "none"
    added = load_model(clone(tiny), two_scale="add")
    assert added.config.two_scale == "add"
    path = save_model(added, tmp_path / "added.safetensors")
    assert load_model(path).config.two_scale == "add"
    with pytest.raises(ConfigError, match="contradicts"):
        load_model(path, two_scale="none")
    with pytest.raises(ConfigError, match="contradicts"):
        load_model(clone(tiny), two_scale="cat")


# -- what does not fit ------------------------------------------------------------------------------------------


def test_differences_are_named_as_in_the_file(tiny: BiRefNet) -> None:
    state = to_released(clone(tiny))
    del state["decoder.conv_out1.0.bias"]
    state["decoder.extra.weight"] = torch.zeros(1)
    state["bb.blocks.0.project.norm.weight"] = torch.zeros(5)
    with pytest.raises(WeightsError) as caught:
        load_model(state)
    text = str(caught.value)
    assert "1 entry missing (`decoder.conv_out1.0.bias`)" in text
    assert "1 entry unexpected (`decoder.extra.weight`)" in text
    assert "1 entry of another shape (`bb.blocks.0.project.norm.weight` is [5], not [16])" in text
    assert "nearest known variant is mobilenet_v2" in text


def test_many_differences_are_counted(tiny: BiRefNet) -> None:
    state = {name: tensor for name, tensor in clone(tiny).items() if not name.startswith("encoder.backbone.blocks.3.")}
    state |= {f"encoder.backbone.blocks.3.{i}": torch.zeros(1) for i in range(9)}
    with pytest.raises(
        WeightsError, match=r"15 entries missing \(`encoder\.backbone\.blocks\.3\.expand.*, \.\.\.\); 9 "
    ):
        load_model(state)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite(tiny: BiRefNet, value: float) -> None:
    state = to_released(clone(tiny))
    state["decoder.ipt_blk1.conv1.weight"][3, 1, 0, 2] = value
    with pytest.raises(WeightsError, match=r"not finite, in `decoder\.ipt_blk1\.conv1\.weight`"):
        load_model(state)


def test_weights_of_something_else() -> None:
    with pytest.raises(WeightsError, match="not the weights of a BiRefNet"):
        load_model(nn.Linear(2, 2).state_dict())
    with pytest.raises(WeightsError, match="Found no dictionary of tensors"):
        load_model({"epoch": 3})
    with pytest.raises(WeightsError, match="Found no dictionary of tensors"):
        load_model({})


# -- files that are none ----------------------------------------------------------------------------------------


def test_pickles_are_not_run(tmp_path: Path) -> None:
    torch.save({"model": {"a": torch.zeros(1)}, "arguments": argparse.Namespace(a=1)}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="never done"):
        load_model(tmp_path / "a.pth")


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS pointer"),
        (bytes(range(256)), "damaged"),
        (None, "damaged"),
    ],
)
def test_damaged_files(tiny: BiRefNet, tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    path = tmp_path / name
    if content is None:  # the first half of a true one
        if path.suffix == ".pth":
            torch.save(clone(tiny), path)
        else:
            save_model(tiny, path)
        content = path.read_bytes()[: path.stat().st_size // 2]
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        load_model(path)


def test_files_of_other_kinds(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"\x08\x08")
    with pytest.raises(ConfigError, match="exported file already"):
        load_model(tmp_path / "a.onnx")
    (tmp_path / "a.h5").write_bytes(b"\x08\x08")
    with pytest.raises(WeightsError, match="no weights file"):
        load_model(tmp_path / "a.h5")


def test_folders_without_one_weights_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="it has none"):
        load_model(tmp_path)
    (tmp_path / "a.pth").touch()
    (tmp_path / "b.pth").touch()
    with pytest.raises(WeightsError, match=r"it has several: a\.pth, b\.pth"):
        load_model(tmp_path)


def test_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(UnknownModel, match="No model named `litte`, and no file or folder; known: nano") as caught:
        load_model("litte")
    assert caught.value.hint == "did you mean `lite`?"
    with pytest.raises(UnknownModel, match="There is no file"):
        load_model("nowhere/model.pth")
    with pytest.raises(UnknownModel, match="There is no file"):
        load_model(tmp_path / "general")  # a path is never a model's name
    with pytest.raises(DownloadError, match="offline"):
        load_model("somebody/something", offline=True)


def test_a_folder_does_not_hide_a_model(tiny: BiRefNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "general").mkdir()
    save_model(tiny, tmp_path / "general" / "model.safetensors")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DownloadError, match="offline"):
        load_model("general", offline=True)
    assert same(load_model("./general", offline=True), tiny)


def test_devices(tiny: BiRefNet) -> None:
    with pytest.raises(DeviceError, match="Unknown device `gpu`"):
        load_model(clone(tiny), device="gpu")
    if not torch.cuda.is_available():
        with pytest.raises(DeviceError, match="sees no `cuda:1`"):
            load_model(clone(tiny), device="cuda:1")


# -- saving -----------------------------------------------------------------------------------------------------


def test_saved_file(tiny: BiRefNet, tmp_path: Path) -> None:
    path = save_model(tiny, tmp_path / "new" / "tiny.safetensors", {"source": "a test"})
    assert os.listdir(path.parent) == ["tiny.safetensors"]
    with safe_open(path, framework="pt") as file:
        assert file.metadata()["source"] == "a test"
        assert {"bb.stem.conv.weight", "decoder.conv_out1.0.weight"} < set(file.keys())
    model = load_model(path)
    assert model.config == tiny.config
    assert same(model, tiny)


def test_wrapped_models_are_saved_bare(tiny: BiRefNet, tmp_path: Path) -> None:
    compiled = nn.Module()
    compiled._orig_mod = tiny  # as `torch.compile` does, whose import would cost seconds
    for wrapped in (nn.DataParallel(tiny), compiled, nn.DataParallel(compiled)):
        assert same(load_model(save_model(wrapped, tmp_path / "a.safetensors")), tiny)


def test_what_cannot_be_saved(tiny: BiRefNet, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"saved as \.safetensors"):
        save_model(tiny, tmp_path / "a.pth")
    with pytest.raises(ConfigError, match="must be text"):
        save_model(tiny, tmp_path / "a.safetensors", {"step": 3})  # type: ignore[dict-item]
    with pytest.raises(WeightsError, match="got a Linear"):
        save_model(nn.Linear(2, 2), tmp_path / "a.safetensors")
    broken = load_model(fill(tiny.state_dict()))
    broken.decoder.head.weight.data.fill_(float("nan"))
    with pytest.raises(WeightsError, match="not finite"):
        save_model(broken, tmp_path / "a.safetensors")
    (tmp_path / "file").touch()
    with pytest.raises(WeightsError, match="Could not write"):
        save_model(tiny, tmp_path / "file" / "a.safetensors")
    assert os.listdir(tmp_path) == ["file"]


def test_saved_configuration_that_is_damaged(tiny: BiRefNet, tmp_path: Path) -> None:
    save_file(to_released(clone(tiny)), tmp_path / "a.safetensors", metadata={"birefnet_config": '{"wheels": 4}'})
    with pytest.raises(WeightsError, match=r"configuration saved .* wheels"):
        load_model(tmp_path / "a.safetensors")
