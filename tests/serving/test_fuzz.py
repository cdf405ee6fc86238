"""A thousand requests that make no sense: each gets an answer in the 400s, none breaks the server."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

from tests.serving.live import picture

Request = dict[str, Any]

WHOLE = [picture(160, 120, format) for format in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")]
FIELDS = ("model", "size", "refine", "background", "format", "quality", "output", "mask_only", "refine_method")
STRANGE = (
    "",
    "\0",
    "\ud7ff\uffff",
    "-1",
    "1e999",
    "NaN",
    "null",
    "[]",
    "{}",
    "../..",
    "%s%n",
    "x" * 2000,
    "\u202e",
    "'\"",
)


def noise(random: Random, most: int = 400) -> bytes:
    return random.randbytes(random.randrange(1, most))


def not_a_picture(random: Random) -> Request:
    return {"url": "/v1/remove", "content": b"\x01" + noise(random)}


def cut_short(random: Random) -> Request:
    whole = random.choice(WHOLE[:4])
    return {"url": "/v1/remove", "content": whole[: random.randrange(1, len(whole) // 3)]}


def damaged_head(random: Random) -> Request:
    whole = bytearray(random.choice(WHOLE))
    for _ in range(8):
        whole[random.randrange(0, 3)] = random.randrange(1, 9)
    return {"url": "/v1/remove", "files": {"image": bytes(whole)}}


def wrong_option(random: Random) -> Request:
    field = random.choice(("size", "format", "quality", "output", "mask_only", "refine_method", "refine"))
    value = random.choice(STRANGE[1:])
    return {"url": "/v1/remove", "files": {"image": WHOLE[0]}, "data": {field: value}}


def unknown_option(random: Random) -> Request:
    name = random.choice(("x", "imagee", "callback", "__proto__", "model_path", "a" * 500, "url"))
    where = random.choice(("params", "data"))
    return {"url": "/v1/remove", "files": {"image": WHOLE[0]}, where: {name: random.choice(STRANGE)}}


def damaged_form(random: Random) -> Request:
    kind = random.choice(
        ("multipart/form-data", "multipart/form-data; boundary=x", "multipart/form-data; boundary=\xff")
    )
    body = random.choice((b"--x\r\n", b"--x\r\nContent-Disposition: form-data\r\n\r\n", b"--y--", b"")) + noise(random)
    url = random.choice(("/v1/remove", "/api/remove"))
    return {"url": url, "content": body, "headers": {"Content-Type": kind.encode("latin-1")}}


def wrong_type(random: Random) -> Request:
    kind = random.choice(
        ("text/html", "application/xml", "image", "multipart/mixed", ";;;", "application/json", "\xe4/x")
    )
    return {"url": "/api/remove", "content": noise(random), "headers": {"Content-Type": kind.encode("latin-1")}}


def wrong_json(random: Random) -> Request:
    values: list[Any] = [
        None,
        1,
        [],
        {},
        "x",
        "data:",
        "data:;base64,????",
        "http://127.0.0.1/",
        1e308,
        True,
        "\ud7ff" * 9,
    ]
    asked = {"image_url": random.choice(values), random.choice(FIELDS): random.choice(values)}
    return {"url": "/fal-ai/birefnet/v2", "content": json.dumps(asked)}


def no_json(random: Random) -> Request:
    body = random.choice((noise(random), b'{"image_url":' * 50, b"[" * 20_000, b'{"image_url": "\\ud800"}'))
    return {"url": "/fal-ai/birefnet/v2", "content": body, "headers": {"Content-Type": "application/json"}}


def wrong_address(random: Random) -> Request:
    hosts = ("127.0.0.1", "[::1]", "0", "169.254.169.254", "10.0.0.1:80", "", "a b", "\u2488.example", "@", "%00")
    url = (
        random.choice(("http://", "https://", "//", "file://", ""))
        + random.choice(hosts)
        + random.choice(("/", "?x", ""))
    )
    return {"method": "GET", "url": "/api/remove", "params": {"url": url}}


def nowhere(random: Random) -> Request:
    parts = (
        "..",
        "%2e%2e",
        "v1",
        "remove",
        "models",
        "files",
        "",
        "%00",
        "%ff",
        "x" * 300,
        "fal-ai",
        "birefnet",
        "api",
    )
    path = "/".join(random.choice(parts) for _ in range(random.randrange(1, 5)))
    return {"method": random.choice(("PUT", "DELETE", "PATCH")), "url": f"/{path}"}


KINDS: tuple[Callable[[Random], Request], ...] = (
    *(not_a_picture, cut_short, damaged_head, wrong_option, unknown_option, damaged_form, wrong_type, wrong_json),
    *(no_json, wrong_address, nowhere),
)


def test_a_thousand_malformed_requests_are_refused(make_client: Any) -> None:
    client, random, statuses = make_client(fetch_urls=True), Random(6), Counter[int]()
    for number in range(1000):
        kind = KINDS[number % len(KINDS)]
        request = {"method": "POST", **kind(random)}
        answer = client.request(**request)
        statuses[answer.status_code] += 1
        assert 400 <= answer.status_code < 500, (kind.__name__, request, answer.text)
        assert answer.json()["detail"], request
    assert sum(statuses.values()) == 1000 and client.service.line.taken == 0
    assert client.post("/v1/remove", content=WHOLE[0]).status_code == 200


def test_pictures_with_flipped_bytes_never_break_it(client: Any) -> None:
    """Some can still be read, and are; none is a fault of the server."""
    random, statuses = Random(7), Counter[int]()
    for _ in range(300):
        data = bytearray(random.choice(WHOLE))
        for _ in range(random.randrange(1, 6)):
            data[random.randrange(len(data))] = random.randrange(256)
        statuses[client.post("/v1/remove", content=bytes(data)).status_code] += 1
    assert set(statuses) <= {200, 413, 415, 422}
    assert statuses[200] and statuses[422]
