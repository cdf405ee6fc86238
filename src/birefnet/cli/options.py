"""Options that several commands have: each is declared once here, and means the same in all of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from birefnet.weights.formats import RUNTIMES

if TYPE_CHECKING:
    from birefnet.runtimes.select import Size

Model = Annotated[
    str,
    typer.Option(
        "--model", "-m", metavar="MODEL", help="A name (see `birefnet models`), a file, a run's folder or a repository."
    ),
]
SizeText = Annotated[
    str | None,
    typer.Option(
        "--size",
        metavar="SIZE",
        help="What the network sees: a side, WIDTHxHEIGHT, or native [default: the model's own].",
    ),
]
Device = Annotated[str, typer.Option("--device", metavar="DEVICE", help="auto, cpu, cuda, cuda:1 or mps.")]
Runtime = Annotated[
    str,
    typer.Option("--runtime", metavar="RUNTIME", help=f"auto, or what runs the model: {', '.join(RUNTIMES)}."),
]
Dtype = Annotated[
    str,
    typer.Option(
        "--dtype", metavar="TYPE", help="auto, float32 (exact), bfloat16 or float16, where there is a choice."
    ),
]
Memory = Annotated[
    str, typer.Option("--memory", metavar="HOW", help="normal, or low: slower, for large pictures (PyTorch).")
]
Threads = Annotated[
    int | None,
    typer.Option("--threads", min=1, metavar="N", help="CPU threads [default: physical cores].", show_default=False),
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", min=1, metavar="N", help="Processes [default: all cores].", show_default=False),
]
Calibration = Annotated[
    Path | None, typer.Option("--calibration", metavar="FOLDER", help="For int8: some dozens of typical pictures.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what exists.")]
Json = Annotated[bool, typer.Option("--json", help="Print a report for programs on stdout.")]
Offline = Annotated[bool, typer.Option("--offline", help="Never download.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")]


def parse_size(text: str | None) -> Size:
    """What `--size` means, as `birefnet.runtimes.select.parse_size` reads it; that is loaded when it is asked."""
    from birefnet.runtimes import select

    return select.parse_size(text)
