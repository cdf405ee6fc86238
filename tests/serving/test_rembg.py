"""rembg's clients: the same addresses, fields and answers."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from birefnet.runtimes.options import RuntimeOptions
from birefnet.serving.service import Service
from birefnet.serving.settings import Settings
from tests.serving.live import in_thread, opened, picture


def test_a_file_and_form_fields(client: Any) -> None:
    fields = {"model": "birefnet-nano", "a": "true", "af": "240", "ab": "10", "ae": "10"}
    answer = client.post("/api/remove", files={"file": ("cat.jpg", picture(format="JPEG"))}, data=fields)
    assert answer.status_code == 200 and answer.headers["content-type"] == "image/png"
    assert opened(answer.content).mode == "RGBA"


@pytest.mark.parametrize("how", ["params", "data"])
def test_colours_and_extras_come_both_ways(client: Any, how: str) -> None:
    answer = client.post("/api/remove", files={"file": picture()}, **{how: {"bgc": "10,20,30,255", "extras": "{}"}})
    made = opened(answer.content)
    assert made.mode == "RGB" and made.getpixel((1, 1)) == (10, 20, 30)


def test_only_the_mask_and_its_post_processing(client: Any) -> None:
    soft = client.post("/api/remove", files={"file": picture()}, data={"om": "true"})
    hard = client.post("/api/remove", files={"file": picture()}, data={"om": "true", "ppm": "true"})
    assert opened(soft.content).mode == opened(hard.content).mode == "L"
    assert len(np.unique(np.asarray(opened(soft.content)))) > 2
    assert set(np.unique(np.asarray(opened(hard.content)))) == {0, 255}


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"model": "u2net"}, "offered here"),
        ({"af": "256"}, "af"),
        ({"ae": "-1"}, "ae"),
        ({"bgc": "1,2"}, "not a colour"),
        ({"extras": '{"model_path": "/etc/passwd"}'}, "extras"),
        ({"extras": "not json"}, "extras"),
        ({"extras": "[" * 60_000}, "extras"),
        ({"om": "1", "bgc": "1,2,3,4"}, "choose one"),
    ],
)
def test_what_is_wrong_is_said(client: Any, fields: dict[str, str], word: str) -> None:
    answer = client.post("/api/remove", files={"file": picture()}, data=fields)
    assert answer.status_code == 422 and word in answer.json()["detail"]


def test_addresses_are_not_fetched_unless_allowed(client: Any, make_client: Any) -> None:
    answer = client.get("/api/remove", params={"url": "http://example.org/cat.jpg"})
    assert answer.status_code == 422 and "`fetch_urls`" in answer.json()["detail"]
    allowed = make_client(fetch_urls=True)
    asked: list[str] = []

    def fetch(url: str) -> bytes:
        asked.append(url)
        return picture()

    allowed.service.fetcher = fetch
    found = allowed.get("/api/remove", params={"url": "http://example.org/cat.jpg", "om": "true"})
    assert found.status_code == 200 and opened(found.content).mode == "L"
    assert asked == ["http://example.org/cat.jpg"]
    assert allowed.get("/api/remove").status_code == 422


def test_the_documentation_is_where_rembg_has_it(client: Any) -> None:
    assert client.get("/api").status_code == 200


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
def test_curl_as_rembg_documents_it(standin: Path, tmp_path: Path) -> None:
    (tmp_path / "input.png").write_bytes(picture())
    service = Service(Settings(models={"bright": str(standin)}, options=RuntimeOptions(threads=1)))
    with in_thread(service) as address:

        def curl(*words: str) -> str:
            command = ["curl", "-s", "--noproxy", "*", "-w", "%{http_code} %{content_type}", *words]
            return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60).stdout

        posted = curl("-F", "file=@input.png", "-F", "om=true", f"{address}/api/remove", "-o", "mask.png")
        assert posted == "200 image/png" and opened((tmp_path / "mask.png").read_bytes()).mode == "L"
        got = curl(f"{address}/api/remove?url=http://169.254.169.254/latest/", "-o", "no.json")
        assert got.startswith("422")
        raw = curl("--data-binary", "@input.png", f"{address}/v1/remove?background=white", "-o", "white.png")
        assert raw == "200 image/png" and opened((tmp_path / "white.png").read_bytes()).mode == "RGB"
        (tmp_path / "large").write_bytes(bytes(service.settings.max_bytes * 2 + 2_000_000))
        assert curl("-F", "file=@large", f"{address}/api/remove", "-o", "no.json").startswith("413")
        none = ("-H", "Expect:")
        assert curl(*none, "-F", "file=@large", f"{address}/api/remove", "-o", "no.json").startswith("413")
        chunked = ("-H", "Transfer-Encoding: chunked")
        assert curl(*chunked, "-F", "file=@large", f"{address}/api/remove", "-o", "no.json").startswith("413")
