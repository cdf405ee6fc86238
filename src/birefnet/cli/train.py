"""`birefnet train RECIPE`: train or go on training, as the recipe says."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from tqdm import tqdm

from birefnet.errors import ConfigError, require

if TYPE_CHECKING:
    from birefnet.training.validation import Scores


def train(
    recipe: Annotated[Path, typer.Argument(help="A YAML file; those in recipes/ are the ones to start from.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder of the run [default: runs/NAME]; an unfinished run there goes on."),
    ] = None,
    change: Annotated[
        list[str] | None, typer.Option("--set", help="Override a key, such as --set training.lr=2e-5; may be repeated.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, mps, or auto: the best there is.")] = "auto",
    until: Annotated[int | None, typer.Option(help="Stop after this step; a later call goes on from there.")] = None,
) -> None:
    """Train a network from a recipe; Ctrl-C saves, and the same command goes on.

    Example: birefnet train recipes/nano.yaml --set data.root=my_data -o runs/mine
    """
    torch = require("torch", "train")
    require("yaml", "train")
    from birefnet.training.config import load_recipe
    from birefnet.training.trainer import Trainer

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    loaded = load_recipe(recipe, _overrides(change or []))
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    trainer = Trainer(loaded, output or Path("runs") / loaded.name, device)
    with tqdm(total=loaded.training.steps, initial=trainer.step, unit="step", disable=None) as bar:

        def progress(step: int, _total: int, parts: dict[str, float]) -> None:
            bar.update(step - bar.n)
            bar.set_postfix(loss=f"{parts['loss']:.2f}", refresh=False)

        scores = trainer.run(progress, until)
    for name, value in scores.items():
        typer.echo(_line(name, value))
    typer.echo(f"weights: {trainer.folder / (loaded.name + '.safetensors')}")


def _overrides(changes: list[str]) -> dict[str, str]:
    pairs = {}
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals or not key:
            raise ConfigError(f"`--set {change}` should read KEY=VALUE, such as training.lr=2e-5")
        pairs[key] = value
    return pairs


def _line(name: str, value: Scores) -> str:
    return f"{name}: IoU {value.iou:.4f}, MAE {value.mae:.4f} over {value.count} pictures"
