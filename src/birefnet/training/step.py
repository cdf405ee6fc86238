"""One optimiser step: forward, loss and backward over the parts of a batch, then the weights move.

The loss of the step is that of the whole batch, over all processes and all parts: each part knows its share of it,
and contributions and gradients are summed. So it does not matter to the result how a batch is cut.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from birefnet.errors import WeightsError
from birefnet.memory import fitting
from birefnet.pixels.prepare import InputSpec
from birefnet.training.distributed import Team
from birefnet.training.losses import LossWeights, total_loss
from birefnet.training.plan import Step, cut, dropout_seed
from birefnet.training.samples import Batch

_SMALLER = (
    "lower `training.micro_batch`, set `training.activation_checkpointing` to all, or choose smaller sizes in "
    "`training.phases`"
)
_SKIPPED = 30  # successive steps that fp16 may skip; its scale is down to nothing by then


class Stepper:
    """Takes steps with a network.

    Args:
        team: the processes that share a batch.
        model, optimiser: as `Team.prepare` gives them.
        seed: the recipe's.
        micro: most samples that a process computes at once; None for no limit.
        clip: largest norm of the gradient; 0 for none.
        spec: the network's input, of which the mean and deviation count here.
    """

    def __init__(
        self,
        team: Team,
        model: nn.Module,
        optimiser: torch.optim.Optimizer,
        *,
        seed: int,
        micro: int | None,
        clip: float,
        spec: InputSpec,
    ) -> None:
        self.team, self.model, self.optimiser, self.spec = team, model, optimiser, spec
        self.seed, self.micro, self.clip = seed, micro, clip
        self._skipped = 0

    def take(self, step: Step, batch: Batch, weights: LossWeights) -> dict[str, float]:
        """Compute this process's slice of a batch and move the weights.

        Returns:
            The whole batch's "loss", the gradient's "norm", and the weighted terms of the loss.

        Raises:
            WeightsError: if the gradient is not finite; the weights are as they were. In fp16 such steps are
                skipped, as its scaling needs them, but not for ever.
            OutOfMemory: if it does not fit.
        """
        with self._fitting(step, batch):
            return self._take(step, batch, weights)

    def _take(self, step: Step, batch: Batch, weights: LossWeights) -> dict[str, float]:
        for group in self.optimiser.param_groups:
            group["lr"] = group["height"] * step.lr
        self.optimiser.zero_grad()
        terms = self.team.total(self.accumulate(step, batch, weights))
        parameters = self.model.parameters()
        norm = float(self.team.accelerator.clip_grad_norm_(parameters, self.clip or math.inf))
        scaler = self.team.accelerator.scaler
        if not math.isfinite(norm) and scaler is None:
            raise WeightsError(
                f"The gradient of step {step.number + 1} is not finite, and the step was not taken; "
                "lower `training.lr`, set `training.clip`, or use fp32. The last saved state is untouched"
            )
        self.optimiser.step()
        if scaler is not None:
            self._count_skipped(step, bool(self.team.accelerator.optimizer_step_was_skipped))
        return {"loss": sum(terms.values()), "norm": norm, **terms}

    def accumulate(self, step: Step, batch: Batch, weights: LossWeights) -> dict[str, float]:
        """Add the gradients of this process's slice, part by part; returns its contribution to each term.

        Raises:
            OutOfMemory: if a part does not fit.
        """
        with self._fitting(step, batch):
            return self._accumulate(step, batch, weights)

    def _fitting(self, step: Step, batch: Batch) -> AbstractContextManager[None]:
        width, height = step.size
        count = min(len(batch.picture), self.micro or len(batch.picture))
        what = f"A step of {count} at once of {width}x{height} pixels on `{self.team.device}`"
        return fitting(what, hint=_SMALLER)

    def _accumulate(self, step: Step, batch: Batch, weights: LossWeights) -> dict[str, float]:
        terms: dict[str, float] = {}
        parts = cut(len(batch.picture), self.micro)
        first = 0
        for index, count in enumerate(parts):
            part = Batch(*(tensor[first : first + count] for tensor in batch))
            sample = step.first + self.team.rank * len(batch.picture) + first
            torch.manual_seed(dropout_seed(self.seed, sample))
            # Processes exchange gradients once, in the last part's backward pass.
            alone = self.team.accelerator.no_sync(self.model) if index < len(parts) - 1 else nullcontext()
            with alone:
                for name, value in self._backward(part, weights, count / step.batch).items():
                    terms[name] = terms.get(name, 0.0) + value
            first += count
        return terms

    def _backward(self, part: Batch, weights: LossWeights, share: float) -> dict[str, float]:
        picture, mask = (
            to_network(part.picture, self.team.device, self.spec),
            part.mask.to(self.team.device).float() / 255,
        )
        with self.team.accelerator.autocast():  # Accelerate's own wrapper leaves it out for FSDP
            prediction = self.model(picture)
        classes = part.label.to(self.team.device)
        loss, terms = total_loss(prediction, picture, mask, weights, classes=classes, share=share)
        # Processes average their gradients; the loss is made of contributions that must be summed.
        self.team.accelerator.backward(loss * self.team.count)
        return terms

    def _count_skipped(self, step: Step, skipped: bool) -> None:
        self._skipped = self._skipped + 1 if skipped else 0
        if self._skipped >= _SKIPPED:
            raise WeightsError(
                f"The gradients of {_SKIPPED} steps up to {step.number + 1} are not finite; lower `training.lr`, "
                "or use bf16 or fp32"
            )


def to_network(picture: Tensor, device: torch.device, spec: InputSpec) -> Tensor:
    """(B, 3, H, W) uint8 to float32 input, channels last, normalised by the mean and deviation of `spec`."""
    mean = torch.tensor(spec.mean, device=device).view(3, 1, 1)
    std = torch.tensor(spec.std, device=device).view(3, 1, 1)
    normalised = (picture.to(device, non_blocking=True).float() / 255 - mean) / std
    return normalised.contiguous(memory_format=torch.channels_last)


class Meter:
    """Means of what steps report, and how many samples a second go through them."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._steps = self._samples = 0
        self._seconds = 0.0
        self.start()

    def start(self) -> None:
        """A step begins."""
        self._began = time.monotonic()

    def count(self, samples: int, values: Mapping[str, float]) -> None:
        """A step has ended."""
        self._seconds += time.monotonic() - self._began
        self._samples += samples
        self._steps += 1
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value

    def rate(self) -> float:
        """Samples a second since the last `take`."""
        return self._samples / max(self._seconds, 1e-9)

    def take(self) -> dict[str, float]:
        """The means since the last call, and begin anew."""
        means = {name: value / self._steps for name, value in self._sums.items()}
        self._sums, self._steps, self._samples, self._seconds = {}, 0, 0, 0.0
        return means
