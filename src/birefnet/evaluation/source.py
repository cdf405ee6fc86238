"""What a user names to be judged: a folder of predictions, or a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from birefnet.errors import WeightsError
from birefnet.evaluation.files import TruthSet, folder_for, has_pictures
from birefnet.remover import Remover
from birefnet.weights.resolve import Model, ModelRef, names_a_folder, resolve, resolve_all

_PLAIN = ("pred", "preds", "predictions", "masks")  # names of folders that tell nothing apart


@dataclass(frozen=True, slots=True)
class Source:
    """One thing to be judged.

    Attributes:
        label: what tables call it.
        predictions: the folder of its predictions, or None if they are to be made.
        model: what to make them with, or None.
        remover: the same, loaded and set up already, or None.
    """

    label: str
    predictions: Path | None = None
    model: ModelRef | None = None
    remover: Remover | None = None

    @property
    def where(self) -> str:
        """The folder, the file, or the model's name as it was given."""
        return str(self.predictions or (self.model and (self.model.path or self.model.name)))


def find_source(name: Model, sets: Sequence[TruthSet]) -> Source:
    """The one thing that `name` means; of a run's folder, its best weights.

    Raises:
        UnknownModel: if it is neither a folder, a file nor a model.
        WeightsError: if a folder holds neither predictions nor weights, or several weights and none called best.
    """
    if names_a_folder(name) and holds_predictions(Path(name), sets):
        return Source(_label(Path(name)), predictions=Path(name))
    try:
        ref = resolve(name)
    except WeightsError as error:
        raise _nothing_in(name, sets, error) from error
    return Source(ref.label, model=ref)


def find_sources(name: str, sets: Sequence[TruthSet]) -> list[Source]:
    """Everything to be judged that `name` means: all checkpoints of a run's folder, otherwise one source.

    Raises:
        UnknownModel, WeightsError: as for `find_source`.
    """
    if names_a_folder(name) and not holds_predictions(Path(name), sets):
        try:
            return [Source(ref.label, model=ref) for ref in resolve_all(name)]
        except WeightsError as error:
            raise _nothing_in(name, sets, error) from error
    return [find_source(name, sets)]


def holds_predictions(folder: Path, sets: Sequence[TruthSet]) -> bool:
    """Whether a folder has picture files, or sub-folders called as the sets."""
    return has_pictures(folder) or any(has_pictures(folder_for(folder, one, len(sets))) for one in sets)


def _label(folder: Path) -> str:
    """A folder's name; where it says little, such as `preds`, with its folder's name before it."""
    whole = folder.absolute()
    return f"{whole.parent.name}/{whole.name}" if whole.name in _PLAIN and whole.parent.name else whole.name


def _nothing_in(name: Model, sets: Sequence[TruthSet], error: WeightsError) -> WeightsError:
    """What a folder would have to hold, besides what was said of its weights."""
    if not names_a_folder(name):
        return error
    inside = ", ".join(f"`{one.name}`" for one in sets[:4])
    named = f", no sub-folder of predictions for {inside}" if inside else ""
    return WeightsError(
        f"`{name}` holds no pictures{named}. {error}",
        hint=error.hint or "wanted predictions, one for each truth, or a run's folder",
    )
