"""Real processes over gloo; each pair does several jobs, since starting one takes seconds."""

from __future__ import annotations

import csv
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from birefnet.errors import ConfigError, DeviceError
from birefnet.training.distributed import Team, check_divisible, find_device
from birefnet.training.reading import load_recipe, parse_recipe
from birefnet.training.trainer import Trainer

STEPS = 20


@pytest.fixture
def recipe(recipe_values: dict[str, Any], tmp_path: Path) -> Path:
    """A recipe whose result should not depend on the number of processes, for 20 steps of 4 samples."""
    training = {
        "phases": [{"steps": STEPS, "size": 64, "batch": 4}],
        **{"warmup": 2, "precision": "fp32", "workers": 0, "batch_norm": "frozen", "dropout": 0, "drop_path": 0},
        **{"validate_every": 1000, "save_every": 1000, "report_every": 1},
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump({**recipe_values, "training": training}))
    return path


def _together(jobs: list[dict[str, Any]], recipe: Path, processes: int = 2) -> list[list[dict[str, Any]]]:
    """What came of the jobs, for each process."""
    path = recipe.with_name("jobs.json")
    path.write_text(json.dumps([{"recipe": str(recipe), "set": {}, **job} for job in jobs]))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(processes), "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("worker.py")), str(path)],
            env={**os.environ, **where, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(processes)
    ]
    try:
        talks = [process.communicate(timeout=300)[0] for process in started]
    finally:
        for process in started:
            process.kill()
    for process, talk in zip(started, talks, strict=True):
        assert process.returncode == 0, talk
    return [json.loads(path.with_name(f"results{rank}.json").read_text()) for rank in range(processes)]


def _log(folder: Path) -> list[dict[str, float]]:
    with (folder / "log.csv").open(newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def _equal(one: Path, other: Path) -> None:
    """The same losses within 1e-4, and weights that have hardly drifted apart."""
    ours, theirs = _log(one), _log(other)
    assert len(ours) == len(theirs) == STEPS
    for a, b in zip(ours, theirs, strict=True):
        for name in ("loss", "bce", "iou", "ssim", "mae", "gradient"):
            assert a[name] == pytest.approx(b[name], rel=1e-4), (a["step"], name)
        assert a["norm"] == pytest.approx(b["norm"], rel=1e-2)
    for name, weight in load_file(one / "last.safetensors").items():
        torch.testing.assert_close(weight, load_file(other / "last.safetensors")[name], rtol=1e-2, atol=1e-3)


def test_two_processes_are_as_good_as_one(recipe: Path, tmp_path: Path) -> None:
    alone = Trainer(load_recipe(recipe), tmp_path / "alone", "cpu")
    expected = alone.run().judgement
    assert expected is not None
    losses = [row["loss"] for row in _log(tmp_path / "alone")]
    assert min(losses) < 0.97 * losses[0]  # it does learn something
    Trainer(load_recipe(recipe), tmp_path / "one_then_two", "cpu").run(until=10)
    first, second = _together(
        [
            {"folder": str(tmp_path / "two")},
            {"folder": str(tmp_path / "one_then_two")},
            {"folder": str(tmp_path / "two_then_one"), "until": 10},
            {"folder": str(tmp_path / "odd"), "set": {"training.phases.0.batch": "5"}},
            {"folder": str(tmp_path / "norms"), "set": {"training.batch_norm": "synchronised"}},
        ],
        recipe,
    )
    for whole, continued, half, odd, norms in (first, second):
        assert (whole["step"], whole["processes"], continued["step"], half["step"]) == (STEPS, 2, STEPS, 10)
        assert whole["scores"] == pytest.approx(expected.scores["all"].values, abs=2e-2)
        assert odd["error"].startswith("ConfigError") and "use a batch of 4 or 6" in odd["error"]
        assert norms["error"].startswith("ConfigError") and "set `training.batch_norm` to frozen" in norms["error"]
    Trainer(load_recipe(recipe), tmp_path / "two_then_one", "cpu").run()
    for name in ("two", "one_then_two", "two_then_one"):
        _equal(tmp_path / "alone", tmp_path / name)
    calls = json.loads((tmp_path / "two_then_one" / "about.json").read_text())["calls"]
    assert [(call["from_step"], call["processes"]) for call in calls] == [(0, 2), (10, 1)]


def test_a_lost_process_ends_the_others(recipe: Path, tmp_path: Path) -> None:
    first, second = _together([{"folder": str(tmp_path / "run"), "broken": 1}], recipe)
    assert second == [{"error": "DataError: `7.png` cannot be read"}]
    assert first[0]["error"].startswith("DeviceError: Process 0 lost the others")


@pytest.mark.slow
def test_sharded_weights_give_the_same(recipe: Path, tmp_path: Path) -> None:
    """FSDP with the weights cut in two; Accelerate knows it for GPUs only, see `worker.py`."""
    Trainer(load_recipe(recipe), tmp_path / "alone", "cpu").run()
    (first, _) = _together([{"folder": str(tmp_path / "cut"), "until": 10, "sharded": True}], recipe)
    assert first == [{"step": 10, "processes": 2, "sharded": True, "scores": first[0]["scores"]}]
    shutil.copytree(tmp_path / "cut", tmp_path / "whole_again")
    _together([{"folder": str(tmp_path / "cut"), "sharded": True}], recipe)
    Trainer(load_recipe(recipe), tmp_path / "whole_again", "cpu").run()
    for name in ("cut", "whole_again"):
        _equal(tmp_path / "alone", tmp_path / name)


def test_batches_must_be_divisible(recipe_values: dict[str, Any]) -> None:
    config = parse_recipe(recipe_values).training
    check_divisible(config, 2)
    with pytest.raises(ConfigError, match=r"phases\.0\.batch` is 2 samples, which 3 processes.*use a batch of 3, or"):
        check_divisible(config, 3)


def test_devices_are_found_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.xpu, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert find_device("auto") == find_device("cpu") == "cpu"
    with pytest.raises(DeviceError, match="sees no `cuda` here; it sees: cpu"):
        find_device("cuda")
    with pytest.raises(DeviceError, match="all devices of a kind"):
        find_device("cuda:1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert find_device("auto") == "cuda"


def test_one_process_sums_and_gathers_by_itself(recipe_values: dict[str, Any]) -> None:
    team = Team(parse_recipe(recipe_values), "cpu")
    assert (team.rank, team.count, team.main, team.sharded) == (0, 1, True, False)
    assert team.total({"a": 1.5}) == {"a": 1.5} and team.gather([1, 2]) == [1, 2]
    assert team.any(True) and not team.any(False)
    assert not team.lost_others(RuntimeError("Connection closed by peer"))
