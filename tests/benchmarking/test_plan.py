"""What was asked for becomes rows, and nothing is dropped in silence."""

from __future__ import annotations

from pathlib import Path

import pytest

from birefnet.benchmarking.makers import MAKERS
from birefnet.benchmarking.plan import Planned, Request, plan
from birefnet.benchmarking.table import BACKENDS, REFERENCE, Backend, missing, stored
from birefnet.errors import ConfigError
from birefnet.weights import formats
from birefnet.weights.formats import FORMATS, RUNTIMES, TARGETS


@pytest.fixture(autouse=True)
def _all_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "find_spec", lambda name: name)


def test_the_usual_rows() -> None:
    rows = plan(Request(sizes=[(64, 64), (128, 64)]))
    assert rows[0] == Planned("eager", "fp32", 64, 64)
    assert [(row.runtime, row.precision) for row in rows[: len(rows) // 2]] == [
        ("eager", "fp32"), ("torch", "fp32"), ("torch", "bf16"), ("onnx", "fp32"), ("onnx", "fp16"),
        ("openvino", "fp32"), ("openvino", "bf16"), ("openvino", "fp16"),
    ]  # fmt: skip
    assert {(row.width, row.height) for row in rows[len(rows) // 2 :]} == {(128, 64)}
    assert not any(row.reason for row in rows)


def test_what_cannot_be_is_listed_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "find_spec", lambda name: None if name == "openvino" else name)
    request = Request(runtimes=["eager", "torch", "onnx", "openvino"], precisions=["fp32", "int8"], sizes=[(64, 64)])
    found = {(row.runtime, row.precision): row.reason for row in plan(request)}
    assert list(found.values()).count("") == 3 and len(found) == 8
    assert found["torch", "int8"] == "no int8 there: fp32, bf16, fp16"
    assert found["onnx", "int8"] == "needs pictures to calibrate with: `calibration=FOLDER`"
    assert found["openvino", "fp32"] == "needs `openvino`: pip install 'birefnet[openvino]'"
    calibrated = Request(runtimes=["onnx"], precisions=["int8"], sizes=[(64, 64)], calibration=Path("photos"))
    assert [row.reason for row in plan(calibrated)] == ["", ""]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"runtimes": ["onx"]}, "No runtime is named `onx`"),
        ({"precisions": ["fp8"]}, "No precision is named `fp8`"),
        ({"sizes": []}, "no size"),
        ({"repeats": 0}, "one run at least"),
        ({"timeout": 0.0}, "time limit"),
    ],
)
def test_what_cannot_be_meant(words: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        Request(**words)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", BACKENDS)
def test_every_row_of_the_table_names_what_is_there(name: str) -> None:
    backend = BACKENDS[name]
    assert backend.default and set(backend.default) <= set(backend.known)
    assert callable(MAKERS[name]) and backend.runtime in RUNTIMES
    assert bool(backend.format) == bool(backend.suffix)
    if backend.format:
        assert backend.format in TARGETS and backend.runtime in FORMATS[backend.format].runtimes
        computed = {"bf16"}  # by the runtime, of a file in fp16
        assert set(backend.known) - computed <= set(FORMATS[backend.format].precisions)


def test_libraries_and_files(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "fp32" in BACKENDS[REFERENCE].default and tuple(MAKERS) == tuple(BACKENDS)
    assert missing(Backend("", "torch", ("FP32",))) == ""
    assert [stored(name) for name in ("fp32", "bf16", "fp16", "int8")] == ["fp32", "fp16", "fp16", "int8"]
    suffixes = {"eager": "", "onnx": ".onnx", "openvino": "-openvino", "package": ".pt2"}
    assert {name: BACKENDS[name].suffix for name in suffixes} == suffixes
    # Bug H: no extra brings TensorRT, so none is advised.
    monkeypatch.setattr(formats, "find_spec", lambda name: None if name == "tensorrt" else name)
    assert missing(BACKENDS["tensorrt"]) == "needs `tensorrt`: pip install tensorrt"
