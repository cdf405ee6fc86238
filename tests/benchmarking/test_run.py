"""Rows in processes of their own: what is found, and what is said of those that die."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from birefnet.benchmarking import run as module
from birefnet.benchmarking.picture import rendered
from birefnet.benchmarking.plan import Request
from birefnet.benchmarking.run import run
from birefnet.pixels.prepare import InputSpec

SPEC = InputSpec(width=64, height=64)


@pytest.fixture
def _dying(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHILD", "tests.benchmarking.dying")
    monkeypatch.chdir(Path(__file__).parents[2])


def measured(device: str, folder: Path, timeout: float = 50) -> module.Benchmark:
    request = Request(runtimes=["torch"], precisions=["fp32", "int8"], sizes=[(64, 96)], device=device, timeout=timeout)
    return run(request, folder / "w.safetensors", SPEC, rendered(80), folder, model="one")


@pytest.mark.usefixtures("_dying")
@pytest.mark.parametrize(
    ("device", "sentence"),
    [("kill", "memory ran out"), ("crash", "crashed (SIGSEGV)"), ("exit", "ended with code 1: no such luck")],
)
def test_what_dies_is_a_row_that_says_so(device: str, sentence: str, tmp_path: Path) -> None:
    found = measured(device, tmp_path)
    assert [row.status for row in found.rows] == ["failed", "failed", "left out"]
    assert sentence in found.rows[0].reason and sentence in found.rows[1].reason
    assert "no int8 there" in found.rows[2].reason
    assert found.product_seconds is None


@pytest.mark.usefixtures("_dying")
def test_what_takes_too_long_is_stopped(tmp_path: Path) -> None:
    found = measured("sleep", tmp_path, timeout=0.3)
    assert found.rows[0].reason == "stopped after 0.3 s (`timeout=0.3`)"


@pytest.mark.usefixtures("_dying")
def test_times_are_told_in_matrix_products(tmp_path: Path) -> None:
    told, done = [], []
    request = Request(runtimes=["torch"], precisions=["fp32"], sizes=[(64, 96)])
    found = run(
        request, tmp_path / "w.safetensors", SPEC, rendered(80), tmp_path,
        model="one", report=told.append, done=lambda: done.append(1),
    )  # fmt: skip
    assert found.product_seconds == 0.5
    assert [(row.runtime, row.products) for row in found.rows] == [("eager", 2.0), ("torch", 2.0)]
    assert "reference was not measured" in found.rows[1].reason  # the stand-in writes no alpha
    assert told == ["a matrix product", "eager fp32 64x96", "torch fp32 64x96"] and len(done) == 2
    assert np.load(tmp_path / "64x96.npy").shape == (1, 3, 96, 64)
    assert {"cpu", "packages", "system"} <= set(found.to_dict()["machine"])
