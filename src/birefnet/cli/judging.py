"""What `evaluate` and `compare` share: their options, and their bars."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from tqdm import tqdm

from birefnet.cli.messages import bytes_bar

if TYPE_CHECKING:
    from birefnet.evaluation.judge import Progress
    from birefnet.weights.transfer import Progress as BytesProgress

Truths = Annotated[
    list[Path],
    typer.Argument(
        metavar="GT...",
        help="A folder of masks, or test sets: folders with `im` and `gt`, or a folder of such folders.",
        show_default=False,
    ),
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FOLDER", help="Write tables and a report here.")
]
Task = Annotated[
    str | None,
    typer.Option(
        "--task", metavar="TASK", help="Columns as its papers print them: dis5k, cod, hrsod, general or matting."
    ),
]
Metrics = Annotated[
    str | None,
    typer.Option("--metrics", metavar="NAMES", help="Columns by name, such as S,MAE,maxF; or all."),
]
Resize = Annotated[
    bool, typer.Option("--resize", help="Bring predictions of another size to that of their truth, bilinearly.")
]
AllowExtra = Annotated[bool, typer.Option("--allow-extra", help="Leave out predictions that have no truth.")]
AllowInverted = Annotated[
    bool, typer.Option("--allow-inverted", help="Judge a set even if it looks inverted, or holds 1 for white.")
]
JudgedDtype = Annotated[
    str,
    typer.Option(
        "--dtype",
        metavar="TYPE",
        help="For a model: float32, the same on every machine; auto is what `remove` takes on this one.",
    ),
]


@contextmanager
def bars(*, quiet: bool) -> Iterator[tuple[Progress, BytesProgress]]:
    """Progress on stderr where that is a terminal: of pictures, a bar for each kind of work, and of a download."""
    hidden = quiet or not sys.stderr.isatty()
    shown: dict[str, tqdm[None]] = {}
    with ExitStack() as stack:

        def progress(what: str, done: int, total: int) -> None:
            if what not in shown:
                bar = tqdm(total=total, desc=what, unit="picture", delay=1, disable=hidden, file=sys.stderr)
                shown[what] = stack.enter_context(bar)
            shown[what].update(done - shown[what].n)

        yield progress, stack.enter_context(bytes_bar(hidden=quiet))


def terminal_width() -> int | None:
    """Characters in a line, or None where stdout is no terminal and lines may be of any length."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None
