"""What a picture costs in PyTorch on this CPU: the network as written, its fast form, and the ceiling of the machine.

    python benchmarks/inference.py [--backbone swin_v1_t] [--size 1024] [--rounds 3] [--memory normal|low] [--no-plain]

Random weights (seeded as in the tests), batch 1. Rows: the network as written in float32 (`plain`), its form for a CPU
in float32 and in bfloat16. Every row is a process of its own, so that its peak memory is its own; each first measures a
product of two 2048x2048 float32 matrices, M, the best of 15, and gives its median time in seconds and in M, which
compares better between machines.
The ceiling is the operations of all products (counted as they run, the deformable ones included) at the speed of that
product, in the row's precision; oneDNN's float32 kernels can be faster than it where torch's own products are MKL's on
another maker's processor. Differences of the alpha are those from `plain` on the same picture.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from birefnet.network import BiRefNet
from birefnet.network.deform import DeformableConv
from birefnet.network.inference import cpu_form
from birefnet.runtimes.allocator import keep_freed_memory
from birefnet.weights.checkpoint import load_model

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a script: for the tests' seeded weights
from tests.goldens import manifest
from tests.seeded import image, state_dict

ROWS = ("plain", "float32", "bfloat16")
SIDE = 2048


def make_network(backbone: str) -> BiRefNet:
    """The released shape on a backbone, with the seeded weights of the tests."""
    return load_model(state_dict(manifest(backbone))).eval()


def count_operations(network: BiRefNet, size: int) -> float:
    """Operations of all products at a size: those at 256x256, where attention is all that does not grow linearly."""
    total = 0.0

    def count(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        nonlocal total
        if isinstance(module, DeformableConv):
            total += 2 * output.numel() * module.kernel.weight[0].numel()
        elif isinstance(module, nn.Conv2d):
            total += 2 * output.numel() * module.weight[0].numel()
        elif isinstance(module, nn.Linear):
            total += 2 * output.numel() * module.in_features

    handles = [module.register_forward_hook(count) for module in network.modules()]
    with torch.inference_mode():
        network(torch.zeros(1, 3, 256, 256))
    for handle in handles:
        handle.remove()
    return total * (size / 256) ** 2


def product_seconds(dtype: torch.dtype) -> float:
    """Shortest time of a 2048x2048 product in `dtype`: what the machine can do when nothing disturbs it."""
    a, b = (torch.randn(SIDE, SIDE).to(dtype) for _ in range(2))
    return min(seconds_of(lambda: a @ b, 15))


def seconds_of(run: Any, rounds: int) -> list[float]:
    """The times of `rounds` runs, after one that does not count."""
    run()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return times


def measure(words: argparse.Namespace) -> dict[str, Any]:
    """One row, in this process."""
    unit = product_seconds(torch.float32)  # before the network is there, which would disturb it
    network = make_network(words.backbone)
    dtype = torch.bfloat16 if words.row == "bfloat16" else torch.float32
    ceiling = count_operations(network, words.size) / (2 * SIDE**3) * product_seconds(dtype)
    picture = torch.from_numpy(image(words.size, words.size)).to(dtype)
    if words.row != "plain":
        network = cpu_form(network, dtype, low_memory=words.memory == "low")
        if words.memory == "normal":
            keep_freed_memory()
    with torch.inference_mode():
        seconds = statistics.median(seconds_of(lambda: network(picture), words.rounds))
        alpha = network(picture).logits.float().sigmoid().numpy()
    np.save(words.alpha, alpha)
    return {"unit": unit, "seconds": seconds, "ceiling": ceiling, "peak": peak_bytes()}


def peak_bytes() -> int:
    """The largest resident memory that this process has had."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="swin_v1_t")
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", choices=("normal", "low"), default="normal")
    parser.add_argument("--no-plain", action="store_true", help="leave out the network as written")
    parser.add_argument("--row", choices=ROWS, help=argparse.SUPPRESS)
    parser.add_argument("--alpha", help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.row:
        print(json.dumps(measure(words)))
        return
    print(f"{words.backbone} {words.size}x{words.size}, {torch.get_num_threads()} threads, memory {words.memory}")
    print(f"{'':9} {'seconds':>8} {'M':>6} {'ceiling M':>10} {'peak MiB':>9} {'times plain':>12} {'alpha differs':>20}")
    with tempfile.TemporaryDirectory() as folder:
        compare(words, Path(folder))


def compare(words: argparse.Namespace, folder: Path) -> None:
    """All rows, one process after another."""
    plain: tuple[dict[str, Any], np.ndarray] | None = None
    for row in ROWS[words.no_plain :]:
        alpha = folder / f"{row}.npy"
        done = subprocess.run(
            [sys.executable, __file__, *sys.argv[1:], "--row", row, "--alpha", str(alpha)],
            check=True,
            capture_output=True,
            text=True,
        )
        found = json.loads(done.stdout)
        text = f"{row:9} {found['seconds']:8.2f} {found['seconds'] / found['unit']:6.1f}"
        text += f" {found['ceiling'] / found['unit']:10.1f} {found['peak'] / 2**20:9.0f}"
        if plain is not None:
            distance = np.abs(np.load(alpha) - plain[1])
            text += f" {plain[0]['seconds'] / found['seconds']:12.1f} {distance.max():10.1e} {distance.mean():9.1e}"
        if row == "plain":
            plain = found, np.load(alpha)
        print(text, flush=True)


if __name__ == "__main__":
    main()
