"""Talk goes to stderr: `error:`, `hint:` and plain lines; only data goes to stdout."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from birefnet.errors import BiRefNetError

DONE, FAILED, WRONG_USE, INTERRUPTED = 0, 1, 2, 130  # exit codes


def say(text: str) -> None:
    """Print one line of talk, above a progress bar if there is one."""
    if "tqdm" in sys.modules:
        sys.modules["tqdm"].tqdm.write(text, file=sys.stderr)
    else:
        print(text, file=sys.stderr)


def say_error(error: BaseException | str, *, hint: str | None = None, about: str | None = None) -> None:
    """Print `error: ...` and, where there is a way out, `hint: ...`; parameters are shown as options.

    The hint is the error's own, or the one given; of a text of several lines, those after the first are hints too.
    `about` is the picture that the error is about; it stands in front unless the sentence names it.
    """
    first, *rest = str(error).strip().splitlines() or [type(error).__name__]
    say(as_options(f"error: {about}: {first}" if about and about not in first else f"error: {first}"))
    own = error.hint if isinstance(error, BiRefNetError) else None
    for line in [*rest, *filter(None, [own, hint])]:
        if line.strip():
            say(as_options(f"hint: {line.strip().removeprefix('hint:').strip()}"))


def as_options(text: str) -> str:
    """What the library says of its parameters, in the words of the command line.

    `overwrite=True` -> `--overwrite`; `size=512` -> `--size 512`; `memory="low"` -> `--memory low`.
    """
    return _PARAMETER.sub(_as_option, text)


_PARAMETER = re.compile(r"`([a-z][a-z_]*)=([^`]+)`")


def _as_option(found: re.Match[str]) -> str:
    name, value = found[1].replace("_", "-"), found[2].strip("\"'")
    return f"`--{name}`" if value == "True" else f"`--{name} {value}`"


@contextmanager
def bytes_bar(*, hidden: bool = False) -> Iterator[Callable[[int, int | None], None]]:
    """A progress bar for a download, on stderr where that is a terminal; it appears with the first bytes.

    What it yields is called with the bytes there so far and in all (None where that is not known).
    """
    from tqdm import tqdm

    bar: Any = None

    def progress(done: int, total: int | None) -> None:
        nonlocal bar
        if bar is None:
            disable = hidden or not sys.stderr.isatty()
            bar = tqdm(total=total, initial=done, unit="B", unit_scale=True, disable=disable, file=sys.stderr)
        bar.update(done - bar.n)

    try:
        yield progress
    finally:
        if bar is not None:
            bar.close()


def debugging() -> bool:
    """Whether a developer asked for tracebacks (BIREFNET_DEBUG=1)."""
    return os.environ.get("BIREFNET_DEBUG", "") not in ("", "0")
