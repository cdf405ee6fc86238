"""Every error that a user can meet, and the helper that names the extra to install.

All of them derive from `BiRefNetError`, so one `except` catches what the package has to say;
those about a value given also derive from `ValueError`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from types import ModuleType

from birefnet.libraries import load


class BiRefNetError(Exception):
    """The base of all errors raised on purpose; its text is one sentence for a person.

    Both the sentence and the hint name parameters as Python does, in backticks: `overwrite=True`, `size=512`. The
    command line shows them as its own options (`--overwrite`, `--size 512`).

    Attributes:
        hint: the way out, in a few words without a full stop; None where the sentence says all.
    """

    def __init__(self, message: str = "", *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        """Errors travel between processes: with their hint, and whatever a subclass adds."""
        return (_restored, (type(self), self.args, self.__dict__))


class ConfigError(BiRefNetError, ValueError):
    """A configuration, recipe or option that cannot be meant as written."""


class InputError(BiRefNetError, ValueError):
    """An array or tensor of the wrong shape, type or range."""


class PictureError(BiRefNetError, ValueError):
    """A file that is not a picture, is damaged, or is too large; or one that cannot be written."""


class UnknownModel(BiRefNetError, ValueError):
    """A model name that is neither in the zoo nor a file, folder or hub repository."""


class WeightsError(BiRefNetError, ValueError):
    """Weights that do not fit, are damaged, or hold values that are not finite."""


class DownloadError(BiRefNetError):
    """A file that could not be fetched, or whose checksum differs from the known one."""


class DataError(BiRefNetError, ValueError):
    """A folder of training or test pictures with something missing or unreadable."""


class MissingExtra(BiRefNetError, ImportError):
    """A feature whose optional dependency is not installed."""


class DeviceError(BiRefNetError, RuntimeError):
    """A device or runtime that this machine does not have, or that cannot do the work."""


class OutOfMemory(DeviceError):
    """Work that did not fit into the memory of its device; what is smaller still can be done."""


def _restored(kind: type[BiRefNetError], arguments: tuple[object, ...], state: dict[str, object]) -> BiRefNetError:
    error = kind.__new__(kind, *arguments)
    error.args = arguments
    error.__dict__.update(state)
    return error


def nearest(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The one of `known` that was likely meant by `word`; upper and lower case do not matter.

    Args:
        cutoff: how alike they must be, from 0 (anything will do) to 1 (equal).
    """
    by_lower = {name.lower(): name for name in known}
    found = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=cutoff)
    return by_lower[found[0]] if found else None


def did_you_mean(word: str, known: Iterable[str], *, cutoff: float = 0.6, prefix: str = "") -> str | None:
    """A hint that names the `nearest` of `known`, with `prefix` before it; None where nothing is near."""
    found = nearest(word, known, cutoff=cutoff)
    return None if found is None else f"did you mean `{prefix}{found}`?"


def shortened(names: Iterable[object], most: int = 10, *, mark: str = "`") -> str:
    """The first of a list, each between two `mark`s, and how many more there are: "`a`, `b` and 3 more"."""
    listed = list(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(f"{mark}{name}{mark}" for name in listed[:most]) + more


def first_line(error: BaseException) -> str:
    """What a library's error says, in one line that fits into a sentence; its type's name where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


def require(module: str, extra: str) -> ModuleType:
    """Import `module` of another library (see `birefnet.libraries`), or say which extra brings it.

    Args:
        module: dotted name of the module, for example ``"torch"``.
        extra: name of the package's extra that installs it, for example ``"torch"``.

    Raises:
        MissingExtra: if the module is not installed.
    """
    try:
        return load(module)
    except ModuleNotFoundError as error:
        # A module that is there but misses one of its own parts must not be blamed on the extra.
        if error.name is None or error.name.partition(".")[0] != module.partition(".")[0]:
            raise
        raise MissingExtra(
            f"This needs `{module}`, which is not installed; install it with: pip install 'birefnet[{extra}]'"
        ) from error
