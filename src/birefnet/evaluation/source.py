"""What a user names to be judged: a folder of predictions, weights, a run's folder, or a model's name."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from birefnet.errors import ConfigError, UnknownModel
from birefnet.evaluation.files import TruthSet, folder_for, has_pictures
from birefnet.weights import zoo

WEIGHTS = (".safetensors", ".pth", ".pt", ".onnx")
_CHECKPOINTS = "checkpoints"  # the folder in a run's folder where weights are kept
_PLAIN = ("best", "last", "model", "weights", "pred", "preds", "predictions", "masks")  # names that tell nothing apart
_STATE = "last.pt"  # a run's training state, which holds more than weights


@dataclass(frozen=True, slots=True)
class Source:
    """One thing to be judged.

    Attributes:
        label: what tables call it.
        predictions: the folder of its predictions, or None if they are to be made.
        model: the weights' file or the model's name to make them with, or None.
    """

    label: str
    predictions: Path | None = None
    model: Path | str | None = None


def find_source(name: str, sets: Sequence[TruthSet]) -> Source:
    """The one thing that `name` means; of a run's folder, its best weights.

    Raises:
        UnknownModel: if it is neither a folder, a file nor a model.
        ConfigError: if a folder holds neither predictions nor weights, or several weights and none called best.
    """
    found = find_sources(name, sets)
    if len(found) == 1:
        return found[0]
    for wanted in ("best", "last"):
        for source in found:
            if Path(str(source.model)).stem == wanted:
                return source
    names = ", ".join(f"`{source.label}`" for source in found)
    raise ConfigError(f"`{name}` holds several weights: {names}.\nhint: name one, or let `birefnet compare` choose")


def find_sources(name: str, sets: Sequence[TruthSet]) -> list[Source]:
    """Everything to be judged that `name` means: all checkpoints of a run's folder, otherwise one source.

    Raises:
        UnknownModel, ConfigError: as for `find_source`.
    """
    path = Path(name)
    if path.is_file():
        if path.suffix.lower() not in WEIGHTS:
            raise ConfigError(f"`{name}` is no weights file ({' '.join(WEIGHTS)}); predictions are given as a folder.")
        return [Source(_label(path), model=path)]
    if path.is_dir():
        if holds_predictions(path, sets):
            return [Source(_label(path), predictions=path)]
        if weights := find_weights(path):
            return [Source(_label(file) if len(weights) == 1 else _in_run(path, file), model=file) for file in weights]
        raise ConfigError(_nothing_in(path, sets))
    if zoo.knows(name) or re.fullmatch(r"[\w.-]+/[\w.-]+(@[\w./-]+)?", name):
        return [Source(name, model=name)]
    try:
        zoo.find(name)  # says which names there are
    except UnknownModel as error:
        raise UnknownModel(f"There is no folder or file `{name}`. {error}") from error
    return [Source(name, model=name)]


def holds_predictions(folder: Path, sets: Sequence[TruthSet]) -> bool:
    """Whether a folder has picture files, or sub-folders called as the sets."""
    return has_pictures(folder) or any(has_pictures(folder_for(folder, one, len(sets))) for one in sets)


def find_weights(folder: Path) -> list[Path]:
    """The weights in a run's folder and in its `checkpoints`, in the order of the numbers in their names.

    Copies under two names are no matter here: they are judged under both.
    """
    found = [
        path
        for home in (folder / _CHECKPOINTS, folder)
        if home.is_dir()
        for path in home.iterdir()
        if path.suffix.lower() in WEIGHTS and path.name != _STATE and not path.name.startswith(".")
    ]
    return sorted(found, key=_natural)


def _natural(path: Path) -> tuple[tuple[int, int | str], ...]:
    """Sorts `epoch_9` before `epoch_10`."""
    parts = re.split(r"(\d+)", path.stem)
    return tuple((1, int(part)) if part.isdecimal() else (0, part) for part in parts)


def _label(path: Path) -> str:
    """A file's stem, or a folder's name; where it says little, such as `best`, with its folder's name before it."""
    whole = Path(os.path.abspath(path))
    home = whole.parent.parent if whole.parent.name == _CHECKPOINTS else whole.parent
    name = whole.name if path.is_dir() else whole.stem
    return f"{home.name}/{name}" if name in _PLAIN and home.name else name


def _in_run(run: Path, file: Path) -> str:
    return f"{run.resolve().name}/{file.stem}"


def _nothing_in(folder: Path, sets: Sequence[TruthSet]) -> str:
    names = ", ".join(f"`{one.name}`" for one in sets[:4])
    return (
        f"`{folder}` holds no pictures, no sub-folder of predictions for {names}, and no weights.\n"
        "hint: wanted predictions, one for each truth, or a run's folder"
    )
