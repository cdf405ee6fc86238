"""`birefnet benchmark [MODEL]`: one table of every runtime of this machine, measured in one run."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from birefnet.cli.messages import DONE, FAILED, as_options, bytes_bar, say
from birefnet.cli.options import Calibration, Device, Json, Offline, Quiet, parse_size
from birefnet.errors import ConfigError, require

if TYPE_CHECKING:
    from birefnet.benchmarking.job import Benchmark
    from birefnet.benchmarking.plan import Request
    from birefnet.pixels.prepare import InputSpec

PLOTS = (".svg", ".png", ".pdf")

Model = Annotated[
    str | None,
    typer.Argument(
        metavar="[MODEL]",
        help="A name (see `birefnet models`), a checkpoint, a run's folder or a hub repository [default: nano].",
        show_default=False,
    ),
]
RandomWeights = Annotated[
    str | None,
    typer.Option(
        "--random-weights",
        metavar="BACKBONE",
        help="Instead of a model: the released shape with this backbone (swin_v1_t, ...), random weights, offline.",
    ),
]
Runtimes = Annotated[
    str | None,
    typer.Option(
        "--runtimes",
        metavar="A,B",
        help="torch, onnx, openvino; and on request eager, compiled, graphs, onnx-decomposed, package, tensorrt "
        "[default: the first three, where installed].",
    ),
]
Precisions = Annotated[
    str | None,
    typer.Option(
        "--precisions", metavar="A,B", help="fp32, bf16, fp16, int8wo, int8 [default: each runtime's usual ones]."
    ),
]
Sizes = Annotated[
    str | None,
    typer.Option("--sizes", metavar="A,B", help="Sides or WIDTHxHEIGHT, such as 512,1024 [default: the model's own]."),
]
Repeats = Annotated[int, typer.Option("--repeats", min=1, metavar="N", help="Pictures after the first.")]
Picture = Annotated[
    Path | None, typer.Option("--picture", metavar="FILE", help="What to look at [default: a rendered one].")
]
Threads = Annotated[
    int | None, typer.Option("--threads", min=1, metavar="N", help="CPU threads [default: each runtime's own choice].")
]
Timeout = Annotated[
    float, typer.Option("--timeout", metavar="SECONDS", help="What a row, or making its file, may take.")
]
Keep = Annotated[
    Path | None, typer.Option("--keep", metavar="FOLDER", help="Keep the exported files there.", show_default=False)
]
Plot = Annotated[
    Path | None,
    typer.Option("--plot", metavar="FILE", help="Draw time and memory against size: .svg, .png or .pdf."),
]
Markdown = Annotated[bool, typer.Option("--markdown", help="Print the table as Markdown.")]


def benchmark(
    model: Model = None,
    random_weights: RandomWeights = None,
    runtimes: Runtimes = None,
    precisions: Precisions = None,
    sizes: Sizes = None,
    repeats: Repeats = 5,
    picture: Picture = None,
    device: Device = "auto",
    threads: Threads = None,
    timeout: Timeout = 900.0,
    calibration: Calibration = None,
    keep: Keep = None,
    plot: Plot = None,
    markdown: Markdown = False,
    report: Json = False,
    offline: Offline = False,
    quiet: Quiet = False,
) -> None:
    """Time a model in every runtime of this machine, in one run: load, first and median time, memory, differences.

    \b
    birefnet benchmark                                            the model in the box
    birefnet benchmark lite --sizes 512,1024 --plot lite.svg
    birefnet benchmark --random-weights swin_v1_t --sizes 1024    without any download
    birefnet benchmark lite --runtimes onnx,openvino --precisions fp32,int8 --calibration photos/

    Every row runs in a process of its own, one after another; what cannot be measured is listed with the reason.
    The network as written, in fp32, is always the first row of a size: the others' alpha is compared with it.

    Exit codes: 0 done, 1 some rows failed, 2 wrong use, 130 interrupted.
    """
    if markdown and report:
        raise ConfigError("--markdown and --json are two forms of one table; choose one.")
    if model is not None and random_weights is not None:
        raise ConfigError("--random-weights stands for a model; leave out one of the two.")
    _check_plot(plot)
    require("torch", "torch")
    request = _request(runtimes, precisions, sizes, repeats, device, threads, calibration, timeout)
    with tempfile.TemporaryDirectory(prefix="birefnet-benchmark-") as name:
        found = _measure(model, random_weights, sizes, request, picture, Path(name), keep, offline=offline, quiet=quiet)
    if report:
        typer.echo(json.dumps(found.to_dict(), indent=2))
    else:
        _print(found, as_markdown=markdown)
    if plot is not None:
        from birefnet.benchmarking.plot import draw

        draw(found, plot)
        if not quiet:
            say(f"plot: {plot}")
    raise typer.Exit(FAILED if any(row.status == "failed" for row in found.rows) else DONE)


def _request(
    runtimes: str | None,
    precisions: str | None,
    sizes: str | None,
    repeats: int,
    device: str,
    threads: int | None,
    calibration: Path | None,
    timeout: float,
) -> Request:
    """What is asked for, checked before any work; without sizes, a placeholder for the model's own."""
    from birefnet.benchmarking.plan import Request
    from birefnet.runtimes.select import check_size

    if calibration is not None:
        from birefnet.export.calibration import find_calibration

        find_calibration(calibration)
    wanted = []
    for text in _split(sizes) or ["1024"]:
        size = check_size(parse_size(text))
        if size is None:
            raise ConfigError(f"`{text}` is no size to measure at; wanted a side (1024) or WIDTHxHEIGHT.")
        wanted.append(size)
    return Request(
        runtimes=_split(runtimes),
        precisions=_split(precisions),
        sizes=wanted,
        repeats=repeats,
        device=device,
        threads=threads,
        calibration=calibration,
        timeout=timeout,
    )


def _measure(
    model: str | None,
    backbone: str | None,
    sizes: str | None,
    request: Request,
    picture: Path | None,
    folder: Path,
    keep: Path | None,
    *,
    offline: bool,
    quiet: bool,
) -> Benchmark:
    """Put the weights where every row finds them, and run."""
    from dataclasses import replace

    from birefnet.benchmarking.picture import rendered
    from birefnet.benchmarking.plan import plan
    from birefnet.benchmarking.run import run
    from birefnet.pixels.picture import read_picture

    rgb = rendered() if picture is None else read_picture(picture).rgb
    weights, spec, label = _save_weights(model, backbone, folder, offline=offline, quiet=quiet)
    if sizes is None:
        request = replace(request, sizes=[(spec.width, spec.height)])
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
    from tqdm import tqdm

    hidden = quiet or not sys.stderr.isatty()
    with tqdm(total=len([row for row in plan(request) if not row.reason]), unit="row", disable=hidden) as bar:

        def tell(words: str) -> None:
            bar.set_description(words)

        def done() -> None:
            bar.update()

        return run(request, weights, spec, rgb, folder, model=label, keep=keep, report=tell, done=done)


def _save_weights(
    model: str | None, backbone: str | None, folder: Path, *, offline: bool, quiet: bool
) -> tuple[Path, InputSpec, str]:
    """A checkpoint of what is to be measured, the input it takes, and what to call it."""
    from birefnet.pixels.prepare import InputSpec
    from birefnet.weights.checkpoint import save_model

    if backbone is not None:
        from birefnet.benchmarking.random_weights import random_network

        spec, label = InputSpec(width=1024, height=1024), f"{backbone} (random weights)"
        return save_model(random_network(backbone), folder / f"{backbone}.safetensors"), spec, label
    from birefnet.weights.checkpoint import load_model
    from birefnet.weights.resolve import resolve

    with bytes_bar(hidden=quiet) as progress:
        file = resolve("nano" if model is None else model, weights=True).fetch(offline=offline, progress=progress)
    network = load_model(file.path)
    return save_model(network, folder / f"{file.label.replace('/', '-')}.safetensors"), file.spec(), file.label


def _check_plot(plot: Path | None) -> None:
    """Refuse a plot that cannot be written, before the hour of measuring."""
    if plot is None:
        return
    if plot.suffix.lower() not in PLOTS:
        raise ConfigError(f"`{plot}` is no picture that can be drawn; wanted a name that ends in {', '.join(PLOTS)}.")
    if not plot.resolve().parent.is_dir():
        raise ConfigError(f"There is no folder `{plot.parent}` for the plot.")
    require("matplotlib", "evaluate")


def _print(found: Benchmark, *, as_markdown: bool) -> None:
    """The table on stdout."""
    from birefnet.benchmarking import report

    if as_markdown:
        typer.echo(as_options(report.markdown(found)))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    # A pipe gets whole lines: whoever reads them has no window that they could be too wide for.
    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column, head in enumerate(report.heads(found)):
        table.add_column(head, justify="left" if column < report.WORDS else "right")
    for row in found.rows:
        line = report.cells(row, gpu=report.uses_gpu(found))
        table.add_row(*map(as_options, line), *([row.status] if row.status != "done" else []))
    typer.echo(report.title(found))
    console.print(table)
    for remark in report.remarks(found):
        typer.echo(as_options(remark))
    typer.echo(report.note(found))


def _split(text: str | None) -> list[str]:
    """ "a,b" -> ["a", "b"]"""
    return [word.strip() for word in (text or "").split(",") if word.strip()]
