"""How far apart the alphas of models are, of exported files from their original say, on pictures of your own.

    python benchmarks/alike.py REFERENCE MODEL [MODEL ...] --pictures PATH [PATH ...]

A model is what `birefnet remove --model` takes: a name, a checkpoint or an exported file. PATH is a picture, or a
folder that is searched for pictures to any depth. Each picture goes through each model at its original size. Printed
per model, in steps of 1/255: the mean over the pictures of each one's mean difference, the median and the worst of
these, on how many pictures it is more than one step, and the largest difference of a pixel.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from birefnet.remover import Remover

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".avif"}


def pictures_of(paths: list[Path]) -> list[Path]:
    """The pictures named, and those in the folders named."""
    found: list[Path] = []
    for path in paths:
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        found += [one for one in inside if one.suffix.lower() in SUFFIXES]
    return found


def distances(reference: Remover, other: Remover, pictures: list[Path]) -> tuple[np.ndarray, float]:
    """Per picture (N,) the mean difference in steps of 1/255, and the largest of all pixels."""
    means, largest = [], 0.0
    for picture in pictures:
        distance = np.abs(reference(picture).alpha - other(picture).alpha) * 255
        means.append(float(distance.mean()))
        largest = max(largest, float(distance.max()))
    return np.array(means), largest


def main() -> None:
    """Compare and print, model by model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reference")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--pictures", nargs="+", type=Path, required=True)
    options = parser.parse_args()
    pictures = pictures_of(options.pictures)
    if not pictures:
        parser.error("no pictures there")
    print(f"{len(pictures)} pictures against {options.reference}, in steps of 1/255\n")
    print("| model | mean | median | worst picture | pictures above 1 | largest of a pixel |")
    print("|---|---|---|---|---|---|")
    reference = Remover(options.reference)
    for name in options.models:
        means, largest = distances(reference, Remover(name), pictures)
        row = f"{means.mean():.2f} | {np.median(means):.2f} | {means.max():.2f} | {(means > 1).sum()} | {largest:.0f}"
        print(f"| {name} | {row} |", flush=True)


if __name__ == "__main__":
    main()
