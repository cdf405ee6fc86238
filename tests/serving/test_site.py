"""The site: complete, nothing else, with the headers that browsers and careful people want; written whole or not."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from birefnet.errors import ConfigError, WeightsError
from birefnet.runtimes.onnx import OnnxRuntime
from birefnet.runtimes.web_folder import read_manifest
from birefnet.serving import site as module
from birefnet.serving.nano import nano_files
from birefnet.serving.site import HEADERS, Site, content_type
from birefnet.weights import zoo
from birefnet.weights.download import fetch


@pytest.fixture(autouse=True)
def vendor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The page's libraries, as if they were on this disk; `test_vendor` is about them."""
    script = tmp_path / "library.mjs"
    script.write_text("export default 1;\n")
    monkeypatch.setattr(module, "vendor_files", lambda **_: {"onnxruntime-web/ort.wasm.min.mjs": script})
    return script


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A web model folder: the small model by another name."""
    return write_model(tmp_path / "models" / "other", "other")


def write_model(home: Path, name: str) -> Path:
    for path, source in nano_files().items():
        (home / path).parent.mkdir(parents=True, exist_ok=True)
        (home / path).write_bytes(source if isinstance(source, bytes) else source.read_bytes())
    manifest = json.loads((home / "birefnet.json").read_text("utf-8"))
    (home / "birefnet.json").write_text(json.dumps({**manifest, "name": name}))
    return home


def content(source: Path | bytes) -> bytes:
    return source if isinstance(source, bytes) else source.read_bytes()


def test_it_has_the_page_its_libraries_and_the_model_in_the_box() -> None:
    files = Site().files()
    assert {"index.html", "headers-worker.js", "vendor/onnxruntime-web/ort.wasm.min.mjs"} <= set(files)
    assert json.loads(content(files["models/index.json"])) == {
        "default": "nano",
        "models": [{"name": "nano", "path": "models/nano/"}],
    }
    assert {path for path in files if path.startswith("models/nano/")} == {
        f"models/nano/{name}"
        for name in ("birefnet.json", "config.json", "preprocessor_config.json", "onnx/model.onnx")
    }


def test_the_model_in_the_box_is_described_as_it_is(tmp_path: Path) -> None:
    home = write_model(tmp_path / "nano", "nano")
    manifest = read_manifest(home)
    graph = content(nano_files()["onnx/model.onnx"])
    runtime = OnnxRuntime(fetch(zoo.onnx_of("nano")))
    assert manifest["input"] == {
        "name": "input_image",
        "width": runtime.spec.width,
        "height": runtime.spec.height,
        "mean": list(runtime.spec.mean),
        "std": list(runtime.spec.std),
    }
    assert manifest["output"]["upsample"] == runtime.spec.upsample
    (variant,) = manifest["variants"]
    assert variant["dtype"] == manifest["default"] == "fp16"
    assert variant["files"] == [
        {"path": "onnx/model.onnx", "bytes": len(graph), "sha256": hashlib.sha256(graph).hexdigest()}
    ]
    assert variant["largest_alpha_error"] < 0.01
    size = (1, 3, runtime.spec.height, runtime.spec.width)
    assert np.isfinite(OnnxRuntime(home / variant["graph"])(np.zeros(size, np.float32))).all()


def test_the_page_asks_for_nothing_from_elsewhere() -> None:
    files = Site().files()
    ours = [path for path in files if not path.startswith(("vendor/", "models/"))]
    for path in ours:
        if Path(path).suffix in (".html", ".js", ".mjs", ".css"):
            text = content(files[path]).decode()
            loaded = re.findall(r"(?:src|href)=[\"']([^\"']+)|from [\"']([^\"']+)|url\([\"']?([^\"')]+)", text)
            for address in (one for group in loaded for one in group if one):
                assert not address.startswith(("/", "//")), f"{path} loads {address}"
            for address in re.findall(r"(?:src=|import |url\()[\"']?(https?:[^\"')\s]+)", text):
                pytest.fail(f"{path} loads {address}")


def test_the_page_holds_no_code_that_its_policy_forbids() -> None:
    page = content(Site().files()["index.html"]).decode()
    assert not re.search(r"<script(?![^>]*\bsrc=)", page)
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=", page)


def test_the_page_and_its_headers_have_one_policy() -> None:
    page = content(Site().files()["index.html"]).decode()
    (own,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)
    assert HEADERS["Content-Security-Policy"] == f"{own}; frame-ancestors 'self'"
    assert "{policy}" not in page and "data:" not in own


def test_headers_allow_threads_and_nothing_from_elsewhere() -> None:
    assert HEADERS["Cross-Origin-Opener-Policy"] == "same-origin"
    assert HEADERS["Cross-Origin-Embedder-Policy"] == "require-corp"
    policy = dict(part.split(" ", 1) for part in HEADERS["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self' 'wasm-unsafe-eval'"
    assert policy["worker-src"] == "'self'"
    assert not re.search(r"https?:|\*|'unsafe-", HEADERS["Content-Security-Policy"].replace("'wasm-unsafe-eval'", ""))


def test_every_file_has_a_type_that_browsers_take() -> None:
    for path in Site().files():
        if not path.endswith((".onnx", "LICENSE")):
            assert content_type(path) != "application/octet-stream", path
    assert content_type("x/ort.mjs").startswith("text/javascript")
    assert content_type("x/ort.wasm") == "application/wasm"
    assert content_type("model.onnx_data_1") == "application/octet-stream"


def test_other_models_stand_beside_the_default_one(folder: Path) -> None:
    for given in (folder, folder.parent):
        files = Site([given]).files()
        rows = json.loads(content(files["models/index.json"]))["models"]
        assert [row["name"] for row in rows] == ["nano", "other"]
        assert files["models/other/onnx/model.onnx"] == folder / "onnx" / "model.onnx"


def test_what_else_lies_in_a_models_folder_is_not_served(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    assert not any("notes" in path for path in Site([folder]).files())


def test_a_written_site_is_all_there_and_is_taken_as_it_is(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "public"
    size = Site([folder]).write(out)
    files = Site([folder]).files()
    for path, source in files.items():
        assert (out / path).read_bytes() == content(source)
    assert size == sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    headers = (out / "_headers").read_text("utf-8").splitlines()
    assert headers[0] == "/*"
    assert set(headers[1:]) == {f"  {name}: {value}" for name, value in HEADERS.items()}
    again = Site([out])
    assert again.models == ("nano", "other")
    assert set(again.files()) == {*files, "_headers"}
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_links_that_lead_out_of_a_written_site_are_not_followed(tmp_path: Path) -> None:
    out = tmp_path / "public"
    Site().write(out)
    (tmp_path / "secret").write_text("mine")
    (out / "secret").symlink_to(tmp_path / "secret")
    (out / ".hidden").write_text("mine")
    assert not {"secret", ".hidden"} & set(Site([out]).files())


def test_only_a_site_is_replaced(tmp_path: Path) -> None:
    out = tmp_path / "public"
    Site().write(out)
    (out / "old.txt").write_text("old")
    with pytest.raises(ConfigError, match="exists already") as refused:
        Site().write(out)
    assert "`overwrite=True`" in str(refused.value.hint)
    Site().write(out, overwrite=True)
    assert not (out / "old.txt").exists()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.txt").write_text("mine")
    with pytest.raises(ConfigError, match="not replaced"):
        Site().write(tmp_path / "photos", overwrite=True)
    assert (tmp_path / "photos" / "cat.txt").exists()


def test_a_site_that_cannot_be_completed_is_not_left(tmp_path: Path, vendor: Path) -> None:
    vendor.unlink()
    with pytest.raises(ConfigError, match="cannot be written"):
        Site().write(tmp_path / "public")
    assert not list(tmp_path.iterdir())


def test_a_site_that_cannot_be_completed_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "public"
    Site().write(out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    for error in (KeyboardInterrupt(), OSError(28, "No space left on device")):
        puts = [module._put] * 5

        def put(path: Path, source: Path | bytes, puts: list[Any] = puts, error: BaseException = error) -> int:
            if not puts:
                raise error
            return int(puts.pop()(path, source))

        with monkeypatch.context() as patched, pytest.raises((KeyboardInterrupt, ConfigError)):
            patched.setattr(module, "_put", put)
            Site().write(out, overwrite=True)
        assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
        assert not [path.name for path in tmp_path.iterdir() if "part" in path.name]


def test_two_builds_at_once_do_not_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, half, written = tmp_path / "public", threading.Barrier(2, timeout=60), []
    put = module._put

    def slow(path: Path, source: Path | bytes) -> int:
        size = put(path, source)
        if path.name == "main.js":
            half.wait()  # until both are half done
        return size

    monkeypatch.setattr(module, "_put", slow)
    builds = [threading.Thread(target=lambda: written.append(Site().write(out))) for _ in range(2)]
    for build in builds:
        build.start()
    for build in builds:
        build.join(timeout=120)
    assert len(written) == 2 and written[0] == written[1]
    assert set(Site([out]).files()) == {*Site().files(), "_headers"}
    assert not [path.name for path in tmp_path.iterdir() if "part" in path.name]


def test_a_folder_that_is_no_model_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no folder"):
        Site([tmp_path / "missing"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="birefnet export MODEL --to web"):
        Site([tmp_path / "empty"])


def test_two_models_of_one_name_are_refused(folder: Path, tmp_path: Path) -> None:
    second = tmp_path / "second"
    shutil.copytree(folder, second)
    with pytest.raises(ConfigError, match="both named `other`"):
        Site([folder, second])


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda home: (home / "birefnet.json").write_text("{"), "cannot be read"),
        (lambda home: (home / "birefnet.json").write_text("[]"), "no manifest of this package"),
        (lambda home: (home / "onnx" / "model.onnx").unlink(), "lacks its file"),
        (lambda home: (home / "onnx" / "model.onnx").write_bytes(b"short"), "has 5 bytes"),
        (lambda home: rewrite(home, version=2), "version 2"),
        (lambda home: rewrite(home, name="../up"), "wanted letters"),
        (lambda home: rewrite(home, variants=None), "lacks something"),
        (lambda home: rewrite(home, variants=[{"files": [{"path": "../x", "bytes": 1}]}]), "not inside its folder"),
    ],
)
def test_a_damaged_model_is_refused_with_what_is_wrong(folder: Path, spoil: Any, words: str) -> None:
    spoil(folder)
    with pytest.raises(WeightsError, match=words):
        Site([folder])


def rewrite(home: Path, **values: Any) -> None:
    path = home / "birefnet.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **values}))


def test_the_command_writes_it_and_reports(birefnet: Any, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "public"
    code, told, talk = birefnet("site", out, folder, "--json", "--offline")
    assert code == 0, talk
    assert json.loads(told)["models"] == ["nano", "other"]
    assert (out / "models" / "other" / "birefnet.json").is_file()
    code, _, talk = birefnet("site", out, "--offline")
    assert code == 2
    assert "--overwrite" in talk
    assert birefnet("site", out, "--offline", "--overwrite")[0] == 0
    assert not (out / "models" / "other").exists()
