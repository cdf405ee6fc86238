"""`birefnet site OUT [WEB_MODEL_FOLDER ...]`: write the page as files that any web host serves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from birefnet.cli.messages import bytes_bar, say
from birefnet.cli.options import Json, Offline, Overwrite

Out = Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write.", show_default=False)]
Folders = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[WEB_MODEL_FOLDER]...",
        help="Models to offer besides the bundled small one: what `birefnet export MODEL --to web` wrote, or "
        "folders of such.",
        show_default=False,
    ),
]


def site(
    out: Out,
    folders: Folders = None,
    overwrite: Overwrite = False,
    offline: Offline = False,
    report: Json = False,
) -> None:
    """Write the page as files that any web host serves: pictures are computed in the browser and never leave it.

    \b
    birefnet site public                      the page with the bundled small model
    birefnet export lite --to web -o lite     another model for browsers ...
    birefnet site public lite --overwrite     ... and the page with both
    birefnet serve --web-only public          look at it here

    Exit codes: 0 done, 1 something could not be fetched, 2 wrong use, 130 interrupted.
    """
    from birefnet.serving.site import Site, check_target

    check_target(out, overwrite=overwrite)  # before a download, not after it
    with bytes_bar() as progress:
        made = Site(folders or (), offline=offline, say=say, progress=progress)
        size = made.write(out, overwrite=overwrite)
    say(f"{out}: {size / 1e6:.1f} MB, models: {', '.join(made.models)}")
    say(f"hint: look at it with: birefnet serve --web-only {out}")
    if report:
        typer.echo(json.dumps({"output": str(out), "bytes": size, "models": list(made.models)}, indent=2))
