"""The cache has a place in every home, and in none."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from birefnet import cache
from birefnet.cache import cache_folder, is_temporary, writable_folder

as_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs to become another user")


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """No cache chosen, a HOME that cannot be made, and a temporary folder of the test's own."""
    for name in ("BIREFNET_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "file" / "home"))  # below a file: not even root can make it
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    cache._temporary.cache_clear()
    yield temporary
    cache._temporary.cache_clear()


def test_the_environment_chooses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BIREFNET_CACHE", "~/weights")
    assert cache_folder() == Path.home() / "weights"
    assert not is_temporary()
    monkeypatch.delenv("BIREFNET_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder().name in ("birefnet", "Cache")
    assert not is_temporary()


def test_a_chosen_folder_is_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BIREFNET_CACHE", "here")
    assert cache_folder() == tmp_path / "here"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere HOME is not what says where caches are")
def test_without_a_home_it_is_a_private_temporary_folder(homeless: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = cache_folder()
    assert folder.parent == homeless and folder.stat().st_mode & 0o777 == 0o700
    assert is_temporary()
    assert cache_folder() == folder
    assert [record.message for record in caplog.records] == [
        f"This account has no home folder that can be written to, so `{folder}` is the cache; "
        "BIREFNET_CACHE chooses another"
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere HOME is not what says where caches are")
def test_a_temporary_folder_that_others_may_write_to_is_not_used(homeless: Path) -> None:
    trap = homeless / f"birefnet-{os.getuid()}"
    trap.mkdir()
    trap.chmod(0o777)
    assert cache_folder() != trap and cache_folder().parent == homeless


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere HOME is not what says where caches are")
def test_a_temporary_folder_that_is_a_link_is_not_used(homeless: Path, tmp_path: Path) -> None:
    trap = homeless / f"birefnet-{os.getuid()}"
    trap.symlink_to(tmp_path)
    assert cache_folder() != trap and cache_folder().parent == homeless


def test_what_can_only_be_read_is_still_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Models that somebody else put there are found; what must be written goes elsewhere."""
    monkeypatch.delenv("BIREFNET_CACHE")
    monkeypatch.setattr("platformdirs.user_cache_path", lambda *_, **__: tmp_path)
    monkeypatch.setattr(os, "access", lambda path, _: not str(path).startswith(str(tmp_path)))
    cache._temporary.cache_clear()
    assert cache_folder() == tmp_path
    assert not writable_folder("numba").is_relative_to(tmp_path)
    cache._temporary.cache_clear()


DOORS = """
import sys
from birefnet.cache import cache_folder
from birefnet.cli.main import run
print(run(["doctor"]), run(["models"]), cache_folder(), file=sys.stderr)
"""
# A user id that no account has, for everything that asks in this process.
NOBODY = """
import pwd
def unknown(number):
    raise KeyError(f"getpwuid(): uid not found: {number}")
pwd.getpwuid = unknown
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere HOME is not what says where caches are")
@pytest.mark.parametrize("home", [None, "/dev/null/home"], ids=["unset", "cannot be made"])
def test_an_account_without_a_home_can_use_every_door(home: str | None, tmp_path: Path) -> None:
    environment = {"TMPDIR": str(tmp_path), "PATH": os.environ["PATH"], **({"HOME": home} if home else {})}
    result = subprocess.run(
        [sys.executable, "-c", NOBODY + DOORS], capture_output=True, text=True, env=environment, timeout=300, cwd="/"
    )
    _check(result, tmp_path / f"birefnet-{os.getuid()}")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A temporary folder for every user; pytest's own are closed to others."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o1777)
        yield Path(name)


@as_root
@pytest.mark.parametrize("home", [None, "/nonexistent", "/root"], ids=["unset", "missing", "somebody else's"])
def test_another_user_without_a_home_can_use_every_door(home: str | None, open_folder: Path) -> None:
    environment = {"TMPDIR": str(open_folder), "PATH": os.environ["PATH"], **({"HOME": home} if home else {})}
    try:
        result = subprocess.run(
            [sys.executable, "-c", DOORS],
            **{"user": 54321, "group": 54321, "extra_groups": [], "cwd": "/"},
            **{"capture_output": True, "text": True, "env": environment, "timeout": 300},
        )
    except PermissionError:
        pytest.skip("this interpreter lies where no other user may go")
    _check(result, open_folder / "birefnet-54321")


def _check(result: subprocess.CompletedProcess[str], cache: Path) -> None:
    assert result.returncode == 0, result.stderr
    words = result.stderr.splitlines()
    assert words[-1] == f"0 0 {cache}"
    assert sum("has no home folder" in line for line in words) == 1
    assert "Traceback" not in result.stderr and "telemetry" not in result.stderr
