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
from birefnet.cli.targets import TARGETS, Target, find_target, writer_of
from birefnet.errors import ConfigError, require
from birefnet.pixels.prepare import InputSpec
from birefnet.runtimes.machine import folder_bytes

if TYPE_CHECKING:
    from birefnet.export.options import ExportOptions
    from birefnet.network import BiRefNet


_FORMATS = "; ".join(f"{name} ({row.help})" for name, row in TARGETS.items())
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
    target = find_target(to, precision)
    require("torch", "export")
    options = replace(read_options(size, batch, precision, deform, calibration), max_drop=max_drop)
    weights = find_weights(model)
    path = output_path(output, weights, to, precision, overwrite=overwrite)
    network, spec, source = load(weights, offline=offline)
    if size is None:
        options = replace(options, size=(spec.width, spec.height))
    say(f"{source}: {to}, {precision}, {_sides(options)}")
    proof = writer_of(target)(network, path, spec, options, source=source)
    size_there = _bytes(path, target)
    found = {
        "model": source,
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
        pictures=calibration,
        report=say,
    )
    if calibration is not None:
        find_calibration(calibration)  # before a download, not after it
    return options


def find_weights(model: str) -> str | Path:
    """What `load_model` is to take: of a run's folder its best weights, anything else as it is.

    Raises:
        ConfigError: if it is a file that was exported already.
    """
    if Path(model).suffix.lower() in {row.suffix for row in TARGETS.values()} - {""}:
        raise ConfigError(
            f"`{model}` is an exported file already; name the weights it was made of: a model's name, "
            "a .safetensors or .pth file, or a run's folder"
        )
    if (Path(model) / "checkpoints").is_dir():
        from birefnet.evaluation.source import find_source

        found = find_source(model, [])
        if isinstance(found.model, Path):
            return found.model
    return model


def load(model: str | Path, *, offline: bool) -> tuple[BiRefNet, InputSpec, str]:
    """The network, the input it was made for, and what to call it.

    Raises:
        UnknownModel, WeightsError, DownloadError: as `load_model` does.
    """
    from birefnet.runtimes.facts import read_safetensors, spec_of, to_spec
    from birefnet.weights import zoo
    from birefnet.weights.checkpoint import load_model
    from birefnet.weights.download import find_cached

    known = next((name for name in (str(model), Path(model).name) if zoo.knows(name)), None)
    entry = zoo.find(known) if known else None
    with bytes_bar() as progress:
        network = load_model(model, offline=offline, progress=progress)
    path = Path(model)
    if entry is not None and not path.exists():
        path = find_cached(zoo.weights_of(str(known))) or path
    spec = to_spec(read_safetensors(path), path, defaults=spec_of(entry))
    return network, spec, entry.name if entry else _label(model)


def output_path(output: Path | None, model: str | Path, to: str, precision: str, *, overwrite: bool) -> Path:
    """What is to be written.

    Raises:
        ConfigError: if it exists and may not be replaced, or has another format's suffix.
    """
    suffix = TARGETS[to].suffix
    ending = "" if precision == "fp32" else f"-{precision}"
    name = f"{_label(model).replace('/', '-')}{ending}{suffix or f'-{to}'}"
    path = Path(name) if output is None else output
    if suffix and path.is_dir():
        path = path / name
    if suffix and path.suffix.lower() != suffix and (path.suffix or not TARGETS[to].second):
        raise ConfigError(f"`{path}` is to be a file of {to}, so its name should end in {suffix}")
    if path.exists() and not overwrite:
        raise ConfigError(f"`{path}` exists already.\nhint: choose another -o, or --overwrite")
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


def _bytes(path: Path, target: Target) -> int:
    """How much was written."""
    if path.is_dir():
        return folder_bytes(path)
    files = [path, *([path.with_suffix(target.second)] if target.second else [])]
    return sum(file.stat().st_size for file in files)


def _label(model: str | Path) -> str:
    """A name without the place of its file: `lite`, `owner/name`, or of a run's weights `run/best`."""
    path = Path(model)
    if not path.exists():
        return str(model).partition("@")[0]
    whole = path.resolve()
    if path.is_dir():
        return whole.name
    home = whole.parent.parent if whole.parent.name == "checkpoints" else None
    return f"{home.name}/{whole.stem}" if home else whole.stem


def _sides(options: ExportOptions) -> str:
    size = "any size" if options.size is None else f"{options.size[0]}x{options.size[1]}"
    count = "any number of pictures" if options.batch is None else f"{options.batch} at once"
    return f"{size}, {count}"
