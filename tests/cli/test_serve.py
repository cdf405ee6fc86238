"""`birefnet serve` as a process: its start, its end, and what it says of wrong options."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
from tests.serving.live import in_process, picture

Run = Callable[..., tuple[int, str, str]]


def ask(port: int, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST" if body else "GET", path, body)
    answer = connection.getresponse()
    return answer.status, answer.read()


def taken(port: int) -> float:
    found = re.search(rb"birefnet_queue_taken ([0-9.]+)", ask(port, "/metrics")[1])
    assert found is not None
    return float(found[1])


def test_a_signal_under_load_loses_nothing_that_was_accepted(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with (
        in_process("--threads", "1", "--log-format", "json", log=log) as (process, port),
        ThreadPoolExecutor(8) as pool,
    ):
        accepted = [pool.submit(ask, port, "/v1/remove", picture(400, 300)) for _ in range(8)]
        for _ in range(1000):
            if taken(port) == 8 or accepted[0].done():
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        answers = [answer.result() for answer in accepted]
        assert [status for status, _ in answers] == [200] * 8
        assert process.wait(timeout=60) == 0
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert sum(line.get("path") == "/v1/remove" and line.get("status") == 200 for line in lines) == 8


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no SIGHUP")
def test_a_terminal_that_is_gone_ends_it_as_a_signal_does(tmp_path: Path) -> None:
    for ignored in (False, True):
        with (
            in_process("--threads", "1", log=tmp_path / "log", ignore_hang_up=ignored) as (process, port),
            ThreadPoolExecutor(4) as pool,
        ):
            accepted = [pool.submit(ask, port, "/v1/remove", picture(400, 300)) for _ in range(4)]
            for _ in range(1000):
                if taken(port) == 4 or accepted[0].done():
                    break
                time.sleep(0.01)
            process.send_signal(signal.SIGHUP)
            assert [answer.result()[0] for answer in accepted] == [200] * 4
            if ignored:  # as under nohup
                assert ask(port, "/health")[0] == 200
            else:
                assert process.wait(timeout=60) == 0


def test_wrong_options_are_said_before_anything_starts(birefnet: Run, tmp_path: Path) -> None:
    for words, said in (
        (["--model", "nix"], "No model named `nix`"),
        (["--model", "nano", "--preload", "lite"], "not among the models offered"),
        (["--memory-limit", "much"], "no amount of memory"),
        (["--api-key", "short"], "at least 8"),
        (["--log-format", "xml"], "known"),
        (["--web-only", str(tmp_path / "nothing")], "no folder"),
        (["--web-only", str(tmp_path), "--no-page"], "choose one"),
        (["--port", "99999"], "65535"),
    ):
        code, out, err = birefnet("serve", *words)
        assert code == 2 and not out and said in err, (words, err)


def test_a_model_that_is_not_here_offline_is_said_before_listening(birefnet: Run) -> None:
    code, _, err = birefnet("serve", "--model", "lite=lite.onnx", "--offline", "--no-page")
    assert code == 1 and "offline" in err


def test_a_port_that_is_taken_is_a_failure(birefnet: Run, standin: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        code, _, err = birefnet("serve", "--no-page", "-m", f"x={standin}", "--port", other.getsockname()[1])
    assert code == 1 and "in use" in err
