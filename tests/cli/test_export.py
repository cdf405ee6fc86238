"""`birefnet export`: one command that proves what it wrote, and one sentence for every mistake."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from birefnet.cli.export import output_path, read_options
from birefnet.errors import ConfigError, WeightsError
from birefnet.pixels.prepare import InputSpec
from birefnet.weights.formats import FORMATS, TARGETS, find_target
from birefnet.weights.resolve import resolve

torch = pytest.importorskip("torch")

from birefnet.export.options import ExportOptions  # noqa: E402
from birefnet.export.proof import Proof  # noqa: E402
from birefnet.export.writers import WRITERS  # noqa: E402
from birefnet.network import BiRefNet  # noqa: E402
from birefnet.network.config import BiRefNetConfig  # noqa: E402
from birefnet.weights.checkpoint import load_model, save_model  # noqa: E402

Run = Callable[..., tuple[int, str, str]]


class Writer:
    """Stands for a format's writer: notes what it was asked, writes a few bytes, or fails."""

    def __init__(self) -> None:
        self.calls: list[tuple[BiRefNet, Path, InputSpec, ExportOptions, str]] = []
        self.error: Exception | None = None

    def __call__(
        self, network: BiRefNet, path: Path, spec: InputSpec, options: ExportOptions, *, source: str = ""
    ) -> Proof:
        self.calls.append((network, path, spec, options, source))
        options.report("building the graph")
        if self.error is not None:
            raise self.error
        path.write_bytes(b"12345")
        return Proof(largest=2e-6, mean=1e-7, allowed_largest=1e-5, allowed_mean=1e-5)


@pytest.fixture
def writer(monkeypatch: pytest.MonkeyPatch) -> Writer:
    made = Writer()
    monkeypatch.setattr("birefnet.export.onnx.export_onnx", made)
    return made


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    network = BiRefNet(
        BiRefNetConfig(backbone="mobilenet_v2", inner_width=8, attention="none", squeeze="none", context=0)
    )
    facts = {"size": json.dumps([96, 64]), "upsample": json.dumps("guided")}
    return save_model(network, tmp_path_factory.mktemp("weights") / "mine.safetensors", facts)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_one_command_at_the_models_own_size(birefnet: Run, writer: Writer, weights: Path) -> None:
    code, out, err = birefnet("export", weights)
    assert code == 0, err
    ((network, path, spec, options, source),) = writer.calls
    assert isinstance(network, BiRefNet) and not network.training
    assert (path, source) == (Path("mine.onnx"), "mine")
    assert spec == InputSpec(width=96, height=64, upsample="guided")
    assert (options.size, options.batch, options.precision, options.deform) == ((96, 64), 1, "fp32", "native")
    assert out == "mine.onnx: 0.0 MB, alpha differs by 2.0e-06 at most, 1.0e-07 on average\n"
    assert err.splitlines() == ["mine: onnx, fp32, 96x64, 1 at once", "building the graph"]


def test_every_option_arrives(birefnet: Run, writer: Writer, weights: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(photos / "one.png")
    words = ("--size", "128x64", "--batch", "dynamic", "--precision", "int8", "--deform", "decomposed")
    code, out, err = birefnet("export", weights, *words, "--calibration", photos, "-o", "small.onnx", "--json")
    assert code == 0, err
    options = writer.calls[0][3]
    assert (options.size, options.batch, options.precision) == ((128, 64), None, "int8")
    assert (options.deform, options.calibration) == ("decomposed", photos)
    facts = json.loads(out)
    assert facts["path"] == "small.onnx" and facts["bytes"] == 5 and facts["batch"] == "dynamic"
    assert facts["alpha_error"]["largest"] == 2e-6 and facts["size"] == [128, 64]
    assert facts["model"] == "mine" and facts["format"] == "onnx" and facts["seconds"] >= 0


def test_any_size(birefnet: Run, writer: Writer, weights: Path) -> None:
    code, out, _ = birefnet("export", weights, "--size", "dynamic", "--precision", "fp16", "--json")
    assert code == 0
    _, path, spec, options, _ = writer.calls[0]
    assert options.size is None and (spec.width, spec.height) == (96, 64)
    assert path == Path("mine-fp16.onnx") and json.loads(out)["size"] == "dynamic"


def test_nothing_is_replaced_unasked(birefnet: Run, writer: Writer, weights: Path) -> None:
    Path("mine.onnx").write_text("precious")
    code, out, err = birefnet("export", weights)
    assert code == 2 and out == "" and not writer.calls
    assert "error: `mine.onnx` exists already." in err and "hint: choose another `-o`, or `--overwrite`" in err
    assert Path("mine.onnx").read_text() == "precious"
    assert birefnet("export", weights, "--overwrite")[0] == 0


def test_a_mismatch_is_a_failure(birefnet: Run, writer: Writer, weights: Path) -> None:
    writer.error = WeightsError("The exported file's alpha differs by up to 9.0e-01; it was deleted")
    code, out, err = birefnet("export", weights)
    assert code == 1 and out == "" and err.splitlines()[-1].startswith("error: The exported file's alpha differs")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("--to", "onyx"),
            "There is no format `onyx`; known: onnx, openvino, tensorrt, package, web, gguf",
        ),
        (("--to", "gguf", "--precision", "int8"), "gguf has no precision `int8`; choose one of fp32, fp16"),
        (("--precision", "fp8"), "onnx has no precision `fp8`; choose one of fp32, fp16, int8, int8wo"),
        (("--size", "1000"), "A size must be in multiples of 32, got 1000x1000; nearest: 992x992."),
        (("--size", "big"), "`big` is not a size"),
        (("--size", "native"), "say `--size dynamic`"),
        (("--batch", "many"), "`--batch many` should be a number, such as 1, or dynamic"),
        (("--batch", "0"), "`batch` is 0; it must be 1 or more, or dynamic"),
        (("--deform", "flat"), "`deform` is 'flat'; choose one of native, decomposed"),
        (("--precision", "int8"), "`--precision int8` needs pictures to calibrate with"),
        (("--calibration", "."), "`--calibration` belongs to `--precision int8`; fp32 needs no pictures"),
        (("-o", "mine.bin"), "`mine.bin` is to be a file of onnx, so its name should end in .onnx"),
    ],
)
def test_wrong_use_is_one_sentence(
    birefnet: Run, writer: Writer, weights: Path, words: tuple[str, ...], said: str
) -> None:
    code, out, err = birefnet("export", weights, *words)
    assert code == 2 and out == "" and not writer.calls
    assert said in err and sum(not line.startswith("hint: ") for line in err.strip().splitlines()) == 1


def test_pictures_are_looked_for_first(birefnet: Run, writer: Writer, weights: Path, tmp_path: Path) -> None:
    for folder, said in ((tmp_path / "none", "There is no folder"), (tmp_path, "No pictures in")):
        code, _, err = birefnet("export", weights, "--precision", "int8", "--calibration", folder)
        assert code == 1 and said in err and not writer.calls


@pytest.mark.parametrize("model", ["some.onnx", "some.XML", "some.pt2", "some.engine", "nano.onnx"])
def test_an_exported_file_is_no_model(birefnet: Run, writer: Writer, model: str) -> None:
    if model != "nano.onnx":  # the zoo's
        Path(model).write_bytes(b"packed")
    code, _, err = birefnet("export", model)
    assert code == 2 and f"`{model}` is an exported file already" in err


def test_an_unknown_model_is_named(birefnet: Run, writer: Writer) -> None:
    code, _, err = birefnet("export", "generol")
    assert code == 2 and "No model named `generol`" in err and "did you mean `general`?" in err
    code, _, err = birefnet("export", "none.safetensors")
    assert code == 2 and "There is no file or folder `none.safetensors`" in err


def test_a_run_gives_its_best_weights(weights: Path, tmp_path: Path) -> None:
    checkpoints = tmp_path / "run" / "checkpoints"
    checkpoints.mkdir(parents=True)
    for name in ("best", "last"):
        (checkpoints / f"{name}.safetensors").write_bytes(weights.read_bytes())
    found = resolve(str(tmp_path / "run"), weights=True)
    assert found.path == checkpoints / "best.safetensors" and found.label == "run/best"
    assert output_path(None, found.label, "onnx", "fp16", overwrite=False) == Path("run-best-fp16.onnx")


def test_half_precision_checkpoints_are_widened(birefnet: Run, writer: Writer, weights: Path, tmp_path: Path) -> None:
    save_model(load_model(weights).half(), tmp_path / "half.safetensors")
    assert birefnet("export", "half.safetensors")[0] == 0
    widened, _, spec, _, name = writer.calls[0]
    assert next(widened.parameters()).dtype == torch.float32 and name == "half"
    assert (spec.width, spec.height) == (1024, 1024)


def test_folders_get_the_name_inside(tmp_path: Path) -> None:
    assert output_path(tmp_path, "mine", "onnx", "int8wo", overwrite=False) == tmp_path / "mine-int8wo.onnx"
    assert output_path(None, "owner/name", "openvino", "fp32", overwrite=False) == Path("owner-name.xml")
    assert output_path(Path("both"), "mine", "openvino", "fp32", overwrite=False) == Path("both")
    with pytest.raises(ConfigError, match=r"should end in \.xml"):
        output_path(Path("some.onnx"), "mine", "openvino", "fp32", overwrite=False)


def test_options_are_checked_by_their_record() -> None:
    options = read_options("dynamic", "4", "fp16", "native", None)
    assert (options.size, options.batch, options.precision) == (None, 4, "fp16")


def test_every_format_has_its_writer() -> None:
    assert tuple(WRITERS) == TARGETS
    for name in TARGETS:
        assert callable(WRITERS[name]()) and FORMATS[name].precisions[0] == "fp32" and FORMATS[name].help


@pytest.mark.parametrize("name", ["package", "torch", "aoti", "pt2"])
def test_one_artefact_has_one_name(birefnet: Run, monkeypatch: pytest.MonkeyPatch, weights: Path, name: str) -> None:
    made = Writer()
    monkeypatch.setattr("birefnet.export.aoti.export_package", made)
    code, out, _ = birefnet("export", weights, "--to", name, "--json")
    assert code == 0 and json.loads(out)["format"] == "package" and made.calls[0][1] == Path("mine.pt2")
    assert find_target(name)[0] == "package"
