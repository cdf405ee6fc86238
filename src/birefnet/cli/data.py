"""`birefnet data check FOLDER`: look through pictures and masks before training on them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from birefnet.cli.messages import DONE, FAILED, say
from birefnet.cli.options import Json, Overwrite
from birefnet.errors import ConfigError

if TYPE_CHECKING:
    from birefnet.data.check import Report

SHEET = "index.html"
_SHOWN = 12  # findings of each kind that are named in the text

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Look through pictures and masks before training on them.",
)


@app.callback()
def _group() -> None:
    """Look through pictures and masks before training on them."""


@app.command("check")
def check(
    folder: Annotated[Path, typer.Argument(help="Holds `im` and `gt`, or folders that do.", show_default=False)],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help=f"Folder for a contact sheet, {SHEET}; made if need be.")
    ] = None,
    overwrite: Overwrite = False,
    ignore: Annotated[
        list[str] | None,
        typer.Option("--ignore", help="Kind of finding to leave out, such as `empty`; may be repeated."),
    ] = None,
    as_json: Json = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Threads. [default: one per core]")] = None,
) -> None:
    """Report sizes, missing partners, bad, empty and inverted masks, duplicates, how soft the masks are, what fits.

    Exit code 0: fine; 1: problems were found; 2: wrong use, such as a folder without pairs.

    Example: birefnet data check my_pictures -o check
    """
    from tqdm import tqdm

    from birefnet.data.check import check_folder

    target = None if output is None else output / SHEET
    if target is not None and target.exists() and not overwrite:
        raise ConfigError(f"`{target}` exists.", hint="--overwrite replaces it")
    with tqdm(unit="pair", disable=None, file=sys.stderr) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        report = check_folder(folder, ignore=ignore or (), workers=workers, progress=progress)
    if target is not None:
        _write(report, target)
    typer.echo(json.dumps(report.to_dict(), indent=2) if as_json else _text(report))
    raise typer.Exit(FAILED if report.problems else DONE)


def _write(report: Report, target: Path) -> None:
    from birefnet.data.sheet import write_sheet

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_sheet(report, target)
    except OSError as error:
        raise ConfigError(f"Cannot write `{target}`: {error.strerror or error}") from error
    say(f"contact sheet: {target}")


def _text(report: Report) -> str:
    """The report for a person."""
    from birefnet.data.findings import KINDS, count_of

    lines = [f"{report.folder}: {count_of(len(report.pairs), 'pair')}, {count_of(report.problems, 'problem')}", ""]
    lines += [f"{title:<10}{text}" for title, text in _facts(report)]
    for kind, count in report.counts().items():
        row = KINDS[kind]
        lines += ["", f"{'problem' if row.problem else 'note'}: {row.title}, {count} ({kind}). {row.advice}."]
        findings = [finding for finding in report.findings if finding.kind == kind]
        for finding in findings[:_SHOWN]:
            name = finding.name if finding.set in (".", finding.name) else f"{finding.set}/{finding.name}"
            lines.append(f"  {name}{': ' if finding.text else ''}{finding.text}")
        if count > _SHOWN:
            lines.append(f"  and {count - _SHOWN} more; -o writes a sheet with pictures, --json prints them all")
    return "\n".join(lines)


def _facts(report: Report) -> list[tuple[str, str]]:
    values = report.to_dict()
    rows = []
    if list(report.sets) != ["."]:
        shown = [f"{name} {count}" for name, count in report.sets.items()]
        rows = [
            ("sets", ", ".join(shown[:_SHOWN]) + (f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""))
        ]
    if sizes := values["sizes"]:
        parts = ", ".join(f"{sizes[key][0]}x{sizes[key][1]}" for key in ("min", "median", "max"))
        aspect = ", ".join(f"{sizes['aspect'][key]:.2f}" for key in ("min", "median", "max"))
        rows += [("sizes", f"{parts} (least, median, greatest)"), ("aspect", f"{aspect} (width to height)")]
    if covered := values["covered"]:
        rows.append(("covered", ", ".join(f"{covered[key]:.0%}" for key in ("min", "median", "max"))))
    if report.softness:
        rows.append(("masks", report.softness.words))
    if advice := report.advice:
        losses = ", ".join(f"{term} {weight:g}" for term, weight in advice.losses.items())
        start = f" from `{advice.start}`" if advice.start else ""
        rows += [
            ("losses", f"{advice.task}: {losses}"),
            ("suggested", f"recipes/{advice.recipe}.yaml{start} at {advice.size[0]}x{advice.size[1]}"),
            *(("", reason) for reason in advice.reasons),
        ]
    return rows
