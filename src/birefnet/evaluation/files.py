"""Which prediction is judged by which truth: folders -> jobs, with one error for all that is amiss."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from birefnet.data.masks import PLAIN_MODES, Use, read_mask
from birefnet.data.pairs import pictures_in, set_folders_in, stem_of
from birefnet.data.reading import Header, read_header
from birefnet.errors import ConfigError, DataError, shortened
from birefnet.evaluation.problems import Problems
from birefnet.evaluation.reading import reason


@dataclass(frozen=True, slots=True)
class TruthSet:
    """Truths by stem and, where the folder has them, their pictures.

    Attributes:
        name: of the set: its folder's.
        truths: stem -> mask; never empty.
        pictures: stem -> photo, where there is one.
    """

    name: str
    truths: Mapping[str, Path]
    pictures: Mapping[str, Path]


@dataclass(frozen=True, slots=True)
class Job:
    """One prediction and its truth; `name` is unique among all sets, `stem` within its own."""

    stem: str
    name: str
    prediction: Path
    truth: Path
    picture: Path | None = None


def find_sets(paths: Sequence[Path], *, with_pictures: bool = False) -> list[TruthSet]:
    """The test sets that a user's paths name, in their order.

    Each path is a folder of masks, a test set (a folder with `gt` and perhaps `im`), or a folder of test sets.

    Args:
        with_pictures: whether every truth needs a picture, because predictions are to be made from them.

    Raises:
        DataError: if a folder is missing or empty, stems meet, or pictures are missing.
        ConfigError: if two sets have one name.
    """
    problems, sets = Problems(), []
    for path in paths:
        for folder in _expand(path):
            sets.append(_find_set(folder, problems, with_pictures=with_pictures))
    problems.check("The test sets cannot be used")
    names = [one.name for one in sets]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(
            f"Several test sets are called {shortened(twice)}.", hint="judge them one by one, or rename one"
        )
    return sets


def match(predictions: Path, sets: Sequence[TruthSet], *, resize: bool, allow_extra: bool) -> dict[str, list[Job]]:
    """Pair every truth with its prediction, by stem, and look at the files' headers.

    Args:
        predictions: a folder of predictions, or, with one sub-folder for each set, of such folders.
        sets: what to judge by.
        resize: whether a prediction may have another size than its truth.
        allow_extra: whether predictions without a truth are left out; else they are an error.

    Returns:
        Set name -> jobs, by stem.

    Raises:
        DataError: one error that lists everything missing, left over, unreadable or of the wrong size or depth.
    """
    problems, jobs = Problems(), {}
    for one in sets:
        folder = folder_for(predictions, one, len(sets))
        prefix = f"{one.name}/" if len(sets) > 1 else ""
        found = _by_stem(folder, problems)
        if not found:
            continue
        for stem in sorted(one.truths.keys() - found.keys()):
            problems.add("missing", prefix + stem)
        for stem in sorted(found.keys() - one.truths.keys()) if not allow_extra else ():
            problems.add("extra", prefix + stem)
        jobs[one.name] = [
            Job(stem, prefix + stem, found[stem], one.truths[stem], one.pictures.get(stem))
            for stem in sorted(one.truths.keys() & found.keys())
        ]
    every = [job for of_set in jobs.values() for job in of_set]
    readable = [job for job in every if _check_headers(job, problems, resize=resize)]
    if problems:  # only then, since it takes decoding: what would stop the next call belongs to the same list
        for job in readable:
            _check_colours(job, problems)
    problems.check(f"`{predictions}` cannot be judged")
    return jobs


def folder_for(predictions: Path, one: TruthSet, sets: int) -> Path:
    """Where the predictions of a set are: in the sub-folder of its name, or, for a single set, in the folder itself."""
    below = predictions / one.name
    return predictions if sets == 1 and not below.is_dir() else below


def has_pictures(folder: Path) -> bool:
    """Whether picture files lie directly in a folder."""
    return folder.is_dir() and bool(pictures_in(folder))


def check_pictures(sets: Sequence[TruthSet]) -> None:
    """Compare the headers of all pictures and truths, before a network spends hours on them.

    Raises:
        DataError: one error that lists what cannot be read and where a picture and its truth differ in size.
    """
    problems = Problems()
    for one in sets:
        for stem, truth in one.truths.items():
            picture, mask = _header(one.pictures[stem], problems), _header(truth, problems, mask=True)
            if picture and mask and picture.size != mask.size:
                problems.add("picture", f"{one.name}/{stem}", _sizes(picture.size, mask.size))
    problems.check("The test sets cannot be used")


def short(path: Path) -> str:
    """A file's name with its folder's, enough to find it."""
    return f"{path.parent.name}/{path.name}"


def _expand(path: Path) -> list[Path]:
    """A path of a user -> folders that are sets."""
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        raise DataError(f"`{path}` {what}; wanted a folder of masks, or a test set: a folder with `im` and `gt`.")
    if (path / "gt").is_dir() or has_pictures(path):
        return [path]
    below = [folder for folder in set_folders_in(path) if (folder / "gt").is_dir()]
    if not below:
        raise DataError(f"`{path}` is empty: it holds neither masks, nor `gt`, nor test sets with `gt` in them.")
    return below


def _find_set(folder: Path, problems: Problems, *, with_pictures: bool) -> TruthSet:
    masks = folder / "gt" if (folder / "gt").is_dir() else folder
    whole = Path(os.path.abspath(masks))  # `.` has no name of its own
    name = whole.parent.name if whole.name == "gt" else whole.name
    truths = _by_stem(masks, problems)
    photos = whole.parent / "im" if whole.name == "gt" else None
    pictures: dict[str, Path] = {}
    if with_pictures:
        if photos is None:
            raise DataError(f"`{folder}` has no pictures to predict from; wanted a folder with `im` and `gt`.")
        pictures = _by_stem(photos, problems)
        _check_lone(name, truths, pictures, problems)
    elif photos is not None and has_pictures(photos):
        pictures = _by_stem(photos, Problems())  # only shown in a report: what is amiss there changes no number
    return TruthSet(name, truths, {stem: path for stem, path in pictures.items() if stem in truths})


def _check_lone(name: str, truths: Mapping[str, Path], pictures: Mapping[str, Path], problems: Problems) -> None:
    for stem in sorted(truths.keys() - pictures.keys()):
        problems.add("lone", f"{name}/{stem}")
    for stem in sorted(pictures.keys() - truths.keys()):
        problems.add("unused", f"{name}/{stem}")


def _by_stem(folder: Path, problems: Problems) -> dict[str, Path]:
    """Stem -> file, sorted; stems with two files and folders without any are noted as problems."""
    if not folder.is_dir():
        problems.add("folder", str(folder))
        return {}
    found: dict[str, Path] = {}
    for path in pictures_in(folder):
        stem = stem_of(path)
        if stem in found:
            problems.add("twice", short(path.with_suffix("")), f"{found[stem].name}, {path.name}")
        found[stem] = path
    if not found:
        problems.add("empty", str(folder))
    return found


def _check_headers(job: Job, problems: Problems, *, resize: bool) -> bool:
    """Note what the headers of a pair say; whether both are those of masks."""
    prediction, truth = _header(job.prediction, problems, mask=True), _header(job.truth, problems, mask=True)
    if prediction is None or truth is None:
        return False
    if prediction.size != truth.size and not resize:
        problems.add("size", job.name, _sizes(prediction.size, truth.size))
    return True


def _header(path: Path, problems: Problems, *, mask: bool = False) -> Header | None:
    """What a file says of itself; None, and noted, if it is no picture, or deeper than a mask may be."""
    try:
        found = read_header(path)
    except DataError as error:
        problems.add("unreadable", short(path), reason(error, path))
        return None
    if mask and found.deep:
        problems.add("deep-mask", short(path))
        return None
    return found


def _check_colours(job: Job, problems: Problems) -> None:
    """Decode the files of a pair whose headers say that they could hold colours, and only those."""
    uses: tuple[tuple[Path, Use], ...] = ((job.prediction, "prediction"), (job.truth, "truth"))
    for path, use in uses:
        try:
            if read_header(path).mode not in PLAIN_MODES:
                for error in read_mask(path).refused(use):
                    problems.add(error.kind, short(path), error.detail)
        except DataError as error:
            problems.add("unreadable", short(path), reason(error, path))


def _sizes(one: tuple[int, int], other: tuple[int, int]) -> str:
    return f"{one[0]}x{one[1]}, truth {other[0]}x{other[1]}"
