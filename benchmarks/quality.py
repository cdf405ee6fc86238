"""How good a model is on folders of pictures with masks, through the command line, with GrabCut beside it.

    python benchmarks/quality.py FOLDER [--model nano] [--size N] [--grabcut] [--markdown]

FOLDER holds one folder per source, each with `im` and `gt`. Every picture goes through
`birefnet remove --mask-only` at its original size. Printed per source and over all pictures alike: mean
intersection over union at threshold 0.5, and mean absolute error. GrabCut (OpenCV, `pip install
opencv-python-headless`) starts from the picture's border: what lies 6 % inside may be the subject.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from birefnet.data.pairs import Pair, find_pairs


def truth(pair: Pair) -> np.ndarray:
    with Image.open(pair.mask) as mask:
        return np.asarray(mask.convert("L"), np.float32) / 255


def score(alpha: np.ndarray, wanted: np.ndarray) -> tuple[float, float]:
    """IoU at threshold 0.5 and mean absolute error of arrays (H, W) in [0, 1]."""
    a, b = alpha > 0.5, wanted > 0.5
    union = int((a | b).sum())
    return (int((a & b).sum()) / union if union else 1.0), float(np.abs(alpha - wanted).mean())


def through_command_line(folder: Path, pairs: list[Pair], model: str, size: str | None) -> list[tuple[float, float]]:
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "birefnet", "remove", str(folder / "im"), "-o", out, "--model", model]
        options = ["--mask-only", "--quiet", *(["--size", size] if size else [])]
        subprocess.run([*command, *options], check=True)
        scores = []
        for pair in pairs:
            made = sorted(Path(out).rglob(f"{pair.picture.stem}.png"))
            assert len(made) == 1, f"{len(made)} masks for {pair.picture}"
            with Image.open(made[0]) as mask:
                scores.append(score(np.asarray(mask.convert("L"), np.float32) / 255, truth(pair)))
        return scores


def grabcut(pair: Pair) -> tuple[float, float]:
    import cv2

    picture = cv2.imread(str(pair.picture))
    height, width = picture.shape[:2]
    # At most 640 pixels, as GrabCut takes minutes on large pictures.
    factor = min(1.0, 640 / max(height, width))
    small = cv2.resize(picture, (round(width * factor), round(height * factor)), interpolation=cv2.INTER_AREA)
    h, w = small.shape[:2]
    margin_x, margin_y = max(1, round(w * 0.06)), max(1, round(h * 0.06))
    mask = np.zeros((h, w), np.uint8)
    inside = (margin_x, margin_y, w - 2 * margin_x, h - 2 * margin_y)
    cv2.setRNGSeed(7)
    cv2.grabCut(small, mask, inside, np.zeros((1, 65)), np.zeros((1, 65)), 5, cv2.GC_INIT_WITH_RECT)
    alpha = ((mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD)).astype(np.float32)
    return score(cv2.resize(alpha, (width, height), interpolation=cv2.INTER_LINEAR), truth(pair))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--size")
    parser.add_argument("--grabcut", action="store_true", help="measure GrabCut too")
    parser.add_argument("--pictures", action="store_true", help="print every picture")
    arguments = parser.parse_args()
    sources = {path.name: path for path in sorted(arguments.folder.iterdir()) if (path / "im").is_dir()}
    table: dict[str, list[tuple[float, ...]]] = {}
    for name, folder in sources.items():
        pairs = find_pairs(folder)
        ours = through_command_line(folder, pairs, arguments.model, arguments.size)
        theirs = [grabcut(pair) for pair in pairs] if arguments.grabcut else [()] * len(pairs)
        table[name] = [(*a, *b) for a, b in zip(ours, theirs, strict=True)]
        if arguments.pictures:
            for pair, row in zip(pairs, table[name], strict=True):
                print(f"{name}/{pair.picture.name} " + " ".join(f"{value:.4f}" for value in row))
    print("| source | pictures | IoU | MAE |" + (" GrabCut IoU | MAE |" if arguments.grabcut else ""))
    print("|---|---|---|---|" + ("---|---|" if arguments.grabcut else ""))
    table["all"] = [row for rows in table.values() for row in rows]
    for name, rows in table.items():
        print(f"| {name} | {len(rows)} | " + " | ".join(f"{value:.3f}" for value in np.mean(rows, axis=0)) + " |")


if __name__ == "__main__":
    main()
