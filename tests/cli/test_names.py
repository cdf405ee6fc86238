"""Names that are not UTF-8, and terminals that show few letters, end no judging and no check."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.evaluation.drawn import draw_set


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A set, `set`, and its predictions, with one pair whose name is Latin-1."""
    predictions, home = draw_set(tmp_path, count=2)
    try:
        for folder, suffix in ((predictions, ".png"), (home / "gt", ".png"), (home / "im", ".jpg")):
            os.rename(folder / f"01{suffix}", os.fsencode(folder) + b"/caf\xe9" + suffix.encode())
    except OSError:
        pytest.skip("this file system has no such names")
    return tmp_path


def birefnet(home: Path, encoding: str, *words: str) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "birefnet", *words], cwd=home, env=environment, capture_output=True, check=False
    )


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
@pytest.mark.parametrize(
    "words",
    [
        ("evaluate", "predictions/set", "set", "--metrics", "S,MAE", "--workers", "1"),
        ("evaluate", "predictions/set", "set", "--metrics", "S,MAE", "--workers", "1", "--json"),
        ("compare", "predictions/set", "set/gt", "--sets", "set", "--metrics", "S,MAE", "--workers", "1"),
        ("data", "check", "set", "--ignore", "small"),
        ("data", "check", "set", "--ignore", "small", "--json"),
    ],
)
def test_nothing_ends_in_a_coding_error(odd: Path, encoding: str, words: tuple[str, ...]) -> None:
    done = birefnet(odd, encoding, *words)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    if "--json" in words:
        assert json.loads(done.stdout)


def test_reports_are_valid(odd: Path) -> None:
    pytest.importorskip("matplotlib")
    Path(os.fsdecode(os.fsencode(odd / "set/gt") + b"/caf\xe9.png")).write_bytes(b"damaged")  # so that it is named
    assert birefnet(odd, "utf-8", "data", "check", "set", "-o", "sheet").returncode == 1
    assert birefnet(odd, "utf-8", "evaluate", "predictions/set", "predictions/set", "-o", "out").returncode == 0
    for path in (odd / "sheet/index.html", odd / "out/report.html", odd / "out/per_image.csv"):
        assert "caf" in path.read_text(encoding="utf-8")
    assert "caf\udce9" in json.loads((odd / "out/evaluation.json").read_text(encoding="utf-8"))["per_image"]
