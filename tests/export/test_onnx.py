"""An ONNX file computes what its network does, says so itself, and is deleted if it does not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from PIL import Image

from birefnet.errors import ConfigError, DataError, WeightsError
from birefnet.export import onnx as export
from birefnet.export.graph import example_picture
from birefnet.export.options import ExportOptions
from birefnet.export.storage import values_of
from birefnet.network import BiRefNet
from birefnet.network.inference import inference_form
from birefnet.pixels.prepare import InputSpec
from birefnet.runtimes.onnx import OnnxRuntime
from tests.export.conftest import TINY_SPEC
from tests.processor import needs_avx2
from tests.seeded import image

SIZE = (TINY_SPEC.width, TINY_SPEC.height)


def options(**changes: Any) -> ExportOptions:
    return ExportOptions(size=SIZE, **changes)


def facts_of(path: Path) -> dict[str, Any]:
    return {entry.key: json.loads(entry.value) for entry in onnx.load(path).metadata_props}


def operators(path: Path) -> set[str]:
    return {node.op_type for node in onnx.load(path).graph.node}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(3):
        values = image(80, 100, seed=index)[0].transpose(1, 2, 0) * 60 + 128
        Image.fromarray(values.clip(0, 255).astype(np.uint8)).save(folder / f"{index}.png")
    return folder


def test_float32_agrees_and_says_so(tiny: BiRefNet, exported: list[Any], tmp_path: Path) -> None:
    path = tmp_path / "tiny.onnx"
    proof = export.export_onnx(tiny, path, TINY_SPEC, options(), source="a test")
    picture = image(64, 96, seed=5)
    with torch.no_grad():
        ours_logits = tiny(torch.from_numpy(picture)).logits.numpy()
    ours = _alpha(ours_logits)
    runtime = OnnxRuntime(path, device="cpu")
    assert ours.std() > 0.01  # the network says something
    assert _distance(ours_logits, runtime(picture)) < 1e-3
    facts = facts_of(path)
    assert runtime.spec == TINY_SPEC and facts["source"] == "a test" and facts["deform"] == "native"
    assert (facts["precision"], facts["activation"]) == ("fp32", "sigmoid")
    assert facts["largest_alpha_error"] == proof.largest <= facts["allowed_largest_alpha_error"]
    assert facts["mean_alpha_error"] == proof.mean <= facts["allowed_mean_alpha_error"]
    assert "DeformConv" in operators(path) and "BatchNormalization" not in operators(path)


def test_one_input_one_output_and_what_old_runtimes_read(tiny: BiRefNet, exported: list[Any], tmp_path: Path) -> None:
    export.export_onnx(tiny, tmp_path / "tiny.onnx", TINY_SPEC, options())
    model = onnx.load(tmp_path / "tiny.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert [port.name for port in model.graph.input] == ["input_image"]
    assert [port.name for port in model.graph.output] == ["logits"]
    assert model.opset_import[0].version == 20 and model.ir_version <= 10


def test_nothing_of_the_machine_is_in_the_file(tiny: BiRefNet, exported: list[Any], tmp_path: Path) -> None:
    export.export_onnx(tiny, tmp_path / "tiny.onnx", TINY_SPEC, options())
    content = (tmp_path / "tiny.onnx").read_bytes()
    for word in (b"stack_trace", str(Path(export.__file__).parents[2]).encode(), str(tmp_path).encode()):
        assert word not in content


def test_half_the_size(tiny: BiRefNet, exported: list[Any], tmp_path: Path) -> None:
    sizes = {}
    for precision in ("fp32", "fp16", "int8wo"):
        path = tmp_path / f"{precision}.onnx"
        proof = export.export_onnx(tiny, path, TINY_SPEC, options(precision=precision))
        assert proof.mean <= proof.allowed_mean
        assert facts_of(path)["precision"] == precision
        sizes[precision] = sum(values_of(one).nbytes for one in onnx.load(path).graph.initializer)
    assert sizes["fp16"] < 0.52 * sizes["fp32"]
    assert sizes["int8wo"] < 0.35 * sizes["fp32"]


@needs_avx2
def test_decomposed_loads_where_nothing_special_is(tiny: BiRefNet, exported: list[Any], tmp_path: Path) -> None:
    openvino: Any = pytest.importorskip("openvino")
    path = tmp_path / "tiny.onnx"
    export.export_onnx(tiny, path, TINY_SPEC, options(deform="decomposed"))
    assert facts_of(path)["deform"] == "decomposed" and "DeformConv" not in operators(path)
    picture = example_picture(TINY_SPEC).numpy()
    wanted = OnnxRuntime(path, device="cpu")(picture)
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    elsewhere = openvino.Core().compile_model(str(path), "CPU", hint)(picture)[0]
    assert _distance(elsewhere, wanted) < 1e-3


@pytest.mark.slow
def test_decomposed_is_what_the_book_says(tiny: BiRefNet, exported: list[Any], tmp_path: Path) -> None:
    path = tmp_path / "tiny.onnx"
    export.export_onnx(tiny, path, TINY_SPEC, options(deform="decomposed"))
    picture = example_picture(TINY_SPEC).numpy()
    (by_the_book,) = ReferenceEvaluator(onnx.load(path)).run(None, {"input_image": picture})
    assert _distance(by_the_book, OnnxRuntime(path, device="cpu")(picture)) < 1e-3


def test_eight_bits_with_pictures(tiny: BiRefNet, exported: list[Any], tmp_path: Path, photos: Path) -> None:
    path = tmp_path / "tiny.onnx"
    said: list[str] = []
    proof = export.export_onnx(
        tiny, path, TINY_SPEC, options(precision="int8", calibration=photos, report=said.append), source="a test"
    )
    assert 1e-4 < proof.mean <= proof.allowed_mean
    assert {"QuantizeLinear", "DequantizeLinear"} <= operators(path)
    assert "quantising with 3 pictures" in said
    assert OnnxRuntime(path, device="cpu").spec == TINY_SPEC


def test_pictures_must_be_there_before_anything_is_done(tiny: BiRefNet, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs pictures to calibrate with"):
        options(precision="int8")
    with pytest.raises(DataError, match="No pictures"):
        export.export_onnx(tiny, tmp_path / "no.onnx", TINY_SPEC, options(precision="int8", calibration=tmp_path))


def _distance(logits: np.ndarray, others: np.ndarray) -> float:
    """The largest difference of the alphas, whose mean must be that of float32's rounding."""
    distance = np.abs(_alpha(logits) - _alpha(others))
    assert distance.mean() < 1e-5
    return float(distance.max())


def _alpha(logits: np.ndarray) -> np.ndarray:
    alpha: np.ndarray = 1 / (1 + np.exp(-np.asarray(logits)))
    return alpha


def _weights_of(model: Any, operator: str) -> Any:
    name = next(node.input[1] for node in model.graph.node if node.op_type == operator)
    return next(one for one in model.graph.initializer if one.name == name)


def _shift_head(model: Any, shift: float = 0.5) -> None:
    head = next(node for node in reversed(model.graph.node) if node.op_type == "Conv" and len(node.input) > 2)
    bias = next(one for one in model.graph.initializer if one.name == head.input[2])
    bias.CopyFrom(onnx.numpy_helper.from_array(values_of(bias) + np.float32(shift), bias.name))


def _transpose_kernel(model: Any) -> None:
    """Of the widest convolution of 3x3 taps: rows taken for columns."""
    shapes = {one.name: tuple(one.dims) for one in model.graph.initializer}
    kernels = [node.input[1] for node in model.graph.node if node.op_type == "Conv"]
    square = [kernel for kernel in kernels if kernel in shapes and shapes[kernel][2:] == (3, 3)]
    name = max(square, key=lambda one: shapes[one][1])
    kernel = next(one for one in model.graph.initializer if one.name == name)
    turned = np.ascontiguousarray(values_of(kernel).transpose(0, 1, 3, 2))
    kernel.CopyFrom(onnx.numpy_helper.from_array(turned, name))


def _forget_masks(model: Any) -> None:
    for node in model.graph.node:
        if node.op_type == "DeformConv":
            del node.input[3:]


def _swap_offsets(model: Any) -> None:
    """The horizontal offset taken for the vertical one, as other libraries order them."""
    for index, node in enumerate(list(model.graph.node)):
        if node.op_type == "DeformConv":
            taps = int(np.prod(next(one for one in model.graph.initializer if one.name == node.input[1]).dims[2:]))
            order = np.arange(2 * taps).reshape(taps, 2)[:, ::-1].ravel()
            name = f"order{index}"
            model.graph.initializer.append(onnx.numpy_helper.from_array(order, name))
            gather = onnx.helper.make_node("Gather", [node.input[2], name], [f"{name}.out"], axis=1)
            node.input[2] = f"{name}.out"
            model.graph.node.insert(list(model.graph.node).index(node), gather)


def _spoil(model: Any) -> None:
    weight = _weights_of(model, "Conv")
    values = values_of(weight).copy()
    values.flat[0] = np.nan
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))


@pytest.mark.parametrize("change", [_shift_head, _transpose_kernel, _forget_masks, _swap_offsets, _spoil])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_graph_that_differs_is_not_kept(
    change: Callable[[Any], None], precision: str, tiny: BiRefNet, exported: list[Any], tmp_path: Path
) -> None:
    exported.append(change)
    with pytest.raises(WeightsError, match=r"differs from the network|not finite|not numbers"):
        export.export_onnx(tiny, tmp_path / "wrong.onnx", TINY_SPEC, options(precision=precision))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_tampered_with_is_not_kept(
    tiny: BiRefNet, exported: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is compared is what was written, not what was meant to be."""

    class Tampered(OnnxRuntime):
        def __init__(self, path: Path, **others: Any) -> None:
            model = onnx.load(path)
            _shift_head(model, 3)
            onnx.save(model, path)
            super().__init__(path, **others)

    kept = tmp_path / "kept.onnx"
    kept.write_bytes(b"an earlier file")
    monkeypatch.setattr(export, "OnnxRuntime", Tampered)
    with pytest.raises(WeightsError, match="deleted"):
        export.export_onnx(tiny, kept, TINY_SPEC, options(precision="int8wo"))
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"an earlier file"]


def test_files_beyond_the_format_are_refused_at_once(
    tiny: BiRefNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "LARGEST_FILE", 1000)
    with pytest.raises(ConfigError, match="hold at most 2"):
        export.export_onnx(tiny, tmp_path / "no.onnx", TINY_SPEC)


def test_further_sizes_are_two_others_of_both_forms() -> None:
    for side in (64, 128, 1024):
        spec = InputSpec(width=side, height=side)
        one, two = export.further_sizes(spec)
        assert len({(s.width, s.height) for s in (spec, one, two)}) == 3
        assert one.width > one.height and two.width < two.height
    assert one.width * one.height < 0.5 * 1024**2


@pytest.fixture(scope="module")
def free_graph(tiny: BiRefNet) -> Any:
    """The network's graph for any size and number of pictures; not to be changed."""
    return export.to_onnx(inference_form(tiny), TINY_SPEC, dynamic=True, batch=None)


@pytest.mark.slow
@pytest.mark.parametrize("deform", ["native", "decomposed"])
def test_any_size_and_any_number_of_pictures(
    tiny: BiRefNet, free_graph: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deform: Any
) -> None:
    path = tmp_path / "any.onnx"
    model = onnx.ModelProto()
    model.CopyFrom(free_graph)
    monkeypatch.setattr(export, "to_onnx", lambda *_, **__: model)
    export.export_onnx(tiny, path, TINY_SPEC, ExportOptions(size=None, batch=None, deform=deform))
    runtime = OnnxRuntime(path, device="cpu")
    assert runtime.dynamic and runtime.spec == TINY_SPEC
    for height, width, count in ((64, 96, 1), (96, 160, 3), (128, 64, 2)):
        picture = image(height, width, count)
        with torch.no_grad():
            ours = tiny(torch.from_numpy(picture)).logits.numpy()
        assert _distance(ours, runtime(picture)) < 1e-3


@pytest.mark.slow
def test_several_pictures_at_once(tiny: BiRefNet, tmp_path: Path) -> None:
    path = tmp_path / "two.onnx"
    export.export_onnx(tiny, path, TINY_SPEC, options(batch=2))
    runtime = OnnxRuntime(path, device="cpu")
    pictures = np.concatenate([image(64, 96, seed=seed) for seed in range(3)])
    with torch.no_grad():
        ours = tiny(torch.from_numpy(pictures)).logits.numpy()
    assert _distance(ours, runtime(pictures)) < 1e-3
