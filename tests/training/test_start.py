"""Where runs start: every kind of file puts its values where they belong, or says why not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from birefnet.data.config import DataConfig
from birefnet.errors import ConfigError, WeightsError
from birefnet.network import BiRefNet
from birefnet.network.backbones import BACKBONES
from birefnet.network.config import BiRefNetConfig
from birefnet.training.config import Recipe, StartConfig
from birefnet.training.settings import Phase, TrainingConfig
from birefnet.training.start import StartReport, network_config, start_folded, start_network
from birefnet.weights.checkpoint import load_model, save_model
from tests.weights.foreign import foreign_state


class _Unit(nn.Module):
    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, out, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(out)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.conv(x)).relu()
        return y


def _network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(_Unit(3, 6), _Unit(6, 4))


def _folded() -> dict[str, Tensor]:
    torch.manual_seed(1)
    return {
        "0.weight": torch.randn(6, 3, 3, 3),
        "0.bias": torch.randn(6),
        "1.weight": torch.randn(4, 6, 3, 3),
        "1.bias": torch.randn(4),
    }


def test_the_function_is_the_files_and_the_statistics_are_the_pictures() -> None:
    network, folded = _network(), _folded()
    pictures = [torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(i)) for i in range(4)]
    start_folded(network, folded, pictures)
    x = pictures[0]
    y = nn.functional.conv2d(x, folded["0.weight"], folded["0.bias"], padding=1).relu()
    y = nn.functional.conv2d(y, folded["1.weight"], folded["1.bias"], padding=1).relu()
    torch.testing.assert_close(network.eval()(x), y, rtol=1e-4, atol=1e-4)
    raw = network[0].conv(torch.cat(pictures))
    torch.testing.assert_close(network[0].norm.running_mean, raw.mean(dim=(0, 2, 3)), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(network[0].norm.running_var, raw.var(dim=(0, 2, 3)), rtol=1e-3, atol=1e-3)


def test_training_mode_computes_nearly_the_same() -> None:
    network, folded = _network(), _folded()
    pictures = [torch.randn(64, 3, 16, 16)]
    start_folded(network, folded, pictures)
    torch.testing.assert_close(network.train()(pictures[0]), network.eval()(pictures[0]), rtol=0.05, atol=0.05)


def test_other_names_or_shapes_are_refused() -> None:
    folded = _folded()
    folded["2.weight"] = folded.pop("1.weight")
    with pytest.raises(WeightsError, match="1 missing, 1 unexpected"):
        start_folded(_network(), folded, [])
    with pytest.raises(WeightsError, match=r"0\.weight"):
        start_folded(_network(), {**_folded(), "0.weight": torch.zeros(6, 3, 1, 1)}, [])


# -- start_network ----------------------------------------------------------------------------------------------

TINY: dict[str, Any] = {
    "backbone": "mobilenet_v2",
    "two_scale": "none",
    "attention": "aspp",
    "inner_width": 8,
    "picture_width": 8,
    "attention_width": 8,
}


def _config(**options: object) -> BiRefNetConfig:
    return BiRefNetConfig.from_dict({**TINY, **options})


def _birefnet(seed: int, **options: object) -> BiRefNet:
    torch.manual_seed(seed)
    return BiRefNet(_config(**options))


def _recipe(network: BiRefNetConfig | None, **start: str) -> Recipe:
    training = TrainingConfig(phases=(Phase(steps=1, size=64, batch=1),))
    return Recipe(
        name="tiny", data=DataConfig(root=".", sets="a"), training=training, network=network, start=StartConfig(**start)
    )


def _no_pictures() -> Iterator[Tensor]:
    raise AssertionError("only a folded MobileNetV2 needs pictures")


def _start(network: BiRefNet, **start: str) -> StartReport:
    return start_network(network, StartConfig(**start), _recipe(network.config, **start), _no_pictures)


def test_a_backbone_in_a_foreign_layout(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(0)
    state = foreign_state("pvt_v2_b0", "pvt")
    torch.save(state, tmp_path / "pvt_v2_b0.pth")
    network = _birefnet(0, backbone="pvt_v2_b0")
    decoder = {name: tensor.clone() for name, tensor in network.decoder.state_dict().items()}
    with caplog.at_level("INFO", "birefnet.training.start"):
        report = _start(network, backbone=str(tmp_path / "pvt_v2_b0.pth"))
    weight = network.get_submodule("encoder.backbone.block3.1.mlp.fc1").weight
    torch.testing.assert_close(weight, state["block3.1.mlp.fc1.weight"], rtol=0, atol=0)
    torch.testing.assert_close(network.decoder.state_dict(), decoder, rtol=0, atol=0)
    assert caplog.messages == [str(report)]
    assert "PVTv2 as its authors name it): 176 entries loaded; left out: classifier (2 entries)" in str(report)


def test_a_folded_mobilenet(tmp_path: Path) -> None:
    backbone = BACKBONES["mobilenet_v2"].build()
    torch.manual_seed(3)
    folded = {}
    for name, part in backbone.named_modules():
        if isinstance(part, nn.Conv2d):
            unit = name.removesuffix(".conv")
            folded[f"{unit}.weight"] = torch.randn(part.weight.shape) * (2 / part.weight[0].numel()) ** 0.5
            folded[f"{unit}.bias"] = torch.randn(len(part.weight)) * 0.1
    save_file(folded, tmp_path / "folded.safetensors")
    network = _birefnet(0)
    start = StartConfig(backbone=str(tmp_path / "folded.safetensors"))
    made = [torch.randn(4, 3, 64, 64) for _ in range(2)]
    report = start_network(network, start, _recipe(network.config, backbone="x"), lambda: iter(made))
    assert report.loaded == len(folded) and "folded into the convolutions" in report.layout
    stem = network.get_submodule("encoder.backbone.stem.conv")
    torch.testing.assert_close(stem.weight, folded["stem.weight"], rtol=0, atol=0)
    norm = network.get_submodule("encoder.backbone.stem.norm")
    assert isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None and bool(norm.running_mean.any())
    folded["stem.bias"][0] = float("inf")
    save_file(folded, tmp_path / "bad.safetensors")
    with pytest.raises(WeightsError, match=r"not finite, in `stem\.bias`"):
        _start(network, backbone=str(tmp_path / "bad.safetensors"))


def test_whole_weights_and_their_network(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    there = _birefnet(1)
    path = str(save_model(there, tmp_path / "there.safetensors"))
    assert network_config(_recipe(None, weights=path)) == there.config
    assert network_config(_recipe(_config(context=1), weights=path)) == _config(context=1)
    network = _birefnet(2)
    with caplog.at_level("INFO", "birefnet.training.start"):
        report = _start(network, weights=path)
    torch.testing.assert_close(network.state_dict(), there.state_dict(), rtol=0, atol=0)
    assert caplog.messages == [f"Started from `{path}` (a whole BiRefNet): {report.loaded} entries loaded"]
    assert report.loaded == len(there.state_dict())


def test_weights_in_a_checkpoint_without_a_configuration(tmp_path: Path) -> None:
    there = _birefnet(1)
    torch.save({"module." + name: tensor for name, tensor in there.state_dict().items()}, tmp_path / "there.pth")
    path = str(tmp_path / "there.pth")
    assert network_config(_recipe(None, weights=path)) == there.config
    network = _birefnet(2)
    _start(network, weights=path)
    torch.testing.assert_close(network.state_dict(), there.state_dict(), rtol=0, atol=0)


def test_the_model_in_the_box_by_name() -> None:
    config = network_config(_recipe(None, weights="nano"))
    network = BiRefNet(config)
    _start(network, weights="nano")
    torch.testing.assert_close(network.state_dict(), load_model("nano").state_dict(), rtol=0, atol=0)


def test_another_network_lists_what_differs(tmp_path: Path) -> None:
    path = str(save_model(_birefnet(1), tmp_path / "there.safetensors"))
    with pytest.raises(ConfigError) as caught:
        _start(_birefnet(2, context=1, inner_width=16), weights=path)
    text = str(caught.value)
    assert "recipe `tiny`" in text and "context is 1, not 3; inner_width is 16, not 8" in text
    assert "leave `network` out" in text


def test_added_scales_are_taken_at_the_recipes_word(tmp_path: Path) -> None:
    there = _birefnet(1, two_scale="add")
    torch.save(there.state_dict(), tmp_path / "there.pth")  # which cannot tell "add" from "none"
    network = _birefnet(2, two_scale="add")
    _start(network, weights=str(tmp_path / "there.pth"))
    torch.testing.assert_close(network.state_dict(), there.state_dict(), rtol=0, atol=0)
    saved = save_model(_birefnet(1), tmp_path / "none.safetensors")  # but this file tells
    with pytest.raises(ConfigError, match="two_scale"):
        _start(network, weights=str(saved))


def test_the_auxiliary_classifier_may_come_and_go(tmp_path: Path) -> None:
    plain, with_classes = _birefnet(1), _birefnet(2, classes=5)
    path = str(save_model(plain, tmp_path / "plain.safetensors"))
    own = with_classes.state_dict()["classifier.weight"].clone()
    report = _start(with_classes, weights=path)
    assert report.fresh == ("classifier.weight", "classifier.bias") and not report.left_out
    torch.testing.assert_close(with_classes.state_dict()["classifier.weight"], own, rtol=0, atol=0)
    torch.testing.assert_close(with_classes.decoder.state_dict(), plain.decoder.state_dict(), rtol=0, atol=0)
    path = str(save_model(_birefnet(3, classes=7), tmp_path / "seven.safetensors"))
    report = _start(with_classes, weights=path)
    assert report.left_out == {"auxiliary classifier": ("classifier.weight", "classifier.bias")}
    torch.testing.assert_close(with_classes.state_dict()["classifier.weight"], own, rtol=0, atol=0)


def test_nothing_to_take_the_network_from() -> None:
    recipe = _recipe(_config(), backbone="x.pth")
    object.__setattr__(recipe, "network", None)
    with pytest.raises(ConfigError, match="`network` is missing"):
        network_config(recipe)
