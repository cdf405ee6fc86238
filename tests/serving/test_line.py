"""The queue: full, late, hung up, stopping; no place is ever lost."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import pytest

from birefnet.runtimes.options import RuntimeOptions
from birefnet.serving.service import Service
from birefnet.serving.settings import Settings
from tests.serving.live import in_thread, picture
from tests.waiting import wait_until

Live = tuple[Service, int]


@pytest.fixture
def live(request: pytest.FixtureRequest) -> Iterator[Live]:
    """A real server of nano with the settings given; its parts, and its port."""
    service = Service(Settings(options=RuntimeOptions(threads=1), **request.param))
    service.models.load("nano")
    with in_thread(service) as address:
        yield service, int(urlsplit(address).port or 0)


def ask(port: int, body: bytes | None = None, path: str = "/v1/remove", method: str = "POST") -> tuple[int, Any]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request(method, path, body, {"Content-Type": "image/png"})
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.headers


def begin(port: int, body: bytes, *, whole: bool) -> socket.socket:
    """Send a request, or all of it but its last byte, and wait for nothing."""
    connection = socket.create_connection(("127.0.0.1", port))
    head = f"POST /v1/remove HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + (body if whole else body[:-1]))
    return connection


@pytest.mark.parametrize("live", [{"queue": 2}], indirect=True)
def test_beyond_the_queue_everyone_is_told_at_once(live: Live) -> None:
    service, port = live
    held = [begin(port, picture(), whole=False) for _ in range(2)]
    wait_until(lambda: service.line.taken == 2)
    status, headers = ask(port, picture())
    assert status == 429 and int(headers["Retry-After"]) >= 1
    assert ask(port, None, "/health", "GET")[0] == 200
    for connection in held:
        connection.close()
    wait_until(lambda: service.line.taken == 0)
    assert ask(port, picture())[0] == 200


@pytest.mark.parametrize("live", [{"queue": 3}], indirect=True)
def test_a_client_that_hangs_up_frees_its_place(live: Live) -> None:
    service, port = live
    for _ in range(3):
        held = [begin(port, picture(), whole=True) for _ in range(3)]
        wait_until(lambda: service.line.taken == 3)
        for connection in held:
            connection.close()
        wait_until(lambda: service.line.taken == 0)
    assert 'status="499"' in service.metrics.text().decode()
    assert ask(port, picture())[0] == 200


@pytest.mark.parametrize("live", [{"deadline": 0.05}], indirect=True)
def test_what_takes_too_long_is_answered_in_time(live: Live) -> None:
    service, port = live
    assert ask(port, picture())[0] == 504
    wait_until(lambda: service.line.taken == 0)


@pytest.mark.parametrize("live", [{"upload_seconds": 0.2}], indirect=True)
def test_who_never_finishes_sending_is_told_so(live: Live) -> None:
    service, port = live
    with begin(port, picture(), whole=False) as connection:
        connection.settimeout(20)
        assert connection.recv(4096).startswith(b"HTTP/1.1 408")
    wait_until(lambda: service.line.taken == 0)


@pytest.mark.parametrize("live", [{}], indirect=True)
def test_when_stopping_what_was_accepted_is_finished_and_no_more_is_accepted(live: Live) -> None:
    service, port = live
    with ThreadPoolExecutor(4) as clients:
        accepted = [clients.submit(ask, port, picture()) for _ in range(4)]
        wait_until(lambda: service.line.taken == 4)
        service.line.stopping = True
        refused, headers = ask(port, picture())
        assert refused == 503 and headers["Retry-After"]
        assert ask(port, None, "/ready", "GET")[0] == 503
        assert ask(port, None, "/health", "GET")[0] == 200
        assert [answer.result()[0] for answer in accepted] == [200] * 4


@pytest.mark.parametrize("live", [{"queue": 8}], indirect=True)
def test_requests_that_are_no_http_harm_nobody(live: Live) -> None:
    service, port = live
    for junk in (b"\x16\x03\x01\x02\x00\x01", b"GET\r\n\r\n", b"POST /v1/remove HTTP/9.9\r\n\r\n", b"\0" * 70_000):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.settimeout(20)
            connection.sendall(junk)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(4096)
            assert not answer or answer.startswith(b"HTTP/1.1 4")
    for length in (b"-1", b"abc", b"99999999999999999999"):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.settimeout(20)
            connection.sendall(b"POST /v1/remove HTTP/1.1\r\nHost: x\r\nContent-Length: " + length + b"\r\n\r\n")
            assert connection.recv(4096).startswith((b"HTTP/1.1 400", b"HTTP/1.1 413"))
    wait_until(lambda: service.line.taken == 0)
    assert ask(port, picture())[0] == 200
