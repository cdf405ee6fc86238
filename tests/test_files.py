"""Files and folders appear whole or not at all, whoever writes beside us."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from birefnet.files import beside, whole_file, whole_folder, whole_pair, write_json, write_text, write_whole

LONG_CJK = "猫" * 80 + ".png"  # 244 bytes: allowed by itself, too long with anything added


def test_a_long_name_of_many_bytes(tmp_path: Path) -> None:
    write_whole(tmp_path / LONG_CJK, lambda stream: stream.write(b"x") and None)
    assert (tmp_path / LONG_CJK).read_bytes() == b"x"
    assert os.listdir(tmp_path) == [LONG_CJK]


def test_the_hidden_name_keeps_the_suffix_and_is_new_each_time(tmp_path: Path) -> None:
    names = {beside(tmp_path / "a.onnx").name for _ in range(20)}
    assert len(names) == 20
    assert all(name.startswith(".a.") and name.endswith(".part.onnx") for name in names)
    assert len(os.fsencode(beside(tmp_path / ("a." + "é" * 120)).name)) <= 255


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, OSError, MemoryError])
def test_an_interrupted_folder_leaves_the_old_one(interruption: type[BaseException], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old.txt").write_text("old")
    with pytest.raises(interruption), whole_folder(tmp_path / "out") as folder:
        (folder / "new.txt").write_text("half")
        raise interruption
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == ["out", "out/old.txt"]


def test_a_folder_takes_the_place_of_a_folder_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    for name in ("file", "folder", "folder"):
        with whole_folder(tmp_path / name) as folder:
            (folder / "new.txt").write_text("new")
        assert os.listdir(tmp_path / name) == ["new.txt"]
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_a_folder_that_cannot_be_put_in_place_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old.txt").write_text("old")
    renamed = Path.replace

    def refuse(self: Path, target: Path) -> Path:
        if (self / "new.txt").exists():
            raise PermissionError(13, "Permission denied")
        return renamed(self, target)

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(PermissionError), whole_folder(tmp_path / "out") as folder:
        (folder / "new.txt").write_text("new")
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == ["out", "out/old.txt"]


def test_many_writers_of_one_file_and_one_folder_do_not_meet(tmp_path: Path) -> None:
    failures: list[BaseException] = []

    def write(number: int) -> None:
        try:
            for _ in range(20):
                write_json(tmp_path / "a.json", [number] * 1000)
                with whole_folder(tmp_path / "out") as folder:
                    for name in "abc":
                        (folder / name).write_text(str(number))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert sorted(os.listdir(tmp_path)) == ["a.json", "out"]
    assert len(set(json.loads((tmp_path / "a.json").read_text()))) == 1
    assert sorted(os.listdir(tmp_path / "out")) == ["a", "b", "c"]
    assert len({path.read_text() for path in (tmp_path / "out").iterdir()}) == 1


def test_a_failed_library_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError), whole_file(tmp_path / "a.onnx") as part:
        part.write_bytes(b"half")
        raise ValueError
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(os.name != "posix", reason="links and pipes")
def test_links_stay_links_and_devices_are_written_to(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link.txt").symlink_to(tmp_path / "there" / "a.txt")
    write_text(tmp_path / "link.txt", "text é\n")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "there" / "a.txt").read_text(encoding="utf-8") == "text é\n"
    write_text("/dev/null", "text")


def test_parents_are_made_only_where_asked(tmp_path: Path) -> None:
    with whole_file(tmp_path / "new" / "a.txt", parents=True) as part:
        part.write_text("a")
    assert (tmp_path / "new" / "a.txt").read_text() == "a"
    with pytest.raises(OSError), whole_file(tmp_path / "other" / "a.txt") as part:
        part.write_text("a")


def pair(folder: Path, text: str) -> None:
    with whole_pair(folder / "net.xml", ".bin") as part:
        part.write_text(text)
        part.with_suffix(".bin").write_text(text)


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, OSError])
def test_a_pair_is_old_or_new_never_half(
    interruption: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair(tmp_path, "old")
    with pytest.raises(interruption), whole_pair(tmp_path / "net.xml", ".bin") as part:
        part.write_text("half")
        raise interruption
    renamed = Path.replace
    for fails_at in range(4):  # each of the renames in turn
        left = [fails_at]

        def refuse(self: Path, target: Path, left: list[int] = left) -> Path:
            left[0] -= 1
            if left[0] == -1:
                raise interruption
            return renamed(self, target)

        with monkeypatch.context() as patched, pytest.raises(interruption):
            patched.setattr(Path, "replace", refuse)
            pair(tmp_path, "new")
        assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"net.xml": "old", "net.bin": "old"}
    pair(tmp_path, "new")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"net.xml": "new", "net.bin": "new"}


def test_writers_of_one_pair_do_not_mix(tmp_path: Path) -> None:
    errors: list[BaseException] = []

    def write(text: str) -> None:
        try:
            for _ in range(50):
                pair(tmp_path, text)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    found = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert set(found) == {"net.xml", "net.bin"} and found["net.xml"] == found["net.bin"]
