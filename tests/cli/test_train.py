"""`birefnet train`, with a tiny network on four pictures."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

pytest.importorskip("torch")

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    y, x = np.mgrid[0:64, 0:64]
    for i in range(4):
        disc = ((y - 32) ** 2 + (x - 20 - 8 * i) ** 2 < 300).astype(np.uint8) * 255
        for kind, array in (("im", np.dstack([disc // 2 + 60] * 3)), ("gt", disc)):
            (tmp_path / "data" / "discs" / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(tmp_path / "data" / "discs" / kind / f"{i}.png")
    values: dict[str, Any] = {
        "name": "tiny",
        "network": {
            **{"backbone": "mobilenet_v2", "two_scale": "none", "context": 1, "attention": "aspp", "inner_width": 8},
            **{"picture_input": "whole", "neck_widths": [8, 8, 8, 16], "picture_width": 4, "attention_width": 8},
            "gradient_width": 4,
        },
        "data": {"root": str(tmp_path / "data"), "sets": "discs", "order": "epochs"},
        "training": {
            "phases": [{"epochs": 2, "size": 64, "batch": 2}],
            **{"precision": "fp32", "workers": 0, "warmup": 0, "report_every": 2, "validate_every": "1 epoch"},
        },
        "validation": {"sets": "discs", "size": 64},
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def test_data_on_stdout_and_talk_on_stderr(birefnet: Run, recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    code, out, err = birefnet("train", recipe, "-o", run, "--device", "cpu", "--until", 2)
    assert code == 0, err
    assert out.splitlines()[-1] == f"weights: {run / 'last.safetensors'}"
    assert out.startswith("discs: IoU 0.") and "over 4 pictures" in out
    assert "step 2/4, epoch 1/2: loss " in err and "samples/s" in err and " left\n" in err
    assert "Stopped after step 2 of 4" in err
    code, _, err = birefnet("train", recipe, "-o", run, "--device", "cpu", "--set", "training.report_every=1")
    assert code == 0
    assert "going on at step 2 of 4" in err and "another training" in err and "step 4/4" in err
    code, out, err = birefnet("train", recipe, "-o", run, "--device", "cpu", "--set", "training.report_every=1")
    assert (code, out) == (0, f"weights: {run / 'last.safetensors'}\n")
    assert "nothing is left to do" in err


def test_a_dry_run_writes_nothing(birefnet: Run, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.rglob("*"))
    words = ("train", recipe, "--dry-run", "--device", "cpu")
    code, out, err = birefnet(*words)
    assert code == 0, err
    for word in ("backbone", "memory of a device", "activations", "4 steps (2 epochs)", "s a step (measured)"):
        assert word in out
    code, out, _ = birefnet(*words, "--json", "--processes", 2, "--set", "training.batch_norm=frozen")
    found = json.loads(out)
    assert code == 0
    assert (found["steps"], found["processes"], found["epochs"]) == (4, 2, 2.0)
    assert found["memory"]["total"] > found["memory"]["weights"] > 0
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--set", "training.lrr=1"), 2, "did you mean `training.lr`"),
        (("--set", "training.lr"), 2, "KEY=VALUE"),
        (("--set", "data.root=nowhere"), 1, "nowhere"),
        (("--set", "validation.root=nowhere"), 1, "nowhere"),
        (("--set", "validation.metrics=[IoUU]"), 2, "did you mean `IoU`"),
        (("--set", "checkpoints.best=S", "--set", "validation.metrics=[MAE]"), 2, "checkpoints.best"),
        (("--set", "training.precision=fp16"), 2, "needs a GPU"),
        (("--set", "training.phases.0.batch=1"), 2, "`training.batch_norm` to frozen"),
        (("--set", "start=nowhere.safetensors"), 2, "nowhere.safetensors"),
        (("--json",), 2, "--dry-run"),
        (("--device", "cuda:7"), 2, "CUDA_VISIBLE_DEVICES"),
    ],
)
def test_mistakes_are_one_sentence(
    birefnet: Run, recipe: Path, tmp_path: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    got, out, err = birefnet("train", recipe, "-o", tmp_path / "run", "--device", "cpu", *words)
    assert (got, out) == (code, "")
    last = [line for line in err.splitlines() if line.startswith("error: ")]
    hint = [line for line in err.splitlines() if line.startswith("hint: ")]
    assert len(last) == 1 and said in " ".join(last + hint)
    assert "Traceback" not in err and not (tmp_path / "run").exists()


def test_an_unreadable_picture_is_named_and_ends_the_run(birefnet: Run, recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "data" / "discs" / "im" / "2.png").write_bytes(b"no picture")
    code, _, err = birefnet("train", recipe, "-o", tmp_path / "run", "--device", "cpu")
    assert code == 1
    assert "2.png" in err and "Traceback" not in err


@pytest.mark.slow
def test_a_launcher_that_is_told_to_stop_saves(recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    changes = ["training.phases.0.epochs=500", "training.batch_norm=frozen", "training.save_every=10000"]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29731"]
    command += ["-m", "birefnet", "train", str(recipe), "-o", str(run), "--device", "cpu"]
    for change in changes:
        command += ["--set", change]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, start_new_session=True
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("step 4/"):
            break
    process.send_signal(signal.SIGTERM)
    _, rest = process.communicate(timeout=90)
    assert process.returncode != 0
    assert "the same command goes on" in rest, rest
    assert (run / "state" / "last.pt").exists() and (run / "last.safetensors").exists()
