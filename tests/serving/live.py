"""A server in a thread of the tests, or in a process of its own, and pictures to send to it."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import uvicorn
from PIL import Image

from birefnet.serving.app import create_app
from birefnet.serving.run import Server
from birefnet.serving.service import Service
from tests.waiting import wait_until


def picture(width: int = 60, height: int = 40, format: str = "PNG", *, mode: str = "RGB") -> bytes:
    """A bright subject before a dark ground."""
    pixels = np.full((height, width, 3), 20, np.uint8)
    pixels[height // 4 : -(height // 4), width // 4 : -(width // 4)] = (240, 220, 230)
    stream = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(stream, format)
    return stream.getvalue()


def opened(data: bytes) -> Image.Image:
    """A picture that came back, decoded."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def in_thread(service: Service) -> Iterator[str]:
    """A real server for as long as the context lasts; its address."""
    port = free_port()
    config = uvicorn.Config(create_app(service), host="127.0.0.1", port=port, log_config=None, access_log=False)
    server = Server(config, service.line, 10.0)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(timeout=30)


@contextmanager
def in_process(
    *options: str,
    log: Path,
    page: bool = False,
    ignore_hang_up: bool = False,
    environment: Mapping[str, str] | None = None,
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """`birefnet serve` in a process of its own, with or without the page, or under `nohup`; it, and its port."""
    port = free_port()
    command = [sys.executable, "-m", "birefnet", "serve", "--port", str(port), *options]
    command += [] if page else ["--no-page"]
    command = ["nohup", *command] if ignore_hang_up else command
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stderr=stream, stdout=stream, env={**os.environ, **(environment or {})})
    try:
        wait_until(lambda: listens(port), seconds=60)
        yield process, port
    finally:
        process.kill()
        process.wait()


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
