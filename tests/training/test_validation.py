from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from birefnet.errors import ConfigError, DataError, OutOfMemory
from birefnet.network import Prediction
from birefnet.pixels.prepare import InputSpec
from birefnet.remover import Remover
from birefnet.training.config import ValidationConfig
from birefnet.training.distributed import Team
from birefnet.training.reading import parse_recipe
from birefnet.training.validation import NetworkRuntime, Validation, autocast_type, spread

SPEC = InputSpec(width=64, height=64)


class Bright(nn.Module):
    """Takes what is brighter than average for the subject."""

    def forward(self, picture: Tensor) -> Prediction:
        return Prediction(40 * (picture.mean(dim=1, keepdim=True) - picture.mean()))


@pytest.fixture
def team(recipe_values: dict[str, Any]) -> Team:
    return Team(parse_recipe(recipe_values), "cpu")


def _sets(root: Path) -> Path:
    for name, count in (("a", 3), ("b", 1)):
        for index in range(count):
            mask = np.zeros((40, 56), np.uint8)
            mask[8:32, 8 + index : 32] = 255
            for kind, array in (("im", np.dstack([mask // 2 + 60] * 3)), ("gt", mask if name == "a" else 255 - mask)):
                (root / name / kind).mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(root / name / kind / f"{index}.png")
    return root


def test_scores_per_set_and_over_all_pictures_alike(team: Team, tmp_path: Path) -> None:
    config = ValidationConfig(root=str(_sets(tmp_path)), sets=("a", "b"), size=64)
    found = Validation(config, "IoU", SPEC).run(Bright(), team, sheet=True)
    assert found is not None
    assert {name: summary.count for name, summary in found.scores.items()} == {"a": 3, "b": 1, "all": 4}
    a, b, both = (found.scores[name].values["IoU"] for name in ("a", "b", "all"))
    assert a is not None and b is not None and both is not None
    assert a > 0.9 and b < 0.1
    assert both == pytest.approx((3 * a + b) / 4)
    assert found.value("IoU") == both and "IoU 0." in str(found)
    assert [row.name for row in found.shown] == ["a/0", "a/1", "a/2", "b/0"]
    assert found.shown[0].prediction.shape == found.shown[0].truth.shape == (40, 56)


def test_fewer_pictures_are_spread_evenly(team: Team, tmp_path: Path) -> None:
    config = ValidationConfig(root=str(_sets(tmp_path)), sets=("a", "b"), size=64, limit=2, sheet=1)
    validation = Validation(config, "MAE", SPEC)
    assert [pair.picture.stem for _, pair in validation.pairs] == ["0", "1", "0"]
    found = validation.run(Bright(), team, sheet=True)
    assert found is not None and len(found.shown) == 1
    assert spread(list(range(10)), 4) == [0, 2, 5, 7] and spread([1], 4) == [1]


def test_better_means_what_the_metric_means(tmp_path: Path) -> None:
    config = ValidationConfig(root=str(_sets(tmp_path)), sets=("a",), size=64)
    high, low = Validation(config, "S", SPEC), Validation(config, "MAE", SPEC)
    assert high.better(0.8, 0.7) and not high.better(0.7, 0.8) and not high.better(0.8, 0.8)
    assert low.better(0.1, 0.2) and not low.better(0.2, 0.1)
    assert high.better(0.1, None) and not high.better(None, 0.1) and not high.better(None, None)


def test_it_can_be_left(team: Team, tmp_path: Path) -> None:
    config = ValidationConfig(root=str(_sets(tmp_path)), sets=("a",), size=64)
    asked: list[int] = []

    def leave() -> bool:
        asked.append(1)
        return len(asked) == 2

    assert Validation(config, "IoU", SPEC).run(Bright(), team, leave=leave) is None
    assert len(asked) == 2


def test_what_is_wrong_is_said_at_once(team: Team, tmp_path: Path) -> None:
    root = str(_sets(tmp_path))
    with pytest.raises(ConfigError, match=r"`checkpoints\.best` is WF, which is not among"):
        Validation(ValidationConfig(root=root, sets=("a",)), "WF", SPEC)
    with pytest.raises(ConfigError, match="MAEE") as caught:
        Validation(ValidationConfig(root=root, sets=("a",), metrics=("IoU", "MAEE")), "IoU", SPEC)
    assert caught.value.hint == "did you mean `MAE`?"
    with pytest.raises(DataError, match="nowhere"):
        Validation(ValidationConfig(root=root, sets=("nowhere",)), "IoU", SPEC)


def _mask(size: tuple[int, int] = (56, 40)) -> Image.Image:
    """The first mask of `_sets`, at another size if one is given."""
    mask = np.zeros((40, 56), np.uint8)
    mask[8:32, 8:32] = 255
    return Image.fromarray(mask).resize(size, Image.Resampling.NEAREST)


def test_masks_are_read_as_training_reads_them(team: Team, tmp_path: Path) -> None:
    """16 bits, half the size, a palette: the scores are those of the plain masks."""
    config = ValidationConfig(root=str(_sets(tmp_path)), sets=("a",))
    plain = Validation(config, "IoU", SPEC).run(Bright(), team)
    path = tmp_path / "a" / "gt" / "0.png"
    for odd in (
        Image.fromarray(np.asarray(_mask(), np.uint16) * 257),
        _mask((28, 20)),
        _mask().convert("P"),
        _mask().convert("RGB"),
    ):
        odd.save(path)
        found = Validation(config, "IoU", SPEC).run(Bright(), team)
        assert plain is not None and found is not None
        assert found.value("IoU") == pytest.approx(plain.value("IoU"), abs=0.01), odd.mode


def test_what_cannot_be_used_is_told_before_the_run(tmp_path: Path) -> None:
    """All of it at once, where a validation is made: hours of training would come before it is used."""
    config = ValidationConfig(root=str(_sets(tmp_path)), sets=("a", "b"))
    truths = tmp_path / "a" / "gt"
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(truths / "0.png")
    Image.fromarray(np.asarray(_mask()) // 255).save(truths / "1.png")
    (truths / "2.png").write_bytes(b"no picture")
    with pytest.raises(DataError) as caught:
        Validation(config, "IoU", SPEC)
    lines = str(caught.value).splitlines()
    assert len(lines) == 4 and all(f"{index}.png" in lines[index + 1] for index in range(3))
    assert "is 56x40 but its mask is 9x9" in lines[1]


def test_a_pictures_own_alpha_and_the_way_of_enlarging_count(team: Team, tmp_path: Path) -> None:
    """What is judged is what `Remover` makes, transparency and guided enlargement included."""
    config = ValidationConfig(root=str(_sets(tmp_path)), sets=("a",), sheet=3)
    picture = Image.open(tmp_path / "a" / "im" / "0.png").convert("RGBA")
    alpha = np.full((40, 56), 255, np.uint8)
    alpha[:, :20] = 0
    picture.putalpha(Image.fromarray(alpha))
    picture.save(tmp_path / "a" / "im" / "0.png")
    spec = InputSpec(width=32, height=32, mean=(0.3, 0.4, 0.5), std=(0.2, 0.2, 0.2), upsample="guided")
    found = Validation(config, "IoU", spec).run(Bright(), team, sheet=True)
    assert found is not None
    remover = Remover.from_runtime(NetworkRuntime(Bright(), spec, torch.device("cpu")))
    for index, row in enumerate(found.shown):
        np.testing.assert_array_equal(row.prediction, remover(tmp_path / "a" / "im" / f"{index}.png").mask)
    assert not found.shown[0].prediction[:, :20].any()


def test_half_precision_is_the_runs_own(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    assert autocast_type(team) is None
    for precision, dtype in (("no", None), ("fp16", torch.float16), ("bf16", torch.bfloat16)):
        accelerator = SimpleNamespace(mixed_precision=precision)
        gpu = SimpleNamespace(device=torch.device("cuda"), accelerator=accelerator)
        assert autocast_type(gpu) is dtype  # type: ignore[arg-type]


def test_what_overflows_in_half_precision_is_computed_again() -> None:
    class Overflowing(Bright):
        def forward(self, picture: Tensor) -> Prediction:
            half = torch.is_autocast_enabled("cpu")
            return Prediction(super().forward(picture).logits * (float("inf") if half else 1))

    runtime = NetworkRuntime(Overflowing(), SPEC, torch.device("cpu"), torch.float16)
    x = np.random.default_rng(0).normal(size=(1, 3, 64, 64)).astype(np.float32)
    np.testing.assert_array_equal(runtime(x), NetworkRuntime(Bright(), SPEC, torch.device("cpu"))(x))


def test_a_validation_that_does_not_fit_is_one_sentence(team: Team, tmp_path: Path) -> None:
    class Large(Bright):
        def forward(self, picture: Tensor) -> Prediction:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GiB")

    config = ValidationConfig(root=str(_sets(tmp_path)), sets=("b",))
    with pytest.raises(OutOfMemory, match=r"`the network in training` at 64x64 pixels on `cpu` did not fit"):
        Validation(config, "IoU", SPEC).run(Large(), team)


def test_the_network_computes_without_gradients(team: Team, tmp_path: Path) -> None:
    seen = []

    class Watched(Bright):
        def forward(self, picture: Tensor) -> Prediction:
            seen.append(torch.is_grad_enabled())
            return super().forward(picture)

    Validation(ValidationConfig(root=str(_sets(tmp_path)), sets=("b",), size=64), "IoU", SPEC).run(Watched(), team)
    assert seen == [False]
