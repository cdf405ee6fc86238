"""The figures of an `Estimate`, measured over a few steps of a run that is then thrown away.

Time and activations are nearly proportional to samples times pixels. A step that would take too long or too much
memory is measured with fewer or smaller samples, and the estimate says by how much it was scaled up.
"""

from __future__ import annotations

import logging
import time
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from birefnet.data.budget import available_memory
from birefnet.network.recompute import BATCH_NORMS
from birefnet.training.average import moving
from birefnet.training.distributed import check_divisible, device_name
from birefnet.training.estimate import Estimate, Memory, PartSize, PhaseTime
from birefnet.training.plan import Step, cut
from birefnet.training.samples import Batch
from birefnet.training.settings import Phase
from birefnet.training.step import Stepper
from birefnet.training.trainer import Trainer

log = logging.getLogger(__name__)

_PROBE = 128  # side of the first, small step
_LONGEST = 20.0  # seconds that a measured step may be expected to take
_ROOM = 0.4  # part of the free memory that it may be expected to take
_ROUNDS = 3  # measured steps, of which the median counts


def estimate(trainer: Trainer, processes: int = 1) -> Estimate:
    """Measure a run that has just been made, in one process; the trainer is of no use afterwards.

    Args:
        trainer: of the recipe; it has not run.
        processes: on how many the run will be, each with a device like this one.

    Raises:
        ConfigError: if so many processes cannot share the recipe's batches.
    """
    check_divisible(trainer.config, processes)
    return _Measuring(trainer, processes).estimate()


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of all tensors that operations make, for as long as they live, and remembers the peak.

    Args:
        known: tensors that are there already and do not count.
    """

    def __init__(self, known: list[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._seen = {tensor.untyped_storage()._cdata for tensor in known}

    def __torch_dispatch__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, Tensor):
                self._see(value.untyped_storage())
        return result

    def _see(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key not in self._seen:
            self._seen.add(key)
            self.now += size
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.now -= size


class _Measuring:
    """Takes steps of chosen sizes with a trainer's network and optimiser."""

    def __init__(self, trainer: Trainer, processes: int) -> None:
        self.trainer, self.processes = trainer, processes
        self.device = trainer.team.device
        norms = any(isinstance(module, BATCH_NORMS) and module.training for module in trainer.network.modules())
        self.fewest = 2 if norms else 1  # samples with which a step works
        self.seconds_each = self.bytes_each = 0.0  # expected for a sample's pixel

    def estimate(self) -> Estimate:
        trainer = self.trainer
        parts = [(size, max(cut(batch // self.processes, trainer.config.micro_batch))) for size, batch in self._sizes()]
        size, count = max(parts, key=lambda part: part[0][0] * part[0][1] * part[1])
        self._probe()
        activations, scaled = self._activations(size, count)
        sample_seconds = self._sample_seconds(size)
        each = sample_seconds / (size[0] * size[1])
        return Estimate(
            device=device_name(self.device),
            processes=self.processes,
            parts=part_sizes(trainer.network),
            memory=self._memory(activations, scaled),
            phases=tuple(self._phase(index, phase, each) for index, phase in enumerate(trainer.config.phases)),
            sample_seconds=sample_seconds,
            workers=trainer.config.workers,
        )

    def _sizes(self) -> list[tuple[tuple[int, int], int]]:
        return self.trainer.plan.sizes()

    def _probe(self) -> None:
        """A first idea of time and memory, from samples so small that they fit anywhere."""
        pixels = _PROBE * _PROBE * self.fewest
        self.bytes_each = self._peak((_PROBE, _PROBE), self.fewest) / pixels
        self.seconds_each = self._seconds((_PROBE, _PROBE), self.fewest) / pixels

    def _affordable(self, size: tuple[int, int], count: int) -> tuple[tuple[int, int], int, float]:
        """The largest step that may be measured instead of this one, and how much smaller it is."""
        cuda = self.device.type == "cuda"
        free: int | None = torch.cuda.mem_get_info(self.device)[0] if cuda else available_memory()
        # Where the system does not tell what is free, time alone is the limit.
        pixels = min(_LONGEST / self.seconds_each, _ROOM * free / self.bytes_each if free else float("inf"))
        width, height = size
        fewer = max(min(count, int(pixels / (width * height))), min(count, self.fewest))
        while width * height * fewer > pixels and min(width, height) > _PROBE:
            width, height = width // 2 // 32 * 32 or 32, height // 2 // 32 * 32 or 32
        return (width, height), fewer, size[0] * size[1] * count / (width * height * fewer)

    def _activations(self, size: tuple[int, int], count: int) -> tuple[int, float]:
        smaller, fewer, scaled = self._affordable(size, count)
        log.info("measuring memory with %d samples of %dx%d", fewer, *smaller)
        return round(self._peak(smaller, fewer) * scaled), scaled

    def _peak(self, size: tuple[int, int], count: int) -> int:
        """Bytes that a step holds at its peak beside weights and gradients."""
        trainer = self.trainer
        gradients = [p.grad for p in trainer.network.parameters() if p.grad is not None]
        if self.device.type == "cuda":
            self._accumulate(trainer.stepper, size, count)
            before = torch.cuda.memory_allocated(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
            self._accumulate(trainer.stepper, size, count)
            return int(torch.cuda.max_memory_allocated(self.device)) - int(before)
        if not gradients:
            self._accumulate(trainer.stepper, size, count)
            gradients = [p.grad for p in trainer.network.parameters() if p.grad is not None]
        # The bare network: a compiled one would not let its operations be watched.
        bare = Stepper(trainer.team, trainer.network, trainer.optimiser, seed=0, micro=None, clip=0, spec=trainer.spec)
        with LiveBytes([*trainer.network.parameters(), *trainer.network.buffers(), *gradients]) as live:
            self._accumulate(bare, size, count)
        return int(live.peak)

    def _accumulate(self, stepper: Stepper, size: tuple[int, int], count: int) -> None:
        width, height = size
        picture = torch.randint(256, (count, 3, height, width), dtype=torch.uint8)
        mask = torch.zeros(count, 1, height, width, dtype=torch.uint8)
        mask[..., height // 4 : height // 2, width // 4 : width // 2] = 255
        step = Step(number=0, phase=0, epoch=0, size=size, first=0, batch=count, lr=1.0)
        stepper.accumulate(step, Batch(picture, mask, torch.full((count,), -1)), self.trainer.recipe.losses)

    def _seconds(self, size: tuple[int, int], count: int) -> float:
        """The median time to compute gradients for `count` samples at once."""
        stepper = Stepper(
            self.trainer.team,
            self.trainer.model,
            self.trainer.optimiser,
            seed=0,
            micro=None,
            clip=self.trainer.config.clip,
            spec=self.trainer.spec,
        )
        return self._timed(lambda: self._accumulate(stepper, size, count))

    def _timed(self, work: Callable[[], None]) -> float:
        times: list[float] = []
        for _ in range(_ROUNDS + 1):
            began = time.perf_counter()
            work()
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            times.append(time.perf_counter() - began)
            if sum(times) > _LONGEST and len(times) > 1:
                break
        kept = sorted(times[1:])  # the first one also sets things up
        return kept[len(kept) // 2]

    def _move(self) -> None:
        self.trainer.team.accelerator.clip_grad_norm_(self.trainer.model.parameters(), self.trainer.config.clip or 1e9)
        for group in self.trainer.optimiser.param_groups:
            group["lr"] = 0.0
        self.trainer.optimiser.step()
        self.trainer.average.move(1)

    def _phase(self, index: int, phase: Phase, sample_seconds_each: float) -> PhaseTime:
        plan, (largest, batch) = self.trainer.plan, self._sizes()[index]
        share = batch // self.processes
        part = max(cut(share, self.trainer.config.micro_batch))
        smaller, fewer, scaled = self._affordable(largest, part)
        log.info("measuring time with %d samples of %dx%d", fewer, *smaller)
        pixels = mean_pixels(phase)
        each = self._seconds(smaller, fewer) / (smaller[0] * smaller[1] * fewer)
        computing = each * pixels * share + self._timed(self._move)
        making = sample_seconds_each * pixels * share / max(1, self.trainer.config.workers)
        step_seconds = max(computing, making) if self.trainer.config.workers else computing + making
        steps = plan.phase_steps(index)
        epochs = steps * batch / plan.epoch_length
        return PhaseTime(
            steps=steps,
            epochs=epochs,
            size=size_in_words(phase),
            batch=batch,
            step_seconds=step_seconds,
            epoch_seconds=step_seconds * steps / epochs,
            waits_for_data=making > computing,
            scaled=scaled,
        )

    def _sample_seconds(self, size: tuple[int, int]) -> float:
        numbers = iter(range(1 << 30))
        return self._timed(lambda: void(self.trainer.stream.sample(next(numbers), size)))

    def _memory(self, activations: int, scaled: float) -> Memory:
        network = self.trainer.network
        learning = size_of([p for p in network.parameters() if p.requires_grad])
        return Memory(
            weights=size_of([*network.parameters(), *network.buffers()]),
            gradients=learning,
            optimiser=2 * learning,
            average=size_of(moving(network)) if self.trainer.config.ema else 0,
            activations=activations,
            exchange=learning if self.processes > 1 else 0,
            scaled=scaled,
        )


def part_sizes(network: nn.Module) -> tuple[PartSize, ...]:
    """Values of the backbone, of the rest of the encoder, of the decoder and of whatever else there is, and of all."""
    found: dict[str, list[int]] = {}
    for name, parameter in network.named_parameters():
        first, _, rest = name.partition(".")
        part = "backbone" if first == "encoder" and rest.startswith("backbone.") else first
        for key in (part, "network"):
            sums = found.setdefault(key, [0, 0])
            sums[0] += parameter.numel()
            sums[1] += parameter.numel() if parameter.requires_grad else 0
    whole = found.pop("network")
    return tuple(PartSize(name=k, values=v[0], learning=v[1]) for k, v in [*found.items(), ("network", whole)])


def mean_pixels(phase: Phase) -> float:
    """Pixels of a sample, the mean where sizes are drawn."""
    if phase.dynamic is not None:
        sides = range(phase.dynamic.smallest, phase.dynamic.largest + 1, phase.dynamic.step)
        return (sum(sides) / len(sides)) ** 2  # width and height are drawn apart
    if phase.sizes is not None:
        return sum(side * side for side in phase.sizes) / len(phase.sizes)
    return float(phase.shape[0] * phase.shape[1])


def size_in_words(phase: Phase) -> str:
    """ "1024x1024", "512, 768 or 1024 squared", "256 to 2304 a side"."""
    if phase.dynamic is not None:
        return f"{phase.dynamic.smallest} to {phase.dynamic.largest} a side"
    if phase.sizes is not None:
        return f"sides of {', '.join(map(str, phase.sizes))}"
    return f"{phase.shape[0]}x{phase.shape[1]}"


def size_of(tensors: list[Tensor]) -> int:
    """Bytes of the tensors."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def void(_value: object) -> None:
    """Nothing, whatever it is given."""
