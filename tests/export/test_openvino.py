"""OpenVINO files compute what the network does, in every precision, and say what they are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import openvino
import pytest
import torch
from openvino import opset13
from PIL import Image

from birefnet.errors import ConfigError, DataError, WeightsError
from birefnet.export import openvino as export
from birefnet.export.calibration import calibration_pictures, masks_of
from birefnet.export.graph import example_picture, to_onnx
from birefnet.export.openvino_int8 import CalibrationSet, quantise_within
from birefnet.export.options import ExportOptions
from birefnet.network import BiRefNet
from birefnet.network.config import BiRefNetConfig
from birefnet.pixels.prepare import InputSpec
from birefnet.runtimes import openvino_deform
from birefnet.runtimes.openvino import FILE, OpenVinoRuntime
from tests import seeded

# Normalised so that pictures can hold the example that exports are compared on.
SPEC = InputSpec(width=96, height=64, mean=(0.5,) * 3, std=(0.1,) * 3, upsample="guided")
ALLOWED = {"fp32": 1e-5, "fp16": 2e-3, "int8wo": 0.1, "int8": 0.3}  # of the alpha


@pytest.fixture(scope="module")
def network() -> BiRefNet:
    """A tiny network with deformable convolutions that look elsewhere than a plain one would."""
    made = BiRefNet(
        BiRefNetConfig(
            backbone="mobilenet_v2",
            inner_width=8,
            neck_widths=(8, 8, 8, 16),
            picture_width=4,
            attention_width=8,
            gradient_width=4,
        )
    )
    made.load_state_dict(seeded.fill(made.state_dict()))
    with torch.no_grad():  # offsets within some pixels, and an alpha of all values
        for name, parameter in made.named_parameters():
            if name.endswith("conv.offset.weight"):
                parameter *= 0.2
        logits = made.eval()(torch.from_numpy(seeded.image(64, 96))).logits
        made.decoder.head.weight /= logits.std()
        made.decoder.head.bias -= made(torch.from_numpy(seeded.image(64, 96))).logits.mean()
    return made


@pytest.fixture(scope="module", autouse=True)
def _traced_once() -> Iterator[None]:
    """The graph of one network in one shape is built once for all tests; building takes most of an export's time."""
    kept: dict[object, object] = {}

    def build(network: torch.nn.Module, spec: InputSpec, **shape: object) -> object:
        key = (spec, *shape.items())
        if key not in kept:
            kept[key] = to_onnx(network, spec, **shape)  # type: ignore[arg-type]
        return kept[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "to_onnx", build)
        yield


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    example = example_picture(SPEC)[0].numpy().transpose(1, 2, 0) * SPEC.std + SPEC.mean
    for shift in range(4):  # of the kind that exports are compared on
        moved = np.roll(example, 20 * shift, axis=1)
        Image.fromarray(np.uint8(np.clip(255 * moved, 0, 255))).save(folder / f"{shift}.png")
    return folder


@pytest.fixture(scope="module", params=[*list(ALLOWED)[:3], pytest.param("int8", marks=pytest.mark.slow)])
def written(
    request: pytest.FixtureRequest, network: BiRefNet, pictures: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path]]:
    path = tmp_path_factory.mktemp("openvino") / f"{request.param}.xml"
    options = ExportOptions(size=(96, 64), precision=request.param, calibration=pictures)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    export.export_openvino(network, path, SPEC, options, source="a test")
    after = network.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    yield request.param, path


@pytest.fixture(scope="module")
def runtime(written: tuple[str, Path]) -> OpenVinoRuntime:
    """The files in plain OpenVINO: of DeformConv and extensions it knows nothing here."""
    return OpenVinoRuntime(written[1], threads=1, dtype="float32")


def alpha(logits: np.ndarray | torch.Tensor) -> np.ndarray:
    return torch.as_tensor(logits).sigmoid().numpy()


def test_the_files_compute_what_the_network_does(
    network: BiRefNet, written: tuple[str, Path], runtime: OpenVinoRuntime
) -> None:
    precision, _ = written
    picture = seeded.image(64, 96, seed=5)
    with torch.no_grad():
        ours = alpha(network(torch.from_numpy(picture)).logits)
    assert np.abs(ours - alpha(runtime(picture))).max() < ALLOWED[precision]
    assert ours.std() > 0.01  # the network says something


def test_what_the_files_say_of_themselves(written: tuple[str, Path], runtime: OpenVinoRuntime) -> None:
    precision, path = written
    home = ElementTree.parse(path).getroot().find("rt_info/birefnet")
    assert home is not None
    facts = {entry.tag: entry.get("value") for entry in home}
    assert facts["size"] == "[96, 64]" and facts["precision"] == f'"{precision}"' and facts["source"] == '"a test"'
    assert 0 <= float(str(facts["largest_alpha_error"])) <= ALLOWED[precision]
    assert runtime.spec == SPEC


def test_nothing_of_the_machine_is_in_the_files(written: tuple[str, Path]) -> None:
    for file in (written[1], written[1].with_suffix(".bin")):
        content = file.read_bytes()
        for word in (str(Path(export.__file__).parents[2]), "/tmp/", "site-packages", "stack_trace"):
            assert word.encode() not in content
    assert len(list(written[1].parent.iterdir())) == 2  # nothing is left of the writing


def test_the_files_hold_operators_of_openvino_alone(written: tuple[str, Path]) -> None:
    model = openvino.Core().read_model(written[1])
    assert {node.get_type_info().version_id.partition("opset")[0] for node in model.get_ordered_ops()} == {""}
    assert "DeformableConvolution" not in {node.get_type_name() for node in model.get_ordered_ops()}


def test_weights_are_stored_in_few_bits(written: tuple[str, Path]) -> None:
    precision, path = written
    stored: dict[str, int] = {}
    for node in openvino.Core().read_model(path).get_ordered_ops():
        if node.get_type_name() == "Constant":
            kind = node.get_element_type().get_type_name()
            stored[kind] = stored.get(kind, 0) + node.get_byte_size()
    most = max(stored, key=lambda kind: stored[kind])
    assert most in {"fp32": ("f32",), "fp16": ("f16",), "int8wo": ("u8",), "int8": ("i8", "u8")}[precision]


def test_eight_bits_within_a_drop(tmp_path: Path) -> None:
    """Of a few convolutions those go back to float that cost more than is allowed."""
    rng = np.random.default_rng(0)
    spec = InputSpec(width=32, height=32)
    picture = opset13.parameter([1, 3, 32, 32], np.float32)
    x = picture
    for width, wider in ((3, 8), (8, 8), (8, 8), (8, 8), (8, 1)):
        weight = np.float32(rng.standard_normal((wider, width, 3, 3)) / np.sqrt(9 * width))
        weight[0] *= 20  # one step for all of them would lose the others
        x = opset13.relu(opset13.convolution(x, opset13.constant(weight), [1, 1], [1, 1], [1, 1], [1, 1]))
    model = openvino.Model([opset13.subtract(x, np.float32(1))], [picture])
    files = []
    for part in ("im", "gt"):
        (tmp_path / part).mkdir()
    for number in range(3):
        files.append(tmp_path / "im" / f"{number}.png")
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(files[-1])
        (prepared,) = calibration_pictures(files[-1:], spec)
        mask = alpha(openvino.compile_model(model, "CPU")(prepared)[0])[0, 0]
        Image.fromarray(np.uint8(np.round(255 * mask))).save(tmp_path / "gt" / f"{number}.png")
    masks = masks_of(files, tmp_path)
    assert [mask.parent.name for mask in masks] == ["gt"] * 3
    pictures = CalibrationSet(files, spec)
    layers = {
        drop: sum(node.get_type_name() == "FakeQuantize" for node in within.get_ordered_ops())
        for drop, within in ((drop, quantise_within(model, pictures, masks, drop)) for drop in (1e-5, 0.5))
    }
    assert layers[1e-5] < layers[0.5]


def test_a_drop_needs_masks(network: BiRefNet, pictures: Path, tmp_path: Path) -> None:
    options = ExportOptions(size=(96, 64), precision="int8", calibration=pictures, max_drop=0.01)
    with pytest.raises(DataError, match="4 pictures have none"):
        export.export_openvino(network, tmp_path / "net.xml", SPEC, options)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ConfigError, match="belongs to int8"):
        ExportOptions(max_drop=0.01)


@pytest.mark.slow
def test_a_folder_and_free_sizes(network: BiRefNet, tmp_path: Path) -> None:
    proof = export.export_openvino(network, tmp_path / "net", SPEC, ExportOptions(size=None, batch=None))
    assert proof.largest <= 1e-5
    runtime = OpenVinoRuntime(tmp_path / "net", threads=1, dtype="float32")
    assert runtime.dynamic and runtime.name == "net" and runtime.spec == SPEC
    assert sorted(path.name for path in (tmp_path / "net").iterdir()) == ["model.bin", FILE]
    picture = seeded.image(128, 64, batch=2)
    with torch.no_grad():
        ours = alpha(network(torch.from_numpy(picture)).logits)
    assert np.abs(ours - alpha(runtime(picture))).max() < 1e-5


@pytest.mark.slow
def test_a_batch_in_blocks(network: BiRefNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_deform, "BLOCK_BYTES", 20_000)  # several blocks, some across two pictures
    export.export_openvino(network, tmp_path / "two.xml", SPEC, ExportOptions(size=(96, 64), batch=2))
    picture = seeded.image(64, 96, batch=2)
    with torch.no_grad():
        ours = alpha(network(torch.from_numpy(picture)).logits)
    theirs = alpha(OpenVinoRuntime(tmp_path / "two.xml", threads=1, dtype="float32")(picture))
    assert np.abs(ours - theirs).max() < 1e-5


@pytest.mark.parametrize("name", ["wrong.xml", "wrong"])
def test_files_that_differ_are_not_kept(
    network: BiRefNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    build_model = export.build_model

    def build_wrongly(*arguments: Any) -> Any:
        model = build_model(*arguments)
        (result,) = model.get_results()
        shifted = opset13.add(result.input_value(0), opset13.constant(np.float32(0.1)))
        result.input(0).replace_source_output(shifted.output(0))
        return model

    monkeypatch.setattr(export, "build_model", build_wrongly)
    with pytest.raises(WeightsError, match="differs"):
        export.export_openvino(network, tmp_path / name, SPEC)
    assert list(tmp_path.iterdir()) == []
