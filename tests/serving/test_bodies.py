"""Pictures in forms, however clients send them: what is in a field decides, not whether it has a file name."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

from birefnet.pixels.writing import write_picture
from tests.serving.live import opened, picture

BORDER = "----------------a9"


def form(*parts: tuple[str, bytes]) -> dict[str, Any]:
    """A form of parts whose headers are written as given, as arguments of a client's `post`."""
    body = b"".join(
        f"--{BORDER}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + data + b"\r\n"
        for head, data in parts
    )
    return {
        "content": body + f"--{BORDER}--\r\n".encode(),
        "headers": {"Content-Type": f"multipart/form-data; boundary={BORDER}"},
    }


LARGE = picture(900, 700, "BMP")  # more than any option's text may be

HEADS = (
    'name="{}"',
    "name={}",
    'name="{}"; filename=""',
    'name="{}"; filename=""\r\nContent-Type: image/png',
    'name="{}"\r\nContent-Type: image/png',
    'name="{}"\r\nContent-Type: application/octet-stream',
    'name="{}"\r\nContent-Type: text/plain',
    "name=\"{}\"; filename*=UTF-8''%E7%8C%AB.png",
    'name="{}"; filename="/etc/cat.png"',
)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("data", [picture(), LARGE])
def test_a_picture_needs_no_file_name(client: Any, head: str, data: bytes) -> None:
    for url, field in (("/v1/remove", "image"), ("/api/remove", "file")):
        answer = client.post(url, **form((head.format(field), data)))
        assert answer.status_code == 200, answer.text
        assert opened(answer.content).size == opened(data).size


@pytest.mark.parametrize("head", HEADS)
def test_a_background_picture_needs_none_either(client: Any, head: str) -> None:
    stream = io.BytesIO()
    write_picture(np.full((20, 30, 3), (0, 200, 0), np.uint8), stream)
    behind = stream.getvalue()
    answer = client.post("/v1/remove", **form(('name="image"', picture()), (head.format("background"), behind)))
    assert answer.status_code == 200, answer.text
    assert opened(answer.content).getpixel((1, 1)) == (0, 200, 0)


def test_a_background_is_a_text_as_well(client: Any) -> None:
    for head in ('name="background"', 'name="background"\r\nContent-Type: text/plain; charset=utf-8'):
        answer = client.post("/v1/remove", **form(('name="image"', picture()), (head, b"#00c800")))
        assert answer.status_code == 200 and opened(answer.content).getpixel((1, 1)) == (0, 200, 0)
    empty = ('name="background"; filename=""\r\nContent-Type: application/octet-stream', b"")  # no file was chosen
    answer = client.post("/v1/remove", **form(('name="image"', picture()), empty))
    assert answer.status_code == 200 and opened(answer.content).mode == "RGBA"


@pytest.mark.parametrize(("url", "right"), [("/v1/remove", "image"), ("/api/remove", "file")])
@pytest.mark.parametrize("wrong", ["file", "image", "picture", "upload", "images[]", "format", "\u732b"])
@pytest.mark.parametrize("named", ['; filename="cat.png"', "", "\r\nContent-Type: image/jpeg"])
def test_a_file_in_another_field_is_told_the_right_one(
    client: Any, url: str, right: str, wrong: str, named: str
) -> None:
    if wrong == right:
        return
    answer = client.post(url, **form((f'name="{wrong}"{named}', picture())))
    assert answer.status_code == 422
    told = answer.json()["detail"]
    assert f"`{wrong}`" in told and f"`{right}`" in told and "option" not in told


def test_a_file_too_many_is_told_where_files_belong(client: Any) -> None:
    answer = client.post("/v1/remove", files={"image": picture(), "trimap": picture()})
    assert answer.status_code == 422
    assert all(word in answer.json()["detail"] for word in ("`trimap`", "`image`", "`background`"))


@pytest.mark.parametrize(
    ("parts", "status", "word"),
    [
        ([('name="image"', b"hello")], 422, "`image` holds no picture"),
        ([('name="image"', b"")], 422, "no file `image`"),
        ([('name="image"; filename="a.png"', b"")], 422, "empty"),
        ([('name="image"; filename="a.png"', b"hello")], 415, "not a picture"),
        ([('name="image"', picture()), ('name="image"', picture())], 422, "twice"),
        ([('name="image"', picture()), ('name="fomat"', b"png")], 422, "no option `fomat`"),
        ([('name="image"', picture()), ('name="model"', b"x" * 70_000)], 422, "`model`"),
        ([('name="image"', picture()), ('name="model"', b"\xff\xfe\x00")], 422, "offered here"),
        ([("nme=image", picture())], 400, "damaged"),
        ([('name="a"', b"1")] * 40, 400, "Too many"),
    ],
)
def test_what_is_wrong_with_a_form(client: Any, parts: list[tuple[str, bytes]], status: int, word: str) -> None:
    answer = client.post("/v1/remove", **form(*parts))
    assert answer.status_code == status and word in answer.json()["detail"], answer.text
