"""What whoever runs the server may say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from birefnet.errors import ConfigError, UnknownModel
from birefnet.serving.settings import Settings, parse_bytes, parse_models
from birefnet.weights.zoo import ZOO


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for path in (Path("a/b=c.onnx"), Path("x.onnx"), Path("y.onnx"), Path("run/best.safetensors")):
        path.parent.mkdir(exist_ok=True)
        path.touch()


def test_models_by_name_by_file_and_all() -> None:
    assert parse_models(["lite", "mine=a/b=c.onnx"]) == {"lite": "lite", "mine": "a/b=c.onnx"}
    assert parse_models(["x.onnx", "run"]) == {"x": "x.onnx", "run-best": "run"}
    assert parse_models(["birefnet-general-lite"]) == {"lite": "birefnet-general-lite"}
    assert list(parse_models(["portrait", "all"])) == ["portrait", *(name for name in ZOO if name != "portrait")]
    assert Settings(models=parse_models(["lite", "nano"])).default_model == "lite"


@pytest.mark.parametrize("names", [["=x.onnx"], ["a="], ["../z=x.onnx"], ["a=x.onnx", "a=y.onnx"]])
def test_models_that_cannot_be_meant(names: list[str]) -> None:
    with pytest.raises(ConfigError):
        parse_models(names)


def test_an_unknown_model_is_said_at_once() -> None:
    with pytest.raises(UnknownModel) as caught:
        parse_models(["portrat"])
    assert caught.value.hint == "did you mean `portrait`?"
    with pytest.raises(UnknownModel, match=r"no file or folder `none\.onnx`"):
        parse_models(["mine=none.onnx"])


@pytest.mark.parametrize(
    ("text", "size"),
    [("1000", 1000), ("32MB", 32_000_000), ("1.5 GiB", 1_610_612_736), ("2g", 2_000_000_000), ("7 kb", 7000)],
)
def test_amounts_of_memory(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "x", "0", "-1", "1XB", "GB", "1e999", "nan"])
def test_what_is_no_amount(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_bytes(text)


@pytest.mark.parametrize(
    "wrong",
    [
        *({"queue": 0}, {"deadline": 0}, {"deadline": float("nan")}, {"api_key": "short"}, {"api_key": "\u00e4" * 9}),
        *({"models": {}}, {"devices": ()}, {"max_pixels": -1}, {"max_models": 0}, {"memory_limit": 0}),
        *({"devices": "cpu"}, {"devices": ("cpu", 1)}, {"origins": "https://a.b"}, {"trusted_proxies": "*"}),
        *({"origins": ("example.org",)}, {"origins": ("https://example.org/",)}, {"queue": "64"}, {"queue": 1.5}),
        *(
            {"max_pixels": True},
            {"deadline": "60"},
            {"fetch_urls": "no"},
            {"root_path": None},
            {"api_key": b"12345678"},
        ),
        *({"options": {"threads": 1}}, {"models": ["nano"]}, {"models": {"nano": 1}}, {"memory_limit": "2GB"}),
        *({"root_path": "/a/../b"}, {"root_path": "http://a/b"}, {"trusted_proxies": ("me",)}),
    ],
)
def test_settings_that_cannot_be_meant(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Settings(**wrong)


def test_a_misspelt_setting_is_refused() -> None:
    with pytest.raises(TypeError, match="max_pixel"):
        Settings(max_pixel=1)  # type: ignore[call-arg]


def test_a_key_is_not_shown_with_the_settings() -> None:
    assert "secret-of-mine" not in repr(Settings(api_key="secret-of-mine"))
