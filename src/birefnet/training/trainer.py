"""The training loop: one step reads like a sentence, and everything needed to go on is in the run's folder."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from birefnet.data.dataset import open_stream
from birefnet.errors import BiRefNetError, ConfigError, DeviceError
from birefnet.network import BiRefNet
from birefnet.training.average import Average
from birefnet.training.config import Recipe
from birefnet.training.distributed import Team, device_name, synchronise_norms
from birefnet.training.making import check_batches, check_classes, make_network, make_optimiser, plain_network
from birefnet.training.plan import Plan, Step
from birefnet.training.run_folder import RunFolder
from birefnet.training.samples import Batch, Keys, batches
from birefnet.training.schedule import weights_at
from birefnet.training.settings import Interval
from birefnet.training.start import input_spec, network_config
from birefnet.training.state import averaged_weights, give_state, take_state, write_state
from birefnet.training.step import Meter, Stepper
from birefnet.training.stopping import Stopper
from birefnet.training.validation import Judgement, Validation
from birefnet.weights.checkpoint import save_model
from birefnet.weights.facts import from_spec

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Report:
    """What a step did, for whoever shows the progress.

    Attributes:
        step: steps done.
        steps: of the whole run.
        epoch, epochs: passes over the data begun, and of the whole run.
        size: (width, height) of the step's samples.
        lr: the rate of everything but the backbone.
        rate: samples a second, over all processes.
        seconds_left: until the end of the run, if it goes on so; validations not counted.
        values: the loss, the gradient's norm, and the weighted terms of the loss.
        means: the values' means since the last line of the log, if a line is due.
    """

    step: int
    steps: int
    epoch: int
    epochs: int
    size: tuple[int, int]
    lr: float
    rate: float
    seconds_left: float
    values: dict[str, float]
    means: dict[str, float] | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call of `Trainer.run` ended.

    Attributes:
        step: steps done so far.
        finished: whether these are all.
        signal: number of the signal that ended it early, or 0.
        judgement: the last validation, if there was one.
    """

    step: int
    finished: bool
    signal: int
    judgement: Judgement | None


Progress = Callable[[Report], None]


class Trainer:
    """A run: made from a recipe and a folder, it starts there or goes on where the folder's state stands.

    Making one reads and checks everything, and writes nothing. On several processes, every one makes its own.

    Args:
        recipe: all about the run.
        folder: of the run, see `RunFolder`; one that all processes see.
        device: "cpu", "cuda", "xpu", "mps" or "auto".

    Raises:
        ConfigError: if the folder holds another run's state, or the recipe cannot be done here.
        DataError, WeightsError: if something that the recipe names is missing or damaged.
        DeviceError: if there is no such device.
    """

    def __init__(self, recipe: Recipe, folder: Path, device: str = "auto") -> None:
        self.recipe = recipe = replace(recipe, network=network_config(recipe))
        self.config, self.folder = recipe.training, RunFolder(folder)
        self.team = team = Team(recipe, device)
        state = self.folder.read(recipe)
        self.spec = input_spec(recipe, state.get("input") if state is not None else None)
        self.validation = (
            Validation(recipe.validation, recipe.checkpoints.best, self.spec) if recipe.validation else None
        )
        self.stream = open_stream(recipe.data, recipe.seed, team.local_count)
        check_classes(recipe, self.stream)
        self.plan = Plan(self.config, seed=recipe.seed, epoch_length=self.stream.epoch_length)
        self.network = make_network(
            recipe, self.stream, team.device, self.spec, start=state is None, contiguous=team.sharded
        )
        check_batches(self.network, self.config, self.plan, team.count)
        if self.config.batch_norm == "synchronised":
            synchronise_norms(self.network, team)
        self.model, self.optimiser = team.prepare(self.network, make_optimiser(self.network, self.config))
        self.average = Average(self.model, self.config.ema)
        self.stepper = Stepper(
            team,
            self.model,
            self.optimiser,
            seed=recipe.seed,
            micro=self.config.micro_batch,
            clip=self.config.clip,
            spec=self.spec,
        )
        self.step = 0
        self.best: float | None = None
        if state is not None:
            self._restore(state)
        if len(set(team.gather([self.step]))) > 1:
            raise ConfigError(
                f"The processes do not see the same run in `{folder}`; put it on a disk that all machines share"
            )

    def run(self, progress: Progress | None = None, until: int | None = None) -> Outcome:
        """Train to the end, or to step `until`.

        SIGTERM and Ctrl-C end it after the step at hand and save; a second Ctrl-C ends it at once, and the run goes
        on from what was saved last.

        Raises:
            WeightsError: if the gradient is not finite, or the state cannot be written.
            DataError: if a sample cannot be made.
            DeviceError: if another process of the team was lost, or it does not fit into memory (`OutOfMemory`).
        """
        end = self.plan.steps if until is None else min(until, self.plan.steps)
        if self.team.main:
            facts = {"device": device_name(self.team.device), "processes": self.team.count}
            self.folder.open(self.recipe, self.step, facts)
        try:
            with Stopper() as stopper, self._own_chance():
                judgement = self._loop(end, stopper, progress or (lambda _report: None))
        except RuntimeError as error:
            if not isinstance(error, BiRefNetError) and self.team.lost_others(error):
                raise DeviceError(
                    f"Process {self.team.rank} lost the others; the first error of any of them says why"
                ) from error
            raise
        finally:
            self.folder.close()
        return Outcome(self.step, self.step >= self.plan.steps, stopper.signal, judgement)

    def _own_chance(self) -> AbstractContextManager[None]:
        """Inside, random numbers may be drawn and seeded as one likes; outside, nobody notices."""
        kind = self.team.device.type
        many = kind in ("cuda", "xpu")
        return torch.random.fork_rng([self.team.device] if many else [], device_type=kind if many else "cuda")

    def _loop(self, end: int, stopper: Stopper, progress: Progress) -> Judgement | None:
        judgement: Judgement | None = None
        meter = Meter()
        for batch in self._batches(end):
            step = self.plan.at(self.step)
            weights = weights_at(self.recipe.losses, self.recipe.finetune, step.epoch, self.plan.epochs)
            values = self.stepper.take(step, batch, weights)
            self.step += 1
            self.average.move(self.step)
            meter.count(step.batch, values)
            self._report(step, values, meter, progress)
            stops, last = self.team.any(stopper.asked()), self.step == end
            if not stops and (last or self._due(self.config.validate_every)):
                judgement = self._validate(stopper) or judgement
                stops = self.team.any(stopper.asked())
            kept = self.plan.kept(self.recipe.checkpoints, self.step)
            if stops or last or kept or self._due(self.config.save_every):
                self.save(kept)
            if stops:
                log.info("told to stop, and saved after step %d", self.step)
                break
            meter.start()  # of the time that a sample takes, neither validating nor saving is a part
        return judgement

    def _batches(self, end: int) -> Iterator[Batch]:
        keys = Keys(self.plan, self.step, end, rank=self.team.rank, processes=self.team.count)
        pin = self.team.device.type == "cuda"
        return batches(self.stream, keys, workers=self.config.workers, seed=self.recipe.seed, pin=pin)

    def _due(self, every: Interval) -> bool:
        return self.plan.due(every, self.step)

    def _report(self, step: Step, values: dict[str, float], meter: Meter, progress: Progress) -> None:
        left = self.plan.samples(self.plan.steps) - self.plan.samples(self.step)
        report = Report(
            step=self.step,
            steps=self.plan.steps,
            epoch=step.epoch + 1,
            epochs=self.plan.epochs,
            size=step.size,
            lr=self.config.lr * step.lr,
            rate=meter.rate(),
            seconds_left=left / meter.rate(),
            values=values,
            means=meter.take() if self._due(self.config.report_every) else None,
        )
        if report.means is not None and self.team.main:
            extra = {"epoch": report.epoch, "lr": report.lr, "samples_per_second": report.rate}
            self.folder.report(self.step, report.means, extra)
        progress(report)

    def averaged(self) -> BiRefNet:
        """A plain network with the moving average of the weights, in evaluation mode. Every process must call it."""
        return plain_network(self.recipe, averaged_weights(self.model, self.average), self.team.device)

    def _validate(self, stopper: Stopper) -> Judgement | None:
        if self.validation is None:
            return None
        if self.team.main:
            log.info("step %d: judging %d pictures", self.step, len(self.validation.pairs))
        network = self.averaged()
        every = self.config.sheet_every
        sheet = every is None or self._due(every) or self.step == self.plan.steps
        judgement = self.validation.run(network, self.team, sheet=sheet, leave=stopper.asked)
        if judgement is None:
            return None
        value = judgement.value(self.validation.best)
        if self.team.main:
            self.folder.judged(self.step, judgement)
            log.info("step %d: %s", self.step, judgement)
        if self.validation.better(value, self.best):
            self.best = value
            self._save_weights(network, self.folder.weights("best"))
        return judgement

    def save(self, kept: str | None = None) -> None:
        """Write the state to go on from and the averaged weights. Every process must call it.

        Args:
            kept: name under which the weights are kept besides, or None.
        """
        scaler = self.team.accelerator.scaler
        state = {
            "recipe": self.recipe.to_dict(),
            "step": self.step,
            "best": self.best,
            "input": from_spec(self.spec),
            "scaler": scaler.state_dict() if scaler is not None else {},
            **take_state(self.model, self.optimiser.optimizer, self.average),
        }
        if self.team.main:
            write_state(state, self.folder.state)
            network = plain_network(self.recipe, state["average"], torch.device("cpu"))
            for path in (self.folder.weights("last"), *([self.folder.checkpoint(kept)] if kept else [])):
                self._save_weights(network, path)
        self.team.wait()

    def _save_weights(self, network: BiRefNet, path: Path) -> None:
        if self.team.main:
            save_model(network, path, from_spec(self.spec))  # what `birefnet remove` will show it

    def _restore(self, state: dict[str, Any]) -> None:
        give_state(state, self.model, self.optimiser.optimizer, self.average)
        self.step = int(state["step"])
        if all(state["recipe"][part] == self.recipe.to_dict()[part] for part in ("validation", "checkpoints")):
            self.best = state["best"]  # else it was measured otherwise
        if self.team.accelerator.scaler is not None and state["scaler"]:
            self.team.accelerator.scaler.load_state_dict(state["scaler"])
        log.info("going on at step %d of %d", self.step, self.plan.steps)
