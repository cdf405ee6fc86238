import itertools

import pytest

from birefnet.errors import ConfigError
from birefnet.training.config import FinetuneConfig, Interval, LossWeights
from birefnet.training.schedule import weights_at

DIS = LossWeights(bce=30, iou=0.5, ssim=10, mae=0)
GENERAL = {"bce": 0.0, "iou": 0.5, "mae": 0.9}


def _last(epochs: int, factors: dict[str, float], mode: str) -> FinetuneConfig:
    return FinetuneConfig(last=Interval(epochs, "epochs"), factors=factors, mode=mode)  # type: ignore[arg-type]


def test_without_an_end_nothing_changes() -> None:
    assert weights_at(DIS, None, 499, 500) == DIS


def test_compounding_multiplies_every_epoch_of_the_end() -> None:
    """General, 200 epochs, the last 20: by hand."""
    weights, finetune = LossWeights(), _last(20, GENERAL, "compounding")
    assert weights_at(weights, finetune, 179, 200) == weights
    first, second, last = (weights_at(weights, finetune, epoch, 200) for epoch in (180, 181, 199))
    assert (first.bce, first.iou, first.mae, first.ssim) == (0, 0.25, 90, 10)
    assert (second.bce, second.iou) == (0, 0.125) and second.mae == pytest.approx(81)
    assert last.iou == pytest.approx(0.5**21) and last.mae == pytest.approx(12.157665, rel=1e-6)


def test_a_switch_multiplies_once() -> None:
    finetune = _last(40, {"bce": 0.0, "iou": 0.5}, "switch")
    assert weights_at(DIS, finetune, 459, 500) == DIS
    assert {weights_at(DIS, finetune, epoch, 500) for epoch in range(460, 500)} == {
        LossWeights(bce=0, iou=0.25, ssim=10, mae=0)
    }


def test_matting_fades_ssim_and_mse() -> None:
    weights = LossWeights(iou=0, mse=5)
    found = weights_at(weights, _last(10, {"mse": 0.9, "ssim": 0.9}, "compounding"), 142, 150)
    assert found.mse == pytest.approx(5 * 0.729) and found.ssim == pytest.approx(7.29)
    assert (found.bce, found.mae) == (30, 100)


def test_a_run_shorter_than_its_end_fades_from_its_beginning() -> None:
    finetune = _last(20, {"mae": 0.9}, "compounding")
    assert [weights_at(LossWeights(), finetune, epoch, 3).mae for epoch in range(3)] == pytest.approx([90, 81, 72.9])


def test_any_epoch_can_be_asked_for_in_any_order() -> None:
    finetune = _last(5, GENERAL, "compounding")
    forth = [weights_at(LossWeights(), finetune, epoch, 9) for epoch in range(9)]
    back = [weights_at(LossWeights(), finetune, epoch, 9) for epoch in reversed(range(9))]
    assert forth == back[::-1]
    assert all(a.mae >= b.mae for a, b in itertools.pairwise(forth))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"factors": {"bec": 0}}, "did you mean `finetune.factors.bce`"),
        ({"factors": {"bce": -1}}, "0 or more"),
        ({"last": Interval(500)}, "counts epochs"),
        ({"mode": "fade"}, "compounding or switch"),
    ],
)
def test_an_end_that_cannot_be_is_refused(values: dict[str, object], message: str) -> None:
    good: dict[str, object] = {"last": Interval(2, "epochs"), "factors": {"bce": 0.0}}
    with pytest.raises(ConfigError) as caught:
        FinetuneConfig(**{**good, **values})  # type: ignore[arg-type]
    assert message in f"{caught.value}; {caught.value.hint}"
