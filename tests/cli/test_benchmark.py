"""`birefnet benchmark`: what is asked for, what is printed where."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from birefnet.benchmarking import run as module
from birefnet.benchmarking.job import Benchmark, Row

Run = Callable[..., tuple[int, str, str]]

pytest.importorskip("torch")


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Stands in for the hour of measuring; holds what it was asked for."""
    told: dict[str, object] = {}

    def run(request: object, weights: Path, spec: object, *_: object, **words: object) -> Benchmark:
        told.update(words, request=request, weights=weights.name, bytes=weights.stat().st_size, spec=spec)
        row = Row(runtime="torch", precision="fp32", width=64, height=64, median_seconds=0.5, products=5.0)
        bad = Row(runtime="onnx", precision="fp32", width=64, height=64, status="failed", reason="crashed")
        machine = {"cpu": {"model": "a processor", "cores": 2, "features": []}, "packages": {}}
        rows = (row, bad) if "onnx" in request.runtimes else (row,)  # type: ignore[attr-defined]
        return Benchmark(model=str(words["model"]), machine=machine, product_seconds=0.1, rows=rows)

    monkeypatch.setattr(module, "run", run)
    return told


def test_the_model_in_the_box_as_text(birefnet: Run, measured: dict[str, object]) -> None:
    code, out, err = birefnet("benchmark", "--runtimes", "torch")
    assert (code, err) == (0, "")
    assert out.startswith("nano on a processor") and "median s" in out and "0.500" in out
    assert measured["weights"] == "nano.safetensors" and measured["request"].sizes == [(576, 576)]  # type: ignore[attr-defined]
    assert int(str(measured["bytes"])) > 1e6


def test_markdown_json_and_failures(birefnet: Run, measured: dict[str, object], tmp_path: Path) -> None:
    words = ("benchmark", "--random-weights", "mobilenet_v2", "--sizes", "64,96x128", "--runtimes", "torch,onnx")
    code, out, _ = birefnet(*words, "--markdown", "--keep", tmp_path / "kept")
    assert code == 1 and "| onnx | fp32 | 64x64 | failed |" in out and (tmp_path / "kept").is_dir()
    assert measured["request"].sizes == [(64, 64), (96, 128)]  # type: ignore[attr-defined]
    code, out, _ = birefnet(*words, "--json")
    assert code == 1 and json.loads(out)["model"] == "mobilenet_v2 (random weights)"
    assert [row["status"] for row in json.loads(out)["rows"]] == ["done", "failed"]


def test_a_plot(birefnet: Run, measured: dict[str, object], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    code, _, err = birefnet("benchmark", "--runtimes", "torch", "--plot", tmp_path / "plot.svg")
    assert code == 0 and "plot: " in err and (tmp_path / "plot.svg").read_text().startswith("<?xml")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--runtimes", "onx"], "hint: did you mean `onnx`?"),
        (["--precisions", "fp8"], "No precision is named `fp8`"),
        (["--sizes", "100"], "multiples of 32"),
        (["--sizes", "native"], "no size to measure at"),
        (["--markdown", "--json"], "choose one"),
        (["lite", "--random-weights", "swin_v1_t"], "leave out one"),
        (["--random-weights", "swin_v9"], "No backbone named `swin_v9`"),
        (["--plot", "plot.bmp"], ".svg, .png, .pdf"),
        (["--plot", "nowhere/plot.svg"], "no folder"),
        (["nano.onnx"], "exported file already"),
        (["--repeats", "0"], "repeats"),
    ],
)
def test_wrong_use(birefnet: Run, measured: dict[str, object], words: list[str], sentence: str) -> None:
    code, out, err = birefnet("benchmark", *words)
    assert (code, out) == (2, "") and sentence in err
    assert not measured


@pytest.mark.slow
def test_a_whole_run(birefnet: Run) -> None:
    words = ("--random-weights", "mobilenet_v2", "--sizes", "64", "--runtimes", "torch", "--repeats", "1")
    code, out, err = birefnet("benchmark", *words, "--precisions", "fp32,int8", "--threads", "1", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert [(row["runtime"], row["status"]) for row in found["rows"]] == [
        ("eager", "done"), ("torch", "done"), ("torch", "left out")
    ]  # fmt: skip
    eager, torch, _ = found["rows"]
    assert eager["largest_difference"] == 0 and torch["largest_difference"] < 1e-4
    assert found["product_seconds"] > 0 and eager["products"] == pytest.approx(
        eager["median_seconds"] / found["product_seconds"]
    )
    assert 100 < torch["peak_mib"] < 5000
