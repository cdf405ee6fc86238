"""Where the time and the memory of one picture go, from file to file.

    python benchmarks/pipeline.py [--model nano] [--megapixels 12] [--picture FILE] [--repeat 3] [--threads N]

Prints seconds for each step (the best of some runs), their sum, the peak memory of a process that does it once, and
what one small picture takes from the start of Python. Without a picture it makes one: smooth colours and sensor noise.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from birefnet.pixels.alpha import finish, has_foreground
from birefnet.pixels.compose import cut_out
from birefnet.pixels.picture import read_picture
from birefnet.pixels.prepare import prepare
from birefnet.pixels.writing import write_picture
from birefnet.runtimes.select import select

ONCE = """
import resource, sys
from birefnet import Remover
Remover(sys.argv[1])(sys.argv[2]).save(sys.argv[3])
try:  # not ru_maxrss: Linux counts the parent's memory at the moment of the start in it
    status = open("/proc/self/status").read()
    print(int(status.partition("VmHWM:")[2].split()[0]) / 1024)
except OSError:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 / (1024 if sys.platform == "darwin" else 1))
"""


def make_photo(path: Path, megapixels: float) -> Path:
    """A JPEG with a bright, textured subject before a quieter ground, 4:3."""
    random = np.random.default_rng(0)
    width = int((megapixels * 1e6 * 4 / 3) ** 0.5)
    height = width * 3 // 4
    ground = random.integers(20, 110, (9, 12, 3), np.uint8)
    subject = random.integers(120, 256, (60, 80, 3), np.uint8)
    layers = [Image.fromarray(a).resize((width, height), Image.Resampling.BICUBIC) for a in (ground, subject)]
    y, x = np.ogrid[0:height, 0:width]
    inside = np.hypot((y - height / 2) / (height * 0.36), (x - width / 2) / (width * 0.3)) < 1
    photo = Image.composite(layers[1], layers[0], Image.fromarray(inside))
    noise = Image.effect_noise((width, height), 6)
    photo = Image.blend(photo, Image.merge("RGB", [noise] * 3), 0.1)
    photo.save(path, quality=92)
    return path


def best(step: Callable[[], Any], repeat: int) -> tuple[float, Any]:
    """The least seconds of some runs, and the last result."""
    seconds, result = float("inf"), None
    for _ in range(repeat):
        start = time.perf_counter()
        result = step()
        seconds = min(seconds, time.perf_counter() - start)
    return seconds, result


def steps(model: str, picture: Path, folder: Path, repeat: int, threads: int | None) -> dict[str, float]:
    """Seconds of every step."""
    times: dict[str, float] = {}

    def timed(name: str, step: Callable[[], Any]) -> Any:
        times[name], result = best(step, repeat)
        return result

    runtime = select(model, threads=threads)
    read = timed("read", lambda: read_picture(picture))
    batch, frame = timed("prepare", lambda: prepare(read.rgb, runtime.spec))
    logits = timed("network", lambda: runtime(batch))
    guided = runtime.spec.upsample == "guided"
    alpha = timed("finish", lambda: finish(logits, frame, rgb=read.rgb, sharpen=guided))
    timed("has_foreground", lambda: has_foreground(alpha))
    rgba = timed("compose", lambda: cut_out(read.rgb, alpha))
    timed("write PNG", lambda: write_picture(rgba, folder / "out.png"))
    times["all"] = sum(times.values())
    other = "bilinear" if guided else "guided"
    timed(f"(finish, {other})", lambda: finish(logits, frame, rgb=read.rgb, sharpen=not guided))
    timed("(write WebP)", lambda: write_picture(rgba, folder / "out.webp"))
    return times


def once(model: str, picture: Path, folder: Path) -> tuple[float, float]:
    """Seconds from the start of a fresh Python to the file on disk, and that process's peak memory in MiB."""
    start = time.perf_counter()
    command = [sys.executable, "-c", ONCE, model, str(picture), str(folder / "once.png")]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return time.perf_counter() - start, float(printed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--megapixels", type=float, default=12)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int)
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        picture = words.picture or make_photo(folder / "photo.jpg", words.megapixels)
        with Image.open(picture) as image:
            print(f"{image.width}x{image.height}, model {words.model}")
        for step, seconds in steps(words.model, picture, folder, words.repeat, words.threads).items():
            print(f"{step:20} {seconds:7.3f} s")
        _, peak = once(words.model, picture, folder)
        print(f"{'peak memory':20} {peak:7.0f} MiB")
        small = make_photo(folder / "small.jpg", 1)
        runs = [once(words.model, small, folder) for _ in range(words.repeat)]
        print(f"{'1 Mpx, fresh start':20} {min(seconds for seconds, _ in runs):7.3f} s, {runs[0][1]:.0f} MiB")


if __name__ == "__main__":
    main()
