"""Which file of a folder is meant, and what reports call a file. Needs no torch.

A folder is laid out like a repository of the Hub, or is a run's, or holds weights or exported files of any name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from birefnet.errors import ConfigError, WeightsError
from birefnet.weights.formats import FORMATS, HUB_FILES, WEIGHTS, kind_of

CHECKPOINTS = "checkpoints"  # the folder in a run's folder where further weights are kept
_BEST = ("best", "last")  # which of a run's weights are meant, in this order
_STATE = "last.pt"  # the training state of runs of earlier versions, which holds more than weights
_SAY_NOTHING = (*_BEST, "pred", "preds", "predictions", "masks")  # names that need their folder's before them
_EMPTY = ("model", "weights", "pytorch_model")  # names for which their folder's stands
_MANY = 6  # names in a message, at most


def choose_file(folder: Path) -> Path:
    """The one file that a folder means.

    Raises:
        ConfigError: if it is a model for browsers.
        WeightsError: if there is no model, or several that might be meant.
    """
    if layout := of_layout(folder):
        return layout
    found = candidates(folder)
    if len(found) > 1:
        found = next(([path] for stem in _BEST for path in found if path.stem == stem), found)
    if len(found) == 1:
        return found[0]
    if not found and (folder / FORMATS["web"].mark).is_file():
        raise ConfigError(f"`{folder}` is {FORMATS['web'].help}: give it to `birefnet site` or `birefnet serve`")
    raise WeightsError(
        f"Wanted one weights file in the folder `{folder}`; {_there([path.name for path in found])}",
        hint="name one of them" if found else None,
    )


def candidates(folder: Path) -> list[Path]:
    """The files that a folder may mean: its weights, or without such, the exported files that run here.

    Raises:
        WeightsError: if the folder cannot be read.
    """
    every = models_in(folder)
    if found := [path for path in every if kind_of(path) == WEIGHTS]:
        return found
    found = [path for path in every if FORMATS[kind_of(path) or WEIGHTS].runtimes]
    marked = [path for path in found if path.name in {row.mark for row in FORMATS.values()}]
    return marked if len(marked) == 1 else found


def models_in(folder: Path) -> list[Path]:
    """The weights and exported files in a folder and in its `checkpoints`, by the numbers in their names.

    Raises:
        WeightsError: if the folder cannot be read.
    """
    homes = (folder, folder / CHECKPOINTS)  # of two that are called alike the first is newer
    try:
        return sorted((path for home in homes if home.is_dir() for path in _files_in(home)), key=_natural)
    except OSError as error:
        raise WeightsError(f"Cannot read the folder `{folder}`: {error.strerror or error}") from error


def of_layout(folder: Path) -> Path | None:
    """The weights in a folder laid out like a repository of the Hub."""
    return next((folder / name for name in HUB_FILES if (folder / name).is_file()), None)


def label_of(path: Path, folder: Path | None = None) -> str:
    """What reports call a file: its stem; with its folder's name, or only that, where the stem says little.

    Args:
        folder: the one that was named, if the file was found in it.
    """
    whole = Path(os.path.abspath(path))
    stem = whole.stem
    home = whole.parent.parent if whole.parent.name == CHECKPOINTS else whole.parent
    if stem in _EMPTY:
        return home.name or stem
    inside = stem in _SAY_NOTHING or whole.parent.name == CHECKPOINTS or folder is not None
    return f"{home.name}/{stem}" if inside and home.name else stem


def _files_in(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        beside_xml = path.suffix.lower() == ".bin" and path.with_suffix(".xml").exists()
        if kind_of(path) and path.is_file() and path.name != _STATE and path.name[0] != "." and not beside_xml:
            yield path


def _natural(path: Path) -> tuple[tuple[int, int | str], ...]:
    """Sorts `epoch_9` before `epoch_10`."""
    parts = re.split(r"(\d+)", path.stem)
    return tuple((1, int(part)) if part.isdecimal() else (0, part) for part in parts)


def _there(names: list[str]) -> str:
    return f"it has several: {', '.join(names[:_MANY])}" if names else "it has none"
