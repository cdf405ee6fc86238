"""What the server makes of a crowd: throughput beside the bare runtime's, memory, overload, and its end under load.

    python benchmarks/server.py [--requests 500] [--clients 16] [--threads N] [--model nano] [--part load|overload|stop]

The pictures are those of examples/photos, the answers PNG cut-outs. "bare" is `Remover` on the same pictures, one after
the other in one process with as many threads, without writing them; half of it runs before the server, half after.
The clients share the machine with the server. Exits with 1 if a request was lost.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import itertools
import os
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from birefnet import Remover
from birefnet.cpus import default_threads

PHOTOS = sorted((Path(__file__).parents[1] / "examples" / "photos").glob("*.jpg"))
LOST = 0  # in place of a status: no answer
WARM = 48  # requests before memory is looked at


class Reply(NamedTuple):
    """What one request got."""

    status: int
    seconds: float
    began: float  # time.monotonic
    retry_after: str | None = None


class Server:
    """A server in a process of its own, on a free port."""

    def __init__(self, model: str, threads: int, *options: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        words = ["serve", "--port", str(self.port), "--model", model, "--threads", str(threads), "--no-page"]
        words += ["--log-level", "warning", *options]
        self.process = subprocess.Popen([sys.executable, "-m", "birefnet", *words])
        for _ in range(600):
            with contextlib.suppress(OSError):
                if self.ask("GET", "/ready").status == 200:
                    return
            time.sleep(0.1)
        raise SystemExit("the server did not start")

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)

    def ask(self, method: str, path: str, body: bytes | None = None) -> http.client.HTTPResponse:
        connection = self.connect()
        connection.request(method, path, body)
        return connection.getresponse()

    def megabytes(self) -> float:
        """Its memory in use, when it had a moment to tidy up."""
        time.sleep(2)
        for line in self.ask("GET", "/metrics").read().decode().splitlines():
            if line.startswith("process_resident_memory_bytes"):
                return float(line.split()[1]) / 1e6
        raise SystemExit("the server does not tell its memory")

    def stop(self) -> int:
        """Tell it to stop; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=120)


def send(connection: http.client.HTTPConnection, data: bytes) -> Reply:
    """One picture by one connection, which stays open."""
    began = time.monotonic()
    try:
        connection.request("POST", "/v1/remove", data, {"Content-Type": "image/jpeg"})
        answer = connection.getresponse()
        answer.read()
        return Reply(answer.status, time.monotonic() - began, began, answer.getheader("Retry-After"))
    except (OSError, http.client.HTTPException):
        connection.close()
        return Reply(LOST, time.monotonic() - began, began)


def crowd(server: Server, clients: int, tasks: Iterator[bytes], until: int | None = None) -> list[Reply]:
    """Let clients send pictures until there are none left, or, each for itself, until an answer other than `until`."""
    replies: list[Reply] = []
    lock = threading.Lock()

    def client() -> None:
        connection = server.connect()
        while True:
            with lock:
                data = next(tasks, None)
            if data is None:
                return
            reply = send(connection, data)
            replies.append(reply)
            if until is not None and reply.status != until:
                return

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return replies


def bare(remover: Remover, pictures: list[bytes], count: int) -> float:
    """Pictures a second of the runtime alone."""
    start = time.perf_counter()
    for data in itertools.islice(itertools.cycle(pictures), count):
        remover(data)
    return count / (time.perf_counter() - start)


def load(options: argparse.Namespace, pictures: list[bytes]) -> bool:
    """Many requests from some clients; returns whether all was well."""
    remover = Remover(options.model, threads=options.threads).load()
    bare(remover, pictures, 3)
    half = max(6, options.requests // 10)
    alone = [bare(remover, pictures, half)]
    server = Server(options.model, options.threads)
    crowd(server, options.clients, itertools.islice(itertools.cycle(pictures), min(WARM, options.requests)))
    before = server.megabytes()
    start = time.perf_counter()
    replies = crowd(server, options.clients, itertools.islice(itertools.cycle(pictures), options.requests))
    rate = options.requests / (time.perf_counter() - start)
    after = server.megabytes()
    code = server.stop()
    alone.append(bare(remover, pictures, half))
    seconds = sorted(reply.seconds for reply in replies)
    p50, p95 = (seconds[min(len(seconds) - 1, int(len(seconds) * share))] for share in (0.5, 0.95))
    served = sum(reply.status == 200 for reply in replies)
    print(f"load: {options.requests} requests from {options.clients} clients, {options.threads} threads")
    print(f"  answered with 200    {served}, lost {sum(reply.status == LOST for reply in replies)}")
    print(f"  latency              p50 {p50:.2f} s, p95 {p95:.2f} s")
    print(f"  throughput           {rate:.2f} pictures/s")
    print(
        f"  bare runtime         {statistics.mean(alone):.2f} pictures/s ({alone[0]:.2f} before, {alone[1]:.2f} after)"
    )
    print(f"  ratio                {rate / statistics.mean(alone):.3f}")
    print(f"  memory               {before:.0f} MB before, {after:.0f} MB after ({after / before - 1:+.1%})")
    print(f"  exit code            {code}")
    return served == options.requests and code == 0


def overload(options: argparse.Namespace, pictures: list[bytes]) -> bool:
    """More clients than places; returns whether everyone was answered."""
    places, clients = 4, 3 * options.clients
    server = Server(options.model, options.threads, "--queue", str(places))
    replies = crowd(server, clients, itertools.islice(itertools.cycle(pictures), 4 * clients))
    code = server.stop()
    statuses = Counter(reply.status for reply in replies)
    refused = [reply for reply in replies if reply.status == 429]
    told = sum(bool(reply.retry_after) for reply in refused)
    slowest = max((reply.seconds for reply in refused), default=0.0)
    print(f"overload: {len(replies)} requests from {clients} clients at {places} places")
    print(f"  answers              {dict(sorted(statuses.items()))}; {told} of the 429 with Retry-After")
    print(f"  slowest              429: {slowest:.2f} s, all: {max(reply.seconds for reply in replies):.2f} s")
    return set(statuses) <= {200, 429} and told == len(refused) and code == 0


def stop(options: argparse.Namespace, pictures: list[bytes]) -> bool:
    """SIGTERM under load; returns whether everything sent before it was answered."""
    server = Server(options.model, options.threads)
    told: list[float] = []

    def tell() -> None:
        told.append(time.monotonic())
        server.process.send_signal(signal.SIGTERM)

    timer = threading.Timer(3.0, tell)
    timer.start()
    replies = crowd(server, options.clients, itertools.cycle(pictures), until=200)
    code = server.process.wait(timeout=120)
    earlier = [reply for reply in replies if reply.began < told[0]]
    lost = [reply for reply in earlier if reply.status == LOST]
    print(f"stop: SIGTERM under the load of {options.clients} clients")
    print(f"  sent before it       {dict(Counter(reply.status for reply in earlier))}, lost {len(lost)}")
    print(f"  sent after it        {dict(Counter(reply.status for reply in replies if reply.began >= told[0]))}")
    print(f"  exit code            {code}")
    return not lost and code == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--threads", type=int, default=default_threads())
    parser.add_argument("--model", default="nano")
    parser.add_argument("--part", choices=("load", "overload", "stop"), action="append")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", str(options.threads))
    pictures = [path.read_bytes() for path in PHOTOS]
    parts = {"load": load, "overload": overload, "stop": stop}
    well = [parts[name](options, pictures) for name in options.part or parts]
    sys.exit(0 if all(well) else 1)


if __name__ == "__main__":
    main()
