"""The folder of a run: what was asked for, what came of it, and what is needed to go on."""

from __future__ import annotations

import csv
import json
import logging
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import torch

import birefnet
from birefnet.errors import ConfigError, DataError, MissingExtra, require
from birefnet.files import write_json, write_text, write_whole
from birefnet.pixels.writing import write_picture
from birefnet.training.config import Recipe
from birefnet.training.sheets import draw_sheet
from birefnet.training.state import read_state
from birefnet.training.validation import Judgement

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

log = logging.getLogger(__name__)

Row = Mapping[str, Any]


class RunFolder:
    """Names and writers of everything in a run's folder; only the first process of a team writes.

    Args:
        path: made when something is first written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.state = path / "state" / "last.pt"
        self.log = Table(path / "log.csv")
        self.validation = Table(path / "validation.csv")
        self._board: SummaryWriter | None = None

    def weights(self, name: str) -> Path:
        """Where the weights called "last" or "best" are."""
        return self.path / f"{name}.safetensors"

    def checkpoint(self, name: str) -> Path:
        """Where the weights are that are kept besides."""
        return self.path / "checkpoints" / f"{name}.safetensors"

    def read(self, recipe: Recipe) -> dict[str, Any] | None:
        """The state to go on from, or None if nothing has been saved here.

        Raises:
            ConfigError: if it is of a run that `recipe` cannot go on with.
            WeightsError: if it is damaged.
        """
        if not self.state.exists():
            if (self.path / "last.pt").exists():
                raise ConfigError(
                    f"`{self.path}` holds a run of an earlier version (`last.pt`), which this one cannot go on with; "
                    "choose another folder, and start from its weights with `start.weights`"
                )
            return None
        state = read_state(self.state)
        theirs, ours = state["recipe"], recipe.to_dict()
        if theirs.get("network") != ours["network"]:
            raise ConfigError(f"`{self.path}` holds a run of another network; choose another folder for this recipe")
        changed = [part for part in ours if theirs.get(part) != ours[part]]
        if changed:
            log.warning("going on with another %s than the run began with", ", ".join(changed))
        return state

    def open(self, recipe: Recipe, step: int, facts: Row) -> None:
        """Begin or go on at `step`: note the recipe and the circumstances, forget what was logged after it.

        Args:
            recipe: with everything filled in.
            step: steps done so far.
            facts: about this call: device, processes, and so on.

        Raises:
            DataError: if the folder cannot be written to.
        """
        yaml = require("yaml", "train")
        text = yaml.safe_dump(recipe.to_dict(), sort_keys=False, allow_unicode=True, width=120)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            write_text(self.path / "recipe.yaml", f"# All settings of the run, defaults included.\n{text}")
            self._note(step, facts)
            self.log.forget_after(step)
            self.validation.forget_after(step)
        except OSError as error:
            raise DataError(f"The run's folder `{self.path}` cannot be written to: {error.strerror}") from error
        self._board = _board(self.path / "tensorboard", step)

    def report(self, step: int, values: Mapping[str, float], extra: Row) -> None:
        """A line of the log: the loss and its terms, and what else is to be known."""
        self.log.append({"step": step, **extra, **values})
        if self._board is not None:
            numbers = {key: value for key, value in extra.items() if isinstance(value, int | float)}
            for name, value in {**numbers, **values}.items():
                self._board.add_scalar(f"training/{name}", value, step)

    def judged(self, step: int, judgement: Judgement) -> None:
        """What a validation found: one line for every set, and a sheet if there is something to show."""
        for name, summary in judgement.scores.items():
            self.validation.append({"step": step, "set": name, "pictures": summary.count, **summary.values})
            for metric, value in summary.values.items():
                if self._board is not None and value is not None:
                    self._board.add_scalar(f"validation/{name}/{metric}", value, step)
        if judgement.shown:
            sheet = draw_sheet(judgement.shown, f"step {step}: {judgement}")
            path = self.path / "sheets" / f"step_{step:06d}.png"
            path.parent.mkdir(exist_ok=True)
            write_picture(sheet, path)
            if self._board is not None:
                self._board.add_image("predictions", sheet, step, dataformats="HWC")

    def close(self) -> None:
        """Write what is still in memory."""
        if self._board is not None:
            self._board.close()
            self._board = None

    def _note(self, step: int, facts: Row) -> None:
        path = self.path / "about.json"
        try:
            calls = json.loads(path.read_text(encoding="utf-8"))["calls"]
        except (OSError, ValueError, KeyError, TypeError):
            calls = []
        calls.append({"from_step": step, "began": time.strftime("%Y-%m-%d %H:%M:%S"), **versions(), **facts})
        write_json(path, {"calls": calls})


class Table:
    """A CSV file that grows by rows; a row with new columns widens it.

    Args:
        path: made with the first row.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._columns: list[str] | None = None

    def append(self, row: Row) -> None:
        """Add a row; floats get seven digits, None stays empty."""
        if self._columns is None:
            self._columns = list(self.rows()[0]) if self.path.exists() and self.rows() else []
        new = [name for name in row if name not in self._columns]
        if new:
            self._rewrite(self.rows() if self.path.exists() else [], [*self._columns, *new])
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow([_text(row.get(name)) for name in self._columns])

    def rows(self) -> list[dict[str, str]]:
        """Everything in the file, as text."""
        with self.path.open(newline="", encoding="utf-8") as file:
            return [dict(row) for row in csv.DictReader(file)]

    def forget_after(self, step: int) -> None:
        """Drop the rows of later steps, which a run that goes on from an earlier state will write again."""
        if self.path.exists():
            rows = self.rows()
            kept = [row for row in rows if _number(row.get("step")) <= step]
            if len(kept) < len(rows):
                self._rewrite(kept, list(rows[0]))

    def _rewrite(self, rows: Sequence[Row], columns: list[str]) -> None:
        def save(stream: BinaryIO) -> None:
            lines = [columns, *([_text(row.get(name)) for name in columns] for row in rows)]
            for line in lines:
                stream.write((",".join(_quoted(entry) for entry in line) + "\r\n").encode())

        write_whole(self.path, save)
        self._columns = columns


def versions() -> dict[str, Any]:
    """What a run was made with: versions, the commit of the source where it is a working tree, the command."""
    return {
        "birefnet": birefnet.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "commit": _commit(Path(birefnet.__file__).parent),
        "command": shlex.join(sys.argv),
    }


def _commit(folder: Path) -> str | None:
    """The commit checked out there, with "+" if files have changed since; None where there is no working tree."""

    def git(*words: str) -> str:
        # Only looking: without optional locks git leaves the repository's index as it is.
        line = ["git", "--no-optional-locks", "-C", str(folder), *words]
        done = subprocess.run(line, capture_output=True, text=True, timeout=10)
        if done.returncode:
            raise OSError(done.stderr)
        return done.stdout.strip()

    try:
        # An installed package may lie inside somebody else's repository.
        if not git("ls-files", "__init__.py"):
            return None
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--", ".") else "")
    except (OSError, subprocess.TimeoutExpired):
        return None


def _board(folder: Path, step: int) -> SummaryWriter | None:
    """TensorBoard's writer, which hides what an earlier call wrote about later steps; None if it is not installed."""
    try:
        require("tensorboard", "train")
    except MissingExtra as error:
        log.warning("No TensorBoard files: %s", error)
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=step + 1)


def _number(text: str | None) -> float:
    try:
        return float(text or "inf")
    except ValueError:
        return float("inf")  # a line that was cut off in the writing


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.7g}"
    return "" if value is None else str(value)


def _quoted(entry: str) -> str:
    return '"' + entry.replace('"', '""') + '"' if any(sign in entry for sign in ',"\r\n') else entry
