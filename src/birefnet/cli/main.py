"""`birefnet COMMAND ...`: finds the command, and turns what it raises into one sentence and an exit code."""

from __future__ import annotations

import importlib
import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Protocol, runtime_checkable

import typer

from birefnet import __version__
from birefnet.cli.messages import DONE, FAILED, INTERRUPTED, WRONG_USE, debugging, say_error
from birefnet.cli.signals import ended_by_signals
from birefnet.cli.streams import StdoutError, open_streams, to_nowhere
from birefnet.errors import BiRefNetError, ConfigError, DeviceError, InputError, UnknownModel, nearest
from birefnet.libraries import own_process


class Command(NamedTuple):
    """One row of the table: a command, where it lives, and its line in `birefnet --help`."""

    name: str
    home: str  # module:attribute; a function, or a `typer.Typer` with sub-commands
    help: str


COMMANDS = (
    Command("remove", "birefnet.cli.remove:remove", "Cut the subject out of pictures: files, folders, globs, a pipe."),
    Command("models", "birefnet.cli.models:app", "List the models, or fetch one."),
    Command("data", "birefnet.cli.data:app", "Check pictures and masks before training on them."),
    Command("train", "birefnet.cli.train:train", "Train or fine-tune a network from a recipe."),
    Command("evaluate", "birefnet.cli.evaluate:evaluate", "Judge predictions or a model by true masks."),
    Command("compare", "birefnet.cli.compare:compare", "Name the best of several checkpoints or predictions."),
    Command("export", "birefnet.cli.export:export", "Pack a model for ONNX Runtime, OpenVINO, TensorRT and others."),
    Command("serve", "birefnet.cli.serve:serve", "Answer over HTTP, with a page for people."),
    Command("site", "birefnet.cli.site:site", "Write the page as files that any web host serves."),
    Command("benchmark", "birefnet.cli.benchmark:benchmark", "Time a model in every runtime of this machine."),
    Command("doctor", "birefnet.cli.doctor:doctor", "Show versions, devices, extras, and what would be used."),
)

# These say that the command line asked for something that cannot be; any other error, that the work failed.
_WRONG_USE = (ConfigError, InputError, UnknownModel, DeviceError)


@runtime_checkable
class _ShownError(Protocol):
    """What typer raises for its users; it keeps its classes at home or in click, as its version has it."""

    def format_message(self) -> str: ...


_EPILOG = """\
First steps:

\b
  birefnet remove cat.jpg                    writes cat.png, with transparency
  birefnet remove photos/ -o cutouts/        a whole folder, sub-folders kept
  cat cat.jpg | birefnet remove - > cat.png  in a pipe

`birefnet COMMAND --help` tells more about each command.
"""

_PLAIN: dict[str, Any] = {
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "rich_markup_mode": None,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}

app = typer.Typer(**_PLAIN, epilog=_EPILOG)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"birefnet {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Cut the foreground out of pictures with a clean, soft alpha."""


def _mount(row: Command) -> None:
    """Name a command in `birefnet --help`; it is called, and its module imported, by `_call`."""

    def call() -> None:
        raise AssertionError(row.name)

    app.command(row.name, help=row.help)(call)


def _parser(home: str) -> Any:
    """Import `module:attribute` and make a parser of it."""
    module, _, attribute = home.partition(":")
    command = getattr(importlib.import_module(module), attribute)
    if not isinstance(command, typer.Typer):
        single = typer.Typer(**_PLAIN)
        single.command()(command)
        command = single
    return typer.main.get_command(command)


for _row in COMMANDS:
    _mount(_row)


def run(arguments: Sequence[str]) -> int:
    """Run one command line (without the program's name) and return its exit code.

    0: done; 1: the work, or some of its pictures, failed; 2: wrong use; 130: interrupted.
    """
    try:
        with _talk_on_stderr():
            code = _call(list(arguments) or ["--help"])
            sys.stdout.flush()
        if code == INTERRUPTED:  # said here for all commands, and for typer, which makes a code of Ctrl-C
            raise KeyboardInterrupt
        return code if isinstance(code, int) else DONE
    except BiRefNetError as error:
        if debugging():
            raise
        say_error(error)
        if isinstance(error, StdoutError):
            to_nowhere()
        return WRONG_USE if isinstance(error, _WRONG_USE) else FAILED
    except (KeyboardInterrupt, typer.Abort):
        say_error("Interrupted.")
        return INTERRUPTED
    except BrokenPipeError:
        to_nowhere()  # whoever read our output has gone
        return FAILED
    except Exception as error:
        if isinstance(error, _ShownError):
            return _usage(error, arguments)
        if debugging():
            raise
        say_error(
            f"{type(error).__name__}: {error}",
            hint="this is a fault of the program, not yours; BIREFNET_DEBUG=1 shows where it happened",
        )
        return FAILED


def _call(arguments: list[str]) -> object:
    """Hand a command its arguments as they are, `--` included; all else is the program's own (`--help`, no command)."""
    row = next((row for row in COMMANDS if row.name == arguments[0]), None)
    if row is None:
        return typer.main.get_command(app).main(args=arguments, prog_name="birefnet", standalone_mode=False)
    return _parser(row.home).main(args=arguments[1:], prog_name=f"birefnet {row.name}", standalone_mode=False)


def _usage(error: _ShownError, arguments: Sequence[str]) -> int:
    """Say what is wrong with the command line, and what may have been meant."""
    command = next((word for word in arguments if not word.startswith("-")), "")
    names = [row.name for row in COMMANDS]
    if command in names:
        hint = f"birefnet {command} --help"
    elif command and Path(command).exists():
        hint = f"did you mean: birefnet remove {command}"
    elif close := nearest(command, names):
        hint = f"did you mean: birefnet {close}"
    else:
        hint = "birefnet --help"
    say_error(error.format_message(), hint=hint)
    return WRONG_USE


@contextmanager
def _talk_on_stderr() -> Iterator[None]:
    """What the library logs (a download and its size, say) is shown for as long as a command runs.

    Warnings that other libraries raise for their programmers (a tag of a picture, say) are not, unless debugging.
    """
    root, ours, handler = logging.getLogger(), logging.getLogger("birefnet"), logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    level = ours.level
    root.addHandler(handler)
    ours.setLevel(logging.INFO)
    try:
        with warnings.catch_warnings():
            if not debugging():
                warnings.simplefilter("ignore")
            yield
    finally:
        root.removeHandler(handler)
        ours.setLevel(level)


def main() -> None:
    """The console script."""
    open_streams()
    own_process()
    with ended_by_signals():
        code = run(sys.argv[1:])
    sys.exit(code)
