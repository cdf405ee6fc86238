"""The page's libraries: from one's own folder, the cache, npm or a CDN, and only the very files that are known."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from birefnet.errors import DownloadError
from birefnet.serving import vendor
from birefnet.serving.vendor import PACKAGES, Package, VendorFile, vendor_files
from birefnet.weights import transfer
from tests.web.transformers_host import host

CONTENT = {"dist/one.mjs": b"export const one = 1;\n", "dist/one.wasm": bytes(range(256)) * 40, "LICENSE": b"Free.\n"}


def published(path: str, content: bytes) -> VendorFile:
    return VendorFile(path, len(content), hashlib.sha256(content).hexdigest())


LIBRARY = Package("some-library", "1.2.3", "MIT", tuple(published(*item) for item in CONTENT.items()))


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """One small library, an empty cache, neither npm nor a folder of one's own, and nobody to wait for."""
    monkeypatch.setattr(vendor, "PACKAGES", (LIBRARY,))
    monkeypatch.setattr(transfer, "PAUSE", 0.0)
    monkeypatch.setenv("BIREFNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "programs"))
    for name in ("BIREFNET_VENDOR", "BIREFNET_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BIREFNET_CDN", "http://127.0.0.1:9")  # where nobody answers
    return tmp_path


@pytest.fixture
def install_npm(alone: Path) -> Callable[[dict[str, bytes]], Path]:
    """Puts a program `npm` on PATH that packs the given files as npm does; gives the file of what it was asked."""

    def install(files: dict[str, bytes]) -> Path:
        archive, asked, program = alone / "packed.tgz", alone / "asked.txt", alone / "programs" / "npm"
        with tarfile.open(archive, "w:gz") as packed:
            for path, content in files.items():
                entry = tarfile.TarInfo(f"package/{path}")
                entry.size = len(content)
                packed.addfile(entry, io.BytesIO(content))
        program.parent.mkdir()
        script = f'#!/bin/sh\necho "$@" >> {asked}\n/bin/cp {archive} "${{5}}/some-library-1.2.3.tgz"\n'
        program.write_text(script)
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        return asked

    return install


def contents() -> dict[str, bytes]:
    return {name: path.read_bytes() for name, path in vendor_files().items()}


WANTED = {f"some-library/{Path(path).name}": content for path, content in CONTENT.items()}


def test_the_table_names_versions_and_whole_hashes() -> None:
    for package in PACKAGES:
        assert package.version[0].isdigit()
        assert len({file.name for file in package.files}) == len(package.files)
        assert all(len(file.sha256) == 64 and file.size > 0 for file in package.files)


def test_a_cdn_gives_it_file_by_file_once(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {f"npm/some-library@1.2.3/{path}": content for path, content in CONTENT.items()}
    with host(files) as address:
        monkeypatch.setenv("BIREFNET_CDN", f"{address}/npm/")
        assert contents() == WANTED
    assert contents() == WANTED  # nobody answers any more


def test_a_cdn_that_gives_another_file_is_refused(monkeypatch: pytest.MonkeyPatch, alone: Path) -> None:
    files = {f"some-library@1.2.3/{path}": content for path, content in CONTENT.items()}
    files["some-library@1.2.3/dist/one.mjs"] = b"export const two = 2;\n"  # of the same length
    with host(files) as address:
        monkeypatch.setenv("BIREFNET_CDN", address)
        with pytest.raises(DownloadError, match="not the published one"):
            vendor_files()
    assert not list((alone / "cache").rglob("one.mjs"))


def test_npm_gives_it_from_the_registry_that_it_is_set_to(install_npm: Callable[[dict[str, bytes]], Path]) -> None:
    asked = install_npm(CONTENT)
    assert contents() == WANTED
    assert contents() == WANTED
    (words,) = asked.read_text().splitlines()  # once
    assert words.startswith("pack some-library@1.2.3 --ignore-scripts")


def test_npm_that_gives_another_file_is_refused(install_npm: Callable[[dict[str, bytes]], Path]) -> None:
    install_npm({**CONTENT, "dist/one.mjs": b"alert(1)"})
    with pytest.raises(DownloadError, match=r"npm: its dist/one.mjs is not the published one"):
        vendor_files()


def test_without_either_it_says_what_was_tried_and_the_way_out() -> None:
    with pytest.raises(DownloadError, match=r"some-library 1.2.3.*npm: not installed.*BIREFNET_VENDOR"):
        vendor_files()


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_offline_is_one_clear_sentence(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if how == "environment":
        monkeypatch.setenv("BIREFNET_OFFLINE", "1")
    with pytest.raises(DownloadError, match=r"nothing may be fetched \(offline\).*BIREFNET_VENDOR"):
        vendor_files(offline=how == "argument")


@pytest.mark.parametrize("form", ["installed", "files"])
def test_a_folder_of_ones_own_comes_first(form: str, monkeypatch: pytest.MonkeyPatch, alone: Path) -> None:
    own = alone / "own"
    for path, content in CONTENT.items():
        place = own / "some-library" / (path if form == "installed" else Path(path).name)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    monkeypatch.setenv("BIREFNET_VENDOR", str(own))
    assert {name: path.read_bytes() for name, path in vendor_files(offline=True).items()} == WANTED
    assert not (alone / "cache").exists()
    (own / "some-library" / ("dist/one.mjs" if form == "installed" else "one.mjs")).write_bytes(b"of another version")
    with pytest.raises(DownloadError, match=r"is not dist/one.mjs of some-library 1.2.3"):
        vendor_files()


def test_a_damaged_file_of_the_cache_is_fetched_again(install_npm: Callable[[dict[str, bytes]], Path]) -> None:
    asked = install_npm(CONTENT)
    path = vendor_files()["some-library/one.wasm"]
    path.write_bytes(b"damaged")
    assert contents() == WANTED
    assert len(asked.read_text().splitlines()) == 2
    assert not [name for name in os.listdir(path.parent) if name.endswith(".part")]
