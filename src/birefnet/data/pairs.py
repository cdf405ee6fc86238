"""Folders of pictures and masks, matched by stem; nothing missing is passed over in silence."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from birefnet.errors import DataError, shortened
from birefnet.pixels.picture import READABLE_SUFFIXES

PICTURE_SUFFIXES = READABLE_SUFFIXES
CHECK_HINT = "`birefnet data check FOLDER` shows them all"


@dataclass(frozen=True, slots=True)
class Pair:
    """A picture and its mask: white is the subject, grey is partly the subject."""

    picture: Path
    mask: Path


def stem_of(path: Path) -> str:
    """What a file is matched by: its name without suffix, however its accents are written.

    Some systems store `é` as one letter (NFC), others as two (NFD), so copies of one folder may differ in that.
    """
    return unicodedata.normalize("NFC", path.stem)


def pictures_in(folder: Path) -> list[Path]:
    """The picture files directly in a folder, by name; hidden ones do not count."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


def find_pictures(folder: Path, only: Collection[str] | None = None) -> list[Path]:
    """All picture files directly in `folder`, by name; with `only`, those of these stems. Hidden files do not count.

    Raises:
        DataError: if the folder is missing or empty, or lacks one of the stems asked for.
    """
    if not folder.is_dir():
        raise DataError(f"There is no folder `{folder}`")
    found = pictures_in(folder)
    if only is not None:
        wanted = {unicodedata.normalize("NFC", stem) for stem in only}
        absent = sorted(wanted - {stem_of(path) for path in found})
        if absent:
            raise DataError(f"`{folder}` lacks {shortened(absent)}")
        found = [path for path in found if stem_of(path) in wanted]
    if not found:
        raise DataError(f"No pictures in `{folder}`; it should hold {', '.join(sorted(PICTURE_SUFFIXES))} files")
    return found


@dataclass(frozen=True, slots=True)
class Matched:
    """What the folders `im` and `gt` of one set hold.

    Attributes:
        pairs: by stem.
        lone_pictures, lone_masks: files without a partner.
        twins: files of a stem that another file of the same folder has already.
        absent: sentences about folders that are missing or empty, or stems that were asked for.
    """

    pairs: list[Pair]
    lone_pictures: list[Path]
    lone_masks: list[Path]
    twins: list[Path]
    absent: list[str]

    def problems(self, folder: Path) -> list[str]:
        """Everything that is missing, in words; empty if nothing is."""
        if self.absent:  # what lacks its whole other half needs no list of files
            return self.absent
        lists = (
            ("pictures without a mask", self.lone_pictures),
            ("masks without a picture", self.lone_masks),
            ("files that share one stem with another", self.twins),
        )
        parts = [f"{len(paths)} {what}: {shortened(path.stem for path in paths)}" for what, paths in lists if paths]
        return [f"`{folder}` has {'; '.join(parts)}{self._naming()}"] if parts else []

    def _naming(self) -> str:
        """A hint, if all lone masks are called like the pictures but for an ending (`cat_mask` for `cat`)."""
        masks, pictures = ({stem_of(path) for path in paths} for paths in (self.lone_masks, self.lone_pictures))
        if not masks or not pictures:
            return ""
        for names, others, which in ((masks, pictures, "masks"), (pictures, masks, "pictures")):
            first = min(names)
            endings = {first[len(stem) :] for stem in others if first.startswith(stem)} - {""}
            for ending in sorted(endings, key=len):
                if {name.removesuffix(ending) for name in names} == others:
                    return f" (the {which} are called ...{ending}; rename them to match)"
        return ""


def match_pairs(folder: Path, only: Collection[str] | None = None) -> Matched:
    """Match `folder`/im and `folder`/gt by stem; suffixes may differ. What is wrong is in the result, not raised."""
    absent, files, twins = [], [], []
    for part in ("im", "gt"):
        try:
            found = find_pictures(folder / part, only)
        except DataError as error:
            absent.append(str(error))
            found = []
        named: dict[str, Path] = {}
        for path in found:
            if named.setdefault(stem_of(path), path) is not path:
                twins.append(path)
        files.append(named)
    pictures, masks = files
    return Matched(
        pairs=[Pair(pictures[stem], masks[stem]) for stem in sorted(pictures.keys() & masks.keys())],
        lone_pictures=[pictures[stem] for stem in sorted(pictures.keys() - masks.keys())],
        lone_masks=[masks[stem] for stem in sorted(masks.keys() - pictures.keys())],
        twins=twins,
        absent=absent,
    )


def find_pairs(folder: Path, only: Collection[str] | None = None) -> list[Pair]:
    """The pairs of `folder`/im and `folder`/gt, matched by stem; suffixes may differ.

    Args:
        folder: holds the two folders `im` and `gt`.
        only: stems to take; None takes all.

    Raises:
        DataError: if a folder is missing or empty, if any picture lacks its mask or the
            other way round, or if two files share a stem.
    """
    return find_all_pairs([(folder, only)])[0]


def find_all_pairs(folders: Sequence[tuple[Path, Collection[str] | None]]) -> list[list[Pair]]:
    """The pairs of several folders, each with the stems to take (None: all).

    Raises:
        DataError: one error that lists what is missing in all of them.
    """
    matched = [match_pairs(folder, only) for folder, only in folders]
    raise_all([text for one, (folder, _) in zip(matched, folders, strict=True) for text in one.problems(folder)])
    return [one.pairs for one in matched]


def set_folders(root: Path, sets: str, task: str | None = None) -> list[Path]:
    """The folders of sets joined by `+`: each root/task/set or, where that is not there, root/set.

    Raises:
        DataError: naming every set that is in neither place, and what there is instead.
    """
    names = [name.strip() for name in sets.split("+")]
    found = {name: _set_folder(root, name, task) for name in names}
    absent = [name for name, folder in found.items() if folder is None]
    if absent:
        places = [f"`{root / task}`"] if task else []
        raise DataError(
            f"{' and '.join([*places, f'`{root}`'])} hold no set {shortened(absent)}; {_sets_below(root, task)}"
        )
    return [folder for folder in found.values() if folder is not None]


def _set_folder(root: Path, name: str, task: str | None) -> Path | None:
    places = ([root / task / name] if task else []) + [root / name]
    return next((place for place in places if (place / "im").is_dir() or (place / "gt").is_dir()), None)


def _sets_below(root: Path, task: str | None) -> str:
    place = root / task if task and (root / task).is_dir() else root
    names = [folder.name for folder in set_folders_in(place)] if place.is_dir() else []
    return f"there are: {shortened(names)}" if names else "a set is a folder that holds `im` and `gt`"


def set_folders_in(folder: Path, depth: int = 2) -> list[Path]:
    """The folders that hold `im` or `gt`, by path: `folder` itself, or those up to `depth` levels below it."""
    if (folder / "im").is_dir() or (folder / "gt").is_dir():
        return [folder]
    if not depth:
        return []
    with os.scandir(folder) as entries:
        below = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    return [found for name in below for found in set_folders_in(folder / name, depth - 1)]


def raise_all(problems: Sequence[str], most: int = 20) -> None:
    """One error for all `problems`, if there are any.

    Raises:
        DataError: with up to `most` of them, and how many more there are.
    """
    if problems:
        more = f"; and {len(problems) - most} more" if len(problems) > most else ""
        raise DataError(f"{'; '.join(problems[:most])}{more}", hint=CHECK_HINT)
