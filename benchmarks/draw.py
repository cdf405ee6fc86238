"""Draw time and memory of swin_v1_t against size, from the figures in docs/benchmarks.md (which commands printed).

    python benchmarks/draw.py -o docs/pictures/inference.svg

For a plot of your own machine: `birefnet benchmark --sizes 512,1024 --plot mine.svg`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

# runtime -> side, seconds, peak MiB
FIGURES = {
    "PyTorch, as written, fp32": ((512, 1.26, 844), (1024, 5.32, 1622)),
    "PyTorch, fast form, fp32": ((512, 0.57, 696), (1024, 2.45, 1088), (2048, 9.41, 2654)),
    "PyTorch, fast form, bf16": ((512, 0.35, 652), (1024, 1.31, 791), (2048, 5.46, 1484)),
    "OpenVINO fp32": ((512, 0.57, 706), (1024, 2.35, 994)),
    "OpenVINO bf16": ((512, 0.31, 699), (1024, 1.17, 1057)),
    "OpenVINO int8": ((512, 0.22, 478), (1024, 0.98, 811)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True)
    output = parser.parse_args().output
    figure, (times, memory) = pyplot.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    for name, rows in FIGURES.items():
        sides, seconds, peaks = zip(*rows, strict=True)
        style = "--" if name.startswith("OpenVINO") else "-"
        times.plot(sides, seconds, style, marker="o", label=name)
        memory.plot(sides, peaks, style, marker="o", label=name)
    for axes, title in ((times, "seconds a picture"), (memory, "peak memory, MiB")):
        axes.set(xscale="log", xlabel="side of the picture", title=title, xticks=(512, 1024, 2048))
        axes.set_xticks((512, 1024, 2048), ("512", "1024", "2048"))
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    times.set(yscale="log", yticks=(0.2, 0.5, 1, 2, 5, 10))
    times.set_yticks((0.2, 0.5, 1, 2, 5, 10), ("0.2", "0.5", "1", "2", "5", "10"))
    memory.set_ylim(bottom=0)
    times.legend(fontsize=8)
    figure.suptitle("swin_v1_t, 2 cores, random weights")
    figure.savefig(output, dpi=110)


if __name__ == "__main__":
    main()
