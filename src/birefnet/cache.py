"""The folder for what may be made or fetched again: models, compiled networks, what other libraries keep.

It is read from the environment at each call: `BIREFNET_CACHE`, or else this platform's place for caches. An account
without a home folder (a container under a foreign user id, a cluster's job) gets a folder of its own among the
temporary ones.
"""

from __future__ import annotations

import functools
import logging
import os
import stat
from pathlib import Path

logger = logging.getLogger(__name__)


def cache_folder() -> Path:
    """`BIREFNET_CACHE`, this platform's place for caches, or a temporary folder where there can be no such place.

    The folder need not exist yet. Where it does exist it may be one that can only be read, with models that somebody
    else put there.
    """
    chosen = os.environ.get("BIREFNET_CACHE")
    if chosen:
        return Path(os.path.abspath(os.path.expanduser(chosen)))
    return _home() or _temporary()


def is_temporary() -> bool:
    """Whether there is no home to keep anything in, so that `cache_folder` lies among the temporary folders."""
    return not os.environ.get("BIREFNET_CACHE") and _home() is None


def writable_folder(name: str) -> Path:
    """A folder of this name that can be written to: in `cache_folder`, or among the temporary ones.

    It is made if need be.

    Raises:
        OSError: if not even a temporary folder can be written to.
    """
    folder = cache_folder() / name
    if not _can_write(folder):
        folder = _temporary() / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _home() -> Path | None:
    """This platform's place for this user's caches; None where the user has no home that can be written to."""
    import platformdirs

    try:
        folder = platformdirs.user_cache_path("birefnet", appauthor=False)
    except (RuntimeError, KeyError, OSError):  # newer versions refuse an unknown home, older ones keep the `~`
        return None
    return folder if folder.is_absolute() and (folder.is_dir() or _can_write(folder)) else None


def _can_write(folder: Path) -> bool:
    """Whether a folder can be written to, or made; nothing is written to find out."""
    there = folder
    while not os.path.lexists(there) and there != there.parent:
        there = there.parent
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


@functools.cache
def _temporary() -> Path:
    """A folder that only this user can write to; the next process of the same user finds it again."""
    import tempfile

    user = os.getuid() if hasattr(os, "getuid") else "cache"  # without user ids, temporary folders are each user's own
    folder = Path(tempfile.gettempdir(), f"birefnet-{user}")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        there = folder.lstat()
        ours = stat.S_ISDIR(there.st_mode) and (not hasattr(os, "getuid") or there.st_uid == os.getuid())
        safe = ours and not there.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    except OSError:
        safe = False
    if not safe:  # somebody else was here first
        folder = Path(tempfile.mkdtemp(prefix="birefnet-"))
    logger.warning(
        "This account has no home folder that can be written to, so `%s` is the cache; BIREFNET_CACHE chooses another",
        folder,
    )
    return folder
