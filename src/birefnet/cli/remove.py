"""`birefnet remove INPUTS...`: cut the subject out of pictures."""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from birefnet.cli.messages import DONE, FAILED, INTERRUPTED, bytes_bar, say, say_error
from birefnet.errors import ConfigError

if TYPE_CHECKING:
    from birefnet.cli.batch import Outcome, Save
    from birefnet.cli.plan import Job
    from birefnet.remover import Cutout, Remover
    from birefnet.runtimes.select import Size

PIPE = "-"

Inputs = Annotated[
    list[str],
    typer.Argument(
        help="Pictures, folders (with their sub-folders), quoted globs such as 'trip/**/*.jpg', or - for a pipe."
    ),
]
Output = Annotated[
    str | None,
    typer.Option("--output", "-o", help="A file for one picture, a folder for several, or - for stdout."),
]
Model = Annotated[
    str, typer.Option("--model", "-m", help="A name (see `birefnet models`), an .onnx file or a checkpoint.")
]
SizeText = Annotated[
    str | None,
    typer.Option("--size", help="What the network sees: a side, WIDTHxHEIGHT, or native [default: the model's own]."),
]
MaskOnly = Annotated[bool, typer.Option("--mask-only", help="Write the alpha as a grey picture.")]
Background = Annotated[
    str | None,
    typer.Option("--background", "-b", help="A colour (white, #ff8800, 255,136,0), a picture, or blur."),
]
Format = Annotated[
    str | None,
    typer.Option("--format", "-f", help="png, webp, tiff, or jpg where nothing is transparent [default: png]."),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 or mps.")]
MaxPixels = Annotated[
    int | None,
    typer.Option("--max-pixels", min=1, help="Refuse larger pictures [default: 200000000].", show_default=False),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")]
Json = Annotated[bool, typer.Option("--json", help="Print a report for programs on stdout.")]
Offline = Annotated[bool, typer.Option("--offline", help="Never download.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")]


def remove(
    inputs: Inputs,
    output: Output = None,
    model: Model = "nano",
    size: SizeText = None,
    mask_only: MaskOnly = False,
    background: Background = None,
    format: Format = None,
    device: Device = "auto",
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
    cat cat.jpg | birefnet remove - > cat.png      in a pipe

    The result of cat.jpg is cat.png; of cat.png, in the same folder, cat.cutout.png. A folder `photos` without -o goes
    to `photos-cutouts`. Where two results would meet, each keeps its whole old name: cat.jpg.png, cat.webp.png.
    A file that exists is an error for one picture and skipped for several, unless --overwrite is given.

    Exit codes: 0 done, 1 some pictures failed (listed at the end), 2 wrong use, 130 interrupted.
    """
    from birefnet.cli.plan import plan
    from birefnet.pixels.picture import MAX_PIXELS
    from birefnet.remover import Remover

    piped = PIPE in inputs or output == PIPE
    if piped:
        _check_pipe(inputs, output, report=report)
    target = Path(output) if output not in (None, PIPE) else None
    suffix = _check_format(inputs, target, format, mask_only=mask_only, background=background)
    jobs = [] if piped else plan(inputs, target, suffix)
    _fetch(model, device, offline=offline, quiet=quiet)
    remover = Remover(model, device=device, size=parse_size(size), offline=offline, max_pixels=max_pixels or MAX_PIXELS)
    remover.load()  # a model that cannot be had is one error, not one for each picture

    def save(cutout: Cutout, to: Any) -> None:
        cutout.save(to, mask_only=mask_only, background=background, format=format)

    if piped:
        _pipe(inputs[0], target, remover, save, overwrite=overwrite, quiet=quiet)
    else:
        raise typer.Exit(_batch(jobs, remover, save, overwrite=overwrite, report=report, quiet=quiet))


def parse_size(text: str | None) -> Size:
    """ "1024" -> 1024, "1024x768" -> (1024, 768), "native" and None as they are.

    Raises:
        ConfigError: if it is none of these.
    """
    if text is None or text == "native":
        return text  # type: ignore[return-value]
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise ConfigError(f"`{text}` is not a size; wanted a side (1024), WIDTHxHEIGHT (1024x768) or native.")
    sides = [int(part) for part in parts]
    return sides[0] if len(sides) == 1 else (sides[0], sides[1])


def _fetch(model: str, device: str, *, offline: bool, quiet: bool) -> None:
    """Fetch a published model that is not on this disk, with a progress bar; anything else is left to the remover."""
    from birefnet.weights import zoo
    from birefnet.weights.download import fetch, find_cached
    from birefnet.weights.entries import BundledFile

    if Path(model).exists():
        return
    if not zoo.knows(model):
        if not set(model) & set("./\\"):  # neither a file nor a repository: a name, and said to be wrong at once
            zoo.find(model)
        return
    onnx = model.lower().endswith(".onnx")
    file = zoo.onnx_of(model) if onnx else zoo.weights_of(model)
    if isinstance(zoo.find(model).onnx, BundledFile) or find_cached(file) is not None:
        return
    if not onnx:  # what would not run here is not worth a download
        from birefnet.runtimes.torch import choose_device

        choose_device(device)
    with bytes_bar(hidden=quiet) as progress:
        fetch(file, offline=offline, progress=progress)


def _check_pipe(inputs: Sequence[str], output: str | None, *, report: bool) -> None:
    """Refuse what a pipe cannot do."""
    if len(inputs) > 1:
        raise ConfigError("A pipe takes one picture: `-` or `-o -` cannot stand beside other inputs.")
    to_stdout = output in (None, PIPE)
    if to_stdout and report:
        raise ConfigError("The picture goes to stdout, so the report cannot.\nhint: give the picture a file with -o")
    if to_stdout and sys.stdout.isatty():
        raise ConfigError("A picture would be printed to the terminal.\nhint: > cat.png or -o cat.png")


def _check_format(
    inputs: Sequence[str], target: Path | None, format: str | None, *, mask_only: bool, background: str | None
) -> str:
    """Check the format and background before any work; returns the suffix of files to be written."""
    from birefnet.cli.plan import is_file_target
    from birefnet.pixels.compose import parse_colour
    from birefnet.pixels.writing import WRITABLE_SUFFIXES, output_format

    named = target if target and (inputs[0] == PIPE or is_file_target(inputs, target)) else None
    if target and not named and not target.is_dir() and target.suffix.lower() in WRITABLE_SUFFIXES:
        raise ConfigError(f"`{target}` names one file, and several pictures need a folder.")
    kind = output_format(named, format)
    if mask_only and background is not None:
        raise ConfigError("--mask-only has no background; choose one of the two.")
    opaque = mask_only
    if background is not None:
        opaque = background == "blur" or Path(background).is_file() or parse_colour(background)[3] == 255
    if kind == "JPEG" and not opaque:
        raise ConfigError("JPEG holds no transparency.\nhint: --format webp, or --background white")
    return {"JPEG": ".jpg"}.get(kind, f".{kind.lower()}")


def _pipe(source: str, target: Path | None, remover: Remover, save: Save, *, overwrite: bool, quiet: bool) -> None:
    """stdin, or one file, to stdout or a file; nothing is written before the result is whole."""
    if target and target.exists() and not overwrite:
        raise ConfigError(f"`{target}` exists.\nhint: --overwrite replaces it")
    cutout = remover(sys.stdin.buffer.read()) if source == PIPE else remover(source)
    if not cutout.has_foreground and not quiet:
        say("no subject found")
    if target:
        save(cutout, target)
        return
    whole = io.BytesIO()
    save(cutout, whole)  # type: ignore[arg-type]
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
        with tqdm(total=len(jobs), unit="picture", delay=1, disable=hidden, file=sys.stderr) as bar:
            for outcome in run_batch(jobs, remover, save, overwrite=overwrite):
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
        say_error(outcome.error or "", about=outcome.input if len(jobs) > 1 else None)
    if interrupted:
        say(f"{len(outcomes)} of {len(jobs)} pictures were come to; the same command goes on")
        return INTERRUPTED
    return FAILED if failed else DONE
