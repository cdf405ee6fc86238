"""The training loop: one step reads like a sentence, and everything needed to go on is in the checkpoint."""

from __future__ import annotations

import csv
import dataclasses
import json
import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from birefnet.data.dataset import Library, Mixture
from birefnet.errors import ConfigError, WeightsError
from birefnet.network import BiRefNet
from birefnet.pixels.prepare import IMAGENET_MEAN, IMAGENET_STD
from birefnet.training.config import Recipe, TrainingConfig
from birefnet.training.losses import total_loss
from birefnet.training.start import load_folded, start_folded
from birefnet.training.validation import Scores, validate
from birefnet.weights.checkpoint import save_model

log = logging.getLogger(__name__)

Progress = Callable[[int, int, dict[str, float]], None]


class Samples(Dataset[tuple[Tensor, Tensor]]):
    """Samples by (number, size): picture (3, S, S) and mask (1, S, S), uint8."""

    def __init__(self, mixture: Mixture) -> None:
        self.mixture = mixture

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, Tensor]:
        picture, mask = self.mixture.sample(*key)
        return torch.from_numpy(picture).permute(2, 0, 1), torch.from_numpy(mask)[None]


def batches(config: TrainingConfig, start: int) -> Iterator[list[tuple[int, int]]]:
    """The (number, size) of every sample of every step from step `start` on."""
    step = number = 0
    for phase in config.phases:
        for _ in range(phase.steps):
            if step >= start:
                yield [(number + i, phase.size) for i in range(phase.batch)]
            step, number = step + 1, number + phase.batch


def rate(config: TrainingConfig, step: int) -> float:
    """The part of the learning rate in force at `step`: a linear rise, then a cosine fall."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    done = (step - config.warmup) / max(1, config.steps - config.warmup)
    return config.final_lr + (1 - config.final_lr) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


class Trainer:
    """A run: made from a recipe and a folder, it starts there or goes on where the folder's checkpoint stands.

    Args:
        recipe: all about the run.
        folder: gets `last.pt` (all that is needed to go on), `NAME.safetensors` (the averaged weights) and
            `log.csv`, `validation.csv`.
        device: where to compute.

    Raises:
        ConfigError: if the folder holds the checkpoint of another recipe.
        DataError, WeightsError: if something that the recipe names is missing or damaged.
    """

    def __init__(self, recipe: Recipe, folder: Path, device: str = "cpu") -> None:
        self.recipe, self.config, self.folder = recipe, recipe.training, folder
        self.device = torch.device(device)
        torch.manual_seed(recipe.seed)
        folder.mkdir(parents=True, exist_ok=True)
        self.mixture = Mixture(Library.load(recipe.data), recipe.data, recipe.seed)
        self.network = self._made()
        if recipe.start and not self.checkpoint.exists():
            self._start(Path(recipe.start))
        self.optimiser = self._optimiser()
        self.average = {name: value.detach().clone() for name, value in self._floats()}
        self.step = 0
        if self.checkpoint.exists():
            self._resume()

    @property
    def checkpoint(self) -> Path:
        """The file from which the run goes on."""
        return self.folder / "last.pt"

    def run(self, progress: Progress | None = None, until: int | None = None) -> dict[str, Scores]:
        """Train to the end (or to step `until`) and return the last validation's scores.

        Ctrl-C saves a checkpoint before it leaves.
        """
        end = min(self.config.steps, until) if until is not None else self.config.steps
        scores: dict[str, Scores] = {}
        loader = self._loader()
        self.network.train()
        try:
            for picture, mask in loader:
                if self.step >= end:
                    break
                parts = self._step(*self._to_device(picture, mask))
                self.step += 1
                if progress is not None:
                    progress(self.step, self.config.steps, parts)
                if self.step % self.config.report_every == 0:
                    self._log("log.csv", {"step": self.step, "time": round(time.time()), **parts})
                if self.step % self.config.validate_every == 0 or self.step == end:
                    scores = self._validate()
                if self.step % self.config.save_every == 0 or self.step == end:
                    self.save()
        except KeyboardInterrupt:
            self.save()
            raise
        return scores

    def _step(self, picture: Tensor, mask: Tensor) -> dict[str, float]:
        for group in self.optimiser.param_groups:
            group["lr"] = group["height"] * rate(self.config, self.step)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bf16"):
            prediction = self.network(picture)
        loss, parts = total_loss(prediction, picture, mask, self.recipe.losses)
        self.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip)
        if not math.isfinite(float(norm)):
            raise WeightsError(f"The gradient at step {self.step} is not finite; lower `training.lr` or use fp32")
        self.optimiser.step()
        self._move_average()
        return {"loss": float(loss.detach()), "norm": float(norm), **parts}

    def _to_device(self, picture: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 to the network's normalised float input and a mask in [0, 1]."""
        mean = torch.tensor(IMAGENET_MEAN, device=self.device).view(3, 1, 1)
        std = torch.tensor(IMAGENET_STD, device=self.device).view(3, 1, 1)
        normalised = (picture.to(self.device).float() / 255 - mean) / std
        return normalised.contiguous(memory_format=torch.channels_last), mask.to(self.device).float() / 255

    def _loader(self) -> DataLoader[Any]:
        # A list, not a generator: workers must be able to be handed their batches from any start.
        remaining = list(batches(self.config, self.step))
        return DataLoader(
            Samples(self.mixture),
            batch_sampler=remaining,
            num_workers=self.config.workers,
            # Its own generator: drawing from the one that dropout uses would make resuming inexact.
            generator=torch.Generator().manual_seed(self.recipe.seed),
            multiprocessing_context="fork" if self.config.workers else None,
        )

    def _optimiser(self) -> torch.optim.AdamW:
        """AdamW in four groups: backbone or not, decayed (kernels and matrices) or not (biases, norms)."""
        groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
        for name, parameter in self.network.named_parameters():
            if parameter.requires_grad:
                groups.setdefault((name.startswith("encoder.backbone."), parameter.ndim > 1), []).append(parameter)
        settings = []
        for (backbone, decayed), parameters in sorted(groups.items()):
            height = self.config.lr * (self.config.backbone_lr if backbone else 1)
            decay = self.config.weight_decay if decayed else 0.0
            settings.append({"params": parameters, "lr": height, "height": height, "weight_decay": decay})
        return torch.optim.AdamW(settings, fused=True)

    def _floats(self) -> Iterator[tuple[str, Tensor]]:
        return ((name, value) for name, value in self.network.state_dict().items() if value.is_floating_point())

    @torch.no_grad()
    def _move_average(self) -> None:
        # Young averages move faster, or the random start would linger for hundreds of steps.
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        current = [value for _, value in self._floats()]
        torch._foreach_lerp_(list(self.average.values()), current, 1 - decay)

    def averaged(self) -> BiRefNet:
        """A copy of the network with the moving average of its weights, in eval mode."""
        network = self._made()
        network.load_state_dict({**self.network.state_dict(), **self.average})
        network.eval()
        return network

    def _made(self) -> BiRefNet:
        network = BiRefNet(self.recipe.network).to(self.device)
        # Convolutions on a CPU run up to twice as fast with the channels last.
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return network

    def _validate(self) -> dict[str, Scores]:
        if self.recipe.validation is None:
            return {}
        scores = validate(self.averaged(), self.recipe.validation, self.device)
        for name, value in scores.items():
            self._log("validation.csv", {"step": self.step, "set": name, **dataclasses.asdict(value)})
        log.info("step %d: IoU %.4f, MAE %.4f", self.step, scores["all"].iou, scores["all"].mae)
        return scores

    def save(self) -> None:
        """Write the checkpoint and the averaged weights, each beside its place and then renamed."""
        state = {
            "recipe": self.recipe.to_dict(),
            "step": self.step,
            "network": self.network.state_dict(),
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state_all() if self.device.type == "cuda" else [],
        }
        beside = self.checkpoint.with_suffix(".part")
        torch.save(state, beside)
        os.replace(beside, self.checkpoint)
        side = self.recipe.validation.size if self.recipe.validation else self.config.phases[-1].size
        metadata = {"size": json.dumps([side, side])}  # what `birefnet remove` will show it
        save_model(self.averaged(), self.folder / f"{self.recipe.name}.safetensors", metadata)

    def _resume(self) -> None:
        state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        theirs, ours = _plain(state["recipe"]), _plain(self.recipe.to_dict())
        if theirs["network"] != ours["network"]:
            raise ConfigError(f"`{self.checkpoint}` is of another network; choose another folder for this recipe")
        changed = [part for part in ours if theirs.get(part) != ours[part]]
        if changed:
            log.warning("going on with another %s than the run began with", ", ".join(changed))
        self.step = int(state["step"])
        self.network.load_state_dict(state["network"])
        self.average = state["average"]
        self.optimiser.load_state_dict(state["optimiser"])
        torch.set_rng_state(state["random"].cpu())
        if state["random_cuda"] and self.device.type == "cuda":
            torch.cuda.set_rng_state_all([random.cpu() for random in state["random_cuda"]])
        log.info("going on at step %d", self.step)

    def _start(self, path: Path) -> None:
        """Backbone weights from `path`; its norms are measured on samples of this run."""
        size, count = 224, 192
        numbers = range(0, count, 16)

        def pictures() -> Iterator[Tensor]:
            for first in numbers:
                made = [self.mixture.sample(first + i, size)[0] for i in range(16)]
                stacked = torch.from_numpy(np.stack(made)).permute(0, 3, 1, 2)
                yield self._to_device(stacked, stacked[:, :1])[0]

        start_folded(self.network.encoder.backbone, load_folded(path), pictures())

    def _log(self, name: str, row: dict[str, Any]) -> None:
        path = self.folder / name
        new = not path.exists()
        with path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(row))
            if new:
                writer.writeheader()
            writer.writerow({key: f"{value:.5g}" if isinstance(value, float) else value for key, value in row.items()})


def _plain(value: Any) -> Any:
    """Tuples as lists: a recipe compared with a saved one must not differ by that."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, list | tuple) else value
