"""What the user named -> which picture is read and which file is written, decided before any work is done.

Names of outputs, in this order, so that none ever meets another output or an input:

1. `cat.jpg` becomes `cat.png` beside it, or below the output folder, where a folder's structure is kept;
2. in place, `cat.png` becomes `cat.cutout.png`;
3. where two pictures would still meet (`cat.jpg` and `cat.webp` in one folder), or one would become an input,
   the whole old name is kept: `cat.jpg.png`, `cat.webp.png`;
4. where even that meets (`x/cat.jpg` and `y/cat.jpg`, both named one by one, into one folder), the folders
   below the ones they share come back: `x/cat.jpg.png`, `y/cat.jpg.png`.

The order in which pictures are named changes nothing.
"""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from birefnet.errors import ConfigError
from birefnet.pixels.picture import READABLE_SUFFIXES


@dataclass(frozen=True, slots=True)
class Job:
    """One picture to be read and the file to be written."""

    source: Path
    target: Path


@dataclass(frozen=True, slots=True)
class _Found:
    """A picture, and where it lies below the folder or pattern that named it (its bare name if named itself)."""

    source: Path
    relative: Path


def plan(inputs: Sequence[str], output: str | None, suffix: str) -> list[Job]:
    """Turn files, folders and glob patterns into jobs, in a fixed order, each picture once.

    Args:
        inputs: what the user named.
        output: None for beside each picture (a folder `photos` then goes to `photos-cutouts`), a file for a single
            picture, or a folder.
        suffix: of the files to be written, with its dot; not used if `output` is a file.

    Raises:
        ConfigError: if an input names nothing, or the output cannot hold the results.
    """
    target = None if output is None else Path(output)
    found = _once(picture for name in inputs for picture in _find(name, target, many=len(inputs) > 1))
    if target is not None and output is not None and is_file_target(inputs, output):
        if _real(target) == _real(found[0].source):
            raise ConfigError(f"The result would overwrite the picture itself, `{output}`.\nhint: choose another -o")
        return [Job(found[0].source, target)]
    if target is not None and target.exists() and not target.is_dir():
        raise ConfigError(f"`{output}` is a file, and several pictures need a folder.")
    return _name(found, target, suffix)


def is_file_target(inputs: Sequence[str], output: str) -> bool:
    """Whether `output` names one file: one picture was named, and the output has a suffix and is no folder."""
    one_file = len(inputs) == 1 and Path(inputs[0]).is_file()
    return one_file and not names_folder(output) and Path(output).suffix != ""


def names_folder(output: str) -> bool:
    """Whether `output` is a folder, or is meant to become one."""
    return output.endswith(("/", os.sep)) or Path(output).is_dir()


def _find(name: str, output: Path | None, *, many: bool) -> list[_Found]:
    """The pictures that one word of the command line names."""
    path = Path(name)
    if path.is_dir():
        # Several folders into one: each keeps its name. Without an output folder each gets a neighbour.
        root = path.resolve()
        if output is not None and output.resolve() == root:
            raise ConfigError(
                f"The results of `{name}` would lie among its pictures.\nhint: choose another folder with -o"
            )
        home = Path(root.name) if many else Path()
        if output is None:
            home = root.with_name(f"{root.name}-cutouts")
        skip = (output if output is not None else home).resolve()
        found = [_Found(picture, home / picture.relative_to(path)) for picture in _walk(path, skip)]
        if not found:
            raise ConfigError(f"No pictures in `{name}`.\nhint: known suffixes: {' '.join(sorted(READABLE_SUFFIXES))}")
        return found
    if path.exists():
        return [_Found(path, Path(path.name))]
    if glob.has_magic(name):
        matches = (Path(match) for match in sorted(glob.glob(name, recursive=True)))
        base = _fixed_part(path)
        found = [_Found(m, m.relative_to(base)) for m in matches if m.is_file() and _is_picture(m)]
        if not found:
            raise ConfigError(f"No picture matches `{name}`.")
        return found
    raise ConfigError(f"No such file or folder: `{name}`.")


def _walk(folder: Path, skip: Path) -> Iterable[Path]:
    """All pictures below a folder, sorted, without hidden files and without the folder that the results go to."""
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith(".") and Path(here, f).resolve() != skip)
        yield from (Path(here, file) for file in sorted(files) if not file.startswith(".") and _is_picture(Path(file)))


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in READABLE_SUFFIXES


def _fixed_part(pattern: Path) -> Path:
    """The folders before a pattern's first wildcard: `photos/2024*/x.jpg` -> `photos`."""
    parts: list[str] = []
    for part in pattern.parts[:-1]:
        if glob.has_magic(part):
            break
        parts.append(part)
    return Path(*parts)


def _once(found: Iterable[_Found]) -> list[_Found]:
    """Drop what was named twice."""
    return list({picture.source.resolve(): picture for picture in found}.values())


def _name(found: Sequence[_Found], output: Path | None, suffix: str) -> list[Job]:
    """Choose the targets by the rules at the head of this file."""
    parents = [str(picture.source.resolve().parent) for picture in found]
    shared = Path(os.path.commonpath(parents)) if len(set(os.path.splitdrive(p)[0] for p in parents)) == 1 else None

    def place(picture: _Found, relative: Path) -> Path:
        if output is not None:
            return output / relative
        return relative if relative.is_absolute() else picture.source.with_name(relative.name)

    def short(picture: _Found) -> Path:
        target = place(picture, picture.relative.with_name(picture.source.stem + suffix))
        if _real(target) == _real(picture.source):
            return target.with_name(f"{picture.source.stem}.cutout{suffix}")
        return target

    def whole(picture: _Found) -> Path:
        return place(picture, picture.relative.with_name(picture.source.name + suffix))

    def with_folders(picture: _Found) -> Path:
        source = picture.source.resolve()
        below = source.relative_to(shared) if shared is not None else Path(source.name)
        return place(picture, below.with_name(source.name + suffix))

    rules = (short, whole, with_folders)
    # Most disks of Windows and macOS take `Cat.png` and `cat.png` for one file: avoid that too where it can be avoided.
    targets = _settle(found, rules, lambda p: _real(p).casefold()) or _settle(found, rules, _real)
    if targets is None:
        raise ConfigError(
            f"Results would overwrite each other or a picture, `{found[0].source}` among them.\nhint: choose another -o"
        )
    return [Job(picture.source, target) for picture, target in zip(found, targets, strict=True)]


def _settle(
    found: Sequence[_Found], rules: Sequence[Callable[[_Found], Path]], key: Callable[[Path], str]
) -> list[Path] | None:
    """Give every picture the first rule's name that meets no other; those that meet move on together.

    Returns None if some meet after the last rule too. Two paths with one `key` are one file.
    """
    in_use = {key(picture.source) for picture in found}
    level = [0] * len(found)
    while True:
        targets = [rules[step](picture) for step, picture in zip(level, found, strict=True)]
        keys = [key(target) for target in targets]
        count = Counter(keys)
        meeting = [i for i, one in enumerate(keys) if count[one] > 1 or one in in_use]
        if not meeting:
            return targets
        if all(level[i] + 1 == len(rules) for i in meeting):
            return None
        for i in meeting:
            level[i] = min(level[i] + 1, len(rules) - 1)


def _real(path: Path) -> str:
    """The file that a path leads to."""
    return os.path.realpath(path)
