from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from birefnet.errors import WeightsError
from birefnet.training.start import load_folded, start_folded


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


def test_a_file_is_read_as_float32_and_a_bad_one_named(tmp_path: Path) -> None:
    save_file({"a.weight": torch.ones(2, dtype=torch.float16)}, tmp_path / "w.safetensors")
    assert load_folded(tmp_path / "w.safetensors")["a.weight"].dtype == torch.float32
    (tmp_path / "bad.safetensors").write_text("no")
    for name in ("bad", "none"):
        with pytest.raises(WeightsError, match=name):
            load_folded(tmp_path / f"{name}.safetensors")
