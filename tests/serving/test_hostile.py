"""Files made to do harm: each is refused with a sentence, quickly, and nothing of it is computed."""

from __future__ import annotations

import gzip
import io
import struct
import tracemalloc
import zipfile
import zlib
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from birefnet.serving import suspicion
from tests.serving.live import picture


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *more: bytes, pixels: bytes = b"") -> bytes:
    """A PNG of any claims: 8-bit grey, its pixels compressed as given."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(more) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def zeros(megabytes: int) -> bytes:
    """Zeros, compressed a thousandfold."""
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(1_000_000)) for _ in range(megabytes)) + packer.flush()


def archive() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as packed:
        packed.writestr("evil.sh", "rm -rf /")
    return stream.getvalue()


def with_text(text: str) -> bytes:
    info = PngInfo()
    info.add_text("comment", text, zip=True)
    stream = io.BytesIO()
    Image.new("L", (8, 8)).save(stream, "PNG", pnginfo=info)
    return stream.getvalue()


BOMB = zeros(200)
FILES = {
    "100,000 x 100,000 pixels": (png(100_000, 100_000, pixels=zeros(1)), 413),
    "the largest sides PNG can claim": (png(2**31 - 1, 2**31 - 1), 413),
    "20,000 x 10,000 pixels of nothing": (png(20_000, 10_000, pixels=BOMB), 413),
    "a zip": (archive(), 415),
    "a gzip": (gzip.compress(picture()), 415),
    "an SVG": (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', 415),
    "an SVG without a head": (b"<svg onload=alert(1)>", 415),
    "a page": (b"<!doctype html><img src=x onerror=alert(1)>", 415),
    "a PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", 415),
    "PNG and zip": (picture() + archive(), 415),
    "JPEG and zip": (picture(format="JPEG") + archive(), 415),
    "GIF and JavaScript": (b"GIF89a/*" + picture(format="GIF")[8:] + b"*/=1;alert(1)//", 415),
    "PNG and page": (picture()[:33] + chunk(b"tEXt", b"a\0<script>alert(1)</script>") + picture()[33:], 415),
    "PPM and page": (b"P6\n#<html><script>alert(1)</script>\n2 2\n255\n" + bytes(12), 415),
    "BMP and PDF": (picture(format="BMP")[:54] + b"%PDF-1.7" + picture(format="BMP")[62:], 415),
    "a JPEG of thousands of scans": (picture(format="JPEG")[:-2] + b"\xff\xda\x00\x02" * 3000, 415),
    "no bytes": (b"", 422),
    "a head alone": (b"\x89PNG\r\n\x1a\n", 422),
    "a TIFF that points into itself": (b"II*\0\x08\0\0\0\x01\0\0\x01\x04\0\x01\0\0\0\xff\xff\xff\xff\x08\0\0\0", 422),
    "a GIF without a frame": (b"GIF89a\x08\0\x08\0\0\0\0;", 422),
    "a picture of no width": (png(0, 8), 422),
}


def scans(many: int, *, before: bytes = b"") -> bytes:
    """A JPEG with so many scans, and segments before them."""
    whole = picture(format="JPEG")
    return whole[:2] + before + whole[2:-2] + b"\xff\xda\x00\x02" * many + whole[-2:]


FILM = b"\0\0\0\x18ftypmp42" + b"\xff\xda\x12\xff\xd8" * 4000
THUMBNAIL = b"\xff\xe1\x40\x02" + (b"\xff\xda\x00\x02" * 0x1000)[:0x4000]
RESTARTED = picture(format="JPEG").replace(b"\xff\xda", b"\xff\xdd\x00\x04\x00\x01\xff\xda")
SCANS = {
    "a film behind it": (picture(format="JPEG") + FILM, None),
    "a second picture behind it": (picture(format="JPEG") + scans(5000), None),
    "a thumbnail and a profile": (scans(3, before=THUMBNAIL * 20), None),
    "two hundred thousand restarts": (RESTARTED[:-2] + b"\xff\xd0\x11\xff\xd1" * 100_000 + b"\xff\xd9", None),
    "coded bytes that look like scans": (picture(format="JPEG")[:-2] + b"\xff\x00\xda" * 9000 + b"\xff\xd9", None),
    "fill bytes": (picture(format="JPEG")[:-2] + b"\xff" * 3_000_000 + b"\xff\xd9", None),
    "exactly as many as are taken": (scans(suspicion.MAX_SCANS - 1), None),
    "one more": (scans(suspicion.MAX_SCANS), "scans"),
    "behind a segment with an end in it": (scans(3000, before=b"\xff\xe2\x00\x06\xff\xd9\xff\xd9"), "scans"),
    "behind fill bytes": (scans(3000, before=b"\xff\xff\xff\xfe\x00\x02"), "scans"),
    "without an end, and a film": (picture(format="JPEG")[:-2] + b"\xff\xda\x00\x02" * 3000 + FILM, "scans"),
    "a million segments": (scans(1, before=b"\xff\xfe\x00\x02" * 1_000_000), "segments"),
}


@pytest.mark.parametrize("name", SCANS)
def test_scans_are_counted_as_decoders_meet_them(name: str) -> None:
    data, word = SCANS[name]
    why = suspicion.why_refused(data)
    assert why is None if word is None else word in str(why)


def test_a_motion_photo_is_cut_out(client: Any) -> None:
    answer = client.post("/v1/remove", files={"image": picture(format="JPEG") + FILM * 100})
    assert answer.status_code == 200
    assert answer.content == client.post("/v1/remove", files={"image": picture(format="JPEG")}).content


@pytest.mark.parametrize("name", FILES)
def test_a_file_made_to_do_harm_is_refused(client: Any, name: str) -> None:
    data, status = FILES[name]
    before = client.service.metrics.text()
    answer = client.post("/v1/remove", files={"image": ("cat.png", data, "image/png")})
    assert answer.status_code == status, answer.text
    assert len(answer.json()["detail"]) < 700
    assert b"birefnet_pictures_total{" not in before + client.service.metrics.text()
    assert client.service.line.taken == 0


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_what_is_packed_beside_the_pixels_is_not_unpacked(client: Any, kind: bytes) -> None:
    """200 MB of text or profile cost nothing, and the picture is cut out as if they were not there."""
    head = b"a\0\1\0\0\0" if kind == b"iTXt" else b"a\0\0"
    data, plain = picture(), client.post("/v1/remove", content=picture())
    tracemalloc.start()
    try:
        answer = client.post("/v1/remove", content=data[:33] + chunk(kind, head + BOMB) + data[33:])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert answer.status_code == 200 and answer.content == plain.content
    assert peak < 64_000_000


def test_the_same_by_the_other_doors(client: Any) -> None:
    import base64

    data, _ = FILES["100,000 x 100,000 pixels"]
    assert client.post("/api/remove", files={"file": data}).status_code == 413
    uri = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    answer = client.post("/fal-ai/birefnet/v2", json={"image_url": uri})
    assert answer.status_code == 422 and answer.json()["detail"][0]["type"] == "image_too_large"
    assert client.post("/v1/remove", files={"image": picture(), "background": data}).status_code == 413


def test_a_compressed_body_is_not_unpacked(client: Any) -> None:
    for encoding in ("gzip", "deflate", "br", "gzip, gzip"):
        answer = client.post("/v1/remove", content=gzip.compress(bytes(10**8)), headers={"Content-Encoding": encoding})
        assert answer.status_code == 415


def test_a_harmless_comment_is_no_reason_to_refuse(client: Any) -> None:
    assert client.post("/v1/remove", content=with_text("a < b")).status_code == 200
    trailing = picture() + b"\0" * 100  # as some tools leave it
    assert client.post("/v1/remove", content=trailing).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        *("/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/..%2f..%2fetc%2fpasswd", "/models/../../settings.py"),
        *("/models/%2e%2e/nano.onnx", "/vendor//etc/passwd", "/C:/windows/win.ini", "/index.html/..%5c..%5cx"),
        *("/files/../../etc/passwd", "/files/..%2f..%2f/passwd", "/files/x/%00", "/%00", "/web/index.html%00.png"),
    ],
)
def test_no_path_leads_out(make_client: Any, path: str) -> None:
    from starlette.testclient import TestClient

    from birefnet.serving.app import create_app

    service = make_client().service
    inner = TestClient(create_app(service, {"index.html": b"<!doctype html>", "models/index.json": b"{}"}))
    answer = inner.get(path)
    assert answer.status_code == 404 and b"root:" not in answer.content


def test_addresses_of_this_machine_are_refused_at_both_doors(make_client: Any) -> None:
    client = make_client(fetch_urls=True)
    for url in (
        "http://127.0.0.1:7000/",
        "http://169.254.169.254/latest/meta-data",
        "http://[::1]/",
        "file:///etc/passwd",
    ):
        got = client.get("/api/remove", params={"url": url})
        assert got.status_code == 422 and got.json()["detail"].startswith("Nothing is fetched from there")
        answer = client.post("/fal-ai/birefnet/v2", json={"image_url": url})
        assert answer.status_code == 422 and answer.json()["detail"][0]["type"] == "file_download_error"
