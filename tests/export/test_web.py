"""A folder for browsers: what its manifest says is so, every way of storing weights is proven, nothing bad is left."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from birefnet.errors import ConfigError, WeightsError
from birefnet.export import web
from birefnet.export.browser_graph import to_browser_graph
from birefnet.export.graph import example_picture
from birefnet.export.options import ExportOptions
from birefnet.export.web_memory import peak_activations
from birefnet.export.web_parts import files_of, write_graph
from birefnet.network import BiRefNet
from birefnet.pixels.picture import read_picture
from birefnet.pixels.prepare import InputSpec, prepare
from birefnet.runtimes.onnx import OnnxRuntime
from birefnet.runtimes.web_folder import read_manifest
from birefnet.runtimes.web_selftest import known_picture
from birefnet.weights.zoo import ZOO
from tests.export.conftest import TINY_SPEC
from tests.seeded import image

SIZE = (TINY_SPEC.width, TINY_SPEC.height)
PART = 2_000_000  # bytes: the tiny network's weights are several of these


@pytest.fixture(scope="module")
def graph(tiny: BiRefNet) -> Any:
    """The tiny network as browsers get it; not to be changed."""
    return to_browser_graph(tiny, TINY_SPEC)


@pytest.fixture
def quick(graph: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare exports the exporter: they begin with a copy of the graph above, whichever network they are of."""
    monkeypatch.setattr(web, "to_browser_graph", lambda *_: copied(graph))


@pytest.fixture(scope="module")
def folder(tiny: BiRefNet, graph: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny network's folder, its weights in parts."""
    path = tmp_path_factory.mktemp("web") / "lite"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(web, "to_browser_graph", lambda *_: copied(graph))
        web.export_web(
            tiny, path, TINY_SPEC, ExportOptions(size=SIZE, entry=ZOO["lite"]), source="lite", part_bytes=PART
        )
    return path


def copied(model: Any) -> Any:
    made = onnx.ModelProto()
    made.CopyFrom(model)
    return made


def options(**changes: Any) -> ExportOptions:
    return ExportOptions(size=SIZE, **changes)


def manifest_of(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((path / "birefnet.json").read_text("utf-8"))
    return found


def variant_of(path: Path, dtype: str) -> dict[str, Any]:
    found: dict[str, Any] = next(row for row in manifest_of(path)["variants"] if row["dtype"] == dtype)
    return found


def alpha(logits: Any) -> Any:
    return 1 / (1 + np.exp(-np.asarray(logits, np.float64)))


def test_its_files_are_those_that_transformers_js_asks_for(folder: Path) -> None:
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    small = {path for path in there if "_data" not in path}
    assert small == {
        "birefnet.json",
        "config.json",
        "preprocessor_config.json",
        "onnx/model.onnx",
        "onnx/model_fp16.onnx",
        "onnx/model_quantized.onnx",
    }
    config = json.loads((folder / "config.json").read_text("utf-8"))
    assert config["model_type"] == "birefnet"
    parts = config["transformers.js_config"]["use_external_data_format"]
    for name, count in parts.items():
        wanted = {f"onnx/{name}_data", *(f"onnx/{name}_data_{place}" for place in range(1, count))}
        assert {path for path in there if path.startswith(f"onnx/{name}_data")} == wanted
    assert parts["model.onnx"] > 2


def test_its_choice_of_weights_is_there_and_needs_no_16_bit_shaders_on_webgpu(folder: Path) -> None:
    choice = json.loads((folder / "config.json").read_text("utf-8"))["transformers.js_config"]
    assert choice["dtype"] == "fp16"
    assert choice["device_config"] == {"webgpu": {"dtype": "fp32"}}
    assert manifest_of(folder)["default"] == "fp16"


def test_pictures_are_prepared_as_the_network_wants_them(folder: Path) -> None:
    page = json.loads((folder / "preprocessor_config.json").read_text("utf-8"))
    assert page["size"] == {"width": TINY_SPEC.width, "height": TINY_SPEC.height}
    assert page["image_mean"] == list(TINY_SPEC.mean)
    assert page["image_std"] == list(TINY_SPEC.std)


def test_its_manifest_tells_true_sizes_and_hashes(folder: Path) -> None:
    manifest = manifest_of(folder)
    assert manifest == read_manifest(folder)
    listed = set()
    for variant in manifest["variants"]:
        assert variant["files"][0]["path"] == variant["graph"]
        assert variant["bytes"] == sum(file["bytes"] for file in variant["files"])
        for file in variant["files"]:
            content = (folder / file["path"]).read_bytes()
            assert len(content) == file["bytes"]
            assert hashlib.sha256(content).hexdigest() == file["sha256"]
            assert file.get("mount") == (None if file["path"] == variant["graph"] else Path(file["path"]).name)
            listed.add(file["path"])
    assert listed == {f"onnx/{path.name}" for path in (folder / "onnx").iterdir()}


def test_its_manifest_tells_the_model_and_its_terms(folder: Path) -> None:
    manifest = manifest_of(folder)
    assert manifest["license"] == "MIT"
    assert "ZhengPeng7/BiRefNet_lite" in manifest["source"]
    assert manifest["input"]["width"], manifest["input"]["height"] == SIZE
    assert manifest["output"] == {"name": "logits", "activation": "sigmoid", "upsample": "guided"}
    assert manifest["name"] == "lite"


@pytest.mark.parametrize(("dtype", "most"), [("fp32", 1e-4), ("fp16", 5e-3), ("int8", 0.05)])
def test_each_variant_gives_the_networks_alpha(tiny: BiRefNet, folder: Path, dtype: str, most: float) -> None:
    variant = variant_of(folder, dtype)
    picture = image(64, 96, seed=5)
    with torch.no_grad():
        ours = alpha(tiny(torch.from_numpy(picture)).logits.numpy())
    runtime = OnnxRuntime(folder / variant["graph"])
    assert np.abs(alpha(runtime(picture)) - ours).mean() < most
    assert runtime.spec == TINY_SPEC
    seen = example_picture(TINY_SPEC)
    with torch.no_grad():
        ours = alpha(tiny(seen).logits.numpy())
    error = np.abs(alpha(runtime(seen.numpy())) - ours)
    assert variant["largest_alpha_error"] == pytest.approx(error.max(), rel=0.01, abs=1e-7)
    assert variant["mean_alpha_error"] == pytest.approx(error.mean(), rel=0.01, abs=1e-8)


@pytest.mark.slow
def test_the_model_in_the_box_loses_less_than_a_grey_level_to_8_bits(tmp_path: Path) -> None:
    from birefnet.weights.checkpoint import load_model

    network = load_model("nano")
    spec = InputSpec(width=256, height=256, upsample="guided")
    web.export_web(network, tmp_path / "nano", spec, source="nano")
    runtime = OnnxRuntime(tmp_path / "nano" / variant_of(tmp_path / "nano", "int8")["graph"])
    for path in sorted((Path(__file__).parents[2] / "examples" / "photos").glob("*.jpg")):
        batch, _ = prepare(read_picture(path).rgb, spec)
        with torch.no_grad():
            ours = alpha(network(torch.from_numpy(batch)).logits.numpy())
        assert np.abs(alpha(runtime(batch)) - ours).mean() < 1 / 255, path.name


def test_each_variant_is_as_small_as_its_weights(folder: Path) -> None:
    whole, half, third = (variant_of(folder, dtype)["bytes"] for dtype in ("fp32", "fp16", "int8"))
    assert 0.48 < half / whole < 0.55
    assert 0.27 < third / whole < 0.37  # a quarter of its weights have 16 bits


def test_only_weights_that_would_be_widened_at_once_change_the_sessions_options(folder: Path) -> None:
    folding = {"extra": {"optimization": {"disable_specified_optimizers": "ConstantFolding"}}}
    sessions = {row["dtype"]: row["session"] for row in manifest_of(folder)["variants"]}
    assert sessions == {"fp32": {}, "fp16": folding, "int8": folding}


def test_weights_go_to_parts_of_the_size_asked_for(graph: Any, tmp_path: Path) -> None:
    path = tmp_path / "onnx" / "model.onnx"
    write_graph(copied(graph), path, part_bytes=PART)
    files = files_of(path, tmp_path)
    assert path.stat().st_size < PART / 2
    sizes = [file.bytes for file in files[1:]]
    assert len(sizes) > 2
    assert max(sizes) <= PART
    assert [file.mount for file in files[:3]] == ["", "model.onnx_data", "model.onnx_data_1"]
    read = onnx.load(path)  # with its parts
    ours = {one.name: one.raw_data for one in graph.graph.initializer}
    assert {one.name: one.raw_data for one in read.graph.initializer} == ours


def test_a_weight_larger_than_a_part_gets_one_of_its_own(tmp_path: Path) -> None:
    values = {name: np.arange(size, dtype=np.float32) for name, size in (("a", 300), ("b", 9000), ("c", 300))}
    tensors = [onnx.numpy_helper.from_array(array, name) for name, array in values.items()]
    model = onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [], tensors))
    write_graph(model, tmp_path / "model.onnx", part_bytes=4000)
    assert [file.bytes for file in files_of(tmp_path / "model.onnx", tmp_path)[1:]] == [1200, 36000, 1200]


def test_small_models_stay_in_one_file(graph: Any, tmp_path: Path) -> None:
    write_graph(copied(graph), tmp_path / "model.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


@pytest.mark.usefixtures("quick")
def test_a_folder_that_is_not_the_network_is_not_left(tiny: BiRefNet, tmp_path: Path) -> None:
    other = BiRefNet(tiny.config).eval()
    with pytest.raises(WeightsError, match="differs from the network"):
        web.export_web(other, tmp_path / "web", TINY_SPEC)
    assert not list(tmp_path.iterdir())


def test_a_file_that_was_damaged_while_it_was_written_is_not_left(
    tiny: BiRefNet, graph: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damage(model: Any, path: Path, **asked: Any) -> None:
        write_graph(model, path, **asked)
        part = path.with_name("model_fp16.onnx_data_1")
        if part.is_file():
            part.write_bytes(bytes(len(part.read_bytes())))

    monkeypatch.setattr(web, "to_browser_graph", lambda *_: copied(graph))
    monkeypatch.setattr(web, "write_graph", damage)
    with pytest.raises(WeightsError):
        web.export_web(tiny, tmp_path / "web", TINY_SPEC, options(precision="fp16"), part_bytes=PART)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("quick")
def test_one_precision_alone_is_the_default(tiny: BiRefNet, tmp_path: Path) -> None:
    web.export_web(tiny, tmp_path / "web", TINY_SPEC, options(precision="int8wo"), source="runs/mine")
    manifest = manifest_of(tmp_path / "web")
    assert [row["dtype"] for row in manifest["variants"]] == ["int8"]
    assert manifest["default"] == "int8"
    assert manifest["name"] == "runs-mine"
    config = json.loads((tmp_path / "web" / "config.json").read_text("utf-8"))
    assert config["transformers.js_config"] == {"dtype": "q8"}


@pytest.mark.usefixtures("quick")
def test_large_networks_are_not_stored_in_float32(tiny: BiRefNet, tmp_path: Path) -> None:
    web.export_web(tiny, tmp_path / "web", TINY_SPEC, largest_fp32=1_000_000)
    assert [row["dtype"] for row in manifest_of(tmp_path / "web")["variants"]] == ["fp16", "int8"]


@pytest.mark.usefixtures("quick")
def test_another_size_is_part_of_the_name(tiny: BiRefNet, tmp_path: Path) -> None:
    own = ExportOptions(size=SIZE, precision="int8wo")
    other = InputSpec(width=512, height=512, upsample="guided")
    web.export_web(tiny, tmp_path / "web", other, own, source="lite")
    assert manifest_of(tmp_path / "web")["name"] == "lite-96x64"


@pytest.mark.usefixtures("quick")
def test_weights_called_like_a_model_get_nothing_of_its_terms(tiny: BiRefNet, tmp_path: Path) -> None:
    """`lite.safetensors` of one's own, exported for browsers, was said to be the published model."""
    web.export_web(tiny, tmp_path / "web", TINY_SPEC, options(precision="int8wo"), source="lite")
    manifest = manifest_of(tmp_path / "web")
    assert (manifest["name"], manifest["source"], manifest["license"]) == ("lite", "lite", "")


@pytest.mark.usefixtures("quick")
def test_only_a_folder_for_browsers_is_replaced(tiny: BiRefNet, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.txt").write_text("mine")
    with pytest.raises(ConfigError, match="not replaced"):
        web.export_web(tiny, tmp_path / "photos", TINY_SPEC)
    assert (tmp_path / "photos" / "cat.txt").read_text() == "mine"
    for precision in ("fp16", "int8wo"):
        web.export_web(tiny, tmp_path / "web", TINY_SPEC, options(precision=precision))
    assert [path.name for path in (tmp_path / "web" / "onnx").iterdir()] == ["model_quantized.onnx"]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"size": None}, "one size"),
        ({"batch": None}, "one picture"),
        ({"deform": "decomposed"}, "native"),
        ({"precision": "int8", "calibration": Path("photos")}, "8-bit activations"),
    ],
)
def test_what_browsers_cannot_do_is_refused_at_once(
    tiny: BiRefNet, tmp_path: Path, changes: dict[str, Any], word: str
) -> None:
    asked = ExportOptions(**{"size": SIZE, **changes})
    with pytest.raises(ConfigError, match=word):
        web.export_web(tiny, tmp_path / "web", TINY_SPEC, asked)
    assert not list(tmp_path.iterdir())


def test_memory_between_layers_is_counted_from_first_use_to_last() -> None:
    make = onnx.helper.make_node
    nodes = [
        make("Relu", ["x"], ["a"]),  # x and a: 2 x 4000 bytes
        make("Concat", ["a", "a"], ["b"], axis=1),  # a and b (x is done): 12000
        make("Relu", ["b"], ["c"]),  # b and c: 16000
        make("ReduceSum", ["c"], ["y"], keepdims=1),
    ]
    ends = [onnx.helper.make_tensor_value_info(name, 1, shape) for name, shape in (("x", (1, 1000)), ("y", (1, 1)))]
    graph = onnx.helper.make_graph(nodes, "g", ends[:1], ends[1:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)])
    assert peak_activations(model) == 16000


@pytest.mark.usefixtures("quick")
def test_the_manifest_holds_answers_by_which_an_adapter_is_judged(tiny: BiRefNet, tmp_path: Path) -> None:
    web.export_web(tiny, tmp_path / "web", TINY_SPEC)
    picture = torch.from_numpy(known_picture(TINY_SPEC.width, TINY_SPEC.height))
    with torch.inference_mode():
        logits = tiny(picture).logits[0, 0]
    for row in manifest_of(tmp_path / "web")["variants"]:
        points, answers = row["self_test"]["points"], row["self_test"]["logits"]
        assert len(points) == len(answers) == 64
        itself = OnnxRuntime(tmp_path / "web" / row["graph"], device="cpu")(picture.numpy())[0, 0]
        np.testing.assert_allclose(answers, [itself[y, x] for y, x in points], atol=1e-3)
        if row["dtype"] == "fp32":
            np.testing.assert_allclose(answers, [logits[y, x] for y, x in points], atol=1e-3)
