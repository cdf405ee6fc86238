"""The page's files over HTTP."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from birefnet.serving.app import create_app, create_page_app
from birefnet.serving.site import HEADERS


def files(folder: Path) -> dict[str, Path | bytes]:
    script = folder / "main.js"
    script.write_text("export {};")
    return {"index.html": b"<!doctype html>", "main.js": script, "vendor/a.wasm": b"\0asm"}


def test_files_come_with_the_headers_a_page_of_threads_needs(tmp_path: Path) -> None:
    client = TestClient(create_page_app(files(tmp_path)))
    for path, kind in (("/", "text/html"), ("/main.js", "text/javascript"), ("/vendor/a.wasm", "application/wasm")):
        answer = client.get(path)
        assert answer.status_code == 200 and answer.headers["content-type"].startswith(kind)
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS
        head = client.head(path)
        assert head.headers["content-length"] == str(len(answer.content)) and not head.content
        again = client.get(path, headers={"If-None-Match": answer.headers["etag"]})
        assert again.status_code == 304 and not again.content
        assert client.post(path).status_code == 405


def test_only_listed_files_are_there(tmp_path: Path) -> None:
    client = TestClient(create_page_app(files(tmp_path)))
    (tmp_path / "other.js").write_text("")
    for path in ("/other.js", "/vendor", "/vendor/", "/main.js/", "/other.js/../main.jsx"):
        assert client.get(path).status_code == 404


def test_the_page_stands_behind_the_api(client: Any, tmp_path: Path) -> None:
    both = TestClient(create_app(client.service, {**files(tmp_path), "v1/models": b"not this"}))
    assert both.get("/v1/models").json()["models"]
    assert both.get("/v1/remove").status_code == 405
    assert both.get("/").text == "<!doctype html>"
    assert 'route="page"' in both.get("/metrics").text


def test_the_page_alone_computes_nothing(tmp_path: Path) -> None:
    client = TestClient(create_page_app(files(tmp_path)))
    assert client.get("/health").json() == {"status": "ok"}
    for path in ("/v1/models", "/v1/remove", "/metrics", "/docs", "/openapi.json"):
        assert client.get(path).status_code == 404


def test_the_page_alone_loads_no_runtime(tmp_path: Path) -> None:
    code = (
        "import sys; from birefnet.serving.app import create_page_app; create_page_app({'index.html': b''});"
        "assert not {'onnxruntime', 'torch', 'openvino'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0
