"""A picture's address -> its bytes: only from the public internet, and within limits of size, time and redirects."""

from __future__ import annotations

import base64
import binascii
import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import unquote_to_bytes, urljoin

from birefnet import __version__
from birefnet.serving.addresses import Place, Resolve, judge, resolve
from birefnet.serving.refusal import Refusal

REDIRECTS = 5
SECONDS = 20.0
_CHUNK = 65_536
_MOVED = (301, 302, 303, 307, 308)
_MAX_URL = 8_192

Connect = Callable[[tuple[str, int], float], socket.socket]
"""((IP address, port), seconds to wait) -> a connection there."""


class Fetcher:
    """Fetches pictures for requests.

    Args:
        max_bytes: of one answer.
        seconds: for one picture, redirects included.
        resolve, connect: how names become addresses, and addresses connections.
    """

    def __init__(
        self,
        max_bytes: int,
        *,
        seconds: float = SECONDS,
        resolve: Resolve = resolve,
        connect: Connect = socket.create_connection,
    ) -> None:
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._resolve = resolve
        self._connect = connect

    def __call__(self, url: str) -> bytes:
        """The bytes at an address.

        Raises:
            Refusal: (422) if it may not be fetched, or cannot be; (413) if it is too large.
        """
        end = time.monotonic() + self._seconds
        for _ in range(REDIRECTS + 1):
            if len(url) > _MAX_URL:
                raise _failed("the address is too long")
            place = judge(url, self._resolve)
            found = self._ask(place, end)
            if isinstance(found, bytes):
                return found
            url = urljoin(url, found)
        raise _failed(f"it is moved on more than {REDIRECTS} times")

    def _ask(self, place: Place, end: float) -> bytes | str:
        """What lies there, or where it has moved to."""
        try:
            with self._answer(place, end) as answer:
                if answer.status in _MOVED and (moved := answer.getheader("Location")):
                    return moved
                if answer.status != 200:
                    raise _failed(f"the server answers {answer.status}")
                if answer.getheader("Content-Encoding", "identity").lower() not in ("identity", ""):
                    raise _failed("the server sends it compressed, which was not asked for")
                return self._read(answer, end)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise _failed("the server does not answer as it should, or not in time") from error

    @contextmanager
    def _answer(self, place: Place, end: float) -> Iterator[http.client.HTTPResponse]:
        """The head of the answer; the connection is cut when the time is over, however slowly it goes on."""
        left = end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        plain = self._connect((place.address, place.port), left)
        cut = threading.Timer(max(0.0, end - time.monotonic()), _shut, [plain])
        cut.start()
        connection = http.client.HTTPConnection(place.host)
        try:
            connection.sock = _secured(plain, place.host) if place.scheme == "https" else plain
            host = f"[{place.host}]" if ":" in place.host else place.host
            headers = {"Host": host, "Accept": "image/*", "Accept-Encoding": "identity", "Connection": "close"}
            connection.request("GET", place.target, headers=headers | {"User-Agent": f"birefnet/{__version__}"})
            yield connection.getresponse()
        finally:
            cut.cancel()
            connection.close()
            plain.close()

    def _read(self, answer: http.client.HTTPResponse, end: float) -> bytes:
        found = bytearray()
        while chunk := answer.read1(_CHUNK):
            found += chunk
            if len(found) > self._max_bytes:
                raise Refusal(413, f"The picture there is larger than {self._max_bytes / 1e6:.0f} MB.", field="url")
        if answer.length or time.monotonic() >= end:  # a connection that was cut looks like the end of an answer
            raise _failed("the server broke off, or took too long")
        return bytes(found)


def decode_data_uri(text: str, max_bytes: int) -> bytes:
    """`data:image/png;base64,...` -> the bytes.

    Raises:
        Refusal: (422) if it is damaged; (413) if it is too large.
    """
    head, comma, content = text.partition(",")
    if not comma:
        raise Refusal(422, "The data URI has no comma, and so no content.", kind="image_load_error")
    if len(content) * 3 // 4 > max_bytes + 3:
        raise Refusal(413, f"The picture is larger than {max_bytes / 1e6:.0f} MB.", kind="image_too_large")
    try:
        if head.lower().endswith(";base64"):
            return base64.b64decode("".join(unquote_to_bytes(content).decode("ascii").split()), validate=True)
        return unquote_to_bytes(content)
    except (binascii.Error, ValueError):
        raise Refusal(422, "The data URI is no valid base64.", kind="image_load_error") from None


def _secured(plain: socket.socket, host: str) -> ssl.SSLSocket:
    return ssl.create_default_context().wrap_socket(plain, server_hostname=host)


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _failed(why: str) -> Refusal:
    return Refusal(422, f"The picture could not be fetched: {why}.", kind="file_download_error")
