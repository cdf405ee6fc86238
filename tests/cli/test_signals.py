"""Whatever ends a command, no half-written file, temporary folder or child is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from birefnet.cli.signals import ended_by_signals
from tests.waiting import wait_until

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no such signals")

# Writes half a file and a folder, says so, and waits for ever.
HALF = """
import sys
from pathlib import Path
from birefnet import files
from birefnet.cli import main

def work(_):
    def save(stream):
        stream.write(b"half")
        stream.flush()
        with files.whole_folder(Path(sys.argv[1]) / "site") as part:
            (part / "a").write_text("half")
            print("ready", flush=True)
            sys.stdin.read()
    files.write_whole(Path(sys.argv[1]) / "cat.png", save)

main.run = work
main.main()
"""


def start(code: str, *words: str, **environment: str) -> subprocess.Popen[str]:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    command = [sys.executable, "-c", code, *words]
    return subprocess.Popen(command, text=True, env={**os.environ, **environment}, **pipes)  # type: ignore[call-overload]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_nothing_half_written_is_left(tmp_path: Path, name: str) -> None:
    (tmp_path / "cat.png").write_text("old")
    number = getattr(signal, name)
    with start(HALF, str(tmp_path)) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        assert len(list(tmp_path.iterdir())) == 3  # the old file, and two that are half done
        process.send_signal(number)
        code = process.wait(timeout=60)
    assert code == (-number if name == "SIGINT" else 128 + number)
    assert [path.name for path in tmp_path.iterdir()] == ["cat.png"]
    assert (tmp_path / "cat.png").read_text() == "old"


@pytest.mark.parametrize("words", [["site", "{out}"], ["serve", "--port", "0"]])
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_command_that_waits_for_another_ends_both(tmp_path: Path, name: str, words: list[str]) -> None:
    if words[0] == "serve":
        pytest.importorskip("fastapi")
    for folder in ("bin", "tmp", "cache", "empty"):
        (tmp_path / folder).mkdir()
    npm = tmp_path / "bin" / "npm"  # which never comes to an end
    lines = [
        "#!/bin/sh",
        "head -c 300000 /dev/zero",  # more than a pipe holds: by its end somebody is reading
        f"echo $$ > {tmp_path}/pid.part && mv {tmp_path}/pid.part {tmp_path}/pid",
        "exec tail -f /dev/null",
    ]
    npm.write_text("\n".join(lines))
    npm.chmod(0o755)
    environment = {"PATH": f"{npm.parent}:{os.environ['PATH']}", "TMPDIR": str(tmp_path / "tmp")}
    environment |= {"BIREFNET_CACHE": str(tmp_path / "cache"), "BIREFNET_VENDOR": str(tmp_path / "empty")}
    code = "from birefnet.cli.main import main; main()"
    with start(code, *(word.format(out=tmp_path / "out") for word in words), **environment) as process:
        wait_until((tmp_path / "pid").exists, seconds=60)
        assert list((tmp_path / "tmp").iterdir())
        process.send_signal(getattr(signal, name))
        assert process.wait(timeout=60) == 128 + getattr(signal, name)
    assert not list((tmp_path / "tmp").iterdir()) and not (tmp_path / "out").exists()
    assert not [path for path in (tmp_path / "cache").rglob("*") if "part" in path.name]
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_what_is_ignored_stays_so_and_handlers_are_put_back() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN), signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with ended_by_signals():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            with pytest.raises(SystemExit) as ended:
                signal.raise_signal(signal.SIGTERM)
            assert ended.value.code == 143
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before[0])
        signal.signal(signal.SIGTERM, before[1])


def test_forked_children_die_as_they_would_have() -> None:
    with ended_by_signals():
        child = os.fork()
        if not child:
            signal.raise_signal(signal.SIGTERM)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
