"""What an editor and mypy see of the front doors: real signatures, which refuse misspelt and impossible options."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

SNIPPET = Path(__file__).with_name("typed_doors.py")


@pytest.mark.slow
def test_mypy_accepts_what_is_meant_and_refuses_the_rest(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    root = SNIPPET.parents[1]
    command = [sys.executable, "-m", "mypy", "--strict", "--no-pretty", "--config-file", str(root / "pyproject.toml")]
    done = subprocess.run(
        [*command, "--cache-dir", str(tmp_path), str(SNIPPET)], capture_output=True, text=True, cwd=root
    )
    found = {int(line) for line in re.findall(r"typed_doors\.py:(\d+): error: ", done.stdout)}
    lines = SNIPPET.read_text(encoding="utf-8").splitlines()
    wanted = {number for number, text in enumerate(lines, 1) if text.endswith("# refused")}
    assert found == wanted and len(wanted) == 10, done.stdout + done.stderr
