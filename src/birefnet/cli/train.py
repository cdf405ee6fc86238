"""`birefnet train RECIPE`: train or go on training, as the recipe says; or say beforehand what it would take."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from tqdm import tqdm

from birefnet.cli.messages import say
from birefnet.errors import ConfigError, require

if TYPE_CHECKING:
    from birefnet.training.config import Recipe
    from birefnet.training.trainer import Progress, Report


def train(
    recipe: Annotated[Path, typer.Argument(help="A YAML file, or the name of a recipe of the package, such as dis5k.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder of the run [default: runs/NAME]; an unfinished run there goes on."),
    ] = None,
    change: Annotated[
        list[str] | None, typer.Option("--set", help="Override a key, such as --set training.lr=2e-5; may be repeated.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, xpu, mps, or auto: the best there is.")] = "auto",
    until: Annotated[
        int | None, typer.Option(min=1, help="Stop after this step; a later call goes on from there.")
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Write nothing; say how large it is, and how much memory and time it takes."),
    ] = False,
    processes: Annotated[
        int, typer.Option(min=1, help="With --dry-run: how many devices like this one will share the run.")
    ] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="With --dry-run: print all of that as JSON.")] = False,
) -> None:
    """Train a network from a recipe; Ctrl-C saves, and the same command goes on.

    Examples:

    \b
      birefnet train recipes/nano.yaml --set data.root=my_data -o runs/mine
      birefnet train recipes/dis5k.yaml --dry-run
      torchrun --nproc-per-node 8 -m birefnet train recipes/dis5k.yaml -o runs/dis5k
    """
    require("torch", "train")
    require("yaml", "train")
    require("accelerate", "train")
    if (as_json or processes > 1) and not dry_run:
        raise ConfigError(
            "`--json` and `--processes` belong to `--dry-run`; a run writes its figures to its folder, and is started "
            "on several devices by `torchrun --nproc-per-node N -m birefnet train ...`"
        )
    with _one_voice():
        from birefnet.training.reading import load_recipe

        loaded = load_recipe(recipe, _overrides(change or []))
        folder = output or Path("runs") / loaded.name
        if dry_run:
            _estimate(loaded, folder, device, processes, as_json=as_json)
        else:
            _train(loaded, folder, device, until)


def _train(recipe: Recipe, folder: Path, device: str, until: int | None) -> None:
    from birefnet.training.trainer import Trainer

    trainer = Trainer(recipe, folder, device)
    if trainer.step >= trainer.plan.steps and trainer.team.main:
        say(f"This run has done its {trainer.plan.steps} steps; nothing is left to do.")
    with _progress(trainer.plan.steps, trainer.step, shown=trainer.team.main) as progress:
        outcome = trainer.run(progress, until)
    if trainer.team.main:
        if outcome.judgement is not None:
            for name, summary in outcome.judgement.scores.items():
                values = ", ".join(f"{key} {_number(value)}" for key, value in summary.values.items())
                typer.echo(f"{name}: {values} over {summary.count} pictures")
        if outcome.signal:
            say(f"Stopped and saved after step {outcome.step} of {trainer.plan.steps}; the same command goes on.")
        elif not outcome.finished:
            say(f"Stopped after step {outcome.step} of {trainer.plan.steps}; without --until it goes on to the end.")
        typer.echo(f"weights: {trainer.folder.weights('last')}")
    trainer.team.leave()
    if outcome.signal:
        raise typer.Exit(128 + outcome.signal)


def _estimate(recipe: Recipe, folder: Path, device: str, processes: int, *, as_json: bool) -> None:
    from birefnet.training.measuring import estimate
    from birefnet.training.trainer import Trainer

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("`--dry-run` measures one process; call it without a launcher and say `--processes`")
    found = estimate(Trainer(recipe, folder, device), processes)
    typer.echo(json.dumps(found.to_dict(), indent=2) if as_json else str(found))


@contextmanager
def _progress(steps: int, done: int, *, shown: bool) -> Iterator[Progress]:
    """A bar with loss, rate and time left where stderr is a terminal; else a line whenever the log gets one."""
    bar: Any = tqdm(total=steps, initial=done, unit="step", disable=not (shown and sys.stderr.isatty()))

    def progress(report: Report) -> None:
        if not bar.disable:
            bar.update(report.step - bar.n)
            values = " ".join(f"{name} {value:.4g}" for name, value in report.values.items() if name != "norm")
            bar.set_postfix_str(f"{values}, {report.rate:.3g} samples/s", refresh=False)
        elif shown and report.means is not None:
            say(_line(report, report.means))

    with bar:
        yield progress


def _line(report: Report, means: dict[str, float]) -> str:
    from birefnet.training.estimate import duration

    terms = ", ".join(f"{name} {value:.4g}" for name, value in means.items() if name not in ("loss", "norm"))
    return (
        f"step {report.step}/{report.steps}, epoch {report.epoch}/{report.epochs}: loss {means['loss']:.4g} ({terms}), "
        f"lr {report.lr:.3g}, {report.rate:.3g} samples/s, {duration(report.seconds_left)} left"
    )


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"


@contextmanager
def _one_voice() -> Iterator[None]:
    """Of several processes that a launcher started, only the first tells what it does; all may warn."""
    ours = logging.getLogger("birefnet")
    level = ours.level
    if int(os.environ.get("RANK", "0")) > 0:
        ours.setLevel(logging.WARNING)
    try:
        yield
    finally:
        ours.setLevel(level)


def _overrides(changes: list[str]) -> dict[str, str]:
    pairs = {}
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals or not key:
            raise ConfigError(f"`--set {change}` should read KEY=VALUE, such as training.lr=2e-5")
        pairs[key] = value
    return pairs
