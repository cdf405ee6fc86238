"""`birefnet remove INPUTS...`: cut the subject out of pictures."""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from birefnet.cli.messages import DONE, FAILED, INTERRUPTED, bytes_bar, say, say_error
from birefnet.cli.options import (
    Device,
    Dtype,
    Json,
    Memory,
    Model,
    Offline,
    Overwrite,
    Quiet,
    Runtime,
    SizeText,
    Threads,
    parse_size,
)
from birefnet.cli.streams import telling_stdout
from birefnet.errors import ConfigError

if TYPE_CHECKING:
    from birefnet.cli.batch import Outcome, Save
    from birefnet.cli.plan import Job
    from birefnet.remover import Cutout, Remover

Inputs = Annotated[
    list[str],
    typer.Argument(
        metavar="INPUTS...",
        help="Pictures, folders (with their sub-folders), quoted globs such as 'trip/**/*.jpg', or - for a pipe.",
    ),
]
Output = Annotated[
    str | None,
    typer.Option(
        "--output", "-o", metavar="WHERE", help="A file for one picture, a folder for several, or - for stdout."
    ),
]
MaskOnly = Annotated[bool, typer.Option("--mask-only", help="Write the alpha as a grey picture.")]
Background = Annotated[
    str | None,
    typer.Option(
        "--background", "-b", metavar="WHAT", help="A colour (white, #ff8800, 255,136,0), a picture, or blur."
    ),
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format", "-f", metavar="FORMAT", help="png, webp, tiff, or jpg where nothing is transparent [default: png]."
    ),
]
Refine = Annotated[bool, typer.Option("--refine", help="Free soft edges from the old background's colours.")]
RefineMethod = Annotated[
    str | None,
    typer.Option(
        "--refine-method",
        metavar="METHOD",
        help="How: blur_fusion, closed_form or multi_level; implies --refine [default: blur_fusion].",
        show_default=False,
    ),
]
MaxPixels = Annotated[
    int | None,
    typer.Option(
        "--max-pixels", min=1, metavar="N", help="Refuse larger pictures [default: 200000000].", show_default=False
    ),
]


def remove(
    inputs: Inputs,
    output: Output = None,
    model: Model = "nano",
    size: SizeText = None,
    mask_only: MaskOnly = False,
    background: Background = None,
    refine: Refine = False,
    refine_method: RefineMethod = None,
    format: Format = None,
    device: Device = "auto",
    runtime: Runtime = "auto",
    dtype: Dtype = "auto",
    memory: Memory = "normal",
    threads: Threads = None,
    max_pixels: MaxPixels = None,
    overwrite: Overwrite = False,
    report: Json = False,
    offline: Offline = False,
    quiet: Quiet = False,
) -> None:
    """Cut the subject out of pictures.

    \b
    birefnet remove cat.jpg                        writes cat.png beside it
    birefnet remove cat.jpg -o out.webp            the name says the format
    birefnet remove photos/ -o cutouts/            a folder; run it again to go on
    birefnet remove 'photos/**/*.jpg' -o cutouts/  a pattern, in quotes
    birefnet remove cat.jpg -b white -f jpg        before a white background
    birefnet remove cat.jpg --refine               no rim of the old background's colours
    cat cat.jpg | birefnet remove - > cat.png      in a pipe

    The result of cat.jpg is cat.png; of cat.png, in the same folder, cat.cutout.png. A folder `photos` without -o goes
    to `photos-cutouts`. Where two results would meet, each keeps its whole old name: cat.jpg.png, cat.webp.png.
    A file that exists is an error for one picture and skipped for several, unless --overwrite is given.

    Exit codes: 0 done, 1 some pictures failed (listed at the end), 2 wrong use, 130 interrupted.
    """
    from birefnet.cli.plan import plan
    from birefnet.cli.removing import PIPE, check_pipe, find_format, name_pipes
    from birefnet.pixels.foreground import check_method
    from birefnet.pixels.picture import MAX_PIXELS
    from birefnet.pixels.rendering import Rendering
    from birefnet.pixels.writing import SUFFIXES
    from birefnet.remover import Remover
    from birefnet.runtimes.options import RuntimeOptions

    inputs, output = name_pipes(inputs, output)
    piped = PIPE in inputs or output == PIPE
    if piped:
        check_pipe(inputs, output, report=report)
    target = None if output == PIPE else output
    kind = find_format(inputs, target, format)
    rendering = Rendering(mask_only=mask_only, background=background, format=kind)
    rendering = rendering.loaded(max_pixels=max_pixels or MAX_PIXELS)
    if mask_only and (refine or refine_method):
        raise ConfigError("--mask-only has no colours to refine; choose one of the two.")
    if refine_method:
        check_method(refine_method)
    jobs = [] if piped else plan(inputs, target, SUFFIXES[kind])
    options = RuntimeOptions.parse(
        device=device, runtime=runtime, dtype=dtype, memory=memory, threads=threads, offline=offline
    )
    remover = Remover.from_options(
        model,
        options,
        size=parse_size(size),
        refine=refine_method or refine,
        max_pixels=max_pixels or MAX_PIXELS,
    )
    with bytes_bar(hidden=quiet) as progress:
        remover.load(progress=progress)  # a model that cannot be had is one error, not one for each picture

    def save(cutout: Cutout, to: Any) -> None:
        cutout.write(to, rendering)

    if piped:
        _pipe(inputs[0], Path(target) if target else None, remover, save, overwrite=overwrite, quiet=quiet)
    else:
        raise typer.Exit(_batch(jobs, remover, save, overwrite=overwrite, report=report, quiet=quiet))


def _pipe(source: str, target: Path | None, remover: Remover, save: Save, *, overwrite: bool, quiet: bool) -> None:
    """stdin, or one file, to stdout or a file; nothing is written before the result is whole."""
    from birefnet.cli.batch import make_folder, read_once
    from birefnet.cli.removing import PIPE
    from birefnet.files import is_stream

    if target and target.exists() and not is_stream(target) and not overwrite:
        raise ConfigError(f"`{target}` exists.", hint="--overwrite replaces it")
    cutout = remover(sys.stdin.buffer.read() if source == PIPE else read_once(Path(source)))
    if not cutout.has_foreground and not quiet:
        say("no subject found")
    if target:
        make_folder(target.parent)
        save(cutout, target)
        return
    whole = io.BytesIO()
    save(cutout, whole)  # type: ignore[arg-type]
    with telling_stdout():
        sys.stdout.buffer.write(whole.getbuffer())
        sys.stdout.buffer.flush()


def _batch(jobs: Sequence[Job], remover: Remover, save: Save, *, overwrite: bool, report: bool, quiet: bool) -> int:
    """Run the jobs with a progress bar, tell what became of them, and return the exit code."""
    from tqdm import tqdm

    from birefnet.cli.batch import run_batch, summary, to_report

    outcomes: list[Outcome] = []
    start, interrupted = time.perf_counter(), False
    hidden = quiet or len(jobs) == 1 or not sys.stderr.isatty()
    try:
        stream = closing(run_batch(jobs, remover, save, overwrite=overwrite))
        with stream as batch, tqdm(total=len(jobs), unit="picture", delay=1, disable=hidden, file=sys.stderr) as bar:
            for outcome in batch:
                outcomes.append(outcome)
                bar.update()
                if outcome.has_foreground is False and not quiet:
                    say(f"no subject found in {outcome.input}")
    except KeyboardInterrupt:
        interrupted = True
    seconds = time.perf_counter() - start
    if report:
        runtime = {"model": remover.runtime.name, "device": remover.runtime.device}
        typer.echo(json.dumps({**runtime, **to_report(outcomes, len(jobs), seconds)}, indent=2))
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    if not quiet and (line := summary(outcomes, seconds)):
        say(line)
    for outcome in failed:
        say_error(outcome.error or "", hint=outcome.hint, about=outcome.input if len(jobs) > 1 else None)
    if interrupted:
        say(f"{len(outcomes)} of {len(jobs)} pictures were processed; the same command goes on")
        return INTERRUPTED
    return FAILED if failed else DONE
