"""A model's predictions of test sets: the masks that `birefnet remove` makes; what is there already is kept."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from birefnet.errors import ConfigError
from birefnet.evaluation.files import TruthSet
from birefnet.files import write_json
from birefnet.pixels.picture import read_picture
from birefnet.pixels.writing import write_picture
from birefnet.remover import Remover

MADE_BY = "made-by.json"  # beside the predictions: what made them

Progress = Callable[[], None]


def predict_sets(
    remover: Remover,
    sets: Sequence[TruthSet],
    folder: Path,
    *,
    identity: Mapping[str, object] | None = None,
    overwrite: bool = False,
    progress: Progress = lambda: None,
) -> None:
    """Write `folder`/SET/STEM.png for every picture; what the same model made is kept, so a broken run goes on.

    Args:
        remover: the model, with everything that decides its masks.
        sets: every truth with its picture.
        folder: made if need be.
        identity: what makes predictions its own; None for what `identity_of` says of the remover.
        overwrite: make all predictions anew, also where the folder holds those of another model.
        progress: called after every picture.

    Raises:
        ConfigError: if the folder holds predictions by another model, or made with other options.
        PictureError: if a picture cannot be read or a prediction not be written.
    """
    _claim(folder, dict(identity or identity_of(remover, None)), overwrite=overwrite)
    for one in sets:
        (folder / one.name).mkdir(parents=True, exist_ok=True)
        for stem in one.truths:
            target = folder / one.name / f"{stem}.png"
            if overwrite or not target.exists():
                picture = read_picture(one.pictures[stem], max_pixels=remover.max_pixels)
                write_picture(remover.cut(picture).mask, target)
            progress()


def identity_of(remover: Remover, weights: Path | None) -> dict[str, object]:
    """What decides a remover's masks: the weights' content, the size they see, how they run and are enlarged.

    Args:
        weights: the model's file; None looks for the one that the remover was given.
    """
    runtime = remover.runtime
    if weights is None and isinstance(remover.model, (str, os.PathLike)):
        weights = Path(remover.model)
    facts: dict[str, object] = {"model": runtime.name}
    if weights is not None and weights.is_file():
        with weights.open("rb") as stream:
            facts["sha256"] = hashlib.file_digest(stream, "sha256").hexdigest()
    spec = runtime.spec
    width, height = remover.size if isinstance(remover.size, tuple) else (spec.width, spec.height)
    guided = spec.upsample == "guided" if remover.sharpen is None else remover.sharpen
    return {
        **facts,
        "size": "native" if remover.size == "native" else f"{width}x{height}",
        "mean": list(spec.mean),
        "std": list(spec.std),
        "upsample": "guided" if guided else "bilinear",
        "runtime": type(runtime).__name__,
        "device": runtime.device.partition(":")[0],
        "dtype": str(getattr(runtime, "dtype", remover.options.dtype)),  # not every runtime leaves a choice
    }


def _claim(folder: Path, identity: dict[str, object], *, overwrite: bool) -> None:
    """Note in the folder whose predictions it holds; refuse one that holds another's."""
    note = folder / MADE_BY
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        try:
            found = json.loads(note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            found = None
        if found != identity:
            raise ConfigError(
                f"`{folder}` holds predictions of another model, or made with other options.",
                hint="choose another folder, or `overwrite=True`",
            )
    folder.mkdir(parents=True, exist_ok=True)
    write_json(note, identity)
