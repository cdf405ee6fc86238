from __future__ import annotations

import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from birefnet.errors import OutOfMemory, WeightsError
from birefnet.network import Prediction
from birefnet.pixels.prepare import InputSpec
from birefnet.training.distributed import Team
from birefnet.training.losses import LossWeights
from birefnet.training.plan import Step
from birefnet.training.reading import parse_recipe
from birefnet.training.samples import Batch
from birefnet.training.step import Meter, Stepper, to_network

STEP = Step(number=0, phase=0, epoch=0, size=(32, 32), first=0, batch=4, lr=0.5)
SPEC = InputSpec(width=32, height=32)
WEIGHTS = LossWeights(bce=30, iou=0.5, ssim=10, mae=100)


class Small(nn.Module):
    """Two convolutions with dropout between, no norm: parts of a batch do not see each other."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Dropout(dropout), nn.Conv2d(4, 1, 3, padding=1))

    def forward(self, picture: Tensor) -> Prediction:
        return Prediction(self.body(picture))


@pytest.fixture
def team(recipe_values: dict[str, Any]) -> Team:
    return Team(parse_recipe(recipe_values), "cpu")


def _batch() -> Batch:
    generator = torch.Generator().manual_seed(1)
    picture = torch.randint(256, (4, 3, 32, 32), dtype=torch.uint8, generator=generator)
    mask = torch.randint(2, (4, 1, 32, 32), dtype=torch.uint8, generator=generator) * 255
    return Batch(picture, mask, torch.full((4,), -1))


def _stepper(team: Team, network: nn.Module, micro: int | None = None, clip: float = 0.0) -> Stepper:
    groups = [{"params": list(network.parameters()), "lr": 0.1, "height": 0.1}]
    model, optimiser = team.prepare(network, torch.optim.SGD(groups))
    return Stepper(team, model, optimiser, seed=3, micro=micro, clip=clip, spec=SPEC)


@pytest.mark.parametrize("micro", [1, 2, 3])
def test_parts_add_up_to_the_batch(team: Team, micro: int) -> None:
    whole, parts = Small(), Small()
    values = _stepper(team, whole).take(STEP, _batch(), WEIGHTS)
    found = _stepper(team, parts, micro).take(STEP, _batch(), WEIGHTS)
    assert found == pytest.approx(values, rel=1e-5)
    assert values["loss"] == pytest.approx(sum(values[name] for name in ("bce", "iou", "ssim", "mae")))
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_what_is_dropped_goes_with_the_part_not_with_the_process(team: Team) -> None:
    """Two processes with two samples each drop what one process with parts of two drops."""
    alone = _stepper(team, Small(0.5), micro=2)
    terms = alone.accumulate(STEP, _batch(), WEIGHTS)
    sums: dict[str, float] = {}
    for rank in range(2):
        member = SimpleNamespace(rank=rank, count=1, device=team.device, accelerator=team.accelerator)
        half = Stepper(member, alone.model, alone.optimiser, seed=3, micro=None, clip=0, spec=SPEC)  # type: ignore[arg-type]
        slice_ = Batch(*(tensor[2 * rank : 2 * rank + 2] for tensor in _batch()))
        for name, value in half.accumulate(STEP, slice_, WEIGHTS).items():
            sums[name] = sums.get(name, 0.0) + value
    assert sums == pytest.approx(terms, rel=1e-6)


def test_the_rate_and_the_clip(team: Team) -> None:
    network = Small()
    before = [parameter.detach().clone() for parameter in network.parameters()]
    stepper = _stepper(team, network, clip=0.01)
    values = stepper.take(STEP, _batch(), WEIGHTS)
    assert values["norm"] > 0.01  # as it was before clipping
    moved = torch.stack([(a - b).norm() for a, b in zip(before, network.parameters(), strict=True)]).norm()
    assert float(moved.detach()) == pytest.approx(0.01 * 0.1 * 0.5, rel=1e-3)


class Scaler:
    """What fp16 does on a GPU: it scales the loss, and leaves out steps whose gradient is not finite."""

    def scale(self, loss: Tensor) -> Tensor:
        return loss


def test_fp16_may_skip_steps_but_not_for_ever(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    accelerator = SimpleNamespace(
        scaler=Scaler(),
        optimizer_step_was_skipped=True,
        clip_grad_norm_=lambda _parameters, _most: torch.tensor(float("inf")),
        autocast=team.accelerator.autocast,
        backward=lambda loss: loss.backward(),
    )
    stepper = _stepper(team, Small())
    monkeypatch.setattr(team, "accelerator", accelerator)
    for _ in range(29):
        stepper.take(STEP, _batch(), WEIGHTS)
    accelerator.optimizer_step_was_skipped = False
    stepper.take(STEP, _batch(), WEIGHTS)
    accelerator.optimizer_step_was_skipped = True
    with pytest.raises(WeightsError, match=r"30 steps.*bf16 or fp32"):
        for _ in range(30):
            stepper.take(STEP, _batch(), WEIGHTS)


def test_pictures_are_normalised() -> None:
    picture = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 32, 32)
    found = to_network(picture, torch.device("cpu"), SPEC)
    assert found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found[0, :, 0, 0], torch.tensor([-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225]))
    torch.testing.assert_close(found[1, :, 0, 0], torch.tensor([0.515 / 0.229, 0.544 / 0.224, 0.594 / 0.225]))
    halves = to_network(picture, torch.device("cpu"), replace(SPEC, mean=(0.5, 0.5, 0.5), std=(0.5, 0.25, 1.0)))
    torch.testing.assert_close(halves[:, :, 0, 0], torch.tensor([[-1.0, -2.0, -0.5], [1.0, 2.0, 0.5]]))


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_a_step_that_does_not_fit_is_one_sentence(team: Team, error: Exception) -> None:
    class Large(Small):
        def forward(self, picture: Tensor) -> Prediction:
            raise error

    with pytest.raises(OutOfMemory, match=r"^A step of 2 at once of 32x32 pixels on `cpu` did not fit") as caught:
        _stepper(team, Large(), micro=2).take(STEP, _batch(), WEIGHTS)
    assert caught.value.hint is not None and "training.micro_batch" in caught.value.hint


def test_the_meter_counts_steps_only(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    meter = Meter()
    for value in (1.0, 3.0):
        now[0] += 2
        meter.count(4, {"loss": value})
        now[0] += 50  # a validation
        meter.start()
    assert meter.rate() == pytest.approx(2.0)
    assert meter.take() == {"loss": 2.0}
    now[0] += 1
    meter.count(4, {"loss": 5.0})
    assert meter.rate() == pytest.approx(4.0) and meter.take() == {"loss": 5.0}
