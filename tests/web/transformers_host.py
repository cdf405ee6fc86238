"""A web host for tests: files by their addresses, from memory and disk, with the page's headers."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from birefnet.serving.site import HEADERS, content_type


@contextmanager
def host(files: Mapping[str, Path | bytes], headers: Mapping[str, str] | None = None) -> Iterator[str]:
    """The address at which `files` are served, and nothing else.

    Args:
        files: path of the address, without the leading slash -> the file, or its content.
        headers: sent with every answer; None for those of the page.
    """
    sent = HEADERS if headers is None else headers

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path).lstrip("/") or "index.html"
            source = files.get(path)
            content = source.read_bytes() if isinstance(source, Path) else source
            self.send_response(404 if content is None else 200)
            for name, value in {**sent, "Content-Type": content_type(path)}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, format: str, *arguments: object) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
