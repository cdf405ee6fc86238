"""docs/fine-tuning.md does what it says, run as it stands there."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def commands() -> list[str]:
    """Every line of the page's code blocks."""
    page = (ROOT / "docs" / "fine-tuning.md").read_text(encoding="utf-8")
    return [line for block in re.findall(r"```bash\n(.*?)```", page, re.DOTALL) for line in block.splitlines()]


def run(line: str, folder: Path, environment: Mapping[str, str]) -> str:
    program, *arguments = shlex.split(line)
    start = {"python": [sys.executable], "birefnet": [sys.executable, "-m", "birefnet"]}[program]
    result = subprocess.run(
        [*start, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=1500
    )
    assert result.returncode == 0, f"{line}\n{result.stdout}\n{result.stderr}"
    return result.stdout


@pytest.mark.slow
def test_fine_tuning_improves_the_model_on_pictures_it_has_not_seen(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    for name in ("recipes", "examples"):
        (tmp_path / name).symlink_to(ROOT / name)
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    lines = commands()
    assert len(lines) == 8 and sum("birefnet train" in line for line in lines) == 1
    for line in lines:
        started = time.monotonic()
        run(line, tmp_path, environment)
        print(f"{time.monotonic() - started:6.1f} s  {line}")

    def scores(model: str) -> dict[str, float]:
        found = json.loads(run(f"birefnet evaluate {model} held_out --json --metrics IoU,MAE,S", tmp_path, environment))
        return dict(found["mean"])

    # The last weights, not the best: these pictures chose nothing about them.
    before, after = scores("nano"), scores("runs/lanterns/last.safetensors")
    print(before, after)
    assert after["IoU"] > before["IoU"] + 0.15
    assert after["MAE"] < 0.6 * before["MAE"]
    assert after["S"] > before["S"] + 0.1
    assert len(list((tmp_path / "cutouts").glob("*.png"))) == 16
