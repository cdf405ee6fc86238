"""Fetching by address: pinned, limited, and never from this machine."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from birefnet.serving.fetch import Fetcher, decode_data_uri
from birefnet.serving.refusal import Refusal

ADDRESS = "93.184.216.34"  # public; the tests' connections lead elsewhere


class Web:
    """A server on this machine that stands for the public internet."""

    def __init__(self, answer: Callable[[BaseHTTPRequestHandler], None]) -> None:
        web = self
        self.asked: list[tuple[str, str | None]] = []  # path, host
        self.connected: list[tuple[str, int]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                web.asked.append((self.path, self.headers["Host"]))
                answer(self)

            def log_message(self, *arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def connect(self, address: tuple[str, int], timeout: float) -> socket.socket:
        self.connected.append(address)
        return socket.create_connection(self.server.server_address[:2], timeout)

    def fetcher(self, **options: Any) -> Fetcher:
        options = {"resolve": lambda host, port: [ADDRESS], **options}
        return Fetcher(options.pop("max_bytes", 100_000), connect=self.connect, **options)


@contextmanager
def web(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[Web]:
    made = Web(answer)
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield made
    finally:
        made.server.shutdown()
        made.server.server_close()
        thread.join()


def give(body: bytes, status: int = 200, **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(body)

    return answer


def test_the_connection_goes_to_the_judged_address_and_asks_for_the_name() -> None:
    with web(give(b"picture")) as there:
        assert there.fetcher()("http://example.org/cat.png?x=1") == b"picture"
        assert there.connected == [(ADDRESS, 80)]
        assert there.asked == [("/cat.png?x=1", "example.org")]


def test_a_name_that_changes_its_address_gains_nothing() -> None:
    """Public when it is judged, loopback ever after: it is asked once, and a redirect back to it is judged anew."""
    answers = iter([[ADDRESS], ["127.0.0.1"], ["127.0.0.1"]])
    with web(give(b"", 302, Location="/again")) as there:
        with pytest.raises(Refusal, match="public internet"):
            there.fetcher(resolve=lambda host, port: next(answers))("http://rebinding.example/")
        assert there.connected == [(ADDRESS, 80)]


@pytest.mark.parametrize(
    "target", ["http://127.0.0.1/", "http://169.254.169.254/x", "//[::1]/x", "file:///etc/passwd", "http://x:22/"]
)
def test_every_redirect_is_judged(target: str) -> None:
    def resolve(host: str, port: int) -> list[str]:
        return [ADDRESS] if host == "example.org" else [host]

    with web(give(b"", 301, Location=target)) as there:
        with pytest.raises(Refusal) as refused:
            there.fetcher(resolve=resolve)("http://example.org/")
        assert refused.value.status_code == 422 and len(there.connected) == 1


def test_redirects_are_followed_five_times() -> None:
    def count(request: BaseHTTPRequestHandler) -> None:
        step = int(request.path[1:])
        (give(b"there") if step == end else give(b"", 307, Location=f"/{step + 1}"))(request)

    end = 5
    with web(count) as there:
        assert there.fetcher()("http://example.org/0") == b"there"
    end = 6
    with web(count) as there, pytest.raises(Refusal, match="more than 5"):
        there.fetcher()("http://example.org/0")


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (give(b"x" * 1001), 413),
        (give(b"x" * 2000, Content_Length="10000000"), 413),
        (give(b"nothing here", 404), 422),
        (give(b"x", 200, Content_Encoding="gzip"), 422),
        (give(b"x", 200, Content_Length="500"), 422),
        (lambda request: request.wfile.write(b"no http at all\r\n\r\n"), 422),
        (lambda request: request.connection.close(), 422),
        (give(b"", 302, Location="http://example.org/" + "a" * 9000), 422),
    ],
)
def test_bad_answers(answer: Callable[[BaseHTTPRequestHandler], None], status: int) -> None:
    with web(answer) as there, pytest.raises(Refusal) as refused:
        there.fetcher(max_bytes=1000, seconds=5)("http://example.org/")
    assert refused.value.status_code == status


@pytest.mark.parametrize("what", ["head", "body"])
def test_a_server_that_drips_is_cut_off(what: str) -> None:
    done = threading.Event()

    def drip(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(b"HTTP/1.1 200 OK\r\n" + (b"" if what == "head" else b"Content-Length: 999\r\n\r\n"))
        try:
            while not done.wait(0.05):
                request.wfile.write(b"X" if what == "body" else b"A: b\r\n")
        except OSError:
            pass

    with web(drip) as there:
        start = time.monotonic()
        with pytest.raises(Refusal):
            there.fetcher(seconds=0.5)("http://example.org/")
        took = time.monotonic() - start
        done.set()
    assert 0.4 < took < 5


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make a certificate with")
def test_the_certificate_must_be_the_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate]
    names = ["-days", "2", "-subj", "/CN=example.org", "-addext", "subjectAltName=DNS:example.org"]
    subprocess.run([*command, *names], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    wanted: list[str | None] = []
    context.sni_callback = lambda connection, name, context: wanted.append(name)
    with web(give(b"secret picture")) as there:
        there.server.socket = context.wrap_socket(there.server.socket, server_side=True)
        with pytest.raises(Refusal):  # nobody known has signed it
            there.fetcher()("https://example.org/")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert there.fetcher()("https://example.org/x") == b"secret picture"
        with pytest.raises(Refusal):  # it is another name's
            there.fetcher()("https://example.com/x")
        assert wanted == ["example.org", "example.org", "example.com"]
        assert there.asked == [("/x", "example.org")] and set(there.connected) == {(ADDRESS, 443)}


def test_data_uris() -> None:
    assert decode_data_uri("data:image/png;base64,aGVs\nbG8=", 10) == b"hello"
    assert decode_data_uri("data:;base64,aGVsbG8%3D", 10) == b"hello"
    assert decode_data_uri("DATA:text/plain,a%20b", 10) == b"a b"
    for text, status in (("data:x", 422), ("data:;base64,a", 422), ("data:;base64,\u00e4", 422)):
        with pytest.raises(Refusal) as refused:
            decode_data_uri(text, 10)
        assert refused.value.status_code == status
    with pytest.raises(Refusal) as large:
        decode_data_uri("data:;base64," + "A" * 100, 10)
    assert large.value.status_code == 413
