"""fal's clients: the fields of `birefnet/v2`, data URIs, results by address, and fal's own Python client."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from birefnet.runtimes.options import RuntimeOptions
from birefnet.serving.service import Service
from birefnet.serving.settings import Settings
from tests.serving.live import in_thread, opened, picture

URL = "/fal-ai/birefnet/v2"


def data_uri(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def test_everything_in_the_answer_with_sync_mode(client: Any) -> None:
    asked = {"image_url": data_uri(picture()), "sync_mode": True, "output_mask": True, "output_format": "webp"}
    answer = client.post(URL, json=asked)
    assert answer.status_code == 200, answer.text
    image, mask = answer.json()["image"], answer.json()["mask_image"]
    assert set(image) == {"url", "content_type", "file_name", "file_size", "width", "height"}
    assert (image["width"], image["height"], image["content_type"]) == (60, 40, "image/webp")
    data = base64.b64decode(image["url"].removeprefix("data:image/webp;base64,"))
    assert len(data) == image["file_size"] and opened(data).mode == "RGBA"
    assert opened(base64.b64decode(mask["url"].partition(",")[2])).mode == "L"


def test_results_are_fetched_by_address_and_hard_to_guess(client: Any) -> None:
    answer = client.post(URL, json={"image_url": data_uri(picture())}).json()
    assert "mask_image" not in answer
    found = client.get(answer["image"]["url"])
    assert found.headers["content-type"] == "image/png" and len(found.content) == answer["image"]["file_size"]
    key, name = answer["image"]["url"].split("/")[-2:]
    assert len(key) >= 32 and name == "image.png"
    assert client.get(f"/files/{key[:-1]}x/{name}").status_code == 404
    assert client.get(f"/files/{key}/other.png").status_code == 404


def test_gif_has_holes_where_there_is_no_subject(client: Any) -> None:
    answer = client.post(URL, json={"image_url": data_uri(picture()), "output_format": "gif", "sync_mode": True})
    made = opened(base64.b64decode(answer.json()["image"]["url"].partition(",")[2])).convert("RGBA")
    alpha = np.asarray(made)[..., 3]
    assert alpha[20, 30] == 255 and alpha[1, 1] == 0


def test_only_the_mask(client: Any) -> None:
    for format in ("png", "webp", "gif"):
        asked = {"image_url": data_uri(picture()), "mask_only": True, "sync_mode": True, "output_format": format}
        made = opened(base64.b64decode(client.post(URL, json=asked).json()["image"]["url"].partition(",")[2]))
        mask = np.asarray(made.convert("L"))
        assert mask[20, 30] > 250 and mask[1, 1] < 5


@pytest.mark.parametrize(
    ("change", "field", "kind"),
    [
        ({"image_url": "data:image/png;base64,!!!"}, "image_url", "image_load_error"),
        ({"image_url": "data:nothing"}, "image_url", "image_load_error"),
        ({"image_url": "data:image/png;base64,aGVsbG8="}, "image_url", "image_load_error"),
        ({"image_url": "http://example.org/cat.png"}, "image_url", "file_download_error"),
        ({"image_url": 7}, "image_url", "string_type"),
        ({"image_url": None}, "image_url", "string_type"),
        ({"model": "General Use (Light)"}, "model", "unknown_model"),
        ({"model": "Anything"}, "model", "literal_error"),
        ({"operating_resolution": "64x64"}, "operating_resolution", "literal_error"),
        ({"output_format": "bmp"}, "output_format", "literal_error"),
    ],
)
def test_what_is_wrong_has_fals_shape(client: Any, change: dict[str, Any], field: str, kind: str) -> None:
    answer = client.post(URL, json={"image_url": data_uri(picture()), **change})
    assert answer.status_code == 422
    (problem,) = answer.json()["detail"]
    assert problem["loc"] == ["body", field] and problem["type"] == kind and problem["msg"]


def test_a_size_the_model_does_not_take_is_an_error_not_another_size(client: Any) -> None:
    answer = client.post(URL, json={"image_url": data_uri(picture()), "operating_resolution": "1024x1024"})
    assert answer.status_code == 422 and "64x64" in answer.json()["detail"][0]["msg"]


def test_bodies_that_are_no_json(client: Any) -> None:
    for body in (
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"image_url": "\\ud800"}',
        b'{"image_url":NaN}',
    ):
        assert client.post(URL, content=body, headers={"Content-Type": "application/json"}).status_code == 422
    assert client.post(URL, content=b"{}", headers={"Content-Type": "text/plain"}).status_code == 415


def test_fals_own_client(standin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own request, authorization and errors; only the name of the server is another."""
    fal_client = pytest.importorskip("fal_client")
    service = Service(
        Settings(models={"bright": str(standin)}, options=RuntimeOptions(threads=1), api_key="secret-of-mine")
    )
    with in_thread(service) as address:
        monkeypatch.setattr(fal_client.client, "RUN_URL_FORMAT", f"{address}/")
        client = fal_client.SyncClient(key="secret-of-mine")
        asked = {"image_url": fal_client.encode(picture(), "image/png"), "output_mask": True}
        answer = client.run("fal-ai/birefnet/v2", arguments=asked)
        assert answer["image"]["url"].startswith(f"{address}/files/")
        inline = client.run("fal-ai/birefnet/v2", arguments={**asked, "sync_mode": True})
        assert inline["image"]["url"].startswith("data:image/png;base64,")
        with pytest.raises(fal_client.client.FalClientHTTPError) as wrong:
            client.run("fal-ai/birefnet/v2", arguments={"image_url": "data:,x"})
        assert wrong.value.status_code == 422 and wrong.value.error_type == "image_load_error"
        with pytest.raises(fal_client.client.FalClientHTTPError) as stranger:
            fal_client.SyncClient(key="another-secret").run("fal-ai/birefnet/v2", arguments=asked)
        assert stranger.value.status_code == 401
