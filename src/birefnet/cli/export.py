"""`birefnet export MODEL --to FORMAT`: pack a model for another runtime, and prove that it is the same."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from birefnet.cli.messages import bytes_bar, say
from birefnet.cli.options import Calibration, Json, Offline, Overwrite, parse_size
from birefnet.errors import ConfigError, require
from birefnet.runtimes.machine import folder_bytes
from birefnet.weights.formats import FORMATS, TARGETS, Format, find_target

if TYPE_CHECKING:
    from birefnet.export.options import ExportOptions


_FORMATS = "; ".join(f"{name} ({FORMATS[name].help})" for name in TARGETS)
_PRECISIONS = "fp32, fp16, int8 (needs --calibration) or int8wo (weights only)"
_DYNAMIC = "dynamic"

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A name (see `birefnet models`), a checkpoint file, a run's folder or a hub repository.",
        show_default=False,
    ),
]
To = Annotated[str, typer.Option("--to", metavar="FORMAT", help=f"{_FORMATS}.")]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="OUT", help="What to write [default: the model's name, in this folder]."),
]
SizeText = Annotated[
    str | None,
    typer.Option("--size", metavar="SIZE", help="A side, WIDTHxHEIGHT or dynamic [default: the model's own]."),
]
Batch = Annotated[str, typer.Option("--batch", metavar="N", help="Pictures at once: a number or dynamic.")]
PrecisionText = Annotated[str, typer.Option("--precision", metavar="PRECISION", help=f"Of the weights: {_PRECISIONS}.")]
DeformText = Annotated[
    str,
    typer.Option(
        "--deform",
        metavar="FORM",
        help="Deformable convolutions: native, or decomposed into common operators for runtimes that lack them.",
    ),
]
MaxDrop = Annotated[
    float | None,
    typer.Option(
        "--max-drop",
        metavar="MAE",
        help="For int8 of OpenVINO: keep in float what raises the mean absolute error on the calibration pictures, "
        "which then need masks (im/ and gt/), by more than this, such as 0.003.",
        show_default=False,
    ),
]


def export(
    model: Model,
    to: To = "onnx",
    output: Output = None,
    size: SizeText = None,
    batch: Batch = "1",
    precision: PrecisionText = "fp32",
    deform: DeformText = "native",
    calibration: Calibration = None,
    max_drop: MaxDrop = None,
    overwrite: Overwrite = False,
    offline: Offline = False,
    report: Json = False,
) -> None:
    """Pack a model for another runtime; what is written is compared with the model, and kept only if it agrees.

    \b
    birefnet export lite                                 lite.onnx, at the model's own size
    birefnet export lite --precision fp16 --size 512     half the file; any side that 32 divides
    birefnet export lite --size dynamic --batch dynamic  any size, any number of pictures
    birefnet export lite --deform decomposed             for runtimes without deformable convolution
    birefnet export runs/mine --precision int8 --calibration photos/
    birefnet export lite --to web --size 512 -o lite-web a folder for browsers

    Exit codes: 0 done, 1 what was written differs and was deleted, 2 wrong use, 130 interrupted.
    """
    start = time.perf_counter()
    to, target = find_target(to, precision)
    require("torch", "export")
    from birefnet.export.writers import WRITERS
    from birefnet.weights.checkpoint import load_model
    from birefnet.weights.resolve import resolve

    options = replace(read_options(size, batch, precision, deform, calibration), max_drop=max_drop)
    found_model = resolve(model, weights=True)
    path = output_path(output, found_model.label, to, precision, overwrite=overwrite)
    with bytes_bar() as progress:
        file = found_model.fetch(offline=offline, progress=progress)
    network, spec = load_model(file.path), file.spec()
    options = replace(options, entry=file.entry)
    if size is None:
        options = replace(options, size=(spec.width, spec.height))
    say(f"{file.label}: {to}, {precision}, {_sides(options)}")
    proof = WRITERS[to]()(network, path, spec, options, source=file.label)
    size_there = _bytes(path, target)
    found = {
        "model": file.label,
        "format": to,
        "path": str(path),
        "bytes": size_there,
        "size": options.size or _DYNAMIC,
        "batch": options.batch or _DYNAMIC,
        "precision": precision,
        "deform": deform,
        "seconds": round(time.perf_counter() - start, 1),
        "alpha_error": asdict(proof),
    }
    if report:
        typer.echo(json.dumps(found, indent=2))
    else:
        typer.echo(
            f"{path}: {size_there / 1e6:.1f} MB, "
            f"alpha differs by {proof.largest:.1e} at most, {proof.mean:.1e} on average"
        )


def read_options(size: str | None, batch: str, precision: str, deform: str, calibration: Path | None) -> ExportOptions:
    """What was asked for; with no size for both `dynamic` and nothing.

    Raises:
        ConfigError: if something cannot be meant as written.
        DataError: if the folder has no pictures.
    """
    from birefnet.export.calibration import find_calibration
    from birefnet.export.options import ExportOptions

    if calibration is not None and precision != "int8":
        raise ConfigError(f"`--calibration` belongs to `--precision int8`; {precision} needs no pictures")
    options = ExportOptions(
        size=_read_size(size),
        batch=_read_batch(batch),
        precision=precision,  # type: ignore[arg-type]  # it says itself what it knows
        deform=deform,  # type: ignore[arg-type]
        calibration=calibration,
        report=say,
    )
    if calibration is not None:
        find_calibration(calibration)  # before a download, not after it
    return options


def output_path(output: Path | None, label: str, to: str, precision: str, *, overwrite: bool) -> Path:
    """What is to be written of the model called `label`.

    Raises:
        ConfigError: if it exists and may not be replaced, or has another format's suffix.
    """
    row = FORMATS[to]
    suffix = row.suffixes[0] if row.suffixes else ""  # none is a folder
    ending = "" if precision == "fp32" else f"-{precision}"
    name = f"{label.replace('/', '-')}{ending}{suffix or f'-{to}'}"
    path = Path(name) if output is None else output
    if suffix and path.is_dir():
        path = path / name
    if suffix and path.suffix.lower() != suffix and (path.suffix or not row.second):
        raise ConfigError(f"`{path}` is to be a file of {to}, so its name should end in {suffix}")
    if path.exists() and not overwrite:
        raise ConfigError(f"`{path}` exists already.", hint="choose another `-o`, or `overwrite=True`")
    return path


def _read_size(text: str | None) -> tuple[int, int] | None:

    from birefnet.runtimes.select import check_size

    if text is None or text == _DYNAMIC:
        return None
    if text == "native":
        raise ConfigError("An exported file has a fixed size or takes any; for any, say `--size dynamic`")
    return check_size(parse_size(text))


def _read_batch(text: str) -> int | None:
    if text == _DYNAMIC:
        return None
    if not text.isdecimal():
        raise ConfigError(f"`--batch {text}` should be a number, such as 1, or dynamic")
    return int(text)


def _bytes(path: Path, target: Format) -> int:
    """How much was written."""
    if path.is_dir():
        return folder_bytes(path)
    files = [path, *([path.with_suffix(target.second)] if target.second else [])]
    return sum(file.stat().st_size for file in files)


def _sides(options: ExportOptions) -> str:
    size = "any size" if options.size is None else f"{options.size[0]}x{options.size[1]}"
    count = "any number of pictures" if options.batch is None else f"{options.batch} at once"
    return f"{size}, {count}"
