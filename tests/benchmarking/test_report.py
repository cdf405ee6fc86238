"""The table as text, Markdown, JSON and a plot."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from birefnet.benchmarking import report
from birefnet.benchmarking.job import Benchmark, Row
from birefnet.benchmarking.plot import draw

MACHINE = {
    "cpu": {"model": "a processor", "cores": 2, "features": ["avx2"]},
    "packages": {"torch": "2.13", "onnxruntime": None},
}
ROWS = (
    Row(
        runtime="eager", precision="fp32", width=64, height=64, load_seconds=1.5, first_seconds=0.25,
        median_seconds=0.2, products=2.0, peak_mib=300.4, mean_difference=0, largest_difference=0,
    ),
    Row(
        runtime="onnx", precision="fp16", width=64, height=64, load_seconds=0.5, first_seconds=0.25, median_seconds=0.1,
        products=1.0, peak_mib=200.0, mean_difference=1.2e-5, largest_difference=3e-4, export_seconds=12.3,
        file_bytes=2_000_000,
    ),
    Row(runtime="openvino", precision="fp32", width=64, height=64, status="left out", reason="needs `openvino`"),
    Row(runtime="torch", precision="bf16", width=96, height=64, status="failed", reason="crashed (SIGSEGV)"),
)  # fmt: skip
FOUND = Benchmark(model="one", machine=MACHINE, product_seconds=0.1, rows=ROWS)


def test_markdown() -> None:
    lines = report.markdown(FOUND).splitlines()
    assert lines[0] == "one on a processor, 2 cores (avx2); torch 2.13"
    table = [line for line in lines if line.startswith("|")]
    assert len({line.count("|") for line in table}) == 1
    assert "| eager | fp32 | 64x64 | 1.50 | 0.250 | 0.200 | 2.00 | 300 | 0 | 0 |  |  |" in table
    assert "| onnx | fp16 | 64x64 | 0.500 | 0.250 | 0.100 | 1.00 | 200 | 1.2e-05 | 3.0e-04 | 12 | 2.0 |" in table
    assert "| openvino | fp32 | 64x64 | left out |" in table[4]
    assert "- torch bf16 96x64: failed: crashed (SIGSEGV)" in lines
    assert "0.100 s each" in lines[-1]


def test_a_gpu_has_a_column_of_its_own() -> None:
    row = Row(runtime="torch", precision="fp16", width=64, height=64, peak_mib=900, gpu_mib=123.4)
    found = Benchmark(model="one", machine=MACHINE, product_seconds=None, rows=(row,))
    heads, cells = report.heads(found), report.cells(row, gpu=True)
    assert len(heads) == len(cells) and cells[heads.index("GPU MiB")] == "123"
    assert "not measured" in report.note(found)


def test_json() -> None:
    found = json.loads(json.dumps(FOUND.to_dict()))
    assert found["product_seconds"] == 0.1 and len(found["rows"]) == 4
    assert found["rows"][1]["largest_difference"] == 3e-4
    assert found["rows"][3]["reason"] == "crashed (SIGSEGV)"


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_the_plot(tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("matplotlib")
    draw(FOUND, tmp_path / f"plot{suffix}")
    assert [path.name for path in tmp_path.iterdir()] == [f"plot{suffix}"]
    content = (tmp_path / f"plot{suffix}").read_bytes()
    if suffix == ".svg":
        assert content.count(b"onnx fp16") and b"openvino" not in content
    else:
        assert content.startswith(b"\x89PNG")
    nothing = Benchmark(model="one", machine=MACHINE, product_seconds=None, rows=ROWS[2:])
    draw(nothing, tmp_path / f"nothing{suffix}")
    assert (tmp_path / f"nothing{suffix}").stat().st_size > 500
