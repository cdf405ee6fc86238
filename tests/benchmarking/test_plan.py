"""What was asked for becomes rows, and nothing is dropped in silence."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from birefnet.benchmarking import table
from birefnet.benchmarking.plan import Planned, Wish, plan
from birefnet.benchmarking.table import WAYS, YARDSTICK, Way, missing, stored
from birefnet.errors import ConfigError


@pytest.fixture(autouse=True)
def _all_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "find_spec", lambda name: name)


def test_the_usual_rows() -> None:
    rows = plan(Wish(sizes=[(64, 64), (128, 64)]))
    assert rows[0] == Planned("eager", "fp32", 64, 64)
    assert [(row.runtime, row.precision) for row in rows[: len(rows) // 2]] == [
        ("eager", "fp32"), ("torch", "fp32"), ("torch", "bf16"), ("onnx", "fp32"), ("onnx", "fp16"),
        ("openvino", "fp32"), ("openvino", "bf16"), ("openvino", "fp16"),
    ]  # fmt: skip
    assert {(row.width, row.height) for row in rows[len(rows) // 2 :]} == {(128, 64)}
    assert not any(row.reason for row in rows)


def test_what_cannot_be_is_listed_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "find_spec", lambda name: None if name == "openvino" else name)
    wish = Wish(runtimes=["eager", "torch", "onnx", "openvino"], precisions=["fp32", "int8"], sizes=[(64, 64)])
    found = {(row.runtime, row.precision): row.reason for row in plan(wish)}
    assert list(found.values()).count("") == 3 and len(found) == 8
    assert found["torch", "int8"] == "no int8 there: fp32, bf16, fp16"
    assert found["onnx", "int8"] == "needs pictures to calibrate with: --calibration FOLDER"
    assert found["openvino", "fp32"] == "needs `openvino`: pip install 'birefnet[openvino]'"
    calibrated = Wish(runtimes=["onnx"], precisions=["int8"], sizes=[(64, 64)], calibration=Path("photos"))
    assert [row.reason for row in plan(calibrated)] == ["", ""]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"runtimes": ["onx"]}, "did you mean `onnx`"),
        ({"precisions": ["fp8"]}, "No precision is named `fp8`"),
        ({"sizes": []}, "no size"),
        ({"repeats": 0}, "one run at least"),
        ({"timeout": 0.0}, "time limit"),
    ],
)
def test_what_cannot_be_meant(words: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        Wish(**words)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", WAYS)
def test_every_row_of_the_table_names_what_is_there(name: str) -> None:
    way = WAYS[name]
    assert way.default and set(way.default) <= set(way.known)
    module, _, function = way.make.partition(":")
    assert callable(getattr(importlib.import_module(module), function))
    assert bool(way.export) == bool(way.suffix)
    if way.export:
        pytest.importorskip("torch")
        module, _, function = way.export.partition(":")
        assert callable(getattr(importlib.import_module(module), function))


def test_libraries_and_files() -> None:
    assert "fp32" in WAYS[YARDSTICK].default
    assert missing(Way("", (("torch", "torch"),), ("FP32",), "")) == ""
    assert [stored(name) for name in ("fp32", "bf16", "fp16", "int8")] == ["fp32", "fp16", "fp16", "int8"]
