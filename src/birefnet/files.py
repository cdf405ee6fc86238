"""Files and folders that appear whole or not at all: the one way anything here is written under its final name.

What is written goes to a hidden name beside its target (`.NAME.TOKEN.part`) and is renamed when it is complete.
Whatever interrupts it, a full disk or Ctrl-C, leaves no part of it behind and what was there before as it was; two
writers of one target do not meet: the later one wins.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

_LONGEST = 100  # bytes of the target's name in the hidden one: file systems allow 255 bytes in all
_TRIES = 8  # of putting a folder in place while somebody else does the same


def write_whole(path: str | os.PathLike[str], save: Callable[[BinaryIO], None]) -> None:
    """Let `save` write a file to a stream; `path` names it once it is complete.

    A link keeps pointing to its target, which is what is replaced. A pipe or a device, which has no name to take over,
    is written to directly.

    Raises:
        OSError: as the file system has it.
    """
    if is_stream(path):
        with open(path, "wb") as stream:
            return save(stream)
    target = Path(os.path.realpath(path))
    with whole_file(target) as part, part.open("xb") as stream:
        save(stream)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write UTF-8 text with the line ends it has, whole or not at all.

    Raises:
        OSError: as the file system has it.
    """
    content = to_bytes(text)

    def save(stream: BinaryIO) -> None:
        stream.write(content)

    write_whole(path, save)


def to_bytes(text: str) -> bytes:
    """UTF-8, valid whatever the text holds: bytes of a name that are not UTF-8 are written as in JSON, `\\udce9`."""
    return text.encode("utf-8", "backslashreplace")


def write_json(path: str | os.PathLike[str], value: object, *, indent: int | None = 2) -> None:
    """Write a value as JSON and a line end, whole or not at all.

    Raises:
        OSError: as the file system has it.
        TypeError: if JSON cannot hold the value.
    """
    write_text(path, json.dumps(value, indent=indent) + "\n")


@contextlib.contextmanager
def whole_file(path: str | os.PathLike[str], *, parents: bool = False) -> Iterator[Path]:
    """For libraries that write to a path: yields one beside `path`, which gets its name if the block ends well.

    The path that is given does not exist yet and keeps the suffix of `path`.

    Args:
        parents: make the folders that are missing.

    Raises:
        OSError: as the file system has it.
    """
    target = Path(os.path.realpath(path))
    if parents:
        target.parent.mkdir(parents=True, exist_ok=True)
    part = beside(target)
    try:
        yield part
        part.replace(target)
    except BaseException:  # Ctrl-C too
        with contextlib.suppress(OSError):
            part.unlink()
        raise


@contextlib.contextmanager
def whole_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields an empty folder beside `path`, which takes the place of whatever is there if the block ends well.

    Raises:
        OSError: as the file system has it.
    """
    target = Path(os.path.realpath(path))
    part = beside(target)
    part.mkdir(parents=True)
    try:
        yield part
        _put_folder(part, target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextlib.contextmanager
def whole_pair(path: str | os.PathLike[str], second: str) -> Iterator[Path]:
    """For libraries that write two files which belong together: as `whole_file`, both or neither.

    Args:
        path: the file that is opened; folders that are missing are made.
        second: the suffix, with its dot, of the file beside it that it needs.

    Raises:
        OSError: as the file system has it.
    """
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = beside(target)
    folder.mkdir()
    made = folder / target.name
    moves = [(made.with_suffix(second), target.with_suffix(second)), (made, target)]
    try:
        yield made
        with _alone_in(target.parent):  # or the halves of two writers' pairs would end up side by side
            _put_files(moves)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def beside(path: Path) -> Path:
    """A hidden name in the folder of `path` that nobody else uses: `.NAME.TOKEN.part`, before the suffix of `path`.

    The suffix stays because libraries choose a format by it.
    """
    suffix = path.suffix if len(os.fsencode(path.suffix)) <= 16 else ""
    stem = os.fsencode(path.name.removesuffix(suffix))[:_LONGEST].decode("utf-8", "ignore")
    return path.with_name(f".{stem}.{secrets.token_hex(4)}.part{suffix}")


def _put_files(moves: list[tuple[Path, Path]]) -> None:
    """Rename files one after another; older ones step aside first, and all come back if one cannot be moved."""
    old = {target: beside(target) for _, target in moves if target.exists()}
    placed: list[Path] = []
    try:
        for target, aside in reversed(old.items()):  # the one that is opened goes first and comes last
            target.replace(aside)
        for part, target in moves:
            part.replace(target)
            placed.append(target)
    except BaseException:  # Ctrl-C too
        for target in placed:
            target.unlink(missing_ok=True)
        for target, aside in old.items():
            if aside.exists():
                aside.replace(target)
        raise
    for aside in old.values():
        aside.unlink(missing_ok=True)


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Of the writers that ask for this folder, in all processes, one at a time; Windows has no such locks."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems have no locks either
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _put_folder(part: Path, target: Path) -> None:
    """Give `part` the name `target`; an older one there steps aside first, and comes back if this fails."""
    for _ in range(_TRIES):
        old = beside(target)
        with contextlib.suppress(FileNotFoundError):
            target.replace(old)
        try:
            part.replace(target)
        except OSError as error:
            if old.exists() and not target.exists():
                old.replace(target)
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):  # somebody else was quicker: theirs steps aside next
                shutil.rmtree(old, ignore_errors=True)
                continue
            raise
        _remove(old)
        return
    raise OSError(errno.EBUSY, "Other programs keep writing here", str(target))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def is_stream(path: str | os.PathLike[str]) -> bool:
    """Whether a path that is there leads to a pipe, a socket or a device: `<(...)` of a shell, `/dev/full`.

    Such a thing can be opened once, has no name that another file could take, and may never end.
    """
    try:
        mode = os.stat(path).st_mode  # the path as given: what links of /dev/fd/ read as is no path
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
