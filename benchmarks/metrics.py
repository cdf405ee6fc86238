"""What each metric of a large pair costs on one core, beside `pysodmetrics` in the same run.

    OMP_NUM_THREADS=1 taskset -c 1 python benchmarks/metrics.py [--size 3072x2048] [--repeat 3] [--ours]

The pair is rendered: a thick body with holes, thin spokes, wires and a mesh, and a soft prediction with missing and
extra parts. Printed are milliseconds of processor time (what other programs take away does not count), ours the best
of some runs; each metric alone from the two arrays, then all standard metrics in one call, which share what they can.
`pip install pysodmetrics` for the other column, or say --ours.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from birefnet.evaluation.boundary import boundary_iou_curve, mean_boundary_accuracy
from birefnet.evaluation.effort import human_correction_efforts
from birefnet.evaluation.matte import connectivity_error, gradient_error, sum_of_absolute_differences
from birefnet.evaluation.measure import STANDARD, measure
from birefnet.evaluation.pair import Grey, Pair
from birefnet.evaluation.region import adaptive_e, adaptive_f, e_curve, f_curve, mean_absolute_error, s_measure
from birefnet.evaluation.skeleton import skeletonize
from birefnet.evaluation.weighted import weighted_f


def render(width: int, height: int, seed: int = 0) -> tuple[Grey, Grey]:
    """A prediction and its truth, uint8 (H, W)."""
    random = np.random.default_rng(seed)
    truth = Image.new("L", (width, height))
    draw = ImageDraw.Draw(truth)
    unit = min(width, height) / 100
    x, y = width * 0.45, height * 0.5
    draw.ellipse((x - 33 * unit, y - 28 * unit, x + 33 * unit, y + 38 * unit), fill=255)
    for hole_x, hole_y, radius in ((-14, -8, 7), (10, 4, 9), (-6, 18, 4), (16, -12, 3)):
        box = [(x + (hole_x + s * radius) * unit, y + (hole_y + s * radius) * unit) for s in (-1, 1)]
        draw.ellipse(box, fill=0)
    for angle in np.linspace(0, 2 * math.pi, 37)[:-1]:  # spokes, from thin to thick
        reach = (36 + 12 * random.random()) * unit
        end = (x + reach * math.cos(angle), y + reach * math.sin(angle))
        draw.line(((x, y), end), fill=255, width=max(1, int(unit * random.uniform(0.1, 1.2))))
    for step in range(24):  # a mesh at the side
        place = width * 0.8 + step * unit * 1.6
        draw.line(((place, height * 0.1), (place - 20 * unit, height * 0.9)), fill=255, width=max(1, int(unit * 0.15)))
        level = height * 0.1 + step * unit * 3.3
        draw.line(((width * 0.72, level), (width * 0.99, level)), fill=255, width=max(1, int(unit * 0.2)))
    wrong = truth.copy()
    draw = ImageDraw.Draw(wrong)
    for _ in range(160):  # extra and missing parts
        left, top, size = random.random() * width, random.random() * height, random.gamma(2, 0.7) * unit
        draw.ellipse((left, top, left + size, top + size * random.uniform(0.4, 2)), fill=int(random.choice([0, 255])))
    soft = np.asarray(wrong.filter(ImageFilter.GaussianBlur(unit * 0.12)), np.float32)
    grain = cv2.resize(random.normal(0, 1, (height // 16, width // 16)).astype(np.float32), (width, height))
    prediction = np.clip(soft + 12 * grain + random.normal(0, 2, soft.shape).astype(np.float32), 0, 255)
    return prediction.astype(np.uint8), np.asarray(truth)


def ours() -> dict[str, Callable[[Pair], Any]]:
    """Row of the table -> what computes it from a fresh pair."""
    return {
        "S": s_measure,
        "MAE": mean_absolute_error,
        "F (curve, adaptive)": lambda pair: (f_curve(pair), adaptive_f(pair)),
        "E (curve, adaptive)": lambda pair: (e_curve(pair), adaptive_e(pair)),
        "WF": weighted_f,
        "HCE": human_correction_efforts,
        "  its skeleton": lambda pair: skeletonize(pair.foreground),
        "MBA": mean_boundary_accuracy,
        "BIoU (curve)": boundary_iou_curve,
        "SAD": sum_of_absolute_differences,
        "Grad": gradient_error,
        "Conn": connectivity_error,
    }


def theirs() -> dict[str, Callable[[Grey, Grey], Any]]:
    """The same rows by `pysodmetrics`, as far as it has them; the skeleton is scikit-image's, which it uses."""
    import py_sod_metrics as other
    from skimage.morphology import skeletonize as other_skeleton

    def row(make: Callable[[], Any]) -> Callable[[Grey, Grey], Any]:
        return lambda prediction, truth: make().step(prediction, truth)

    return {
        "S": row(other.Smeasure),
        "MAE": row(other.MAE),
        "F (curve, adaptive)": row(other.Fmeasure),
        "E (curve, adaptive)": row(other.Emeasure),
        "WF": row(other.WeightedFmeasure),
        "HCE": row(other.HumanCorrectionEffortMeasure),
        "  its skeleton": lambda _, truth: other_skeleton(truth > 128),
    }


def milliseconds(step: Callable[[], Any], repeat: int) -> float:
    """The best of some runs."""
    times = []
    for _ in range(repeat):
        start = time.process_time()
        step()
        times.append(time.process_time() - start)
    return min(times) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="3072x2048", help="width x height of the pair")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--ours", action="store_true", help="leave pysodmetrics out")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    width, height = map(int, options.size.split("x"))
    prediction, truth = render(width, height)
    others = {} if options.ours else theirs()
    print(f"{'':<22}{'ours':>9}{'pysodmetrics':>14}{'ratio':>8}   (ms, {width}x{height}, one core)")
    for name, step in ours().items():
        mine = milliseconds(lambda step=step: step(Pair(prediction, truth)), options.repeat)  # type: ignore[misc]
        line = f"{name:<22}{mine:>9.1f}"
        if other := others.get(name):
            beside = milliseconds(lambda other=other: other(prediction, truth), 1)  # type: ignore[misc]
            line += f"{beside:>14.1f}{beside / mine:>8.1f}"
        print(line, flush=True)
    total = milliseconds(lambda: measure(prediction, truth, STANDARD), options.repeat)
    print(f"{'all standard metrics':<22}{total:>9.1f}")


if __name__ == "__main__":
    main()
