"""Which models are in memory."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from birefnet.errors import DeviceError, UnknownModel, WeightsError
from birefnet.runtimes.options import RuntimeOptions
from birefnet.serving import pool
from birefnet.serving.pool import Models, resident_bytes
from birefnet.serving.refusal import Refusal
from birefnet.serving.settings import Settings
from tests.brightness import brightness_model


@pytest.fixture
def make(tmp_path: Path) -> Any:
    files = {name: str(brightness_model(tmp_path / f"{name}.onnx")) for name in ("a", "b", "c")}
    options = RuntimeOptions(threads=1)
    return lambda **settings: Models(Settings(**{"models": {**files, "nano": "nano"}, "options": options, **settings}))


def test_there_is_one_copy_however_many_ask_at_once(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    models, loads, opened = make(), [], pool.open_model

    def counted(*arguments: Any, **options: Any) -> Any:
        loads.append(arguments)
        return opened(*arguments, **options)

    monkeypatch.setattr(pool, "open_model", counted)
    threads = [threading.Thread(target=models.load, args=["a"]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loads) == 1 and models.loaded == ("a",)


def test_the_longest_unused_goes_first(make: Any) -> None:
    models = make(max_models=2)
    for name in ("a", "b", "a", "c"):
        models.load(name)
    assert models.loaded == ("a", "c")


def test_a_model_in_use_is_never_put_away(make: Any) -> None:
    models = make(max_models=1)
    with models.use("a") as runtimes:
        models.load("b")
        assert models.loaded == ("a",) and runtimes
    models.load("b")
    assert models.loaded == ("b",)


def test_above_the_memory_limit_only_the_last_stays(make: Any) -> None:
    models = make(memory_limit=1)
    for name in ("a", "b", "c"):
        models.load(name)
    assert models.loaded == ("c",)
    roomy = make(memory_limit=resident_bytes() + 10**10)
    for name in ("a", "b", "c"):
        roomy.load(name)
    assert roomy.loaded == ("a", "b", "c")


def test_names_mean_what_the_operator_offers_and_nothing_else(make: Any) -> None:
    models = make()
    assert models.name_of(None) == models.name_of("") == "a"
    assert models.name_of("nano") == models.name_of("BiRefNet_nano") == models.name_of("nano.onnx") == "nano"
    for name in ("general", "../a", "/a.onnx", "A", "a\0", "x" * 5000, "\ud800"):
        with pytest.raises(Refusal) as refused:
            models.name_of(name)
        assert refused.value.status_code == 422 and len(refused.value.detail) < 200


def test_a_file_called_like_a_model_is_not_that_model(make: Any, tmp_path: Path) -> None:
    models = make(models={"hr": str(tmp_path / "a.onnx"), "small": "nano"})
    assert models.name_of("hr") == "hr" and models.name_of("birefnet-nano") == "small"
    with pytest.raises(Refusal):  # the zoo's `hr` is not offered
        models.name_of("ZhengPeng7/BiRefNet_HR")


def test_what_cannot_be_loaded_is_said_at_the_start(make: Any) -> None:
    with pytest.raises(UnknownModel, match="no file or folder"):
        make(models={"mine": "none.onnx"})
    with pytest.raises(DeviceError, match="Unknown device `cdua`"):
        make(devices=("cdua",))


def test_a_model_that_does_not_load_can_be_asked_for_again(make: Any, tmp_path: Path) -> None:
    models = make()
    good = (tmp_path / "b.onnx").read_bytes()
    (tmp_path / "b.onnx").write_bytes(b"damaged")
    with pytest.raises(WeightsError):
        models.load("b")
    (tmp_path / "b.onnx").write_bytes(good)
    models.load("b")
    assert models.loaded == ("b",)


@pytest.mark.parametrize("devices", [("cpu", "cpu"), ("cpu", "auto"), ("auto", "auto", "cpu")])
def test_a_device_named_twice_has_two_copies_that_share_nothing(make: Any, devices: tuple[str, ...]) -> None:
    with make(devices=devices).use("a") as runtimes:
        assert len({id(runtime) for runtime in runtimes}) == len(devices)
        assert {runtime.device for runtime in runtimes} == {"cpu"}


def test_memory_is_counted_in_the_systems_own_pages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "statm").write_text("9000 1000 500 1 0 800 0\n")
    monkeypatch.setattr(pool, "_STATM", tmp_path / "statm")
    monkeypatch.setattr("os.sysconf", lambda name: {"SC_PAGE_SIZE": 65_536}[name])
    assert resident_bytes() == 65_536_000
    (tmp_path / "statm").write_text("")
    assert resident_bytes() == 0
