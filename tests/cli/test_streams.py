"""Pipes, devices, and stdout in whatever state a shell may hand it over."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Run = Callable[..., tuple[int, str, str]]
JUDGES = find_spec("cv2") is not None  # whether `birefnet evaluate` is installed

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a POSIX shell, its pipes and devices")
needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "cat.png"
    Image.fromarray(np.full((40, 60, 3), 240, np.uint8)).save(path)
    return path


@pytest.fixture
def shell(standin: Path, photo: Path) -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """Run a line of bash; `$B` is the program, `$M` a model, `$P` a picture."""
    words = {"B": f"{sys.executable} -m birefnet", "M": str(standin), "P": str(photo)}

    def call(line: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["bash", "-c", line], capture_output=True, env={**os.environ, **words, **environment},
            cwd=photo.parent, timeout=300, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    return call


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


Shell = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.mark.parametrize(
    "line",
    [
        "$B remove <(cat $P) -m $M -o out.png",
        "cat $P | $B remove /dev/stdin -m $M -o out.png",
        "cat $P | $B remove - -m $M -o out.png",
        "$B remove $P -m $M -o /dev/stdout > out.png",
        "$B remove $P -m $M -o /dev/stdout | cat > out.png",
        "$B remove $P -m $M -o >(cat > out.png) && wait $!",
        "$B remove <(cat $P) -m $M -o - > out.png",
        "mkfifo in; cat $P > in & $B remove in -m $M -o out.png",
    ],
)
def test_pipes_stand_for_pictures(shell: Shell, tmp_path: Path, line: str) -> None:
    result = shell(line)
    assert result.returncode == 0, result.stderr
    assert size_of(tmp_path / "out.png") == (60, 40)


@needs_full
@pytest.mark.parametrize("line", ["$B remove $P -m $M -o /dev/full", "$B remove $P -m $M -o - > /dev/full"])
def test_a_full_device_is_one_sentence(shell: Shell, line: str) -> None:
    result = shell(line)
    assert result.returncode == 1
    error = result.stderr.decode().splitlines()
    assert len(error) == 1 and error[0].startswith("error: Cannot write") and "No space left on device" in error[0]


@needs_full
@pytest.mark.parametrize("line", ["$B doctor > /dev/full", "$B models --json > /dev/full", "$B --help > /dev/full"])
def test_data_that_cannot_be_printed_is_one_sentence(shell: Shell, line: str) -> None:
    result = shell(line)
    assert result.returncode == 1
    assert result.stderr.decode().splitlines()[-1] == "error: Cannot write to stdout: No space left on device."


def test_closed_stdout(shell: Shell, tmp_path: Path) -> None:
    """A whole file is written: done. What was to be printed is not: failed. No file takes stdout's number."""
    done = shell("$B remove $P -m $M -o out.png >&-")
    assert (done.returncode, done.stderr.count(b"error")) == (0, 0), done.stderr
    assert size_of(tmp_path / "out.png") == (60, 40)
    for line in ("$B remove $P -m $M -o - >&-", "$B models >&-", "$B remove $P -m $M -o b.png --json >&-"):
        failed = shell(line)
        assert failed.returncode == 1
        assert failed.stderr.decode().splitlines()[-1] == "error: Cannot write to stdout: Bad file descriptor."


def test_closed_stdin_and_stderr(shell: Shell, tmp_path: Path) -> None:
    assert shell("$B remove $P -m $M -o out.png <&- 2>&-").returncode == 0
    assert shell("$B remove - -m $M -o out.png --overwrite <&-").stderr.startswith(b"error: ")
    assert shell("$B remove none.png 2>&-").stdout == b""


@pytest.mark.parametrize("narrow", [{"PYTHONIOENCODING": "cp1252"}, {"PYTHONIOENCODING": "ascii:strict"},
                                    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}])  # fmt: skip
def test_a_narrow_stdout_ends_no_command(shell: Shell, photo: Path, tmp_path: Path, narrow: dict[str, str]) -> None:
    """Names that its encoding lacks are printed by their numbers."""
    for folder in ("im", "gt"):
        (tmp_path / "猫" / folder).mkdir(parents=True)
        mask = np.zeros((40, 60), np.uint8)
        mask[10:30, 10:30] = 255
        Image.fromarray(mask).save(tmp_path / "猫" / folder / "犬.png")
    lines = ["$B models", "$B doctor", "$B remove $P -m $M -o 猫/x.png --overwrite", "$B data check 猫"]
    for line in [*lines, *(["$B evaluate 猫/im 猫/gt --workers 1"] if JUDGES else [])]:
        result = shell(line, **narrow)
        assert b"fault of the program" not in result.stderr, result.stderr
        assert result.returncode in ((0, 1) if "data check" in line else (0,)), result.stderr


def test_names_that_begin_with_a_dash(shell: Shell, photo: Path, tmp_path: Path) -> None:
    photo.rename(tmp_path / "-dash.png")
    result = shell("$B remove -o x.png -m $M -- -dash.png")
    assert result.returncode == 0, result.stderr
    assert size_of(tmp_path / "x.png") == (60, 40)


def test_names_that_are_not_utf8(shell: Shell, photo: Path, tmp_path: Path) -> None:
    """A name of bytes that are no letters goes through every command as it is."""
    name = b"caf\xe9.png"
    for folder in (b"im", b"gt", b"pred"):
        place = os.path.join(os.fsencode(tmp_path), b"set", folder)
        os.makedirs(place)
        mask = np.zeros((40, 60), np.uint8)
        mask[10:30, 10:30] = 255
        with open(os.path.join(place, name), "wb") as stream:
            Image.fromarray(mask).convert("RGB" if folder == b"im" else "L").save(stream, "PNG")
    judging = ["$B evaluate set/pred set/gt --workers 1 -o report", "$B evaluate set/pred set/gt --workers 1 --json"]
    for line in ["$B remove set/im -m $M -o out", "$B data check set -o sheet", *(judging if JUDGES else [])]:
        result = shell(line)
        assert b"fault of the program" not in result.stderr, result.stderr
        assert result.returncode in ((0, 1) if "check" in line else (0,)), result.stderr
    assert os.listdir(os.path.join(os.fsencode(tmp_path), b"out")) == [name]


def test_a_name_as_long_as_the_disk_allows(birefnet: Run, photo: Path, standin: Path, tmp_path: Path) -> None:
    out = tmp_path / f"{'猫' * 83}.png"  # 253 bytes of 255
    code, _, err = birefnet("remove", photo, "-m", standin, "-o", out)
    assert code == 0, err
    assert size_of(out) == (60, 40)


def test_pipes_in_a_folder_are_left_out(birefnet: Run, photo: Path, standin: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    photo.rename(folder / "a.png")
    os.mkfifo(folder / "b.png")
    code, _, err = birefnet("remove", folder, "-m", standin, "-o", tmp_path / "out")
    assert code == 0 and f"`{folder / 'b.png'}` is left out: it is a pipe or a device" in err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.png"]


def test_links(birefnet: Run, photo: Path, standin: Path, tmp_path: Path) -> None:
    """Every name of a picture has a result; a linked folder is followed once; a link to itself ends nothing."""
    folder, elsewhere = tmp_path / "in", tmp_path / "elsewhere"
    (folder / "sub").mkdir(parents=True)
    elsewhere.mkdir()
    photo.rename(folder / "a.png")
    for name in ("b.png", "c.png"):
        (folder / name).symlink_to("a.png")
    (elsewhere / "d.png").symlink_to(folder / "a.png")
    (folder / "linked").symlink_to(elsewhere)
    (folder / "linked_again").symlink_to(elsewhere)
    (folder / "own").symlink_to("sub")
    (folder / "sub" / "up").symlink_to(folder)
    (folder / "itself.png").symlink_to("itself.png")
    (folder / "loop").symlink_to("loop")
    code, out, err = birefnet("remove", folder, "-m", standin, "-o", tmp_path / "out", "--json")
    pictures = {Path(row["input"]).relative_to(folder): row["status"] for row in json.loads(out)["pictures"]}
    good = {Path(name): "done" for name in ("a.png", "b.png", "c.png", "linked/d.png")}
    assert pictures == {**good, Path("itself.png"): "failed"}
    assert code == 1 and err.count("error:") == 1
    assert {path.name for path in (tmp_path / "out").rglob("*.png")} == {"a.png", "b.png", "c.png", "d.png"}


@pytest.mark.parametrize("pattern", ["trip[1]/*.png", "*/trip[[]1]/*.png", "t*[1]/*.png", "trip[1]/cat[2].p*"])
def test_brackets_in_names(birefnet: Run, photo: Path, standin: Path, tmp_path: Path, pattern: str,
                           monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    home = tmp_path / "x" if pattern.startswith("*/") else tmp_path
    (home / "trip[1]").mkdir(parents=True)
    photo.rename(home / "trip[1]" / "cat[2].png")
    monkeypatch.chdir(tmp_path)
    code, _, err = birefnet("remove", pattern, "-m", standin, "-o", "out/")
    assert code == 0, err
    assert [path.name for path in (tmp_path / "out").rglob("*.png")] == ["cat[2].png"]


def test_a_reader_that_leaves_is_no_fault(shell: Shell) -> None:
    result = shell("$B models | true; echo ${PIPESTATUS[0]}")
    assert result.stderr.count(b"Traceback") == 0 and result.stdout.strip() in (b"0", b"1")


def test_stdin_may_be_slow(standin: Path, photo: Path, tmp_path: Path) -> None:
    """A pipe that is filled in two parts is read to its end."""
    reading, writing = os.pipe()
    data = photo.read_bytes()

    def fill() -> None:
        with os.fdopen(writing, "wb", buffering=0) as stream:
            stream.write(data[:40])
            stream.write(data[40:])

    thread = threading.Thread(target=fill)
    thread.start()
    words = [sys.executable, "-m", "birefnet", "remove", f"/dev/fd/{reading}", "-m", standin, "-o", tmp_path / "o.png"]
    result = subprocess.run(words, pass_fds=(reading,), capture_output=True, timeout=300)
    thread.join()
    os.close(reading)
    assert result.returncode == 0, result.stderr
