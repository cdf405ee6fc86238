"""`birefnet models`: data on stdout, talk on stderr."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from birefnet.weights.zoo import ZOO
from tests.weights.serving import serving

Run = Callable[..., tuple[int, str, str]]

PATH = "ZhengPeng7/BiRefNet/releases/download/v1/BiRefNet-ep480.pth"


@pytest.mark.parametrize("words", [[], ["list"]])
def test_table(birefnet: Run, words: list[str]) -> None:
    code, out, err = birefnet("models", *words)
    assert code == 0
    rows = [line.split() for line in out.splitlines()]
    assert [row[0] for row in rows if row and row[0] in ZOO] == list(ZOO)
    assert "2560x1440" in out
    assert "not a small one" in out
    assert max(map(len, out.splitlines())) <= 200
    assert "birefnet models download NAME" in err


@pytest.mark.parametrize("words", [["--json"], ["list", "--json"]])
def test_json(birefnet: Run, words: list[str]) -> None:
    code, out, err = birefnet("models", *words)
    assert (code, err) == (0, "")
    rows = {row["name"]: row for row in json.loads(out)}
    assert rows.keys() == ZOO.keys()
    assert rows["lite-matting"]["weights"]["sha256"].startswith("ce8bcfc0")
    assert rows["lite"]["onnx"]["bytes"] == 224_005_088
    assert rows["general"]["licence"] == "MIT"
    assert rows["general"]["weights"]["path"] is None


def test_download(birefnet: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BIREFNET_CACHE", str(tmp_path))
    with serving() as server:
        monkeypatch.setenv("BIREFNET_MIRROR", server.address)
        server.files[PATH] = bytes(3_000_000)
        code, out, err = birefnet("models", "download", "birefnet-EP480.pth")
    assert code == 0
    assert out.count("\n") == 1
    assert Path(out.strip()).read_bytes() == bytes(3_000_000)
    assert f"Fetching BiRefNet-ep480.pth (3 MB) from {server.address.removeprefix('http://')}." in err
    assert birefnet("models", "download", "ep480", "--offline") == (0, out, "")
    rows = {row["name"]: row for row in json.loads(birefnet("models", "--json")[1])}
    assert rows["ep480"]["weights"]["path"] == out.strip()


def test_refusals(birefnet: Run) -> None:
    code, out, err = birefnet("models", "download", "genral")
    assert (code, out) == (2, "")
    assert "did you mean `general`" in err
    code, out, err = birefnet("models", "download", "dynamic", "--onnx")
    assert (code, out) == (2, "")
    assert "its weights run with PyTorch" in err
    code, out, err = birefnet("models", "download", "ep480", "--offline")
    assert (code, out) == (1, "")
    assert "nothing may be fetched" in err
    assert birefnet("models", "download")[0] == 2
