"""The program: help, version, and how whatever is raised becomes a sentence and an exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from birefnet import __version__
from birefnet import errors as e
from birefnet.cli import doctor, main
from birefnet.cli.messages import say_error

Run = Callable[..., tuple[int, str, str]]


def test_the_version() -> None:
    result = subprocess.run([sys.executable, "-m", "birefnet", "--version"], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, f"birefnet {__version__}\n")


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_help_names_every_command(birefnet: Run, words: list[str]) -> None:
    code, out, err = birefnet(*words)
    assert (code, err) == (0, "")
    for command in main.COMMANDS:
        assert f"  {command.name}  " in out and command.help in out
    assert "birefnet remove cat.jpg" in out


@pytest.mark.parametrize("command", [command.name for command in main.COMMANDS])
def test_every_command_has_help_of_its_own(birefnet: Run, command: str) -> None:
    code, out, err = birefnet(command, "--help")
    assert (code, err) == (0, "")
    assert f"Usage: birefnet {command}" in out


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["remov", "cat.jpg"], "did you mean: birefnet remove"),
        ([__file__], f"did you mean: birefnet remove {__file__}"),
        (["frobnicate"], "birefnet --help"),
        (["--frobnicate"], "birefnet --help"),
        (["remove", "--frobnicate"], "birefnet remove --help"),
    ],
)
def test_a_wrong_command_is_told_the_way_out(birefnet: Run, words: list[str], hint: str) -> None:
    code, out, err = birefnet(*words)
    assert (code, out) == (2, "")
    assert err.startswith("error: ") and err.endswith(f"hint: {hint}\n")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (e.ConfigError("no"), 2),
        (e.UnknownModel("no"), 2),
        (e.DeviceError("no"), 2),
        (e.PictureError("no"), 1),
        (e.WeightsError("no"), 1),
        (e.DownloadError("no"), 1),
        (e.MissingExtra("no"), 1),
        (KeyboardInterrupt(), 130),
        (RuntimeError("no"), 1),
    ],
)
def test_exit_codes(birefnet: Run, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int) -> None:
    def fail(_home: str) -> None:
        raise error

    monkeypatch.setattr(main, "_parser", fail)
    got, out, err = birefnet("doctor")
    assert (got, out) == (code, "")
    assert err.startswith("error: ") and "Traceback" not in err
    assert ("BIREFNET_DEBUG=1" in err) == (type(error) is RuntimeError)


def test_a_developer_sees_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_home: str) -> None:
        raise e.PictureError("no")

    monkeypatch.setattr(main, "_parser", fail)
    monkeypatch.setenv("BIREFNET_DEBUG", "1")
    with pytest.raises(e.PictureError):
        main.run(["doctor"])


def test_errors_bring_their_hints(capsys: pytest.CaptureFixture[str]) -> None:
    say_error("It broke.\nhint: mend it\nor not", about="cat.jpg")
    assert capsys.readouterr().err == "error: cat.jpg: It broke.\nhint: mend it\nhint: or not\n"
    say_error("`cat.jpg` broke.", about="cat.jpg", hint="mend it")
    assert capsys.readouterr().err == "error: `cat.jpg` broke.\nhint: mend it\n"


def test_doctor(birefnet: Run) -> None:
    code, out, _ = birefnet("doctor")
    assert code == 0
    for word in ("onnxruntime", "CPUExecutionProvider", "cache", "--device auto", "extra torch"):
        assert word in out
    code, out, _ = birefnet("doctor", "--json")
    facts = json.loads(out)
    assert code == 0
    assert set(facts["extras"]) == set(doctor.parts_of_extras()) and facts["extras"]
    assert facts["packages"]["numpy"] and facts["choice"]["why"]


def test_what_the_library_logs_is_shown_while_a_command_runs(
    birefnet: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import logging

    def talk(_home: str) -> None:
        logging.getLogger("birefnet.weights").info("fetching a model")
        raise e.DownloadError("no")

    monkeypatch.setattr(main, "_parser", talk)
    before = list(logging.getLogger().handlers)
    _, _, err = birefnet("doctor")
    assert err == "fetching a model\nerror: no\n"
    assert logging.getLogger().handlers == before
