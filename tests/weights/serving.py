"""A small file server with ranges, a Hub's routes, and faults on request; it stands in for GitHub and the Hub."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

COMMIT = "7838f1c" + 33 * "0"


@dataclass
class Served:
    """What the server holds and what it has been asked.

    Attributes:
        files: path (without the leading slash) -> content.
        faults: what to do with the next requests for content, in order: "cut" half-way, answer with a status, or
            "plain" (the whole file, whatever range was asked for), "lie" (a range that was not asked for).
        requests: (method, path, its Range) of each.
    """

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    etags: bool = True

    @property
    def fetched(self) -> list[str]:
        return [path for method, path, _ in self.requests if method == "GET"]


class _Handler(BaseHTTPRequestHandler):
    served: ClassVar[Served]
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        served, wanted = self.served, self.headers.get("Range", "")
        path = self.path.lstrip("/").partition("?")[0]
        served.requests.append((self.command, path, wanted))
        if path.startswith("api/models/"):
            return self._list_files(path)
        if revision := re.search(r"/resolve/([^/]+)/", path):
            if not re.fullmatch("main|[0-9a-f]{40}", revision[1]):
                return self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})
            path = path.replace(revision[0], "/")
        if path not in served.files:
            return self._send(404, b"", {"X-Error-Code": "EntryNotFound" if "/resolve/" in self.path else ""})
        content = served.files[path]
        etag = f'"{hashlib.sha256(content).hexdigest()}"'
        headers = {"X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"} | ({"ETag": etag} if served.etags else {})
        fault = served.faults.pop(0) if served.faults and body else ""
        if fault.isdecimal():
            return self._send(int(fault), b"", {})
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", wanted)
        if match is None or fault == "plain" or self.headers.get("If-Range", etag) != etag:
            return self._send(200, content, headers, body=body, cut=fault == "cut")
        first, last = int(match[1]), int(match[2] or len(content) - 1)
        if first >= len(content):
            return self._send(416, b"", {"Content-Range": f"bytes */{len(content)}"})
        first -= fault == "lie"
        headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        return self._send(206, content[first : last + 1], headers, body=body, cut=fault == "cut")

    def _list_files(self, path: str) -> None:
        repository = "/".join(path.split("/")[2:4])
        names = [name.removeprefix(repository + "/") for name in self.served.files if name.startswith(repository + "/")]
        if not names:
            return self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        if "/tree/" in path:
            content = [{"type": "file", "path": name, "size": 1, "oid": "0" * 40} for name in names]
            return self._send(200, json.dumps(content).encode(), {"Content-Type": "application/json"})
        about = {"id": repository, "sha": COMMIT, "siblings": [{"rfilename": name} for name in names]}
        return self._send(200, json.dumps(about).encode(), {"Content-Type": "application/json"})

    def _send(
        self, status: int, content: bytes, headers: dict[str, str], *, body: bool = True, cut: bool = False
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content[: len(content) // 2] if cut else content)
        self.close_connection = cut

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Clients may leave in the middle: say nothing."""


@contextmanager
def serving() -> Iterator[Served]:
    """Serve on a free port of this machine."""
    served = Served()
    handler = type("Handler", (_Handler,), {"served": served})
    with _Server(("127.0.0.1", 0), handler) as server:
        served.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()
