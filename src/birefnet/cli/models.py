"""`birefnet models`: list the models, or fetch one."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

from birefnet.cli.messages import bytes_bar, say
from birefnet.cli.options import Json, Offline
from birefnet.weights.download import address, fetch, find_cached
from birefnet.weights.entries import BundledFile, File, HubFile, ReleaseFile, ZooEntry
from birefnet.weights.zoo import ZOO, onnx_of, weights_of

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="List the models, or fetch one.",
)


@app.callback(invoke_without_command=True)
def _without_command(context: typer.Context, as_json: Json = False) -> None:
    if context.invoked_subcommand is None:
        list_models(as_json)


@app.command("list")
def list_models(as_json: Json = False) -> None:
    """Print the table of models."""
    if as_json:
        typer.echo(json.dumps([_row(entry) for entry in ZOO.values()], indent=2))
    else:
        _print_table()
        say("Models that are not `here` on this disk are fetched when first used, or by: birefnet models download NAME")
        say("Licences are those of the weights; what they were trained on has terms of its own (see `training data`).")


@app.command("download")
def download(
    name: Annotated[str, typer.Argument(help="A model's name, repository or release file.", show_default=False)],
    onnx: Annotated[bool, typer.Option("--onnx", help="Fetch its ONNX file, which runs without torch.")] = False,
    offline: Offline = False,
) -> None:
    """Fetch a model's weights, unless they are here, and print the path of the file."""
    file = onnx_of(name) if onnx or name.lower().endswith(".onnx") else weights_of(name)
    with bytes_bar() as progress:
        path = fetch(file, offline=offline, say=say, progress=progress)
    typer.echo(path)


def _row(entry: ZooEntry) -> dict[str, Any]:
    """An entry as plain data."""
    return {
        "name": entry.name,
        "task": entry.task,
        "backbone": entry.backbone,
        "size": list(entry.size),
        "dynamic": entry.dynamic,
        "mean": list(entry.mean),
        "std": list(entry.std),
        "licence": entry.licence,
        "training_data": entry.data,
        "note": entry.note,
        "aliases": list(dict.fromkeys(name for name in entry.names() if name != entry.name)),
        "weights": _file(entry.weights),
        "release": None if entry.release is None else _file(entry.release),
        "onnx": None if entry.onnx is None else _file(entry.onnx),
    }


def _file(file: File) -> dict[str, Any]:
    path = find_cached(file)
    known: dict[str, Any] = {"megabytes": file.megabytes}
    if not isinstance(file, BundledFile):
        known |= {"address": address(file), "sha256": file.sha256 or None}
    if isinstance(file, HubFile):
        known |= {"repository": file.repository, "revision": file.revision}
    if isinstance(file, ReleaseFile):
        known |= {"md5": file.md5 or None, "bytes": file.size}
    return known | {"path": None if path is None else str(path)}


def _print_table() -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    # A pipe gets whole lines: whoever reads them has no window that they could be too wide for.
    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("name", "for", "backbone", "pixels", "MB", "here", "licence", "training data"):
        table.add_column(title, justify="right" if title == "MB" else "left", overflow="fold")
    for entry in ZOO.values():
        here = any(find_cached(file) is not None for file in entry.files())
        megabytes = "" if entry.weights.megabytes is None else f"{entry.weights.megabytes:.0f}"
        pixels = "256-2304" if entry.dynamic else "x".join(map(str, entry.size))
        table.add_row(
            entry.name,
            "; ".join(filter(None, (entry.task, entry.note))),
            entry.backbone,
            pixels,
            megabytes,
            "yes" if here else "",
            entry.licence,
            entry.data,
        )
    console.print(table)
