"""What a training step costs: seconds in fp32 and bf16, and memory with and without activation checkpointing.

    python benchmarks/training.py --what speed  [--backbone swin_v1_t] [--size 512] [--batch 2] [--rounds 3]
    python benchmarks/training.py --what memory [--backbone swin_v1_t] [--size 512] [--batch 2] [--precision fp32]
    python benchmarks/training.py --what gpu    [--backbone swin_v1_l] [--size 1024] [--batch 2]

A step is forward, loss, backward, clipping and AdamW, on random pictures and weights, with the offsets of the
deformable convolutions moved about as a trained network's are.

speed: the two precisions take turns in one process, so that a busy machine slows both; printed are the medians of all
rounds after the first, and their ratio. On a CPU with one thread (OMP_NUM_THREADS=1) the seconds are those that the
processor worked for this process, which the load of other programs hardly moves; otherwise they are the clock's.
memory: one fresh process per setting, each a single step without AdamW (whose state depends on the weights alone);
printed is the peak resident memory above that before the step, and the bytes that autograd keeps between forward and
backward. gpu: seconds and peak memory in bf16, plain and compiled, beside what is published for swin_v1_l at
1024x1024, batch 2; it needs CUDA.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from birefnet.network import BiRefNet, BiRefNetConfig
from birefnet.network.deform import DeformableConv
from birefnet.training.losses import LossWeights, total_loss
from birefnet.training.memory import Checkpointing, checkpoint_activations

SETTINGS: tuple[Checkpointing, ...] = ("none", "backbone", "all")
PUBLISHED = "published for swin_v1_l, 1024x1024, batch 2: 28.5 GB plain, 23.5 GB compiled"
MIB = 1 << 20


class Step:
    """One network, one batch, one optimiser: call it to train a step.

    Args:
        words: the command line.
        checkpointing: see `checkpoint_activations`.
        compiled: whether to go through torch.compile.
    """

    def __init__(
        self, words: argparse.Namespace, checkpointing: Checkpointing = "none", *, compiled: bool = False
    ) -> None:
        torch.manual_seed(0)
        self.device = words.device
        network = BiRefNet(BiRefNetConfig(backbone=words.backbone)).train().to(words.device)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        for part in network.modules():
            if isinstance(part, DeformableConv):
                nn.init.normal_(part.offset.weight, std=0.01)
        checkpoint_activations(network, checkpointing)
        self.network = network
        self.forward = torch.compile(network) if compiled else network
        self.optimiser = torch.optim.AdamW(network.parameters(), lr=1e-5, fused=True)
        self.batch = self.make_batch(words.batch, words.size)

    def make_batch(self, batch: int, size: int) -> tuple[Tensor, Tensor]:
        picture = torch.randn(batch, 3, size, size).to(self.device, memory_format=torch.channels_last)
        return picture, torch.rand(batch, 1, size, size).round().to(self.device)

    def __call__(self, precision: str, *, optimise: bool = True) -> float:
        """Train one step; the seconds that it took."""
        start = self.now()
        picture, mask = self.batch
        with torch.autocast(self.device, torch.bfloat16, enabled=precision == "bf16"):
            prediction = self.forward(picture)
        loss, _ = total_loss(prediction, picture, mask, LossWeights())
        self.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        if optimise:
            nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
            self.optimiser.step()
        return self.now() - start

    def now(self) -> float:
        if self.device == "cuda":
            torch.cuda.synchronize()
        alone = self.device == "cpu" and torch.get_num_threads() == 1
        return time.process_time() if alone else time.perf_counter()


def speed(words: argparse.Namespace) -> None:
    """Both precisions in turns."""
    step = Step(words, words.checkpointing, compiled=words.compile)
    seconds: dict[str, list[float]] = {"fp32": [], "bf16": []}
    for round_ in range(words.rounds + 1):
        for precision, times in seconds.items():
            times.append(step(precision))
        print(f"round {round_}: " + ", ".join(f"{name} {times[-1]:.2f} s" for name, times in seconds.items()))
    fp32, bf16 = (statistics.median(times[1:]) for times in seconds.values())
    print(f"median without round 0: fp32 {fp32:.2f} s, bf16 {bf16:.2f} s, ratio {fp32 / bf16:.2f}")


def memory(words: argparse.Namespace) -> None:
    """Each setting in a process of its own, printed beside the first."""
    plain: dict[str, float] = {}
    for setting in SETTINGS:
        command = [sys.executable, __file__, *sys.argv[1:], "--checkpointing", setting, "--what", "one"]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        plain = plain or found
        print(
            f"{setting:9} peak {found['peak']:6.0f} MiB ({found['peak'] / plain['peak'] - 1:+.0%}), "
            f"kept for backward {found['kept']:6.0f} MiB ({found['kept'] / plain['kept'] - 1:+.0%}), "
            f"{found['seconds']:5.1f} s ({found['seconds'] / plain['seconds'] - 1:+.0%}), "
            f"norm of the gradient {found['norm']:.9g}"
        )


def one(words: argparse.Namespace) -> None:
    """The child of `memory`: one step's peak and kept bytes as JSON."""
    step = Step(words, words.checkpointing)
    whole = step.batch
    step.batch = step.make_batch(words.batch, 64)
    step(words.precision, optimise=False)  # so that what libraries take once does not count
    step.optimiser.zero_grad(set_to_none=True)
    step.batch = whole
    torch.manual_seed(1)
    before = resident(peak=False)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
    seconds = step(words.precision, optimise=False)
    peak = resident(peak=True) - before
    norm = torch.nn.utils.get_total_norm([p.grad for p in step.network.parameters() if p.grad is not None])
    found = {"peak": peak, "seconds": seconds, "norm": float(norm)}
    print(json.dumps({**found, "kept": kept_bytes(step, words.precision) / MIB}))


def resident(*, peak: bool) -> float:
    """MiB of this process in memory, now or at most so far."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:" if peak else "VmRSS:")[2].split()[0]) / 1024


def kept_bytes(step: Step, precision: str) -> int:
    """Bytes of distinct memory, weights aside, that a step's forward pass leaves for its backward pass."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in step.network.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(value: Tensor) -> Tensor:
        if value.untyped_storage().data_ptr() not in weights:
            kept[value.untyped_storage().data_ptr()] = value
        return value

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        step(precision, optimise=False)
    return sum(value.untyped_storage().nbytes() for value in kept.values())


def gpu(words: argparse.Namespace) -> None:
    """Seconds and peak memory in bf16 for every setting, plain and compiled."""
    if not torch.cuda.is_available():
        sys.exit("--what gpu needs CUDA, and torch sees no such device")
    words.device = "cuda"
    print(f"{torch.cuda.get_device_name()}; {PUBLISHED}")
    for compiled in (False, True):
        for setting in SETTINGS:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            step = Step(words, setting, compiled=compiled)
            times = [step("bf16") for _ in range(words.rounds + 3)][3:]
            peak, reserved = torch.cuda.max_memory_allocated() / 1e9, torch.cuda.max_memory_reserved() / 1e9
            print(
                f"{'compiled' if compiled else 'plain':8} {setting:9} {statistics.median(times):6.3f} s, "
                f"peak {peak:5.1f} GB allocated, {reserved:5.1f} GB reserved"
            )
            del step
            torch.compiler.reset()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--what", choices=("speed", "memory", "gpu", "one"), default="speed")
    parser.add_argument("--backbone")
    parser.add_argument("--size", type=int)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--checkpointing", choices=SETTINGS, default="none")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--device", default="cpu")
    words = parser.parse_args()
    words.backbone = words.backbone or ("swin_v1_l" if words.what == "gpu" else "swin_v1_t")
    words.size = words.size or (1024 if words.what == "gpu" else 512)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())))
    {"speed": speed, "memory": memory, "gpu": gpu, "one": one}[words.what](words)


if __name__ == "__main__":
    main()
