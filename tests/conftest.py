"""What all tests share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

# Tests import ONNX Runtime too, some of them before the package does: it must not report on who runs them.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep every test away from the user's own cache."""
    monkeypatch.setenv("BIREFNET_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="session")
def standin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX file that takes what is bright for the subject; see `tests.brightness`."""
    from tests.brightness import brightness_model

    return brightness_model(tmp_path_factory.mktemp("standin") / "bright.onnx")


@pytest.fixture
def birefnet(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command line in this process: exit code, stdout, stderr."""
    from birefnet.cli.main import run

    def call(*words: object) -> tuple[int, str, str]:
        code = run([str(word) for word in words])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return call
