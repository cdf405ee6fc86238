"""What the user named -> which picture is read and which file is written, decided before any work is done.

Names of outputs, in this order, so that none ever meets another output or an input:

1. `cat.jpg` becomes `cat.png` beside it, or below the output folder, where a folder's structure is kept;
2. in place, `cat.png` becomes `cat.cutout.png`;
3. where two pictures would still meet (`cat.jpg` and `cat.webp` in one folder), or one would become an input,
   the whole old name is kept: `cat.jpg.png`, `cat.webp.png`;
4. where even that meets (`x/cat.jpg` and `y/cat.jpg`, both named one by one, into one folder), the folders
   below the ones they share come back: `x/cat.jpg.png`, `y/cat.jpg.png`.

The order in which pictures are named changes nothing. A picture that several names lead to (links) has a result for
each name.

Folders: links to folders elsewhere are followed, each folder once; pipes and devices inside are left out with a word.
"""

from __future__ import annotations

import glob
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from birefnet.errors import ConfigError
from birefnet.files import is_stream
from birefnet.pixels.picture import READABLE_SUFFIXES

logger = logging.getLogger(__name__)


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
            raise ConfigError(f"The result would overwrite the picture itself, `{output}`.", hint="choose another -o")
        return [Job(found[0].source, target)]
    if target is not None and target.exists() and not target.is_dir():
        what = "file" if target.is_file() else "pipe or a device"
        raise ConfigError(f"`{output}` is a {what}, and several pictures need a folder.")
    return _name(found, target, suffix)


def is_file_target(inputs: Sequence[str], output: str) -> bool:
    """Whether `output` names one file: one picture was named, and the output has a suffix and is no folder.

    A pipe or a device (`>(...)` of a shell, `/dev/full`) needs no suffix.
    """
    one_file = len(inputs) == 1 and Path(inputs[0]).exists() and not Path(inputs[0]).is_dir()
    return one_file and not names_folder(output) and (Path(output).suffix != "" or is_stream(output))


def names_folder(output: str) -> bool:
    """Whether `output` is a folder, or is meant to become one."""
    return output.endswith(("/", os.sep)) or Path(output).is_dir()


def _find(name: str, output: Path | None, *, many: bool) -> list[_Found]:
    """The pictures that one word of the command line names."""
    path = Path(name)
    if path.is_dir():
        # Several folders into one: each keeps its name. Without an output folder each gets a neighbour.
        root = Path(_real(path))
        if output is not None and Path(_real(output)) == root:
            raise ConfigError(
                f"The results of `{name}` would lie among its pictures.", hint="choose another folder with -o"
            )
        home = Path(root.name) if many else Path()
        if output is None:
            home = root.with_name(f"{root.name}-cutouts")
        skip = _real(output if output is not None else home)
        found = [_Found(picture, home / picture.relative_to(path)) for picture in _walk(path, skip)]
        if not found:
            known = " ".join(sorted(READABLE_SUFFIXES))
            raise ConfigError(f"No pictures in `{name}`.", hint=f"known suffixes: {known}")
        return found
    if path.exists():
        return [_Found(path, Path(path.name))]
    if glob.has_magic(name):
        found = _match(name)
        if not found:
            raise ConfigError(f"No picture matches `{name}`.")
        return found
    raise ConfigError(f"No such file or folder: `{name}`.")


def _match(pattern: str) -> list[_Found]:
    """The pictures that a pattern matches; brackets that stand for themselves in a name need no quoting.

    Folders that are there under the very name, brackets and all, are taken by it; where nothing matches then, brackets
    are taken literally throughout.
    """
    base, rest = _fixed_part(Path(pattern))
    for rest_now in (rest, rest.replace("[", "[[]")):
        whole = os.path.join(glob.escape(str(base)), rest_now)
        matches = (Path(match) for match in sorted(glob.glob(whole, recursive=True)))
        found = [_Found(m, m.relative_to(base)) for m in matches if m.is_file() and _is_picture(m)]
        if found:
            return found
    return []


def _walk(folder: Path, skip: str) -> Iterable[Path]:
    """All pictures below a folder, sorted, without hidden files and without the folder that the results go to.

    Links to folders outside are followed, each of those once; what lies inside is found under its own name.
    """
    root = _real(folder)
    seen = {root}

    def enter(path: Path) -> bool:
        real = _real(path)
        if path.name.startswith(".") or real == skip or real in seen:
            return False
        if path.is_symlink() and (_inside(real, root) or _inside(root, real)):
            return False
        seen.add(real)
        return True

    for here, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in sorted(folders) if enter(Path(here, name))]
        for path in (Path(here, name) for name in sorted(files)):
            if path.name.startswith(".") or not _is_picture(path):
                continue
            if is_stream(path):
                logger.warning("`%s` is left out: it is a pipe or a device", path)
                continue
            yield path


def _inside(path: str, folder: str) -> bool:
    return Path(path).is_relative_to(folder)


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in READABLE_SUFFIXES


def _fixed_part(pattern: Path) -> tuple[Path, str]:
    """The folders before a pattern's first wildcard, and the rest: `photos/2024*/x.jpg` -> `photos`, `2024*/x.jpg`."""
    base = Path(pattern.anchor)
    parts = list(pattern.parts[1:] if pattern.anchor else pattern.parts)
    while len(parts) > 1 and (not glob.has_magic(parts[0]) or os.path.lexists(base / parts[0])):
        base /= parts.pop(0)
    return base, os.path.join(*parts)


def _once(found: Iterable[_Found]) -> list[_Found]:
    """Drop what was named twice; another name for the same picture, a link, is another picture."""
    return list({_where(picture.source): picture for picture in found}.values())


def _where(source: Path) -> Path:
    """The folder a picture is in, whatever links lead there, and its own name."""
    return Path(_real(source.parent), source.name)


def _name(found: Sequence[_Found], output: Path | None, suffix: str) -> list[Job]:
    """Choose the targets by the rules at the head of this file."""
    parents = [_real(picture.source.parent) for picture in found]
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
        source = _where(picture.source)
        below = source.relative_to(shared) if shared is not None else Path(source.name)
        return place(picture, below.with_name(source.name + suffix))

    rules = (short, whole, with_folders)
    # Most disks of Windows and macOS take `Cat.png` and `cat.png` for one file: avoid that too where it can be avoided.
    targets = _settle(found, rules, lambda p: _real(p).casefold()) or _settle(found, rules, _real)
    if targets is None:
        raise ConfigError(
            f"Results would overwrite each other or a picture, `{found[0].source}` among them.",
            hint="choose another -o",
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
