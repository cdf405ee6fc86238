from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from birefnet.errors import ConfigError, DataError
from birefnet.network import Prediction
from birefnet.training.config import ValidationConfig
from birefnet.training.distributed import Team
from birefnet.training.reading import parse_recipe
from birefnet.training.validation import Validation, spread


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
    found = Validation(config, "IoU").run(Bright(), team, sheet=True)
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
    validation = Validation(config, "MAE")
    assert [pair.picture.stem for _, pair in validation.pairs] == ["0", "1", "0"]
    found = validation.run(Bright(), team, sheet=True)
    assert found is not None and len(found.shown) == 1
    assert spread(list(range(10)), 4) == [0, 2, 5, 7] and spread([1], 4) == [1]


def test_better_means_what_the_metric_means(tmp_path: Path) -> None:
    config = ValidationConfig(root=str(_sets(tmp_path)), sets=("a",), size=64)
    high, low = Validation(config, "S"), Validation(config, "MAE")
    assert high.better(0.8, 0.7) and not high.better(0.7, 0.8) and not high.better(0.8, 0.8)
    assert low.better(0.1, 0.2) and not low.better(0.2, 0.1)
    assert high.better(0.1, None) and not high.better(None, 0.1) and not high.better(None, None)


def test_it_can_be_left(team: Team, tmp_path: Path) -> None:
    config = ValidationConfig(root=str(_sets(tmp_path)), sets=("a",), size=64)
    asked: list[int] = []

    def leave() -> bool:
        asked.append(1)
        return len(asked) == 2

    assert Validation(config, "IoU").run(Bright(), team, leave=leave) is None
    assert len(asked) == 2


def test_what_is_wrong_is_said_at_once(team: Team, tmp_path: Path) -> None:
    root = str(_sets(tmp_path))
    with pytest.raises(ConfigError, match=r"`checkpoints\.best` is WF, which is not among"):
        Validation(ValidationConfig(root=root, sets=("a",)), "WF")
    with pytest.raises(ConfigError, match="did you mean `MAE`"):
        Validation(ValidationConfig(root=root, sets=("a",), metrics=("IoU", "MAEE")), "IoU")
    with pytest.raises(DataError, match="nowhere"):
        Validation(ValidationConfig(root=root, sets=("nowhere",)), "IoU")
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "a" / "gt" / "0.png")
    with pytest.raises(DataError, match="9x9, its picture 56x40"):
        Validation(ValidationConfig(root=root, sets=("a",), size=64), "IoU").run(Bright(), team)


def test_the_network_computes_without_gradients(team: Team, tmp_path: Path) -> None:
    seen = []

    class Watched(Bright):
        def forward(self, picture: Tensor) -> Prediction:
            seen.append(torch.is_grad_enabled())
            return super().forward(picture)

    Validation(ValidationConfig(root=str(_sets(tmp_path)), sets=("b",), size=64), "IoU").run(Watched(), team)
    assert seen == [False]
