"""The same model through every door: each asks `birefnet.weights.resolve`, and gets the same answer or sentence.

Every kind of source (name, file, folder, run, repository, exported file) is given to every door that takes a model.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

torch = pytest.importorskip("torch")

import birefnet as package  # noqa: E402
from birefnet.errors import BiRefNetError  # noqa: E402
from birefnet.network import BiRefNet  # noqa: E402
from birefnet.network.config import BiRefNetConfig  # noqa: E402
from birefnet.pixels.prepare import InputSpec  # noqa: E402
from birefnet.weights.checkpoint import load_model, read_config, save_model  # noqa: E402
from birefnet.weights.facts import from_spec  # noqa: E402
from tests.brightness import brightness_model  # noqa: E402
from tests.weights.serving import Served, serving  # noqa: E402

OWN = InputSpec(width=64, height=96, mean=(0.5, 0.5, 0.5), std=(1.0, 1.0, 1.0), upsample="guided")
USUAL = InputSpec(width=1024, height=1024)
NANO = InputSpec(width=576, height=576, upsample="guided")
PACKED = InputSpec(width=96, height=96)

# source -> (label, input)
WEIGHTS = {
    "nano": ("nano", NANO),
    "mine.safetensors": ("mine", OWN),
    "MINE2.SAFETENSORS": ("MINE2", OWN),
    "hr.safetensors": ("hr", OWN),
    "half.PTH": ("half", USUAL),
    "half.bin": ("half", USUAL),
    "saved": ("saved", OWN),
    "./nano": ("nano/best", OWN),
    "runs/mine": ("mine/best", OWN),
    "runs/old": ("old/best", OWN),
    "somebody/hr": ("somebody/hr", OWN),
    "somebody/hr@main": ("somebody/hr", OWN),
    "hub:somebody/hr": ("somebody/hr", OWN),
    "hub:somebody/hr/model.safetensors": ("somebody/hr", OWN),
}
EXPORTED = {"bright.onnx": "bright", "BRIGHT2.ONNX": "BRIGHT2", "packed/": "packed/net"}
NOTHING = (
    "nanoo",
    "pics/model",
    "./pics",
    "../pics",
    "a--b/c",
    "missing.pth",
    "missing.onnx",
    "empty/",
    "notes.txt",
    "several/",
    "",
)

Answer = tuple[str, InputSpec]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one of every kind of source."""
    home = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    config = BiRefNetConfig(backbone="mobilenet_v2", inner_width=8, attention="none", squeeze="none", context=0)
    network = BiRefNet(config).eval()
    own = save_model(network, home / "mine.safetensors", from_spec(OWN))
    for name in ("MINE2.SAFETENSORS", "hr.safetensors", "saved/model.safetensors", "nano/best.safetensors"):
        (home / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(own, home / name)
    for name in ("mine/best", "mine/last", "mine/checkpoints/epoch_9", "old/checkpoints/best"):
        (home / "runs" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(own, home / "runs" / f"{name}.safetensors")
    for name in ("half.PTH", "half.bin"):
        torch.save(network.state_dict(), home / name)
    brightness_model(home / "bright.onnx", size=96)
    (home / "packed").mkdir()
    for name in ("BRIGHT2.ONNX", "packed/net.onnx"):
        shutil.copyfile(home / "bright.onnx", home / name)
    for name in ("empty/x.txt", "notes.txt", "several/a.pth", "several/b.pth"):
        (home / name).parent.mkdir(exist_ok=True)
        (home / name).touch()
    return home


@pytest.fixture(autouse=True)
def _here(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Served]:
    monkeypatch.chdir(home)
    for name in ("BIREFNET_OFFLINE", "HF_HUB_OFFLINE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BIREFNET_CACHE", str(tmp_path / "cache"))
    with serving() as served:
        monkeypatch.setenv("HF_ENDPOINT", served.address)
        served.files["somebody/hr/model.safetensors"] = (home / "mine.safetensors").read_bytes()
        yield served


# Each door gives what it calls the model and which input it takes; None for what it does not tell.


def by_remover(model: str) -> Answer:
    runtime = package.Remover(model, device="cpu", threads=1, runtime="auto").runtime
    return runtime.name, runtime.spec


def by_select(model: str) -> Answer:
    from birefnet.runtimes.select import select

    runtime = select(model, device="cpu", threads=1)
    return runtime.name, runtime.spec


def by_server(model: str) -> Answer:
    pytest.importorskip("fastapi")
    from birefnet.runtimes.options import RuntimeOptions
    from birefnet.serving.pool import Models
    from birefnet.serving.settings import Settings, parse_models

    offered = parse_models([model] if "=" not in model else [f"x={model}"])
    models = Models(Settings(models=offered, options=RuntimeOptions(threads=1), devices=("cpu",)))
    with models.use(next(iter(offered))) as runtimes:
        return runtimes[0].name, runtimes[0].spec


def by_evaluate(model: str) -> Answer:
    from birefnet.evaluation.source import find_source
    from birefnet.runtimes.options import RuntimeOptions
    from birefnet.runtimes.select import open_model

    source = find_source(model, [])
    assert source.model is not None
    return source.label, open_model(source.model, RuntimeOptions(device="cpu", threads=1)).spec


def by_export(model: str) -> Answer:
    from birefnet.cli.export import export
    from birefnet.export import onnx

    got: list[Answer] = []

    class Done(Exception):
        pass

    def write(network: BiRefNet, path: Path, spec: InputSpec, options: object, *, source: str = "") -> None:
        got.append((source, spec))
        raise Done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx, "export_onnx", write)
        with suppress(Done):
            export(model, output=Path("never.onnx"))
    return got[0]


def by_benchmark(model: str) -> Answer:
    from birefnet.benchmarking import run as module
    from birefnet.cli.benchmark import benchmark

    got: list[Answer] = []

    class Done(Exception):
        pass

    def run(wish: object, weights: Path, spec: InputSpec, *_: object, model: str, **__: object) -> None:
        got.append((model, spec))
        raise Done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "run", run)
        with suppress(Done):
            benchmark(model, quiet=True)
    return got[0]


def by_load_model(model: str) -> Answer:
    from birefnet.weights.resolve import resolve

    network = load_model(model)
    assert network.config == read_config(model)
    file = resolve(model, weights=True).fetch()
    return file.label, file.spec()


def by_start(model: str) -> Answer:
    from birefnet.training.start import network_config
    from birefnet.weights.backbones import find_backbone_file
    from birefnet.weights.resolve import resolve

    recipe = SimpleNamespace(network=None, start=SimpleNamespace(weights=model))
    file = resolve(model, weights=True).fetch()
    assert network_config(cast(Any, recipe)) == load_model(file.path).config
    assert find_backbone_file(model) == file.path
    return file.label, file.spec()


RUNS: dict[str, Callable[[str], Answer]] = {
    "remove": by_remover,
    "select": by_select,
    "serve": by_server,
    "evaluate": by_evaluate,
}
TAKES_WEIGHTS: dict[str, Callable[[str], Answer]] = {
    "export": by_export,
    "benchmark": by_benchmark,
    "load_model": by_load_model,
    "train": by_start,
}


@pytest.mark.parametrize("door", [*RUNS, *TAKES_WEIGHTS])
@pytest.mark.parametrize("source", WEIGHTS)
def test_the_same_weights_through_every_door(source: str, door: str) -> None:
    label, spec = {**RUNS, **TAKES_WEIGHTS}[door](source)
    assert (label, spec) == WEIGHTS[source]


@pytest.mark.parametrize("door", RUNS)
@pytest.mark.parametrize("source", EXPORTED)
def test_an_exported_file_runs_wherever_models_run(source: str, door: str) -> None:
    assert RUNS[door](source) == (EXPORTED[source], PACKED)


@pytest.mark.parametrize("source", EXPORTED)
def test_an_exported_file_is_refused_alike_where_weights_are_wanted(source: str) -> None:
    sentences = {_sentence(TAKES_WEIGHTS[door], source) for door in TAKES_WEIGHTS}
    assert len(sentences) == 1 and "is an exported file already" in str(sentences)


@pytest.mark.parametrize("source", NOTHING)
def test_what_means_nothing_is_said_alike(source: str) -> None:
    sentences = {_sentence(open_it, source) for open_it in {**RUNS, **TAKES_WEIGHTS}.values()}
    # A folder could also have held predictions to be judged: that is said besides.
    sentences = {(kind, text.removeprefix(f"`{source}` holds no pictures. ")) for kind, text in sentences}
    assert len(sentences) == 1, sentences


def _sentence(open_it: Callable[[str], Answer], source: str) -> tuple[str, str]:
    with pytest.raises(BiRefNetError) as caught:
        open_it(source)
    return type(caught.value).__name__, str(caught.value)
