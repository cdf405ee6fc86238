"""One file from one address to one place: resumed where it broke off, checked, and put there whole or not at all.

This does not write through `birefnet.files`, and uses no library such as pooch, for one reason: what has come of a file
of several hundred megabytes must outlive a broken connection, Ctrl-C and a crash, under a name (`NAME.part`) that the
next process finds again and goes on with. `birefnet.files` deletes what is not complete, and pooch does not resume.
Files of the Hugging Face Hub are left to its own library, which resumes too.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import http.client
import importlib
import os
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Protocol, Self, cast
from urllib.parse import urlsplit

from birefnet import __version__
from birefnet.errors import DownloadError

Progress = Callable[[int, int | None], None]
"""Called with the bytes there so far and in all (None where the server does not say)."""
Say = Callable[[str], None]
"""Called with a sentence for a person."""

ATTEMPTS = 5  # without a byte of progress between them
PAUSE = 1.0  # seconds before the second attempt; twice as long before each further one
CHUNK = 1 << 20  # bytes
TIMEOUT = 30.0  # seconds of silence


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What is known of a file beforehand; "" or None where nothing is. `sha256` may be its first digits only."""

    sha256: str = ""
    md5: str = ""
    size: int | None = None


class _Response(Protocol):
    """The part of an answer that is used here; urllib gives several classes."""

    status: int
    headers: Message

    def read(self, count: int, /) -> bytes: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *arguments: object) -> None: ...


class _Broken(Exception):
    """The connection ended early or the server asked to come back later: worth another attempt."""


def transfer(url: str, target: Path, expected: Expected, *, say: Say, progress: Progress) -> None:
    """Bring the file at `url` to `target`, unless it is there.

    What has come of it so far lies in `<target>.part`, where the next attempt goes on, also after a crash. Two
    processes that want the same file take turns, so that it is fetched once.

    Raises:
        DownloadError: if it cannot be fetched, the disk is full, or the file is not the expected one.
    """
    part = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _turn(target, say):
            if not target.exists():
                _fetch(url, part, expected, say, progress)
                check(part, expected, f"`{url}`")
                os.replace(part, target)
                _etag_file(part).unlink(missing_ok=True)
    except OSError as error:
        raise _disk_error(error, part) from error


def check(path: Path, expected: Expected, source: str) -> None:
    """Compare the file at `path` with what is expected; delete it if it differs.

    Raises:
        DownloadError: if it differs; `source` says in its message where the file came from.
    """
    for algorithm, wanted in (("sha256", expected.sha256), ("md5", expected.md5)):
        if not wanted:
            continue
        with path.open("rb") as file:
            got = hashlib.file_digest(file, algorithm).hexdigest()
        if not got.startswith(wanted.lower()):
            path.unlink()
            _etag_file(path).unlink(missing_ok=True)
            raise DownloadError(
                f"The file from {source} is damaged or not the published one: its {algorithm} is {got}, it should "
                f"be {wanted}{'' if len(wanted) >= 32 else '...'}; it was deleted, fetch it again"
            )


def make_room(folder: Path, size: int) -> None:
    """Make sure that `size` more bytes fit beside `folder`.

    Raises:
        DownloadError: if they do not.
    """
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if size > free:
        raise DownloadError(
            f"Not enough room in `{folder}`: {readable(size)} are needed, {readable(free)} are free; "
            "make room or set BIREFNET_CACHE to a folder on another disk"
        )


def readable(size: float) -> str:
    """A number of bytes as a person reads it: "445 MB"."""
    return f"{size / 1e6:.0f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"


def _fetch(url: str, part: Path, expected: Expected, say: Say, progress: Progress) -> None:
    if urlsplit(url).scheme not in ("http", "https"):
        raise DownloadError(f"`{url}` is no web address; BIREFNET_MIRROR must begin with https:// or http://")
    failures = 0
    while True:
        before = _length(part)
        try:
            return _stream(url, part, expected, say, progress)
        except _Broken as error:
            failures = 1 if _length(part) > before else failures + 1
            if failures >= ATTEMPTS:
                raise DownloadError(
                    f"Could not fetch `{url}`: {error}; what has come is kept, run it again to go on"
                ) from error
            say(f"The connection to {urlsplit(url).netloc} broke ({error}); trying again.")
            time.sleep(PAUSE * 2 ** (failures - 1))


def _stream(url: str, part: Path, expected: Expected, say: Say, progress: Progress) -> None:
    """Append what is missing of the file to `part`; one request."""
    done = _length(part)
    with _open(url, _headers(part, done)) as response:
        if response.status == 416:  # nothing from there on: either all has come, or the part is of another file
            if response.headers.get("Content-Range", "").endswith(f"/{done}"):
                return
            part.unlink()
            raise _Broken("the file there has changed")
        if response.status != 206:
            done = 0  # the whole file comes again
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {done}-"):
            part.unlink()
            raise _Broken("the server sent another part than the one asked for")
        length = response.headers.get("Content-Length", "")
        total = done + int(length) if length.isdecimal() else None
        if expected.size is not None and total is not None and total != expected.size:
            raise DownloadError(f"`{url}` has {total} bytes, the published file has {expected.size}: not fetched")
        make_room(part.parent, (total or 0) - done)
        say(_announcement(url, done, total))
        _write_etag(part, response.headers.get("ETag", ""))
        with part.open("ab" if done else "wb") as file:
            progress(done, total)
            while chunk := _read(response):
                file.write(chunk)
                done += len(chunk)
                progress(done, total)
        if total is not None and done < total:
            raise _Broken(f"it ended after {readable(done)} of {readable(total)}")


def _open(url: str, headers: dict[str, str]) -> _Response:
    """The server's answer, if it is the file, a part of it or "no such part"."""
    request = urllib.request.Request(url, headers={**headers, "User-Agent": f"birefnet/{__version__}"})
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT, context=_tls())
    except urllib.error.HTTPError as error:
        if error.code == 416:
            return cast(_Response, error)
        error.close()
        if error.code == 429 or error.code >= 500:
            raise _Broken(f"the server answered {error.code} {error.reason}") from error
        raise DownloadError(f"Could not fetch `{url}`: the server answered {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _Broken(_reason(error)) from error
    return cast(_Response, answer)


def _read(response: _Response) -> bytes:
    try:
        return response.read(CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _Broken(_reason(error)) from error


def _tls() -> ssl.SSLContext:
    """Trust what the system trusts, where that takes a library and the library is there."""
    try:
        truststore = importlib.import_module("truststore")
    except ImportError:
        return ssl.create_default_context()
    context: ssl.SSLContext = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return context


def _announcement(url: str, done: int, total: int | None) -> str:
    size = readable(total) if total is not None else "of unknown size"
    going_on = f", of which {readable(done)} are here already" if done else ""
    return f"Fetching {urlsplit(url).path.rpartition('/')[2]} ({size}{going_on}) from {urlsplit(url).netloc}."


def _headers(part: Path, done: int) -> dict[str, str]:
    headers = {"Accept-Encoding": "identity"}  # lengths and ranges are those of the file itself
    if done:
        headers["Range"] = f"bytes={done}-"
        if _etag_file(part).exists():
            headers["If-Range"] = _etag_file(part).read_text("utf-8")
    return headers


def _write_etag(part: Path, etag: str) -> None:
    if etag and not etag.startswith("W/"):  # a weak one does not promise the same bytes
        _etag_file(part).write_text(etag, "utf-8")
    else:
        _etag_file(part).unlink(missing_ok=True)


def _etag_file(part: Path) -> Path:
    return part.with_name(part.name + ".etag")


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None) or error  # what is wrong, without the wrapping of urllib
    return str(reason) or type(error).__name__


def _disk_error(error: OSError, part: Path) -> DownloadError:
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        return DownloadError(
            f"The disk of `{part.parent}` is full; make room and run it again to go on, or set BIREFNET_CACHE to a "
            "folder on another disk"
        )
    return DownloadError(f"Could not write `{part}`: {error.strerror or error}")


@contextlib.contextmanager
def _turn(target: Path, say: Say) -> Iterator[None]:
    import filelock

    lock = filelock.FileLock(target.with_name(target.name + ".lock"))
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        say(f"Another process is fetching {target.name}; waiting for it.")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
