"""The two files of a pair, read for judging, with everything that is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from birefnet.data.masks import Use, read_mask
from birefnet.errors import DataError
from birefnet.evaluation.pair import Grey

Wrong = tuple[Path, str, str]  # a file, the kind of problem (of `birefnet.evaluation.problems.KINDS`), particulars


class Files(NamedTuple):
    """What the two files of a pair hold.

    Attributes:
        arrays: the prediction and its truth, (H, W) uint8 of perhaps two sizes; None if either cannot be used.
        problems: what is wrong with either.
        faint: whether the prediction is black but for one dark grey, such as 1.
    """

    arrays: tuple[Grey, Grey] | None
    problems: tuple[Wrong, ...] = ()
    faint: bool = False


def read_files(prediction: Path, truth: Path) -> Files:
    """Read both files of a pair, and say everything that is wrong with them."""
    arrays: list[Grey] = []
    problems: list[Wrong] = []
    faint = False
    uses: tuple[tuple[Path, Use], ...] = ((prediction, "prediction"), (truth, "truth"))
    for path, use in uses:
        try:
            found = read_mask(path)
        except DataError as error:
            problems.append((path, "unreadable", reason(error, path)))
            continue
        problems += [(path, error.kind, error.detail) for error in found.refused(use)]
        arrays.append(found.array)
        if use == "prediction" and any(oddity.kind == "dim-mask" for oddity in found.oddities):
            faint = len(np.unique(found.array)) == 2
    return Files(None, tuple(problems)) if problems else Files((arrays[0], arrays[1]), faint=faint)


def reason(error: Exception, path: Path) -> str:
    """Why a file cannot be read, without the path to it, which the list has."""
    text = str(error).splitlines()[0].rstrip(".")
    return text.removeprefix(f"`{path}` cannot be read: ").replace(f"`{path}`", f"`{path.name}`")
