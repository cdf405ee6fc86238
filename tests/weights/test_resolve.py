"""What a name or a path means, in which order, and what is said where it means nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save, save_file

from birefnet.errors import ConfigError, DownloadError, UnknownModel, WeightsError
from birefnet.pixels.prepare import InputSpec
from birefnet.weights.entries import HubFile
from birefnet.weights.facts import from_spec, read_facts, to_spec
from birefnet.weights.formats import FORMATS, RUNTIMES, TARGETS, find_target, kind_of
from birefnet.weights.resolve import ModelRef, resolve, resolve_all
from birefnet.weights.zoo import ZOO
from tests.weights.serving import Served, serving

OWN = InputSpec(width=64, height=96, mean=(0.5, 0.5, 0.5), std=(1.0, 1.0, 1.0), upsample="guided")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Served]:
    for name in ("BIREFNET_OFFLINE", "HF_HUB_OFFLINE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BIREFNET_CACHE", str(tmp_path / "cache"))
    with serving() as served:
        monkeypatch.setenv("HF_ENDPOINT", served.address)
        yield served


def put(path: str, spec: InputSpec | None = OWN) -> Path:
    """A file that says which input it takes."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    save_file({"x": np.zeros(1, np.float32)}, path, from_spec(spec) if spec else None)
    return Path(path)


def touch(*paths: str) -> None:
    for path in paths:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(b"x")


def spec_of(model: str | Path) -> InputSpec:
    return resolve(model, weights=True).fetch(offline=True).spec()


def test_an_input_survives_its_metadata() -> None:
    assert to_spec(read_facts(from_spec(OWN), Path("a")), Path("a")) == OWN


@pytest.mark.parametrize(
    ("given", "file", "label"),
    [
        ("saved/model.safetensors", "saved/model.safetensors", "saved"),
        ("saved", "saved/model.safetensors", "saved"),
        ("saved/", "saved/model.safetensors", "saved"),
        ("mine.safetensors", "mine.safetensors", "mine"),
        ("MINE.SAFETENSORS", "MINE.SAFETENSORS", "MINE"),
        ("runs/cats", "runs/cats/best.safetensors", "cats/best"),
        ("runs/old", "runs/old/checkpoints/best.safetensors", "old/best"),
        ("runs/old/checkpoints/best.safetensors", "runs/old/checkpoints/best.safetensors", "old/best"),
        ("hr.safetensors", "hr.safetensors", "hr"),
        ("lite", None, "lite"),
        ("./lite", "lite/model.safetensors", "lite"),
        ("ZhengPeng7/BiRefNet_lite", "ZhengPeng7/BiRefNet_lite/model.safetensors", "BiRefNet_lite"),
    ],
)
def test_the_input_is_that_of_the_file_that_was_found(given: str, file: str | None, label: str) -> None:
    """Reads the size from the resolved file wherever it lay; the name of a file tells nothing."""
    if file is not None:
        put(file)
        touch(str(Path(file).with_name("last.pt")))  # a training state is no weights
        assert resolve(given).path == Path(file)
        assert spec_of(given) == OWN
    else:
        put("lite/model.safetensors")
        assert resolve(given).path is None and resolve(given).entry is ZOO["lite"]
    assert resolve(given).label == label
    assert (resolve(given).entry is None) == (file is not None)


def test_a_files_name_tells_nothing_of_its_input() -> None:
    """Bug B: `hr.safetensors` without a size was the published model `hr`, at 2048x2048."""
    usual = InputSpec(width=1024, height=1024)
    for name in ("hr.safetensors", "x/nano.safetensors", "BiRefNet-DIS_ep580.safetensors", "nano/model.safetensors"):
        assert spec_of(Path(put(name, None))) == usual
        assert spec_of(f"./{name}") == usual


def test_a_repository_of_ones_own_called_like_a_model(server: Served) -> None:
    """S6: `x/hr` is not `hr`; a repository's own header counts; the zoo's row counts for the zoo's repositories."""
    server.files["x/hr/model.safetensors"] = save({"x": np.zeros(1, np.float32)}, {"format": "pt"})
    server.files["x/mine/model.safetensors"] = save({"x": np.zeros(1, np.float32)}, from_spec(OWN))
    server.files["ZhengPeng7/BiRefNet_HR/model.safetensors"] = server.files["x/hr/model.safetensors"]
    for form in ("{}", "{}@main", "hub:{}", "hub:{}@main", "hub:{}/model.safetensors"):
        for name, side in (("x/hr", (1024, 1024)), ("x/mine", (64, 96)), ("ZhengPeng7/BiRefNet_HR", (2048, 2048))):
            file = resolve(form.format(name)).fetch()
            assert (file.spec().width, file.spec().height) == side, form.format(name)
    assert resolve("x/mine").fetch(offline=True).spec() == OWN and resolve("x/mine").is_here


def test_a_typed_path_is_no_download_error(server: Served) -> None:
    """Bug N: `pics/model` that does not exist spoke of downloads only."""
    touch("pics/model2.pth")
    with pytest.raises(UnknownModel, match="`pics/model` is neither a file here nor a repository") as caught:
        resolve("pics/model").fetch()
    assert caught.value.hint == "did you mean `pics/model2.pth`?"
    with pytest.raises(DownloadError, match=r"`pics/model` is neither a file here nor a repository .*offline"):
        resolve("pics/model").fetch(offline=True)
    with pytest.raises(DownloadError, match="no such repository"):
        resolve("hub:pics/model").fetch()
    server.files["pics/other/readme.md"] = b"x"
    with pytest.raises(WeightsError, match="it has none"):
        resolve("pics/other").fetch()


@pytest.mark.parametrize(
    "name",
    [
        "./pics/model",
        "./pics",
        "../x",
        "-a/b",
        "a/b.",
        "pics/a/model",
        "pics/model.pth",
        "/pics",
        "none.onnx",
        "hr.pth",
    ],
)
def test_a_path_that_is_not_there_is_never_asked_of_the_hub(server: Served, name: str) -> None:
    with pytest.raises(UnknownModel, match="There is no file or folder"):
        resolve(name).fetch()
    assert not server.requests


def test_a_folder_does_not_hide_a_model() -> None:
    """Bug P: `nano/` with an exported file hid the model `nano`."""
    touch("nano/model.xml", "nano/model.bin", "general", "lite/best.pth")
    assert resolve("nano").entry is ZOO["nano"] and resolve("nano").path is None
    assert resolve("General").entry is ZOO["general"] and resolve("lite").entry is ZOO["lite"]
    assert resolve("./nano").path == Path("nano/model.xml") and resolve("./nano").kind == "openvino"
    assert resolve("nano/").path == Path("nano/model.xml")
    assert resolve("./lite").path == Path("lite/best.pth")
    assert resolve(Path("lite")).path == Path("lite/best.pth")
    assert [ref.path for ref in resolve_all("./lite")] == [Path("lite/best.pth")]
    assert resolve_all("lite") == [resolve("lite")]


def test_a_path_object_is_never_a_models_name() -> None:
    with pytest.raises(UnknownModel, match="There is no file or folder `general`") as caught:
        resolve(Path("general"))
    assert "named by text" in str(caught.value.hint)


@pytest.mark.parametrize("suffix", ["onnx", "ONNX", "xml", "Xml", "engine", "pt2", "PT2"])
def test_exported_files_of_any_case(suffix: str) -> None:
    touch(f"some.{suffix}")
    assert resolve(f"some.{suffix}").kind == kind_of(f"a.{suffix.lower()}")
    with pytest.raises(ConfigError, match="exported file already"):
        resolve(f"some.{suffix}", weights=True)


@pytest.mark.parametrize("suffix", ["pth", "PTH", "pt", "Pt", "bin", "BIN", "safetensors", "SafeTensors"])
def test_weights_of_any_case(suffix: str) -> None:
    touch(f"some.{suffix}", f"folder/some.{suffix}")
    assert resolve(f"some.{suffix}").kind == resolve("folder").kind == "weights"


def test_what_runs_in_other_programs_only() -> None:
    touch("some.gguf", "web/birefnet.json", "web/onnx/model.onnx", "notes.txt")
    with pytest.raises(ConfigError, match=r"for vision\.cpp"):
        resolve("some.gguf")
    with pytest.raises(ConfigError, match="birefnet site"):
        resolve("web")
    with pytest.raises(WeightsError, match=r"`notes\.txt` is no"):
        resolve("notes.txt")


def test_the_one_file_of_a_folder() -> None:
    touch("a/net.onnx", "a/readme.md", "b/net.pth", "b/net.onnx", "c/model.xml", "c/model.bin", "d/x.xml", "d/x.bin")
    for folder, file in (("a", "net.onnx"), ("b", "net.pth"), ("c", "model.xml"), ("d", "x.xml")):
        assert resolve(f"{folder}/").path == Path(folder, file)
    for folder in ("a", "c", "d"):
        with pytest.raises(ConfigError, match="exported file already"):
            resolve(f"{folder}/", weights=True)
    touch("a/other.onnx")
    with pytest.raises(WeightsError, match=r"it has several: net\.onnx, other\.onnx"):
        resolve("a/")
    with pytest.raises(WeightsError, match="it has none"):
        resolve("..")


def test_all_of_a_run_in_the_order_of_their_numbers() -> None:
    names = ("last", "best", "checkpoints/epoch_9", "checkpoints/epoch_10")
    touch(*(f"run/{name}.safetensors" for name in names), "run/last.pt", "run/state/last.pt", "run/.x.pth")
    assert [ref.label for ref in resolve_all("run")] == ["run/best", "run/epoch_9", "run/epoch_10", "run/last"]
    assert resolve("run").label == "run/best"


@pytest.mark.parametrize(("name", "hint"), [("genral", "general"), ("litte", "lite"), ("ZhengPeng7_BiRefNt", None)])
def test_did_you_mean(name: str, hint: str | None) -> None:
    with pytest.raises(UnknownModel, match=f"No model named `{name}`, and no file or folder; known: nano") as caught:
        resolve(name)
    assert hint is None or caught.value.hint == f"did you mean `{hint}`?"


def test_what_is_no_name_at_all() -> None:
    for nothing in ("", "  "):
        with pytest.raises(UnknownModel, match="names no model"):
            resolve(nothing)
    for wrong in (None, 3, b"nano"):
        with pytest.raises(ConfigError, match="a name or a path"):
            resolve(wrong)  # type: ignore[arg-type]
    with pytest.raises(UnknownModel):
        resolve("x" * 5000)
    with pytest.raises(UnknownModel):
        resolve("a\0b")


def test_zoo_models_have_weights_and_files_for_runtimes() -> None:
    assert resolve("nano").kind == "onnx" and resolve("nano", weights=True).kind == "weights"
    assert resolve("general").kind == "weights" and resolve("general.onnx").kind == "onnx"
    assert resolve("BiRefNet-general-epoch_244.pth").source == ZOO["general"].release
    assert resolve("ZhengPeng7/BiRefNet").source == ZOO["general"].weights
    pinned = resolve("ZhengPeng7/BiRefNet_HR@abc")
    assert isinstance(pinned, ModelRef) and pinned.repository == ("ZhengPeng7/BiRefNet_HR", "abc")
    assert pinned.entry is ZOO["hr"]
    assert resolve("hub:a/b/c/d.onnx").source == HubFile(repository="a/b", path="c/d.onnx")


def test_the_table_of_formats_is_whole() -> None:
    suffixes = [suffix for row in FORMATS.values() for suffix in row.suffixes]
    assert len(set(suffixes)) == len(suffixes)
    assert {name for row in FORMATS.values() for name in row.runtimes} == set(RUNTIMES)
    for name in TARGETS:  # what is exported for a runtime carries its name
        assert not FORMATS[name].runtimes or FORMATS[name].runtimes[0] == name
    assert set(RUNTIMES) - {"torch"} <= set(TARGETS)
    assert find_target("torch")[0] == "package"
    with pytest.raises(ConfigError, match="There is no format") as caught:
        find_target("onyx")
    assert json.dumps(caught.value.hint) == '"did you mean `onnx`?"'
