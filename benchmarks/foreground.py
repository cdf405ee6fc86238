"""How long the subject's own colours take, and how much memory, beside a straightforward implementation.

    python benchmarks/foreground.py [--megapixels 12] [--soft edge|hair|all] [--repeat 5]

The straightforward one blurs whole pictures in float32, as the paper writes it: with OpenCV's `blur` where it is
installed, else with numpy's cumulative sums. Both run in turns in one process; the peak memory, picture and alpha
included, is that of a process of its own for each. Also prints both as multiples of a 2048^3 fp32 matrix product
(numpy's) of the same run, and the largest difference in grey levels.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from birefnet.pixels.foreground import estimate_foreground

Floats = NDArray[np.float32]
WIDE, NARROW = 90, 6
EDGES = {"edge": 0.0, "hair": 0.06, "all": 0.0}  # -> how far the outline swings


def scene(megapixels: float, soft: str) -> tuple[NDArray[np.uint8], Floats]:
    """A noisy picture (4:3) and an alpha: an ellipse with an edge of 30 pixels, one with strands, or soft all over."""
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    width = height * 4 // 3
    random = np.random.default_rng(0)
    rgb = random.integers(0, 256, (height, width, 3), np.uint8)
    if soft == "all":
        return rgb, random.random((height, width), np.float32) * np.float32(0.4) + np.float32(0.3)
    y, x = (axis.astype(np.float32) for axis in np.ogrid[-1.36 : 1.36 : height * 1j, -1.54 : 1.54 : width * 1j])
    radius, angle = np.hypot(y, x), np.arctan2(y, x)
    inside = 1 - radius + np.float32(EDGES[soft]) * np.sin(160 * angle)
    return rgb, np.clip(inside * np.float32(height / 82) + np.float32(0.5), 0, 1)


def plain(rgb: NDArray[np.uint8], alpha: Floats) -> NDArray[np.uint8]:
    """The paper's two passes over the whole picture."""
    blur = _opencv() if find_spec("cv2") else _cumulative
    picture, a = rgb.astype(np.float32) / np.float32(255), alpha[..., None]
    front = back = picture
    for side in (WIDE, NARROW):
        share = blur(alpha, side)[..., None]
        mean = blur(front * a, side) / (share + np.float32(1e-5))
        back = blur(back * (1 - a), side) / (1 - share + np.float32(1e-5))
        front = np.clip(mean + a * (picture - a * mean - (1 - a) * back), 0, 1)
    return (front * 255 + np.float32(0.5)).astype(np.uint8)


def _opencv() -> Callable[[Floats, int], Floats]:
    import cv2

    return lambda planes, side: cv2.blur(planes, (side, side))


def _cumulative(planes: Floats, side: int) -> Floats:
    before, after = side // 2, side - side // 2 - 1
    pad = ((before + 1, after), (before + 1, after), (0, 0))[: planes.ndim]
    total = np.pad(planes, pad, mode="reflect").cumsum(0, dtype=np.float64).cumsum(1)
    whole = total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]
    return (whole / (side * side)).astype(np.float32)


WAYS: dict[str, Callable[..., Any]] = {"ours": estimate_foreground, "straightforward": plain}


def peak() -> float:
    """This process's peak memory in MiB."""
    try:  # not ru_maxrss: Linux counts the parent's memory at the moment of the start in it
        with open("/proc/self/status") as status:
            return int(status.read().partition("VmHWM:")[2].split()[0]) / 1024
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 / (1024 if sys.platform == "darwin" else 1)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--megapixels", type=float, default=12)
    parser.add_argument("--soft", choices=EDGES, default="edge")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--only", choices=WAYS, help="run one once, and print this process's peak memory")
    words = parser.parse_args()
    rgb, alpha = scene(words.megapixels, words.soft)
    if words.only:
        WAYS[words.only](rgb, alpha)
        print(peak())
        return
    square = np.ones((2048, 2048), np.float32)
    product = min(timed(lambda: square @ square)[0] for _ in range(5))
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    results = {}
    for _ in range(words.repeat):
        for name, estimate in WAYS.items():
            spent, results[name] = timed(lambda estimate=estimate: estimate(rgb, alpha))
            seconds[name].append(spent)
    softness = np.mean((alpha > 0) & (alpha < 1))
    blur = "OpenCV" if find_spec("cv2") else "numpy"
    print(f"{rgb.shape[1]}x{rgb.shape[0]}, {softness:.1%} of it soft; 2048^3 product {product:.3f} s; blurs by {blur}")
    command = [sys.executable, __file__, "--megapixels", str(words.megapixels), "--soft", words.soft, "--only"]
    for name, spent in seconds.items():
        memory = float(subprocess.run([*command, name], check=True, capture_output=True, text=True).stdout)
        middle = float(np.median(spent))
        print(f"{name:16} {middle:6.3f} s (best {min(spent):.3f})  {middle / product:6.1f} products  {memory:6.0f} MiB")
    print(f"ratio            {np.median(seconds['straightforward']) / np.median(seconds['ours']):6.1f}")
    shown = alpha > 0.5 / 255
    distance = np.abs(results["ours"].astype(int) - results["straightforward"])[shown]
    print(f"largest difference where alpha is seen: {distance.max()} grey level")


if __name__ == "__main__":
    main()
