"""Freed memory stays with the program, so that the next picture need not ask the system for it again.

A network's maps are large, and glibc gives every freed one back to the system at once; each new map then costs a page
fault per 4 KiB: for Swin-T at 1024x1024 a third of the time.
"""

from __future__ import annotations

import ctypes
import logging
import sys
from functools import cache

logger = logging.getLogger(__name__)

# Of glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_NEVER = 2**31 - 1


@cache
def keep_freed_memory() -> bool:
    """Tell the C library, for the rest of the process, to keep what is freed; only glibc is known to profit.

    Returns:
        Whether it agreed.
    """
    library = _glibc()
    if library is None:
        return False
    agreed = bool(library.mallopt(_MMAP_MAX, 0)) and bool(library.mallopt(_TRIM_THRESHOLD, _NEVER))
    logger.debug("freed memory is kept: %s", agreed)
    return agreed


def give_back_freed_memory() -> None:
    """Give what is freed by now back to the system, when a model is put away for instance."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018  (other C libraries have none)
    except (OSError, AttributeError):
        return None
    return library
