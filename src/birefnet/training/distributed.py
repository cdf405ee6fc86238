"""One process or many, through Accelerate: which device, who am I, and sums over all.

A run is started once per process (`accelerate launch`, `torchrun`); the launcher tells each its rank by environment
variables, which Accelerate reads. Whatever else the launcher's configuration says about precision, compiling or
accumulation does not count: the recipe decides.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from types import ModuleType
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from birefnet.devices import TRAINS_ON, choose_device
from birefnet.errors import BiRefNetError, ConfigError, DeviceError, require
from birefnet.network.recompute import Recomputable
from birefnet.training.config import Recipe
from birefnet.training.settings import TrainingConfig

T = TypeVar("T")

# How long a process waits for the others before it gives up; a validation may keep one of them busy for long.
_PATIENCE = timedelta(minutes=30)
_COMPILER = "inductor"
_PRECISION = {"fp32": "no", "fp16": "fp16", "bf16": "bf16"}


class Team:
    """The processes of a run.

    Args:
        recipe: its precision, compiling and losses decide how the network is wrapped.
        device: "cpu", "cuda", "mps", "xpu" or "auto".

    Attributes:
        accelerator: Accelerate's, set up as the recipe says.
        device: of this process.
        rank: number of this process, from 0.
        count: processes in all.
        main: whether this is the first one, which writes and talks.
        local_count: processes on this machine.

    Raises:
        DeviceError: if there is no such device.
        ConfigError: if the device cannot do what the recipe asks for.
    """

    def __init__(self, recipe: Recipe, device: str = "auto") -> None:
        kind = find_device(device)
        if recipe.training.precision == "fp16" and kind == "cpu":
            raise ConfigError("`training.precision` is fp16, which needs a GPU; choose bf16 or fp32 on the CPU")
        self.accelerator = _accelerator(recipe, kind)
        self.device: torch.device = self.accelerator.device
        self.rank, self.count = int(self.accelerator.process_index), int(self.accelerator.num_processes)
        self.main = self.rank == 0
        self.local_count = int(os.environ.get("LOCAL_WORLD_SIZE", self.count))
        check_divisible(recipe.training, self.count)

    @property
    def sharded(self) -> bool:
        """Whether weights and optimiser states are cut into pieces over the processes (FSDP)."""
        return str(self.accelerator.distributed_type).endswith("FSDP")

    def prepare(self, network: nn.Module, optimiser: torch.optim.Optimizer) -> tuple[nn.Module, Any]:
        """Wrap both for this team; `network` itself shares its weights with what is returned."""
        if self.sharded:
            # Their weights are gathered when they are needed, one block after the other.
            blocks = {type(module).__name__ for module in network.modules() if isinstance(module, Recomputable)}
            self.accelerator.state.fsdp_plugin.transformer_cls_names_to_wrap = sorted(blocks)
        model, wrapped = self.accelerator.prepare(network, optimiser)
        return model, wrapped

    def total(self, values: Mapping[str, float]) -> dict[str, float]:
        """Each value summed over the processes, which must have the same names in the same order."""
        if self.count == 1:
            return dict(values)
        dtype = torch.float32 if self.device.type == "mps" else torch.float64
        sums: Tensor = torch.tensor(list(values.values()), dtype=dtype, device=self.device)
        torch.distributed.all_reduce(sums)
        return dict(zip(values, sums.tolist(), strict=True))

    def gather(self, items: Sequence[T]) -> list[T]:
        """The items of all processes in the order of their ranks."""
        if self.count == 1:
            return list(items)
        lists: list[Any] = [None] * self.count
        torch.distributed.all_gather_object(lists, list(items))
        return [item for one in lists for item in one]

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        return self.total({"flag": float(flag)})["flag"] > 0

    def lost_others(self, error: RuntimeError) -> bool:
        """Whether the error is that another process has gone, which may have said why."""
        if self.count == 1 or isinstance(error, BiRefNetError):
            return False
        # NCCL's are DistErrors. Gloo raises plain RuntimeErrors, which begin with the place in its source.
        return isinstance(error, torch.distributed.DistError) or re.match(r"\[\S*\bgloo\b", str(error)) is not None

    def wait(self) -> None:
        """Go on when every process has come here."""
        self.accelerator.wait_for_everyone()

    def leave(self) -> None:
        """Take leave of the other processes; without it, some backends complain at exit."""
        if self.count > 1:
            self.accelerator.end_training()


def find_device(name: str) -> str:
    """The kind of device that `name` means: "cpu", "cuda", "xpu" or "mps".

    Raises:
        DeviceError: if this machine, or this build of torch, has none.
    """
    if ":" in name:
        raise DeviceError(
            f"A run takes all devices of a kind, not `{name}`.", hint="to choose among GPUs, set CUDA_VISIBLE_DEVICES"
        )
    return choose_device(name, TRAINS_ON)


def check_divisible(config: TrainingConfig, processes: int) -> None:
    """Raise ConfigError if a batch of the recipe cannot be shared out evenly."""
    for index, phase in enumerate(config.phases):
        if phase.batch % processes:
            below, above = phase.batch // processes * processes, -(-phase.batch // processes) * processes
            near = f"{below} or {above}" if below else f"{above}"
            raise ConfigError(
                f"`training.phases.{index}.batch` is {phase.batch} samples, which {processes} processes cannot share "
                f"evenly; use a batch of {near}, or another number of processes"
            )


def device_name(device: torch.device) -> str:
    """The device in words, for a note: "cuda: NVIDIA H100", "cpu: 8 threads"."""
    if device.type == "cuda":
        return f"cuda: {torch.cuda.get_device_name(device)}"
    return f"cpu: {torch.get_num_threads()} threads" if device.type == "cpu" else device.type


def synchronise_norms(network: nn.Module, team: Team) -> None:
    """Let batch norms take their statistics from all processes' samples together; `network` is changed in place.

    Raises:
        ConfigError: on several processes without GPUs, where PyTorch has no such norm.
    """
    if team.count == 1:
        return  # one process sees all samples anyway
    if team.device.type != "cuda":
        raise ConfigError(
            f"`training.batch_norm` is synchronised, which PyTorch can only do on NVIDIA or AMD GPUs, not on "
            f"{team.device.type}; set `training.batch_norm` to frozen, or use one process"
        )
    nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]


def _accelerator(recipe: Recipe, kind: str) -> Any:
    accelerate = require("accelerate", "train")
    from accelerate import utils
    from accelerate.state import AcceleratorState, PartialState

    # Accelerate keeps one state per Python process and refuses a second one with other settings; a second run in
    # the same process (a notebook, a test) begins anew. A group of processes cannot be left and stays.
    if AcceleratorState._shared_state != {}:
        AcceleratorState._reset_state(reset_partial_state=PartialState().num_processes == 1)
    losses = recipe.losses
    handlers = [
        # Weights without a gradient make DDP wait for ever unless it looks for them in every step.
        utils.DistributedDataParallelKwargs(
            find_unused_parameters=not losses.gradient or not losses.classification, gradient_as_bucket_view=True
        ),
        utils.InitProcessGroupKwargs(timeout=_PATIENCE),
    ]
    try:
        return accelerate.Accelerator(
            cpu=kind == "cpu",
            mixed_precision=_PRECISION[recipe.training.precision],
            kwargs_handlers=handlers,
            gradient_accumulation_plugin=utils.GradientAccumulationPlugin(num_steps=1),  # step.py accumulates
            dynamo_plugin=utils.TorchDynamoPlugin(backend=_COMPILER if recipe.training.compile else "no"),
            fsdp_plugin=_sharding(utils),
        )
    except ValueError as error:
        raise ConfigError(f"`training.precision` {recipe.training.precision} on {kind}: {error}") from error


def _sharding(utils: ModuleType) -> Any:
    """Accelerate's plugin for FSDP if the launcher asks for it, else None.

    Always the second version, whatever the launcher says: its default is the first, which PyTorch gives up.
    """
    if os.environ.get("ACCELERATE_USE_FSDP", "false").lower() != "true":
        return None
    plugin = utils.FullyShardedDataParallelPlugin(
        fsdp_version=2,
        reshard_after_forward=os.environ.get("FSDP_RESHARD_AFTER_FORWARD", "true").lower() != "false",
        auto_wrap_policy="TRANSFORMER_BASED_WRAP",  # `Team.prepare` says which classes
        transformer_cls_names_to_wrap=[],
    )
    # Autocast decides what is computed in which precision, as without FSDP; gradients are summed in float32.
    plugin.set_mixed_precision("fp32", override=True)
    return plugin
